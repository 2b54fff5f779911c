"Muon on shapes, models and trainings for which the chapter has no room."
import copy
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from nnzero.lm import muon as module
from nnzero.lm.data import TextData, CharTokenizer
from nnzero.lm.muon import COEFFICIENTS, Muon, hidden_matrices, orthogonalize
from nnzero.lm.train import TrainConfig, Trainer, make_optimizer, parameter_groups, read_tensors, train
from nnzero.makemore.bigram import Bigram, BigramConfig
from nnzero.makemore.zoo import build
from test_train import bits
from train_case import DEV, SETTINGS, TOK, TRAIN, content, run, small, team

def after(s, steps):
    a, b, c = COEFFICIENTS
    for _ in range(steps): s = a*s + b*s**3 + c*s**5
    return s

def drawn(shape, seed, dtype=torch.float64): return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))

def config(**kw): return TrainConfig(**dict(optimizer='muon', lr=0.02) | kw)

# The polynomial of the singular values

@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(1, 7), st.integers(0, 10**6), st.floats(-3, 6))
def test_against_svd(r, c, stack, steps, seed, scale):
    "U p(…p(S/|G|)) Vᵀ on any shape and at any scale, one matrix or a stack"
    G = drawn((stack,)*(stack > 0) + (r, c), seed)*10**scale
    U, S, Vt = torch.linalg.svd(G, full_matrices=False)
    right = U*after(S/S.norm(dim=-1, keepdim=True), steps)[..., None, :] @ Vt
    O = orthogonalize(G, steps)
    assert O.shape == G.shape and torch.allclose(O, right, atol=1e-5)

@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1), (16, 16), (16, 31), (16, 32), (64, 16), (3, 24, 80), (2, 3, 8, 4)])
@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-3), (torch.bfloat16, 0.3)])
def test_precisions(shape, dtype, tolerance):
    G = drawn(shape, 0)
    O = orthogonalize(G.to(dtype))
    assert O.dtype == dtype and O.shape == G.shape
    assert (O.double() - orthogonalize(G)).norm()/orthogonalize(G).norm() < tolerance

@settings(deadline=None, max_examples=30)
@given(st.integers(2, 48), st.integers(2, 160), st.integers(0, 10**6), st.floats(0, 6), st.booleans())
def test_nothing_is_stretched_too_much(r, c, seed, decades, tall):
    "However unequal the singular values, in bfloat16 too: no direction gets much more than 1.2"
    k = min(r, c)
    U, V = (torch.linalg.qr(drawn((n, k), seed + n))[0] for n in (r, c))
    G = U*torch.logspace(0, -decades, k, dtype=torch.float64) @ V.T
    if tall: G = G.T
    for dtype, most in ((torch.float32, 1.21), (torch.bfloat16, 1.4)):
        assert torch.linalg.svdvals(orthogonalize(G.to(dtype)).double()).max() < most

@pytest.mark.parametrize('shape', [(3, 5), (5, 3), (4, 4), (2, 3, 9), (1, 1)])
def test_zeros_and_the_smallest(shape):
    assert orthogonalize(torch.zeros(shape)).eq(0).all()
    tiny = orthogonalize(torch.full(shape, 1e-30))
    assert tiny.isfinite().all() and tiny.abs().max() < 1e-10
    some = drawn((4, 3, 7), 0)
    some[2] = 0
    assert orthogonalize(some)[2].eq(0).all() and torch.equal(orthogonalize(some)[3:], orthogonalize(some[3:]))

def test_argument_is_left_alone():
    for shape in ((4, 9), (9, 4), (2, 6, 6)):
        G = drawn(shape, 1)
        kept = G.clone()
        orthogonalize(G)
        assert torch.equal(G, kept)

def test_turned():
    G, Q, R = drawn((12, 30), 2), *(torch.linalg.qr(drawn((n, n), n))[0] for n in (12, 30))
    assert torch.allclose(orthogonalize(Q @ G @ R), Q @ orthogonalize(G) @ R, atol=1e-5)

# Whose step

class Odd(nn.Module):
    "Parameters of all kinds"
    def __init__(self):
        super().__init__()
        self.free = nn.Parameter(torch.randn(4, 6))             # owned by the model itself
        self.embed = nn.Embedding(7, 6)
        self.bag = nn.EmbeddingBag(7, 6)
        self.conv = nn.Conv1d(6, 10, 3)
        self.norm = nn.LayerNorm(10)
        self.one, self.row = nn.Linear(1, 1), nn.Linear(10, 1)
        self.out = nn.Linear(10, 7)

def named(model): return [n for n, p in model.named_parameters() if any(p is q for q in hidden_matrices(model))]

def test_hidden_matrices():
    assert named(Odd()) == ['free', 'conv.weight', 'one.weight', 'row.weight']
    model = small()                                             # tied
    assert named(model) == ['mix.weight']
    model.mix.weight.requires_grad_(False)
    assert named(model) == []
    assert named(Bigram(BigramConfig(9))) == [] == named(nn.Embedding(3, 2)) == named(nn.LayerNorm(3)) == named(nn.Linear(3, 4))
    shared = nn.Sequential(lin := nn.Linear(4, 4), nn.Tanh(), lin, nn.Linear(4, 2))
    assert named(shared) == ['0.weight']

