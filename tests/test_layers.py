"Layers by hand: the same values and gradients as torch on random shapes and dtypes; optimizers; errors"
import math
import numpy as np, pytest, torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings, strategies as st
from nnzero.backprop.layers import (AdamW, BatchNorm1d, CrossEntropy, Dropout, Embedding, GELU, Layer,
                                    LayerNorm, Linear, Parameter, ReLU, SGD, Sequential, Tanh)
from nnzero.micrograd.gradcheck import gradcheck

prop = settings()
few = settings(max_examples=25)
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}

dtypes = st.sampled_from([np.float64, np.float32])
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(0, 5)
widths = st.integers(1, 6)
fronts = st.lists(sizes, max_size=3).map(tuple)             # the axes before the last

def close(ours, theirs, dtype):
    "Same shape and dtype, and equal within the tolerance of this dtype"
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == dtype
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])

def compare(layer, x, f, dtype, rng):
    "Value and all gradients of `layer` beside torch's `f(x, *parameters)`; added up over two calls"
    for p in layer.parameters(): p.data[...] = rng.normal(size=p.data.shape)
    layer.astype(dtype)
    if x.dtype.kind == 'f': x = x.astype(dtype)
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == 'f')
              for a in (x, *(p.data for p in layer.parameters()))]
    y = f(*theirs)
    dy = rng.normal(size=y.shape).astype(dtype)
    before = x.copy()
    for _ in range(2):
        for t in theirs[:1]: t.grad = None
        f(*theirs).backward(torch.tensor(dy))
        close(layer.forward(x), y, dtype)
        dx = layer.backward(dy)
        if dx is not None: close(dx, theirs[0].grad, dtype)
    for p, t in zip(layer.parameters(), theirs[1:], strict=True): close(p.grad, t.grad, dtype)
    assert np.array_equal(x, before), 'the input was changed'

@prop
@given(fronts, widths, dtypes, seeds, st.floats(0.1, 4))
@example((), 1, np.float64, 0, 1.0)
@example((0,), 3, np.float32, 0, 1.0)
def test_number_by_number(front, n, dtype, seed, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=front + (n,))*scale
    for layer, f in ((Tanh(), torch.tanh), (ReLU(), torch.relu), (GELU(), F.gelu),
                     (GELU('tanh'), lambda x: F.gelu(x, approximate='tanh'))):
        compare(layer, x, f, dtype, rng)

@pytest.mark.parametrize('dtype', TOLERANCE)
@pytest.mark.filterwarnings('ignore:invalid value')      # nan as a row of the table
def test_gelu_far_out(dtype):
    x = np.concatenate([np.linspace(-40, 40, 4001), [-1e4, 1e4, 0.0, -0.0, 1e-300, 8.5, -8.5, 9, -9]])
    compare(GELU(), x, F.gelu, dtype, np.random.default_rng(0))
    assert np.isnan(GELU().forward(np.array([np.nan], dtype))).all()

def test_area_is_exact_to_twelve_digits():
    x = np.random.default_rng(0).uniform(-10, 10, 50_000)
    exact = np.array([math.erfc(-v/math.sqrt(2))/2 for v in x])
    assert np.abs(GELU().forward(x) - x*exact).max() < 1e-12

@prop
@given(fronts, widths, widths, st.booleans(), dtypes, seeds)
@example((), 1, 1, True, np.float64, 0)
@example((2, 0), 3, 2, True, np.float32, 0)
def test_linear(front, n_in, n_out, bias, dtype, seed):
    rng = np.random.default_rng(seed)
    compare(Linear(n_in, n_out, bias, rng), rng.normal(size=front + (n_in,)),
            lambda x, W, b=0: x @ W + b, dtype, rng)

def test_linear_takes_any_memory_order():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 5)).transpose(2, 1, 0)
    compare(Linear(4, 2, rng=rng), x, lambda x, W, b: x @ W + b, np.float64, rng)

@prop
@given(st.integers(1, 7), widths, fronts, dtypes, seeds, st.sampled_from(['int64', 'int32', 'uint8']))
@example(1, 1, (0,), np.float32, 0, 'int64')
@example(1, 3, (5, 5), np.float64, 0, 'int64')
def test_embedding(n, dim, shape, dtype, seed, kind):
    rng = np.random.default_rng(seed)
    idx = rng.integers(n, size=shape).astype(kind)
    compare(Embedding(n, dim, rng), np.asarray(idx), lambda k, E: F.embedding(k.long(), E), dtype, rng)

