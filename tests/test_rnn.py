"The recurrent network beyond its lesson: torch's own as the judge, odd shapes, number types, states"
import copy, json, math
from dataclasses import asdict
import pytest, torch
from torch import nn
from safetensors.torch import load, save
from nnzero.lm.data import CharTokenizer, LineData
from nnzero.lm.loss import evaluate, nll
from nnzero.lm.sample import context, generate, same_logits
from nnzero.lm.train import TrainConfig, parameter_groups, train
from nnzero.makemore.rnn import RNN, RNNConfig, Recurrence

NAMES = ['emma', 'ola', 'ida', 'noa', 'mia', 'leonardo', 'x']

def model(seed=0, spread=0.2, **sizes):
    torch.manual_seed(seed)
    net = RNN(RNNConfig(**dict(vocab_size=11, n_embd=5, n_hidden=7) | sizes))
    with torch.no_grad():
        for p in net.parameters(): p.add_(spread*torch.randn_like(p))
    return net

def judge(net, idx):
    "The same by torch's own network"
    c = net.config
    rnn = nn.RNN(c.n_embd, c.n_hidden, batch_first=True).to(net.first.dtype)
    rnn.load_state_dict({'weight_ih_l0': net.input.weight, 'bias_ih_l0': net.input.bias,
                         'weight_hh_l0': net.recur.T, 'bias_hh_l0': torch.zeros_like(net.input.bias)})
    h, last = rnn(net.embed(idx), net.first.expand(1, len(idx), -1).contiguous())
    return net.out(h), last[0]

