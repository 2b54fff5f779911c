"The doctor beyond the chapter: what it must not touch, odd models, more patients and more healthy people"
import copy, math
import pytest, torch
import torch.nn.functional as F
from torch import nn
from nnzero.lm.data import PAD
from nnzero.lm.loss import Uniform, nll
from nnzero.makemore.diagnostics import Place, diagnose, examine, gain, listening, update_ratios
from nnzero.makemore.mlp import MLP, MLPConfig

V = 27

def a_batch(B=32, T=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    idx = torch.randint(V, (B, T + 1), generator=g)
    return idx[:, :-1], idx[:, 1:]

class Net(nn.Module):
    "Window of 3, layers, logits"
    def __init__(self, *layers, D=10):
        super().__init__()
        self.embed, self.layers = nn.Embedding(V, D), nn.Sequential(*layers)
    def forward(self, idx):
        x = self.embed(F.pad(idx, (2, 0)).unfold(1, 3, 1)).flatten(2)
        return self.layers(x.flatten(0, 1)).view(*idx.shape, -1)

def stack(L, H, act, a, norm=None, last=0.1, bias=True):
    layers, D = [], 30
    for _ in range(L):
        linear = nn.Linear(D, H, bias=bias)
        nn.init.normal_(linear.weight, std=a/D**0.5)
        if bias: nn.init.zeros_(linear.bias)
        layers += [linear, *([norm(H)] if norm else []), act()]
        D = H
    out = nn.Linear(D, V)
    nn.init.zeros_(out.bias)
    with torch.no_grad(): out.weight *= last
    return Net(*layers, out)

class Reader(nn.Module):
    def __init__(self, kind, H=48, layers=1):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(V, 32), kind(32, H, layers, batch_first=True)
        self.out = nn.Linear(H, V)
    def forward(self, idx): return self.out(self.rnn(self.embed(idx))[0])

class HandGRU(nn.Module):
    "A cell in a loop, with functions and not modules for its gates"
    def __init__(self, H=48):
        super().__init__()
        self.embed, self.H, self.out = nn.Embedding(V, 32), H, nn.Linear(H, V)
        self.zr, self.n = nn.Linear(32 + H, 2*H), nn.Linear(32 + H, H)
    def forward(self, idx):
        x, h, hs = self.embed(idx), torch.zeros(len(idx), self.H), []
        for t in range(idx.shape[1]):
            z, r = torch.sigmoid(self.zr(torch.cat([x[:, t], h], 1))).chunk(2, 1)
            h = (1 - z)*h + z*torch.tanh(self.n(torch.cat([x[:, t], r*h], 1)))
            hs.append(h)
        return self.out(torch.stack(hs, 1))

class Transformer(nn.Module):
    def __init__(self, layers=3, C=48, zero=False, **how):
        super().__init__()
        self.embed, self.pos = nn.Embedding(V, C), nn.Embedding(16, C)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(C, 4, 4*C, batch_first=True, **how)
                                    for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(C), nn.Linear(C, V)
        if zero:
            for b in self.blocks: nn.init.zeros_(b.linear2.weight), nn.init.zeros_(b.self_attn.out_proj.weight)
            nn.init.zeros_(self.out.weight)
    def forward(self, idx):
        T = idx.shape[1]
        x, mask = self.embed(idx) + self.pos(torch.arange(T)), nn.Transformer.generate_square_subsequent_mask(T)
        for b in self.blocks: x = b(x, src_mask=mask, is_causal=True)
        return self.out(self.norm(x))

class Bow(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(V, 32), nn.Linear(32, V)
    def forward(self, idx): return self.out(self.embed(idx).cumsum(1)/torch.arange(1, idx.shape[1] + 1)[:, None])

PEOPLE = dict(
    mlp=lambda: MLP(MLPConfig(V)), big=lambda: MLP(MLPConfig(V, 8, 24, 400)), small=lambda: MLP(MLPConfig(V, 2, 4, 12)),
    tanh5=lambda: stack(5, 100, nn.Tanh, 5/3), tanh20=lambda: stack(20, 64, nn.Tanh, 5/3), tanh_1=lambda: stack(5, 64, nn.Tanh, 1),
    relu1=lambda: stack(1, 200, nn.ReLU, 2**0.5, last=1), relu8=lambda: stack(8, 100, nn.ReLU, 2**0.5),
    gelu=lambda: stack(6, 64, nn.GELU, gain(F.gelu)), silu=lambda: stack(4, 64, nn.SiLU, gain(F.silu)),
    leaky=lambda: stack(4, 64, nn.LeakyReLU, 2**0.5), batchnorm=lambda: stack(8, 64, nn.Tanh, 1, nn.BatchNorm1d, bias=False),
    batchnorm_relu=lambda: stack(8, 64, nn.ReLU, 1, nn.BatchNorm1d, bias=False), layernorm=lambda: stack(8, 64, nn.GELU, 1, nn.LayerNorm),
    zero_last=lambda: stack(3, 64, nn.Tanh, 5/3, last=0), rnn=lambda: Reader(nn.RNN), gru=lambda: Reader(nn.GRU),
    lstm=lambda: Reader(nn.LSTM), lstm2=lambda: Reader(nn.LSTM, 32, 2), hand=HandGRU, transformer=Transformer,
    post=lambda: Transformer(activation='gelu'), pre=lambda: Transformer(norm_first=True, dropout=0.0),
    zeros=lambda: Transformer(zero=True, norm_first=True), bow=Bow)

@pytest.mark.parametrize('name', PEOPLE)
@pytest.mark.parametrize('size', [(16, 8), (64, 12)])
def test_healthy_at_the_start(name, size):
    for seed in range(3):
        torch.manual_seed(seed)
        model = PEOPLE[name]()
        report = diagnose(model, a_batch(*size, seed), torch.optim.AdamW(model.parameters(), lr=1e-3))
        assert not report and report.names == set(), report

@pytest.mark.parametrize('name', PEOPLE)
def test_healthy_after_training(name):
    "Something that can be learned: the next symbol is the last one plus one or two"
    torch.manual_seed(1)
    model, g = PEOPLE[name](), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    def batch(B=32, T=8):
        steps = torch.randint(1, 3, (B, T + 1), generator=g)
        idx = steps.cumsum(1).add(torch.randint(V, (B, 1), generator=g)) % V
        return idx[:, :-1], idx[:, 1:]
    for _ in range(60):
        x, y = batch()
        optimizer.zero_grad();  nll(model(x), y).backward();  optimizer.step()
    report = diagnose(model, batch(), optimizer)
    assert not report and report.examination.loss < math.log(V), report

class Everything(nn.Module):
    "All that can be left changed: BatchNorm, dropout, attributes and buffers that are bound anew"
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.drop, self.out = nn.Embedding(V, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, V)
        self.register_buffer('mean', torch.zeros(8))
        self.calls, self.last, self.fail = 0, None, False
    def forward(self, idx):
        x = torch.tanh(self.norm(self.embed(idx).flatten(0, 1)))
        self.mean = 0.9*self.mean + 0.1*x.detach().mean(0)
        self.calls, self.last = self.calls + 1, x
        if self.fail: raise RuntimeError('no')
        return self.out(self.drop(x)).view(*idx.shape, V)

def traces(model):
    return [torch.get_rng_state(), *(t.clone() for t in model.state_dict().values())]

@pytest.mark.parametrize('mode', [True, False])
@pytest.mark.parametrize('fail', [True, False])
def test_leaves_no_trace(mode, fail):
    torch.manual_seed(0)
    model = Everything().train(mode)
    x, y = a_batch()
    nll(model(x), y).backward()
    model.fail = fail
    grads = [p.grad for p in model.parameters()]
    copies, mean = [g.clone() for g in grads], model.mean
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before, calls, last = traces(model), model.calls, model.last
    state, weights = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in model.parameters()]
    if fail:
        with pytest.raises(RuntimeError, match='no'): diagnose(model, (x, y), optimizer)
    else:
        with torch.no_grad(): diagnose(model, (x, y), optimizer)        # gradients are asked for inside
    assert all(torch.equal(a, b) for a, b in zip(before, traces(model)))
    assert model.calls == calls and model.last is last and model.mean is mean and model.training is mode
    assert all(p.grad is g and torch.equal(g, c) for p, g, c in zip(model.parameters(), grads, copies))
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights))
    assert optimizer.state_dict() == state
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model.fail = False
    with torch.no_grad(): assert torch.is_grad_enabled() is False and model(x).shape == (*x.shape, V)

