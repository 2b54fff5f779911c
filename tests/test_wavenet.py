"The WaveNet beyond its lesson: every window size, odd inputs, states in pieces, number types, saving"
import copy, json
from dataclasses import asdict
import pytest, torch
import torch.nn.functional as F
from nnzero.lm.data import CharTokenizer, LineData, TextData
from nnzero.lm.loss import evaluate, nll
from nnzero.lm.sample import generate, same_logits
from nnzero.lm.train import TrainConfig, load_weights, train, weights
from nnzero.makemore.wavenet import WaveNet, WaveNetConfig

NAMES = ['emma', 'ola', 'ida', 'noa', 'mia', 'leonardo', 'x']
SIZES = [2, 3, 4, 5, 7, 8, 13, 16]

def model(seed=0, **sizes):
    torch.manual_seed(seed)
    net = WaveNet(WaveNetConfig(**dict(vocab_size=11, n_embd=5, n_hidden=6) | sizes)).double()
    with torch.no_grad():
        for p in net.parameters(): p.add_(0.3*torch.randn_like(p))
    return net.eval()

def tree(net, window):
    "The top box of the tree over (n,) embeddings, by recursion; overlapping where n is odd"
    def box(l, end):
        if l == 0: return window[end]
        old, new = box(l - 1, end - net.config.dilations[l - 1]), box(l - 1, end)
        return net.act(F.linear(torch.cat([old, new]), net.levels[l - 1].weight, net.levels[l - 1].bias))
    return net.out(box(len(net.levels), len(window) - 1))

@pytest.mark.parametrize('act', ['tanh', 'gelu'])
@pytest.mark.parametrize('blank', [0, 5, None])
@pytest.mark.parametrize('n', SIZES)
def test_every_place_is_the_tree_over_its_window(n, blank, act):
    net, idx = model(block_size=n, blank=blank, act=act), torch.randint(11, (2, 20))
    logits = net(idx)
    e = F.embedding(idx, net.embed.weight)
    before = torch.zeros(5, dtype=e.dtype) if blank is None else net.embed.weight[blank]
    e = torch.cat([before.expand(2, n - 1, -1), e], 1)
    for b in range(2):
        for t in range(20):
            assert torch.allclose(logits[b, t], tree(net, e[b, t:t + n]), atol=1e-10)

@pytest.mark.parametrize('n', SIZES)
def test_a_place_sees_exactly_its_window(n):
    net = model(block_size=n, n_hidden=24)
    a = torch.randint(11, (3, 40))
    b = a.clone()
    b[:, 10] = (b[:, 10] + 1) % 11
    moved = (net(a) - net(b)).abs().amax((0, 2)) > 0
    assert moved.nonzero().flatten().tolist() == list(range(10, 10 + n))

@pytest.mark.parametrize('blank', [0, None])
@pytest.mark.parametrize('n', SIZES)
def test_stepping_in_pieces_equals_the_whole(n, blank):
    assert same_logits(model(block_size=n, blank=blank), torch.randint(11, (5, 2*n + 5))) < 1e-10
    assert same_logits(model(block_size=n, blank=blank).float(), torch.randint(11, (3, 12))) < 1e-5

def test_rows_of_length_zero_leave_the_state_alone():
    net, idx = model(), torch.randint(11, (2, 7))
    _, state = net.step(idx, net.start(2))
    _, after = net.step(torch.randint(11, (2, 9)), state, torch.tensor([0, 9]))
    for a, b in zip(state, after):
        assert torch.equal(a[0], b[0]) and a.shape == b.shape

def test_the_state_keeps_block_size_minus_one_inputs_whatever_was_read():
    net = model(block_size=13)
    for T in (1, 2, 40):
        state = net.step(torch.randint(11, (3, T)), net.start(3))[1]
        assert sum(s.shape[1] for s in state) == 12 and all(len(s) == 3 for s in state)

@pytest.mark.parametrize('blank', [0, None])
def test_gradients_reach_everything_and_are_right(blank):
    net = model(block_size=5, blank=blank, n_embd=2, n_hidden=3, vocab_size=4)
    idx = torch.randint(4, (3, 6))
    params = dict(net.named_parameters())
    def loss(*ps): return torch.func.functional_call(net, dict(zip(params, ps)), idx).square().sum()
    grads = torch.autograd.grad(loss(*params.values()), params.values())
    assert all(g.abs().max() > 0 for g in grads)
    assert torch.autograd.gradcheck(loss, [p.detach().requires_grad_() for p in params.values()])