@prop
@given(fronts, widths, dtypes, seeds, st.floats(0, 0.95))
def test_dropout(front, n, dtype, seed, p):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, *front, n)).astype(dtype)
    layer = Dropout(p, rng=seed)
    y = layer.forward(x)
    mask = Dropout(p, rng=seed).forward(np.ones_like(x))
    assert y.dtype == dtype and set(np.unique(mask)) <= {dtype(0), dtype(1/(1 - p))}
    np.testing.assert_array_equal(y, x*mask)
    np.testing.assert_array_equal(layer.backward(dy), dy*mask)
    layer.eval()
    assert layer.forward(x) is x and layer.backward(dy) is dy

def test_dropout_drops_its_share():
    y = Dropout(0.2, rng=0).forward(np.ones(50_000))
    assert abs((y == 0).mean() - 0.2) < 0.01 and abs(y.mean() - 1) < 0.02

@prop
@given(fronts, widths, dtypes, seeds, st.sampled_from([1e-5, 1e-2]))
@example((), 1, np.float64, 0, 1e-2)
@example((0, 2), 3, np.float32, 0, 1e-5)
def test_layer_norm(front, n, dtype, seed, eps):
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal(), 2, size=front + (n,))
    assume(n == 1 or not x.size or x.std(-1).min() > 0.3)       # else float32 has nothing left to say
    compare(LayerNorm(n, eps), x, lambda x, w, b: F.layer_norm(x, (n,), w, b, eps), dtype, rng)

@prop
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), widths, dtypes, seeds,
       st.sampled_from([1e-5, 1e-2]), st.floats(0.01, 1))
@example((2,), 1, np.float64, 0, 1e-5, 0.1)
def test_batch_norm(front, n, dtype, seed, eps, momentum):
    assume(math.prod(front) > 1)
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal(), 2, size=front + (n,))
    assume(x.reshape(-1, n).std(0).min() > 0.3)
    ours = BatchNorm1d(n, eps, momentum)
    mean, var = torch.zeros(n, dtype=torch.tensor(dtype(0)).dtype), torch.ones(n, dtype=torch.tensor(dtype(0)).dtype)
    def batch(x, w, b): return F.batch_norm(x.reshape(-1, n), None, None, w, b, True, eps=eps).view_as(x)
    compare(ours, x, batch, dtype, rng)
    for _ in range(2):                      # `compare` has been forward twice
        F.batch_norm(torch.tensor(x.astype(dtype)).reshape(-1, n), mean, var, None, None, True, momentum, eps)
    close(ours.running_mean, mean, dtype)
    close(ours.running_var, var, dtype)
    def settled(x, w, b): return F.batch_norm(x.reshape(-1, n), mean, var, w, b, eps=eps).view_as(x)
    ours.eval().zero_grad()
    compare(ours, x[:1], settled, dtype, rng)
    close(ours.running_mean, mean, dtype)   # use leaves them alone

@prop
@given(st.integers(2, 6), st.integers(1, 4), seeds, st.booleans())
def test_batch_norm_with_bessel(N, n, seed, three):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 2, n) if three else (N, n))
    assume(x.reshape(-1, n).std(0).min() > 0.1)
    def f(x, w, b):
        rows = x.reshape(-1, n)
        return ((rows - rows.mean(0))/(rows.var(0) + 1e-5).sqrt()*w + b).view_as(x)
    compare(BatchNorm1d(n, correction=1), x, f, np.float64, rng)

@prop
@given(fronts, widths, dtypes, seeds, st.sampled_from([-100, -1, 0]), st.floats(0, 1), st.floats(0.1, 50))
@example((0,), 3, np.float64, 0, -100, 0.0, 1.0)        # no example
@example((4,), 1, np.float32, 0, -100, 0.0, 1.0)        # one class
@example((4, 2), 3, np.float64, 0, -1, 1.0, 1.0)        # nothing counts
@example((), 3, np.float64, 0, -1, 0.0, 1.0)
def test_cross_entropy(shape, C, dtype, seed, ignore, share, scale):
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=shape + (C,))*scale).astype(dtype)
    targets = np.where(rng.random(shape) < share, ignore, rng.integers(C, size=shape))
    theirs = torch.tensor(logits, requires_grad=True)
    loss = F.cross_entropy(theirs.reshape(-1, C), torch.tensor(targets).reshape(-1), ignore_index=ignore)
    (3*loss).backward()
    ce = CrossEntropy(ignore)
    ours = ce.forward(logits, targets)
    assert ours.dtype == dtype
    if (targets == ignore).all(): assert math.isnan(ours) and not ce.backward().any()
    else:
        close(ours, loss, dtype)
        close(ce.backward(3.0), theirs.grad, dtype)
        close(ce.backward(np.float64(3.0)), theirs.grad, dtype)