def test_optimizer_keeps_its_averages_and_is_measured_with_them():
    torch.manual_seed(0)
    model = MLP(MLPConfig(V))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = a_batch()
    for _ in range(5):
        optimizer.zero_grad();  nll(model(x), y).backward();  optimizer.step()
    state = copy.deepcopy(optimizer.state_dict()['state'])
    e = examine(model, (x, y))
    ratios = update_ratios(optimizer, {p: e.gradients[n] for n, p in e.parameters.items()})
    assert all(torch.equal(a[k], b[k]) for a, b in zip(state.values(), optimizer.state_dict()['state'].values()) for k in a)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.zero_grad();  nll(model(x), y).backward();  optimizer.step()
    def size(t): return t.square().mean().sqrt().item()
    real = [size(p - q)/max(size(q), q.shape[1]**-0.5) for p, q in zip(model.parameters(), before) if p.ndim > 1]
    assert ratios == pytest.approx(real, rel=1e-3)

FUNCTIONS = [torch.tanh, torch.Tensor.tanh, F.tanh, nn.Tanh(), lambda x: x.clone().tanh_(), torch.sigmoid, F.relu,
             lambda x: F.relu(x.clone(), inplace=True), nn.ReLU(), F.gelu, nn.GELU('tanh'), F.silu, F.hardtanh, nn.Softplus()]