@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(block_size=1), dict(block_size=0), dict(block_size=-4),
                                   dict(n_embd=0), dict(n_hidden=0), dict(act='relu'), dict(act=None),
                                   dict(blank=-1), dict(blank=27)])
def test_impossible_sizes(wrong):
    with pytest.raises(ValueError) as e: WaveNetConfig(**dict(vocab_size=27) | wrong)
    assert '\n' not in str(e.value)

@pytest.mark.parametrize('n', range(2, 70))
def test_the_distances_give_the_window(n):
    ds = WaveNetConfig(5, n).dilations
    assert 1 + sum(ds) == n and min(ds) >= 1 and len(ds) == (n - 1).bit_length()

@pytest.mark.parametrize('wrong', [-1, 11, 12, 10**6])
@pytest.mark.parametrize('many', [1, 300])
@pytest.mark.parametrize('blank', [0, 3, None])
def test_an_id_that_does_not_exist_is_an_error(wrong, many, blank):
    "With blank=None the id V stands for nothing in the state, and yet is none of the caller's"
    net, idx = model(blank=blank), torch.zeros(many, 3, dtype=torch.int64)
    idx[many//2, 1] = wrong
    with pytest.raises((IndexError, RuntimeError)): net(idx)
    with pytest.raises((IndexError, RuntimeError)): net.step(idx, net.start(many))

def test_empty_batches_and_rows_of_one():
    assert model()(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 11)
    assert model()(torch.zeros(3, 1, dtype=torch.int64)).shape == (3, 1, 11)

def test_the_first_loss_is_that_of_knowing_nothing():
    torch.manual_seed(0)
    for act in ('gelu', 'tanh'):
        net, idx = WaveNet(WaveNetConfig(27, act=act)), torch.randint(27, (50, 9))
        assert abs(nll(net(idx), idx).item() - torch.tensor(27.).log()) < 0.05

def test_config_goes_through_json_and_weights_through_names():
    net = model(block_size=6, blank=None, act='tanh')
    again = WaveNet(WaveNetConfig(**json.loads(json.dumps(asdict(net.config))))).double()
    load_weights(again, weights(net))
    idx = torch.randint(11, (2, 9))
    assert torch.equal(again(idx), net(idx)) and again.config == net.config

def test_it_learns_and_samples_lines_and_text():
    tok = CharTokenizer.train(NAMES)
    data = LineData(NAMES, tok)
    torch.manual_seed(0)
    net = WaveNet(WaveNetConfig(tok.vocab_size, n_hidden=32))
    before = evaluate(net, data)
    train(net, data, data, TrainConfig(steps=60, batch_size=7, lr=1e-2, device='cpu'), progress=False)
    assert evaluate(net, data) < 0.6 < before
    said = generate(net, tok, 20, temperature=0.1, max_tokens=30)
    assert sum(text in NAMES for text in said) > 15

def test_it_learns_and_samples_running_text():
    text = 'a rose is a rose is a rose\n'*20
    tok = CharTokenizer.train(text, mark=False)
    data = TextData(text, tok, 8)
    torch.manual_seed(0)
    net = WaveNet(WaveNetConfig(tok.vocab_size, n_hidden=32, blank=None))
    train(net, data, data, TrainConfig(steps=80, batch_size=8, lr=1e-2, device='cpu'), progress=False)
    assert evaluate(net, data) < 0.6
    said, = generate(net, tok, 1, prompt='a rose', max_tokens=50, temperature=0)
    assert len(said) == 56 and said.startswith('a rose is a rose')

def test_bfloat16_and_deepcopy():
    net = copy.deepcopy(model()).to(torch.bfloat16)
    assert net(torch.randint(11, (2, 5))).dtype == torch.bfloat16

def test_the_sampler_never_makes_the_state_anew():
    from nnzero.lm.sample import start, step
    net, shown = model(block_size=4), []
    net.embed.weight.requires_grad_(False)
    hook = net.out.register_forward_hook(lambda _, inputs, out: shown.append(out.shape[1]))
    state = start(net, 1)
    for _ in range(20): state = step(net, torch.zeros(1, 1, dtype=torch.int64), state)[1]
    hook.remove()
    assert shown == [1]*20