def test_cross_entropy_far_out():
    z = np.array([[0.0, 1e4], [-1e300, 0.0], [-np.inf, 0.0]])
    ce = CrossEntropy()
    assert ce.forward(z, [1, 1, 1]) == 0 and not ce.backward().any()
    assert ce.forward(z[:1], [0]) == 1e4 and ce.backward().tolist() == [[-1, 1]]

@pytest.mark.parametrize('layer', [Tanh(), GELU(), GELU('tanh'), Linear(3, 2, rng=0), LayerNorm(3), BatchNorm1d(3),
                                   BatchNorm1d(3, correction=1), Sequential(Linear(3, 4, rng=1), LayerNorm(4), Tanh())],
                         ids=str)
@pytest.mark.parametrize('shape', [(4, 3), (2, 2, 3)])
def test_nudged(layer, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    w = rng.normal(size=layer.forward(x).shape)
    layer.zero_grad()
    loss = lambda _: (w*layer.forward(x)).sum()
    for a, grad in [(x, layer.backward(w)), *((p.data, p.grad) for p in layer.parameters())]:
        gradcheck(loss, a, grad)

def race(ours, theirs, dtype, rng, steps=6):
    arrays = [rng.normal(size=s).astype(dtype) for s in ((3, 4), (4,), (0, 2), ())]
    ps, ts = [Parameter(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b = ours(iter(ps)), theirs(ts)
    for i in range(steps):
        a.zero_grad()
        for p, t in zip(ps, ts):
            g = (rng.normal(size=p.data.shape)*10.0**rng.integers(-3, 3)).astype(dtype)
            p.grad += g
            t.grad = torch.tensor(g)
        if i == 3: a.lr = b.param_groups[0]['lr'] = a.lr/2
        a.step(); b.step()
    for p, t in zip(ps, ts): close(p.data, t, dtype)

@few
@given(dtypes, seeds, st.floats(1e-3, 0.5), st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.0, 0.1]))
def test_sgd(dtype, seed, lr, momentum, decay):
    kw = dict(lr=lr, momentum=momentum, weight_decay=decay)
    race(lambda ps: SGD(ps, **kw), lambda ts: torch.optim.SGD(ts, **kw), dtype, np.random.default_rng(seed))

@few
@given(dtypes, seeds, st.floats(1e-3, 0.5), st.sampled_from([(0.9, 0.999), (0.5, 0.8), (0.0, 0.9)]),
       st.sampled_from([1e-8, 1e-2]), st.sampled_from([0.0, 0.01, 0.3]))
def test_adamw(dtype, seed, lr, betas, eps, decay):
    kw = dict(lr=lr, betas=betas, eps=eps, weight_decay=decay)
    race(lambda ps: AdamW(ps, **kw), lambda ts: torch.optim.AdamW(ts, **kw), dtype, np.random.default_rng(seed))

def test_defaults_are_those_of_torch():
    p, t = Parameter(np.ones(1)), torch.ones(1, requires_grad=True)
    adam, theirs = AdamW([p]), torch.optim.AdamW([t]).defaults
    assert {k: getattr(adam, k) for k in ('lr', 'betas', 'eps', 'weight_decay')} == \
           {k: theirs[k] for k in ('lr', 'betas', 'eps', 'weight_decay')}
    assert LayerNorm(3).eps == torch.nn.LayerNorm(3).eps
    ours, theirs = BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum)
    assert CrossEntropy().ignore_index == torch.nn.CrossEntropyLoss().ignore_index
    sgd, theirs = SGD([p], 0.1), torch.optim.SGD([t], 0.1).defaults
    assert (sgd.momentum, sgd.weight_decay) == (theirs['momentum'], theirs['weight_decay'])

def test_nested_layers_are_found_once_and_switched_together():
    class Block(Layer):
        def __init__(self):
            self.one, self.rest = Linear(2, 2), [Dropout(0.5), (Linear(2, 2), self_made)]
    self_made = BatchNorm1d(2)
    net = Sequential(Block(), self_made)
    assert len(net.parameters()) == 6 and net.parameters() == list(dict.fromkeys(net.parameters()))
    net.eval()
    assert not self_made.training and not net.layers[0].rest[0].training
    assert net.train() is net and self_made.training and net.layers[0].rest[0].training
    net.astype(np.float32)
    assert {p.data.dtype for p in net.parameters()} == {self_made.running_var.dtype} == {np.dtype('float32')}
    for p in net.parameters(): p.grad += 1
    net.zero_grad()
    assert not any(p.grad.any() for p in net.parameters())