@pytest.mark.parametrize('f', FUNCTIONS)
def test_hears_an_activation_once(f):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.f, self.out = nn.Embedding(V, 16), f, nn.Linear(16, V)
        def forward(self, idx): return self.out(self.f(self.embed(idx)))
    torch.manual_seed(0)
    model, (x, y) = One(), a_batch()
    with listening(model) as places: logits = model(x)
    nll(logits, y).backward()
    place, = places.values()
    assert torch.allclose(place.outputs, f(model.embed(x)).detach().flatten(0, 1))
    assert place.gradients.shape == place.outputs.shape and place.gradient > 0

def test_in_place_after_the_activation():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.out = nn.Embedding(V, 16), nn.Linear(16, 16), nn.Linear(16, V)
        def forward(self, idx):
            x = self.embed(idx)
            h = torch.nn.functional.gelu(self.mix(x))
            h += x
            return self.out(h)
    torch.manual_seed(0)
    model, (x, y) = Residual(), a_batch()
    e = examine(model, (x, y))
    assert torch.allclose(e.places[0].outputs, F.gelu(model.mix(model.embed(x))).detach().flatten(0, 1), atol=1e-6)

def test_flat_is_what_it_says():
    place = Place('', 'tanh')
    x = torch.linspace(-4, 4, 801)[:, None]
    place.take(torch.tanh(x), 1 - torch.tanh(x)**2)
    assert torch.equal(place.flat[:, 0], 1 - torch.tanh(x[:, 0])**2 < 0.02)
    assert ((torch.tanh(x) > 0.99) == (place.flat & (x > 0))).float().mean() > 0.998
    place = Place('', 'sigmoid')
    place.take(torch.sigmoid(x), torch.sigmoid(x)*(1 - torch.sigmoid(x)))
    assert not place.flat.any()                             # its steepest slope is only 1/4