def test_every_parameter_is_in_one_group():
    for model in (Odd(), small(), *(build(name, vocab_size=9, block_size=8) for name in ('mlp', 'rnn', 'lstm', 'transformer', 'wavenet', 'bow'))):
        groups = Muon(model, config()).param_groups
        params = [p for g in groups for p in g['params']]
        assert len(params) == len(set(params)) == sum(p.requires_grad for p in model.parameters())
        assert {p for g in groups if g['muon'] for p in g['params']} == set(hidden_matrices(model))
        decays, rest = (set(g['params']) for g in parameter_groups(model, 0.1))
        assert all(p in decays for g in groups if g['weight_decay'] for p in g['params'])
        assert not any(p in rest for g in groups if g['weight_decay'] for p in g['params'])

def test_kernels_of_convolutions():
    "A kernel moves as the matrix that multiplies a window"
    W = drawn((10, 6, 3), 3, torch.float32)
    conv, flat = (nn.Sequential(layer, nn.Linear(2, 2)) for layer in (nn.Conv1d(6, 10, 3, bias=False), nn.Linear(18, 10, bias=False)))
    for model in (conv, flat):
        model[0].weight.data = W.view_as(model[0].weight).clone()
        optimizer = Muon(model, config())
        for seed in range(3):
            model[0].weight.grad = drawn((10, 6, 3), seed, torch.float32).view_as(model[0].weight)
            optimizer.step()
    assert torch.allclose(conv[0].weight.flatten(1), flat[0].weight, atol=1e-6) and not torch.equal(conv[0].weight, W)

# Beside other optimizers

def stepped(model, make, steps=4, seed=0):
    optimizer, g = make(model), torch.Generator().manual_seed(seed)
    for i in range(steps):
        for p in model.parameters(): p.grad = torch.randn(p.shape, generator=g)
        for group in optimizer.param_groups: group['lr'] = 0.02/(i + 1)
        optimizer.step()
    return dict(model.named_parameters())

@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='torch has no Muon before 2.9')
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', ['mlp', 'rnn', 'lstm', 'transformer', 'wavenet', 'bow'])
def test_against_torch(name, precision):
    start = build(name, vocab_size=9, block_size=8)
    hidden = named(start)
    ours = stepped(copy.deepcopy(start), lambda m: make_optimizer(m, config(precision=precision)))
    theirs = stepped(copy.deepcopy(start), lambda m: torch.optim.Muon(
        [p for p in hidden_matrices(m)], weight_decay=0.1, momentum=Muon(m, config()).param_groups[0]['momentum'], adjust_lr_fn='match_rms_adamw'))
    adamw = stepped(copy.deepcopy(start), lambda m: make_optimizer(m, config(optimizer='adamw')))
    start = dict(start.named_parameters())
    assert hidden
    for n, p in ours.items():
        if n in hidden: assert (p - theirs[n]).norm()/(theirs[n] - start[n]).norm() < 0.15
        else: assert torch.equal(p, adamw[n])

def test_without_hidden_matrices_it_is_adamw():
    ours, adamw = (stepped(Bigram(BigramConfig(9)), lambda m: make_optimizer(m, config(optimizer=name))) for name in ('muon', 'adamw'))
    assert torch.equal(ours['W'], adamw['W'])

def test_size_steps_and_momentum():
    "The step is as large as it says; its mean is that of the momentum"
    for size in (0.2, 1.0):
        model = nn.Sequential(nn.Linear(64, 32, bias=False), nn.Linear(32, 2))
        before = model[0].weight.detach().clone()
        optimizer = Muon(model, config(lr=0.1, weight_decay=0.0), momentum=0.5, steps=9, size=size)
        model[0].weight.grad = (G := drawn((32, 64), 0, torch.float32))
        optimizer.step()
        moved = (before - model[0].weight.detach())/0.1
        assert 0.75*size < moved.square().mean().sqrt() < 1.2*size
        assert torch.allclose(optimizer.state[model[0].weight]['momentum'], G/2)
        assert torch.allclose(moved, size*8*orthogonalize(G, 9), atol=1e-4)

def test_size_of_many_small():
    "How many stand in a stack has nothing to do with the size of their steps, and each moves as it would alone"
    Gs = drawn((20, 4, 6), 0, torch.float32)
    def moved(G):
        model = nn.Sequential(*(nn.Linear(6, 4, bias=False) for _ in G), nn.Linear(4, 2))
        before = [layer.weight.detach().clone() for layer in model[:-1]]
        for layer, g in zip(model, G): layer.weight.grad = g.clone()
        Muon(model, config(lr=0.1, weight_decay=0.0)).step()
        return [b - layer.weight.detach() for b, layer in zip(before, model)]
    for together, G in zip(moved(Gs), Gs): assert torch.allclose(together, moved(G[None])[0], atol=1e-5)