@pytest.mark.parametrize('n_in, n_out', [(400, 30), (30, 400)])
def test_first_weights_keep_the_scale(n_in, n_out):
    y = Linear(n_in, n_out, rng=0).forward(np.random.default_rng(1).normal(size=(200, n_in)))
    assert abs(y.std() - 1) < 0.1 and abs(Embedding(n_in, n_out, rng=0).weight.data.std() - 1) < 0.1
    assert not Linear(n_in, n_out).bias.data.any()

def test_the_same_seed_gives_the_same_weights():
    a, b = Linear(3, 4, rng=7), Linear(3, 4, rng=np.random.default_rng(7))
    assert np.array_equal(a.weight.data, b.weight.data)
    rng = np.random.default_rng(7)
    assert not np.array_equal(Linear(3, 4, rng=rng).weight.data, Linear(3, 4, rng=rng).weight.data)

LAYERS = [Linear(3, 2), Tanh(), ReLU(), GELU(), Dropout(0.5), BatchNorm1d(3), LayerNorm(3), Sequential(Tanh())]
@pytest.mark.parametrize('layer', LAYERS, ids=str)
def test_backward_before_forward(layer):
    with pytest.raises(RuntimeError, match='backward needs a forward before it'): layer.backward(np.ones((4, 3)))

def test_losses_and_tables_before_forward():
    for layer in (CrossEntropy(), Embedding(3, 2)):
        with pytest.raises(RuntimeError, match=f'{layer}: backward needs a forward'):
            layer.backward(*([] if isinstance(layer, CrossEntropy) else [np.ones((4, 2))]))

@pytest.mark.parametrize('make', [lambda: Linear(3, 2), Tanh, ReLU, GELU, lambda: Dropout(0.5),
                                  lambda: BatchNorm1d(3), lambda: LayerNorm(3)])
def test_wrong_dy_names_both_shapes(make):
    layer = make()
    y = layer.forward(np.random.default_rng(0).normal(size=(4, 3)))
    with pytest.raises(ValueError, match=rf'{layer}: dy has shape \(5, 7\), and y had \(4, {y.shape[1]}\)'):
        layer.backward(np.ones((5, 7)))
    with pytest.raises(ValueError, match=r'dy has shape \(1, 3\)|dy has shape \(1, 2\)'): layer.backward(y[:1])

@pytest.mark.parametrize('layer', [Linear(3, 2), BatchNorm1d(3), LayerNorm(3)], ids=str)
@pytest.mark.parametrize('x', [np.ones((2, 4)), np.ones((3, 1)), np.array(1.0)], ids=lambda x: str(x.shape))
def test_wrong_x_names_its_shape(layer, x):
    with pytest.raises(ValueError) as e: layer.forward(x)
    assert str(e.value) == f'{layer}: x has shape {x.shape}, and its last axis should be 3'

@pytest.mark.parametrize('idx', [[3], [-1], [[0, 2], [1, 99]]])
def test_labels_out_of_range(idx):
    bad = max(np.ravel(idx), key=lambda i: abs(i))
    with pytest.raises(IndexError, match=rf'^Embedding: {bad} is not in 0\.\.2$'): Embedding(3, 2).forward(np.array(idx))
    with pytest.raises(IndexError, match=rf'^CrossEntropy: {bad} is not in 0\.\.2$'):
        CrossEntropy().forward(np.zeros((*np.shape(idx), 3)), np.array(idx))

def test_other_errors():
    with pytest.raises(TypeError, match='needs integers, and got float64'): Embedding(3, 2).forward(np.array([0.0]))
    with pytest.raises(TypeError, match='needs integers'): CrossEntropy().forward(np.zeros((1, 3)), [0.5])
    with pytest.raises(ValueError, match=r'logits have shape \(2, 3\), so targets should have \(2,\), and have \(3,\)'):
        CrossEntropy().forward(np.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(ValueError, match='logits have shape'): CrossEntropy().forward(np.array(1.0), 0)
    for n in (0, 1):
        with pytest.raises(ValueError, match=rf'two examples, and x has shape \({n}, 3\)'): BatchNorm1d(3).forward(np.ones((n, 3)))
    for p in (-0.1, 1, 2):
        with pytest.raises(ValueError, match='Dropout: p is a probability below 1'): Dropout(p)
    with pytest.raises(ValueError, match="'none' or 'tanh', and not 'erf'"): GELU('erf')

def test_empty_batches_in_use():
    assert BatchNorm1d(3).eval().forward(np.ones((0, 3))).shape == (0, 3)
    layer = Embedding(3, 2)
    assert layer.forward(np.zeros((0, 4), int)).shape == (0, 4, 2)
    assert layer.forward([]).shape == (0, 2) and layer.backward(np.ones((0, 2))) is None