def test_recurrent_layers_in_one_call():
    torch.manual_seed(0)
    x, y = a_batch()
    for make, kind in ((nn.RNN, 'rnn_tanh'), (nn.GRU, 'gru'), (nn.LSTM, 'lstm'),
                       (lambda *a, **k: nn.RNN(*a, nonlinearity='relu', **k), 'relu')):
        model = Reader(make)
        place, = examine(model, (x, y)).places
        h = model.rnn(model.embed(x))[0].detach().flatten(0, 1)
        assert place.kind == kind and place.name == 'rnn' and torch.allclose(place.outputs, h)
        assert torch.equal(place.flat, h == 0 if kind == 'relu' else 1 - h*h < 0.02)

def test_few_predictions_and_pads():
    x, y = a_batch(10, 20)
    y = y.clone();  y[:, 5:] = PAD
    with pytest.raises(ValueError, match='50 predictions are too few'): diagnose(MLP(MLPConfig(V)), (x, y))
    x, y = a_batch(40, 20)
    y = y.clone();  y[:, 5:] = PAD
    model = MLP(MLPConfig(V))
    assert diagnose(model, (x, y)).examination.loss == pytest.approx(nll(model(x), y).item(), rel=1e-5)

def test_models_without_parameters_or_activations():
    assert not diagnose(Uniform(V), a_batch(), lr=0.1)
    frozen = MLP(MLPConfig(V)).requires_grad_(False)
    assert not diagnose(frozen, a_batch(), lr=0.1)
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.zeros(V, V))
        def forward(self, idx): return self.W[idx]
    assert not diagnose(Table(), a_batch(), lr=1.0)

@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    torch.manual_seed(0)
    assert not diagnose(MLP(MLPConfig(V)).to(dtype), a_batch())
    torch.manual_seed(0)
    sick = MLP(MLPConfig(V)).to(dtype)
    with torch.no_grad(): sick.hidden.weight *= 30
    assert diagnose(sick, a_batch()).names == {'saturated'}

def change(model, f):
    with torch.no_grad(): f(model)
    return model

PATIENTS = {
    'over-confident mlp': (lambda: change(MLP(MLPConfig(V)), lambda m: m.out.weight.mul_(300)), 'over-confident'),
    'over-confident transformer': (lambda: change(Transformer(), lambda m: m.out.weight.mul_(20)), 'over-confident'),
    'saturated mlp': (lambda: change(MLP(MLPConfig(V)), lambda m: m.hidden.weight.mul_(10)), 'saturated'),
    'saturated rnn': (lambda: change(Reader(nn.RNN), lambda m: m.rnn.weight_hh_l0.mul_(60)), 'saturated'),
    'saturated gates': (lambda: change(HandGRU(), lambda m: m.zr.weight.mul_(100)), 'saturated'),
    'dead relus': (lambda: change(stack(3, 64, nn.ReLU, 2**0.5), lambda m: m.layers[2].bias[:50].fill_(-20)), 'dead'),
    'dead gelus': (lambda: change(Transformer(activation='gelu'), lambda m: m.blocks[1].linear1.bias.fill_(-20)), 'constant'),
    'zeros': (lambda: change(MLP(MLPConfig(V)), lambda m: [p.zero_() for p in m.parameters()]), 'constant'),
    'small deep': (lambda: stack(8, 64, nn.Tanh, 0.3), 'vanishing gradients'),
    'small deep relu': (lambda: stack(8, 64, nn.ReLU, 0.3), 'vanishing activations'),
    'torch default, deep': (lambda: Net(*[m for i in range(10) for m in (nn.Linear(30, 30), nn.Tanh())], nn.Linear(30, V)), 'vanishing gradients'),
    'sigmoids': (lambda: stack(8, 64, nn.Sigmoid, 1), 'vanishing gradients'),
    'large deep relu': (lambda: stack(8, 64, nn.ReLU, 4, last=1e-4), 'exploding activations'),
    'large deep tanh': (lambda: stack(10, 100, nn.Tanh, 6), 'exploding gradients'),
    'softmax': (lambda: change(stack(1, 64, nn.Tanh, 1), lambda m: m.layers.append(nn.Softmax(-1))), 'probabilities'),
    'bias before batchnorm': (lambda: stack(3, 64, nn.Tanh, 1, nn.BatchNorm1d), 'idle'),
    'nan': (lambda: change(MLP(MLPConfig(V)), lambda m: m.hidden.weight[0, 0].fill_(math.nan)), 'not finite'),
    'infinite logits': (lambda: change(MLP(MLPConfig(V)), lambda m: m.out.bias[3].fill_(math.inf)), 'not finite')}