def test_gradients_are_left_as_they_were():
    model = small()
    for p in model.parameters(): p.grad = torch.ones_like(p)
    kept = {n: p.grad for n, p in model.named_parameters()}
    Muon(model, config()).step()
    assert all(p.grad is kept[n] and p.grad.eq(1).all() for n, p in model.named_parameters())

def test_no_gradient_no_step():
    "Frozen before, frozen later, or unused: nothing moves, no decay, no state"
    model = Odd()
    model.free.requires_grad_(False)
    optimizer, before = Muon(model, config()), copy.deepcopy(dict(model.named_parameters()))
    for layer in (model.conv, model.out, model.embed): layer.weight.grad = torch.ones_like(layer.weight)
    optimizer.step()
    assert {n for n, p in model.named_parameters() if not torch.equal(p, before[n])} == {'conv.weight', 'out.weight', 'embed.weight'}
    assert set(optimizer.state) == {model.conv.weight, model.out.weight, model.embed.weight}
    optimizer.zero_grad()
    after = copy.deepcopy(dict(model.named_parameters()))
    optimizer.step()
    assert all(torch.equal(p, after[n]) for n, p in model.named_parameters())

def test_a_step_without_one_matrix_leaves_the_others_the_same():
    "Stacks change with who has a gradient; what is in them must not"
    def go(skip):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(4)))
        optimizer = Muon(model, config())
        for i in range(3):
            for j, layer in enumerate(model): layer.weight.grad = None if skip and j == 1 else drawn((8, 8), 10*i + j, torch.float32)
            optimizer.step()
        return [layer.weight.detach() for layer in model]
    whole, part = go(False), go(True)
    assert torch.allclose(whole[0], part[0], atol=1e-6) and torch.allclose(whole[2], part[2], atol=1e-6) and not torch.allclose(whole[1], part[1])

def test_state_dict_and_copies():
    "torch's own ways to keep an optimizer work, too"
    one = small()
    optimizer = Muon(one, config())
    def go(model, optimizer, seed):
        for i, p in enumerate(model.parameters()): p.grad = drawn(p.shape, seed + i, torch.float32)
        optimizer.step()
    go(one, optimizer, 0)
    two = copy.deepcopy(one)
    other = Muon(two, config())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))          # torch shares tensors
    for m, o in ((one, optimizer), (two, other)): go(m, o, 50)
    assert all(map(torch.equal, one.parameters(), two.parameters()))
    pair = copy.deepcopy((one, optimizer))
    for m, o in ((one, optimizer), pair): go(m, o, 90)
    assert all(map(torch.equal, one.parameters(), pair[0].parameters()))

# In a training

@pytest.mark.parametrize('settings', [dict(), dict(precision='bfloat16'), dict(accumulate=4), dict(clip=None), dict(weight_decay=0.0)])
def test_resumed(settings):
    def new(seed): return Trainer(small(seed), TRAIN, DEV, config(**SETTINGS | settings))
    def steps(t, n):
        for _ in range(n): t.step()
        return t
    one, two, three = steps(new(0), 9), steps(new(0), 4), new(1)
    three.load_state(*two.state())
    assert bits(steps(three, 5).state()) == bits(one.state())
    assert 'momentum/mix.weight' in one.state()[0] and 'exp_avg/mix.weight' not in one.state()[0]

def test_resumed_from_a_folder(tmp_path):
    even = dict(optimizer='muon', schedule='constant', warmup=5)    # a rate that does not look ahead
    run(tmp_path/'one', **even)
    run(tmp_path/'two', **even, steps=37)
    run(tmp_path/'two', **even)
    assert content(tmp_path/'one')[0] == content(tmp_path/'two')[0]

def test_accumulated():
    "In parts it is the same training, up to rounding"
    losses = [[t.step() for _ in range(5)] for t in (Trainer(small(norm=False, dropout=0.0), TRAIN, DEV, config(**SETTINGS | dict(accumulate=k))) for k in (1, 4))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)

def test_double_precision():
    t = Trainer(small().double(), TRAIN, DEV, config(**SETTINGS))
    for _ in range(3): t.step()
    assert t.optimizer.state[t.model.mix.weight]['momentum'].dtype == torch.float64

def test_learns():
    losses = {name: run(None, model=build('transformer', vocab_size=TOK.vocab_size, block_size=8, n_embd=16), optimizer=name).record.history[-1]['dev']
              for name in ('adamw', 'muon')}
    assert losses['muon'] < losses['adamw'] + 0.1 < 3

def test_processes_agree(tmp_path):
    "Two processes make the same step of the mean gradient"
    settings = dict(optimizer='muon', norm=False, dropout=0.0, steps=5, eval_every=5)
    _, err, status = team((2, tmp_path/'RANK', settings))
    assert status == 0, err
    alone = run(tmp_path/'alone', **settings)
    saved = read_tensors(tmp_path/'0'/'state.safetensors')[0]
    mine = {f'weights/{name}': p for name, p in alone.model.named_parameters()}     # tied ones are named once
    assert mine.keys() <= saved.keys()
    assert all(torch.allclose(saved[name], p, atol=1e-4) for name, p in mine.items())