@pytest.mark.parametrize('B, T', [(1, 1), (1, 5), (3, 2), (40, 16), (2, 300)])
@pytest.mark.parametrize('dtype, atol', [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_equal_to_torchs_own(B, T, dtype, atol):
    net, idx = model().to(dtype), torch.randint(11, (B, T))
    logits, last = judge(net, idx)
    mine, state = net.step(idx, net.start(B))
    assert mine.shape == (B, T, 11) and torch.allclose(mine, logits, rtol=0, atol=atol)
    assert torch.allclose(state, last, rtol=0, atol=atol) and torch.equal(net(idx), mine)

@pytest.mark.parametrize('B, T', [(1, 5), (20, 9)])
def test_all_gradients_are_torchs(B, T):
    net, idx = model().double(), torch.randint(11, (B, T))
    rnn_net = copy.deepcopy(net)
    c = net.config
    nll(net(idx), idx).backward()
    C, W, b, U, h = (rnn_net.embed.weight, rnn_net.input.weight, rnn_net.input.bias, rnn_net.recur,
                     rnn_net.first.expand(B, -1))
    z = []
    for t in range(T):
        h = torch.tanh(C[idx[:, t]] @ W.T + b + h @ U)
        z.append(rnn_net.out(h))
    nll(torch.stack(z, 1), idx).backward()
    for (name, p), q in zip(net.named_parameters(), rnn_net.parameters()):
        assert torch.allclose(p.grad, q.grad, rtol=0, atol=1e-13), name

@pytest.mark.parametrize('T', [0, 1, 4])
def test_recurrence_gradcheck(T):
    torch.manual_seed(1)
    args = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((T, 2, 3), (3, 3), (2, 3))]
    assert torch.autograd.gradcheck(Recurrence.apply, args)
    assert torch.equal(Recurrence.apply(*args)[0], args[2])

def test_recurrence_leaves_its_inputs_alone():
    x, U, h0 = torch.randn(6, 2, 3, requires_grad=True), torch.randn(3, 3, requires_grad=True), torch.randn(2, 3)
    before, dh = [t.clone() for t in (x, U, h0)], torch.randn(7, 2, 3)
    kept = dh.clone()
    h = Recurrence.apply(x, U, h0)
    first = torch.autograd.grad(h, (x, U), dh, retain_graph=True)
    again = torch.autograd.grad(h, (x, U), dh)
    assert all(torch.equal(a, b) for a, b in zip(first, again)) and torch.equal(dh, kept)
    assert all(torch.equal(a, b) for a, b in zip(before, (x, U, h0)))

def test_no_second_derivative_in_silence():
    x = torch.randn(3, 2, 4, requires_grad=True)
    h = Recurrence.apply(x, torch.randn(4, 4, requires_grad=True), torch.zeros(2, 4))
    d, = torch.autograd.grad((h**2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError): d.sum().backward()

@pytest.mark.parametrize('scale', [1, 100, 1e4])
def test_saturated_states_are_numbers(scale):
    x, U = scale*torch.randn(20, 3, 8), scale*torch.randn(8, 8)
    h = Recurrence.apply(x.requires_grad_(), U.requires_grad_(), torch.zeros(3, 8))
    h.sum().backward()
    assert h.isfinite().all() and h.abs().max() <= 1 and x.grad.isfinite().all() and U.grad.isfinite().all()

def test_faint_states_keep_their_size():
    x = 1e-4*torch.randn(10, 3, 8)
    U = torch.linalg.qr(torch.randn(8, 8))[0]
    a, b = Recurrence.apply(x, U, torch.zeros(3, 8)), Recurrence.apply(x.double(), U.double(), torch.zeros(3, 8).double())
    assert (a - b).abs().max() < 1e-5*b.abs().max()

@pytest.mark.parametrize('sizes', [dict(), dict(n_hidden=1), dict(vocab_size=2), dict(vocab_size=500)])
def test_stepping_is_reading_at_once(sizes):
    net = model(**sizes)
    assert context(net) is None
    assert same_logits(net, torch.randint(net.config.vocab_size, (5, 40))) < 1e-5

def test_no_place_sees_a_later_one():
    net, idx = model(), torch.randint(11, (30, 20))
    for t in (0, 7, 19):
        assert torch.allclose(net(idx)[:, :t + 1], net(idx[:, :t + 1]), atol=1e-5)

def test_both_ways_of_the_input_agree():
    net, idx = model().double(), torch.randint(11, (30, 4))
    alone = torch.cat([net(row[None]) for row in idx])
    assert idx[0].numel() < 11 <= idx.numel() and torch.allclose(net(idx), alone, atol=1e-12)

@pytest.mark.parametrize('wrong', [-1, 11, 10**6])
@pytest.mark.parametrize('many', [1, 100])
def test_an_id_that_does_not_exist(wrong, many):
    idx = torch.zeros(many, 3, dtype=torch.int64)
    idx[-1, 1] = wrong
    with pytest.raises((IndexError, RuntimeError)): model()(idx)

@pytest.mark.parametrize('rows', [0, 3])
def test_rows_without_ids_and_no_rows(rows):
    net = model()
    assert net(torch.zeros(rows, 0, dtype=torch.int64)).shape == (rows, 0, 11)
    assert net(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 11)
    assert torch.equal(net.step(torch.zeros(rows, 0, dtype=torch.int64), net.start(rows))[1], net.start(rows))

def test_ids_that_do_not_lie_in_one_row():
    net, idx = model(), torch.randint(11, (20, 30))
    assert torch.equal(net(idx.T), net(idx.T.contiguous()))

def test_autocast_and_other_number_types():
    net, idx = model(), torch.randint(11, (60, 20))
    with torch.autocast('cpu', dtype=torch.bfloat16): out = net(idx)
    nll(out, idx).backward()
    assert torch.allclose(out.float(), net(idx), atol=0.3) and net.recur.grad.isfinite().all()
    assert net.recur.grad.dtype == torch.float32
    assert torch.allclose(copy.deepcopy(net).bfloat16()(idx).float(), net(idx), atol=0.5)

def test_a_fresh_model():
    torch.manual_seed(0)
    net = RNN(RNNConfig(27))
    assert sum(p.numel() for p in net.parameters()) == 11_803 and net.name == 'rnn'
    idx = torch.randint(27, (200, 16))
    assert abs(nll(net(idx), torch.randint(27, (200, 16))).item() - math.log(27)) < 0.15
    decay, rest = parameter_groups(net, 0.1)
    assert any(p is net.recur for p in decay['params']) and any(p is net.first for p in rest['params'])

def test_it_learns_and_is_trained_resumed_and_sampled():
    tok = CharTokenizer.train(NAMES)
    data = LineData(NAMES, tok)
    torch.manual_seed(0)
    net = RNN(RNNConfig(tok.vocab_size, 16, 32))
    train(net, data, data, TrainConfig(steps=150, batch_size=7, lr=0.01, eval_every=150), progress=False)
    assert evaluate(net, data) < 0.5
    assert set(generate(net, tok, 20, seed=1)) & set(NAMES)
    ids = torch.randint(tok.vocab_size, (4, 30))
    assert same_logits(net, ids) < 1e-4

def test_saved_and_read_to_the_bit():
    net = model()
    again = RNN(RNNConfig(**json.loads(json.dumps(asdict(net.config)))))
    again.load_state_dict(load(save({k: t.contiguous() for k, t in net.state_dict().items()})))
    idx = torch.randint(11, (50, 30))
    assert torch.equal(net(idx), again(idx))

@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(n_embd=-1), dict(n_hidden=0)])
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(ValueError) as e: RNNConfig(**dict(vocab_size=11) | wrong)
    assert len(str(e.value).splitlines()) == 1