@pytest.mark.parametrize('name', PATIENTS)
def test_patients(name):
    make, fault = PATIENTS[name]
    for seed in range(3):
        torch.manual_seed(seed)
        report = diagnose(make(), a_batch(64, 8, seed))
        assert fault in report.names, report
        assert all(f.place and f.advice and str(f) in repr(report) for f in report)

def test_detached_and_unused():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.spare, self.out = nn.Embedding(V, 16), nn.Linear(3, 3), nn.Linear(16, V)
        def forward(self, idx): return self.out(torch.tanh(self.embed(idx)).detach())
    torch.manual_seed(0)
    report = diagnose(Cut(), a_batch())
    assert report.names == {'idle'} and report[0].value == 3 and 'spare.weight' in report[0].place

@pytest.mark.parametrize('make, low, fine, high', [(torch.optim.SGD, 1e-4, 0.1, 100.0), (torch.optim.AdamW, 1e-6, 1e-3, 1.0)])
def test_learning_rates(make, low, fine, high):
    torch.manual_seed(0)
    model = stack(2, 100, nn.Tanh, 5/3)
    for lr, names in ((low, {'learning rate too low'}), (fine, set()), (high, {'learning rate too high'})):
        assert diagnose(model, a_batch(), make(model.parameters(), lr=lr)).names == names

def test_no_rate_at_all():
    torch.manual_seed(0)
    assert diagnose(MLP(MLPConfig(V)), a_batch(), lr=0.0).names == {'learning rate too low'}

