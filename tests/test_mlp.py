"The MLP beyond its lesson: odd inputs, number types, both ways of the first layer, running text"
import copy, json, math
from dataclasses import asdict
import pytest, torch
from safetensors.torch import load, save
from nnzero.lm.data import CharTokenizer, LineData, TextData, windows
from nnzero.lm.loss import evaluate, nll
from nnzero.makemore.mlp import MLP, MLPConfig, WindowLinear

NAMES = ['emma', 'ola', 'ida', 'noa', 'mia', 'leonardo', 'x']

def model(seed=0, **sizes):
    torch.manual_seed(seed)
    net = MLP(MLPConfig(**dict(vocab_size=11) | sizes))
    with torch.no_grad():
        for p in net.parameters(): p.add_(0.3*torch.randn_like(p))
    return net

@pytest.mark.parametrize('n', [1, 2, 3, 7])
@pytest.mark.parametrize('blank', [0, 5, None])
def test_every_position_sees_its_window_and_nothing_else(n, blank):
    net, idx = model(block_size=n, blank=blank), torch.randint(11, (9, 40))
    logits = net(idx)
    assert logits.shape == (9, 40, 11)
    for t in (0, 1, n, 39):
        alone = net(idx[:, :t + 1])[:, -1]
        late = net(idx[:, max(0, t + 1 - n):t + 1])[:, -1]
        assert torch.allclose(logits[:, t], alone, atol=1e-5)
        assert torch.allclose(logits[:, t], late, atol=1e-5)

def test_both_ways_of_the_first_layer_agree_to_float64():
    torch.manual_seed(1)
    layer, table = WindowLinear(12, 5).double(), torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(6, (200, 4))
    assert ids.numel() >= 4*4*6
    slow = torch.cat([layer(row[None], table) for row in ids])
    assert torch.allclose(layer(ids, table), slow, atol=1e-12)
    w = torch.randn_like(slow)
    for a, b in zip(*(torch.autograd.grad((w*y).sum(), (table, *layer.parameters()))
                      for y in (layer(ids, table), slow))):
        assert torch.allclose(a, b, atol=1e-10)

@pytest.mark.parametrize('ids', [torch.zeros(500, 2, 3, dtype=torch.int64).transpose(0, 1),
                                 torch.zeros(1, 1, 3, dtype=torch.int64).expand(200, 5, 3),
                                 torch.zeros(3, 900, dtype=torch.int64).T])
def test_ids_that_do_not_lie_in_one_row(ids):
    net = model()
    assert torch.allclose(net.predict(ids), net.predict(ids[:1, :1] if ids.ndim == 3 else ids[:1]).expand(*ids.shape[:-1], 11), atol=1e-5)

@pytest.mark.parametrize('many', [1, 1000])
@pytest.mark.parametrize('wrong', [-1, 11, 10**6])
@pytest.mark.parametrize('place', [0, 1, 2])
def test_an_id_that_does_not_exist_is_an_error_in_every_place(many, wrong, place):
    ids = torch.zeros(many, 3, dtype=torch.int64)
    ids[many//2, place] = wrong
    with pytest.raises((IndexError, RuntimeError)): model().predict(ids)

def test_a_large_vocabulary_looks_up_first():
    net = model(vocab_size=5000, n_embd=4, n_hidden=8)
    assert net(torch.randint(5000, (4, 30))).shape == (4, 30, 5000)

def test_empty_batches():
    net = model()
    assert net(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 11)

@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
@pytest.mark.parametrize('rows', [1, 60])
def test_other_number_types(dtype, rows):
    idx, net = torch.randint(11, (rows, 20)), model()
    other = copy.deepcopy(net).to(dtype)(idx)
    assert other.dtype == dtype and torch.allclose(other.float(), net(idx), atol=0.2)

def test_autocast():
    idx, net = torch.randint(11, (60, 20)), model()
    with torch.autocast('cpu', dtype=torch.bfloat16): out = net(idx)
    nll(out, idx).backward()
    assert torch.allclose(out.float(), net(idx), atol=0.2) and net.embed.weight.grad.isfinite().all()

def test_lines_and_windows_have_the_same_loss():
    tok = CharTokenizer.train(NAMES)
    data, net = LineData(NAMES, tok), model(vocab_size=tok.vocab_size)
    X, Y = windows(data, 3)
    assert math.isclose(evaluate(net, data), nll(net.predict(X), Y).item(), rel_tol=1e-5)
    assert math.isclose(evaluate(net, data), evaluate(net, data, batch_size=2), rel_tol=1e-6)

def test_running_text_is_learned():
    text = 'the cat sat on the mat and the dog sat on the log. '*40
    tok = CharTokenizer.train(text, mark=False)
    data = TextData(text, tok, 16)
    torch.manual_seed(0)
    net = MLP(MLPConfig(tok.vocab_size, block_size=5, blank=tok.mark))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    assert abs(evaluate(net, data) - math.log(tok.vocab_size)) < 0.05
    for k in range(150):
        x, y = data[torch.randint(len(data), (16,))]
        optimizer.zero_grad();  nll(net(x), y).backward();  optimizer.step()
    assert evaluate(net, data) < 0.5

def test_saved_and_read_to_the_bit():
    net = model(blank=None, block_size=4)
    again = MLP(MLPConfig(**json.loads(json.dumps(asdict(net.config)))))
    again.load_state_dict(load(save(net.state_dict())))
    idx = torch.randint(11, (50, 30))
    assert torch.equal(net(idx), again(idx)) and MLP.name == 'mlp'

def test_the_published_size():
    assert sum(p.numel() for p in MLP(MLPConfig(27)).parameters()) == 11_897

@pytest.mark.parametrize('blank', [0, None])
def test_rows_without_ids(blank):
    net = model(blank=blank)
    for rows in (0, 3):
        assert net(torch.zeros(rows, 0, dtype=torch.int64)).shape == (rows, 0, 11)

@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(block_size=0), dict(n_embd=-1), dict(n_hidden=0),
                                   dict(blank=11), dict(blank=-1)])
def test_sizes_and_blanks_that_cannot_be(wrong):
    with pytest.raises(ValueError) as e: MLPConfig(**dict(vocab_size=11) | wrong)
    assert len(str(e.value).splitlines()) == 1

@pytest.mark.parametrize('many', [1, 1000])
@pytest.mark.parametrize('n', [1, 2, 4])
def test_windows_of_another_length(many, n):
    with pytest.raises(ValueError, match=f'windows of {n}, and the layer has weights for 3'):
        model().predict(torch.zeros(many, n, dtype=torch.int64))