def test_a_low_rate_is_no_fault_later():
    torch.manual_seed(0)
    x, _ = a_batch()
    model = stack(1, 100, nn.Tanh, 5/3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad();  nll(model(x), x).backward();  optimizer.step()
    optimizer.param_groups[0]['lr'] = 1e-7
    assert not diagnose(model, (x, x), optimizer)
    assert not diagnose(model, (x, x), lr=0.0)

def test_gain():
    assert gain(torch.relu) == pytest.approx(2**0.5, abs=1e-6) and gain(lambda x: x, 0.3) == pytest.approx(1, abs=1e-6)
    assert gain(torch.tanh, 1.0) == math.inf and gain(torch.tanh, 0.01) == pytest.approx(1, abs=1e-3)

class Functions(nn.Module):
    "torch's usual style: one activation after another, in one forward"
    def __init__(self, widths, f, a=1.0):
        super().__init__()
        self.embed, self.f, self.layers, D = nn.Embedding(V, 30), f, nn.ModuleList(), 30
        for H in widths:
            self.layers.append(nn.Linear(D, H))
            nn.init.normal_(self.layers[-1].weight, std=a/D**0.5), nn.init.zeros_(self.layers[-1].bias)
            D = H
        self.out = nn.Linear(D, V)
    def forward(self, idx):
        x = self.embed(idx)
        for layer in self.layers: x = self.f(layer(x))
        return self.out(x)

def test_functions_in_one_forward():
    torch.manual_seed(0)
    e = examine(Functions((100, 50, 50), torch.tanh), a_batch())
    assert [p.after for p in e.places] == ['layers.0', 'layers.1', 'layers.2']
    assert [p.outputs.shape[1] for p in e.places] == [100, 50, 50]
    for f in (torch.tanh, F.relu, F.leaky_relu, nn.Tanh()):         # the last: one module for all layers
        report = diagnose(Functions((64,)*8, f, 0.3), a_batch())
        assert {'vanishing activations', 'vanishing gradients'} & report.names and 'dead' not in report.names, report
        assert len(report.examination.places) == 8

@pytest.mark.parametrize('make', [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_cell_in_a_loop_is_one_place(make):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.cell, self.out = nn.Embedding(V, 16), make(16, 20), nn.Linear(20, V)
        def forward(self, idx):
            x, state, hs = self.embed(idx), None, []
            for t in range(idx.shape[1]):
                state = self.cell(x[:, t], state)
                hs.append(state[0] if isinstance(state, tuple) else state)
            return self.out(torch.stack(hs, 1))
    torch.manual_seed(0)
    model, (x, y) = Loop(), a_batch()
    report = diagnose(model, (x, y))
    place, = report.examination.places
    assert not report and place.name == place.where == 'cell' and place.outputs.shape == (x.numel(), 20)
    if make is nn.RNNCell:
        with torch.no_grad(): model.cell.weight_hh *= 60
        assert diagnose(model, (x, y)).names == {'saturated'}

@pytest.mark.parametrize('dims', [1, 2])
def test_channels_of_a_convolution(dims):
    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.act, self.drop, self.out = nn.Embedding(V, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, V)
            self.conv, self.norm = (nn.Conv1d, nn.Conv2d)[dims - 1](16, 24, 1), (nn.BatchNorm1d, nn.BatchNorm2d)[dims - 1](24)
        def forward(self, idx):
            x = self.embed(idx).mT                                  # (B, C, T)
            x = self.act(self.drop(self.norm(self.conv(x if dims == 1 else x[..., None]))))
            return self.out(torch.tanh((x if dims == 1 else x[..., 0]).mT))
    torch.manual_seed(0)
    model, (x, y) = Conv(), a_batch(B=32, T=8)
    with torch.no_grad(): model.norm.bias[:18] = -50
    report = diagnose(model, (x, y))
    relu, tanh = report.examination.places
    assert relu.dead == 18/24 and relu.outputs.shape == (32*8, 24) and relu.gradients.shape == (32*8, 24)
    assert tanh.outputs.shape == (32*8, 24) and 'dead' in report.names

def test_units_are_on_the_last_axis_again_behind_a_linear_layer():
    class Both(nn.Module):
        "As many channels as places in time"
        def __init__(self):
            super().__init__()
            self.embed, self.conv, self.a, self.out = nn.Embedding(V, 16), nn.Conv1d(16, 8, 1), nn.Linear(8, 20), nn.Linear(20, V)
        def forward(self, idx): return self.out(torch.relu(self.a(torch.relu(self.conv(self.embed(idx).mT)).mT)))
    torch.manual_seed(0)
    model = Both()
    with torch.no_grad(): model.conv.bias[:2] = -99
    first, second = examine(model, a_batch(32, 8)).places
    assert first.dead == 2/8 and second.outputs.shape == (32*8, 20)

@pytest.mark.parametrize('T', [2, 12])
def test_sees_all_of_the_mlp(T):
    "With few ids and with many, WindowLinear goes different ways"
    torch.manual_seed(0)
    x, y = a_batch(51, T)
    model = MLP(MLPConfig(V))
    e = examine(model, (x, y))
    place, = e.places
    assert set(e.gradients) == {n for n, _ in model.named_parameters()} and all(g.any() for g in e.gradients.values())
    assert place.name == 'act' and place.after == 'hidden' and place.outputs.shape == (51*T, 200)
    h = torch.tanh(F.linear(model.embed(model.windows(x)).flatten(-2), model.hidden.weight, model.hidden.bias))
    assert torch.allclose(place.outputs, h.detach().flatten(0, 1), atol=1e-5)
    assert len(update_ratios(torch.optim.SGD(model.parameters(), lr=0.1), {p: e.gradients[n] for n, p in e.parameters.items()})) == 3
    sick = {'embed.weight': (lambda p: p.mul_(30), 'saturated'), 'hidden.weight': (lambda p: p.mul_(30), 'saturated'),
            'hidden.bias': (lambda p: p.fill_(9), 'dead'), 'out.weight': (lambda p: p.mul_(300), 'over-confident'),
            'out.bias': (lambda p: p[:3].fill_(30), 'over-confident')}
    for name, (f, fault) in sick.items():
        model = MLP(MLPConfig(V))
        with torch.no_grad(): f(model.get_parameter(name))
        assert diagnose(model, (x, y)).names == {fault}, name
        with torch.no_grad(): model.get_parameter(name).fill_(math.nan)
        assert diagnose(model, (x, y)).names == {'not finite'}, name
    model = MLP(MLPConfig(V))
    model.hidden.forward = lambda ids, table, old=model.hidden.forward: old(ids, table.detach())
    assert [f.place for f in diagnose(model, (x, y))] == ['embed.weight']
    with torch.no_grad(): model.embed.weight.zero_()
    assert diagnose(model, (x, y)).names >= {'constant'}

def test_small_on_purpose():
    "GPT-2's weights and AdamW without warm-up: 0.003 trains best of all rates at this size, 0.03 harms"
    torch.manual_seed(0)
    model = Transformer(layers=4, C=64, norm_first=True, activation='gelu', dropout=0.0)
    for p in model.parameters():
        if p.ndim > 1: nn.init.normal_(p, std=0.02)
    def names(lr): return diagnose(model, a_batch(), torch.optim.AdamW(model.parameters(), lr=lr)).names
    assert names(1e-3) == names(3e-3) == set() and names(0.03) == {'learning rate too high'}

def test_odd_matrices():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.one, self.out = nn.Embedding(V, 1), nn.Linear(1, 1), nn.Linear(1, V)
            self.scale = nn.Parameter(torch.ones(1, V))                 # 2 axes, and no deviation
        def forward(self, idx): return self.scale*self.out(torch.tanh(self.one(self.embed(idx))))
    torch.manual_seed(0)
    model = Odd()
    assert not diagnose(model, a_batch(), lr=0.1) and not diagnose(model, a_batch(), torch.optim.Adam(model.parameters(), 1e-3))

def test_hardly_varying_is_not_constant():
    torch.manual_seed(0)
    model = stack(2, 64, nn.Softplus, 0.01)
    with torch.no_grad(): model.layers[0].bias += 20
    report = diagnose(model, a_batch())
    first = report.examination.places[0]
    assert 0 < first.std < 0.01*first.outputs.abs().max() and 'constant' not in report.names

def test_what_cannot_be_examined():
    model = MLP(MLPConfig(V))
    x, y = a_batch()
    for wrong, words in (((model, x), 'a pair of tensors'), ((model, (x.tolist(), y.tolist())), 'a pair of tensors'),
                         ((lambda idx: idx, (x, y)), 'nn.Module'),
                         ((model, (x, y), torch.optim.SGD(MLP(MLPConfig(V)).parameters(), lr=0.1)), "none of the model's parameters"),
                         ((model, (x, y), torch.optim.SGD(model.parameters(), lr=0.1), 0.1), 'not both')):
        with pytest.raises(ValueError, match=words): diagnose(*wrong)
    for lr in (math.nan, math.inf): assert diagnose(model, (x, y), lr=lr).names == {'learning rate too high'}
    for std in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match='should be positive'): gain(torch.relu, std)
    assert gain(torch.sigmoid, 0.3) == gain(torch.exp) == math.inf

def test_a_schedule_does_not_step():
    torch.manual_seed(0)
    model = MLP(MLPConfig(V))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)           # wraps optimizer.step
    before = [p.detach().clone() for p in model.parameters()]
    assert not diagnose(model, a_batch(), optimizer)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before))
