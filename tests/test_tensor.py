"`Tensor` beside torch, numpy and nudging: any shapes, broadcasts, dtypes and indices, and what must fail"
import gc, warnings
from functools import partial
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from nnzero.backprop.tensor import Tensor, apply, topological, unbroadcast
from nnzero.micrograd.gradcheck import gradcheck

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')

DTYPES = st.sampled_from([np.float64, np.float32])
SEEDS = st.integers(0, 2**16)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
LAYOUTS = st.sampled_from(['plain', 'turned', 'strided'])

def array(shape, dtype, seed, low=-2.0, high=2.0, rounded=False):
    "Random numbers; `rounded` ones have many ties"
    a = np.random.default_rng(seed).uniform(low, high, shape)
    return np.asarray(np.round(a) if rounded else a, dtype)

def laid_out(a, layout):
    "The same numbers in another order in memory"
    if layout == 'turned': return np.ascontiguousarray(a.T).T
    if layout == 'strided' and a.ndim: return np.repeat(a, 2, axis=-1)[..., ::2]
    return a

def close(ours, theirs, dtype, what):
    "Same shape and numbers, within 1e-10 or 1e-4 of the larger of 1 and the number"
    tol = 1e-10 if dtype == np.float64 else 1e-4
    assert ours.shape == theirs.shape, f'{what}: {ours.shape} and {theirs.shape}'
    np.testing.assert_allclose(ours, theirs, rtol=tol, atol=tol, err_msg=what)

def agree(f, g, *arrays, nudge=False, seed=0):
    "`f` on Tensors and `g` on torch's: value, gradients, shapes and dtypes; the same by nudging"
    dtype = arrays[0].dtype
    ours = [Tensor(a) for a in arrays]
    theirs = [torch.tensor(np.ascontiguousarray(a).reshape(a.shape), requires_grad=True) for a in arrays]
    y, z = f(*ours), g(*theirs)
    close(y.data, z.detach().numpy(), dtype, 'value')
    assert type(y) is Tensor and y.dtype == dtype and isinstance(y.data, np.ndarray)
    weight = array(y.shape, dtype, seed + 1, 0.5, 1.5)
    y.backward(weight)
    z.backward(torch.tensor(weight))
    for i, (a, t) in enumerate(zip(ours, theirs)):
        assert a.grad.dtype == dtype and a.grad.flags.owndata and a.grad.flags.writeable
        close(a.grad, np.zeros(a.shape) if t.grad is None else t.grad.numpy(), dtype, f'gradient {i}')
    if nudge and dtype == np.float64 and all(0 < a.size < 20 for a in arrays):
        copies = [np.array(a) for a in arrays]
        gradcheck(lambda box: float((f(*map(Tensor, box)).data*weight).sum()), copies,
                  [a.grad for a in ours])

CURVES = {
    'exp': (Tensor.exp, torch.exp, -2), 'log': (Tensor.log, torch.log, 0.1),
    'sqrt': (Tensor.sqrt, torch.sqrt, 0.1), 'tanh': (Tensor.tanh, torch.tanh, -2),
    'sigmoid': (Tensor.sigmoid, torch.sigmoid, -2), 'relu': (Tensor.relu, torch.relu, -2),
    'neg': (Tensor.__neg__, torch.neg, -2), 'T': (lambda t: t.T, lambda t: t.permute(tuple(range(t.ndim))[::-1]), -2)}

@pytest.mark.parametrize('name', CURVES)
@given(SHAPES, DTYPES, LAYOUTS, SEEDS)
def test_curves(name, shape, dtype, layout, seed):
    ours, theirs, low = CURVES[name]
    agree(ours, theirs, laid_out(array(shape, dtype, seed, low), layout), nudge=True)

def test_curves_far_out():
    far = np.array([-1e4, -800, -90, -40, -1e-30, 0, 1e-30, 40, 90, 800, 1e4])
    for dtype in (np.float64, np.float32):
        for name in ('tanh', 'sigmoid', 'relu'): agree(*CURVES[name][:2], far.astype(dtype))
        for f, g in ((Tensor.softmax, torch.softmax), (Tensor.log_softmax, torch.log_softmax)):
            agree(partial(f, axis=0), partial(g, dim=0), far.astype(dtype))

BINARY = {'+': lambda x, y: x + y, '-': lambda x, y: x - y, '*': lambda x, y: x*y,
          '/': lambda x, y: x/y, '**': lambda x, y: x**y, 'both': lambda x, y: x*y - y*x + x/x}

@pytest.mark.parametrize('name', BINARY)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0), DTYPES, LAYOUTS, SEEDS)
def test_binary(name, shapes, dtype, layout, seed):
    x, y = (array(s, dtype, seed + i, 0.5) for i, s in enumerate(shapes.input_shapes))
    agree(BINARY[name], BINARY[name], laid_out(x, layout), y, nudge=True)

@given(SHAPES, DTYPES, SEEDS, st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]))
def test_powers_with_corners(shape, dtype, seed, n):
    x = array(shape, dtype, seed, rounded=True)
    if n == 0.5: x = abs(x)
    if n == -1: x = x + dtype(0.5)
    agree(lambda x: x**n, lambda x: x**n, x)
    base = abs(x)
    agree(lambda n: base**n, lambda n: torch.tensor(base)**n, np.full(shape, n, dtype)) if n >= 0 else None

@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0), DTYPES, SEEDS,
       st.sampled_from(list('+-*/')), st.sampled_from([np.float64, np.float32, np.int64, np.bool_, 'int', 'float', 'np']))
def test_constants(shapes, dtype, seed, op, kind):
    "A constant on either side gets no gradient and changes no dtype"
    a, c = (array(s, dtype, seed + i, 0.5) for i, s in enumerate(shapes.input_shapes))
    if kind in ('int', 'float', 'np'): c = {'int': 3, 'float': 1.5, 'np': np.float64(2.5)}[kind]
    else: c = np.ceil(c).astype(kind)
    theirs = torch.tensor(np.asarray(c, dtype))
    for f, g in ((lambda x: BINARY[op](x, c), lambda x: BINARY[op](x, theirs)),
                 (lambda x: BINARY[op](c, x), lambda x: BINARY[op](theirs, x))):
        agree(f, g, a)
        assert len(f(Tensor(a)).parents) == 1

@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=3, max_side=4, min_side=0),
       DTYPES, LAYOUTS, SEEDS)
@settings(max_examples=300)
def test_matmul(shapes, dtype, layout, seed):
    x, y = (laid_out(array(s, dtype, seed + i), layout) for i, s in enumerate(shapes.input_shapes))
    agree(lambda x, y: x @ y, lambda x, y: x @ y, x, y, nudge=True)
    agree(lambda y: x @ y, lambda y: torch.tensor(np.array(x)) @ y, y)
    agree(lambda x: x @ y, lambda x: x @ torch.tensor(np.array(y)), x)

@st.composite
def reductions(draw):
    "A shape, and an axis of it: None, a number or a tuple, counted from either end"
    shape = draw(SHAPES)
    if not shape: return shape, draw(st.sampled_from([None, 0, -1]))
    axes = draw(st.one_of(st.none(), hnp.valid_tuple_axes(len(shape), min_size=1)))
    return shape, axes[0] if axes and len(axes) == 1 and draw(st.booleans()) else axes

def dims(shape, axis): return tuple(range(len(shape))) if axis is None else axis

@pytest.mark.parametrize('name', ['sum', 'mean', 'max'])
@given(reductions(), st.booleans(), DTYPES, LAYOUTS, SEEDS, st.booleans())
def test_reductions(name, case, keepdims, dtype, layout, seed, rounded):
    shape, axis = case
    a = laid_out(array(shape, dtype, seed, rounded=rounded), layout)
    ours = lambda t: getattr(t, name)(axis, keepdims)
    theirs = lambda t: getattr(torch, 'amax' if name == 'max' else name)(t, dims(shape, axis), keepdims)
    if name == 'max' and a.size == 0 and any(shape[i] == 0 for i in np.ravel(dims(shape, axis)).astype(int)):
        with pytest.raises(ValueError, match='max of '): ours(Tensor(a))
    else: agree(ours, theirs, a, nudge=not (name == 'max' and rounded))

@pytest.mark.parametrize('name', ['softmax', 'log_softmax'])
@given(SHAPES, st.data(), DTYPES, LAYOUTS, SEEDS)
def test_softmax(name, shape, data, dtype, layout, seed):
    n = max(len(shape), 1)
    axis = data.draw(st.integers(-n, n - 1))
    a = laid_out(array(shape, dtype, seed, -5, 5), layout)
    agree(lambda t: getattr(t, name)(axis), lambda t: getattr(t, name)(axis), a, nudge=True)

@given(SHAPES, st.data(), DTYPES, LAYOUTS, SEEDS)
def test_moves(shape, data, dtype, layout, seed):
    a = laid_out(array(shape, dtype, seed), layout)
    order = data.draw(st.permutations(range(len(shape))))
    signed = [i - len(shape)*data.draw(st.booleans()) for i in order]
    permute = lambda t: t.permute(tuple(order))
    agree(lambda t: t.transpose(*signed), permute if order else lambda t: t*1, a)
    agree(lambda t: t.transpose(tuple(signed)), permute, a) if order else None
    other = tuple(data.draw(st.permutations(shape))) + (1,)
    agree(lambda t: t.reshape(other), lambda t: t.reshape(other), a)
    agree(lambda t: t.reshape(*other)*2, lambda t: t.reshape(other)*2, a)
    if a.size: agree(lambda t: t.reshape(-1), lambda t: t.reshape(-1), a)

INDICES = {'basic': lambda shape: hnp.basic_indices(shape, allow_newaxis=True),
           'integers': lambda shape: hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(
               min_dims=0, max_dims=2, min_side=0, max_side=4)),
           'mask': lambda shape: hnp.arrays(bool, shape)}

@pytest.mark.parametrize('name', INDICES)
@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), st.data(), DTYPES, LAYOUTS, SEEDS)
@settings(max_examples=150)
def test_indexing(name, shape, data, dtype, layout, seed):
    if name == 'integers': shape = tuple(max(n, 1) for n in shape)
    index = data.draw(INDICES[name](shape))
    a = laid_out(array(shape, dtype, seed), layout)
    t = Tensor(a)
    y = t[index]
    g = array(y.shape, dtype, seed + 1)
    y.backward(g)
    expected = np.zeros(shape, dtype)
    np.add.at(expected, index, g)
    assert np.array_equal(y.data, a[index]) and y.shape == np.shape(a[index])
    assert t.grad.dtype == dtype and t.grad.shape == shape
    close(t.grad, expected, dtype, 'gradient')
    if name != 'basic':
        pick = tuple(map(torch.tensor, index)) if isinstance(index, tuple) else torch.tensor(index)
        agree(lambda t: t[index], lambda t: t[pick], a)

def test_indexing_of_a_large_table_is_add_at():
    "Mixed, negative and repeated indices; in float32 the same additions in the same order"
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 5, 7)).astype(np.float32)
    for index in (rng.integers(-30, 30, (64, 9)), (rng.integers(0, 30, 99), slice(None), rng.integers(-7, 7, 99)),
                  (slice(3, 20, 2), [1, 1, -1]), ([[2]], [0, 0, 4]), (Ellipsis, [3, 3]), True, [], (2, [0, 0])):
        t = Tensor(a)
        y = t[index]
        g = rng.normal(size=y.shape).astype(np.float32)
        y.backward(g)
        expected = np.zeros_like(a)
        np.add.at(expected, index, g)
        assert np.array_equal(t.grad, expected)

@given(SHAPES.filter(lambda s: len(s) < 4), st.data())
def test_unbroadcast(shape, data):
    "Its result is the transpose of broadcasting: <broadcast(x), g> = <x, unbroadcast(g)>"
    big = data.draw(hnp.broadcastable_shapes(shape, min_dims=len(shape), max_dims=4, min_side=0, max_side=4))
    big = np.broadcast_shapes(shape, big)
    x, g = array(shape, float, 1), array(big, float, 2)
    back = unbroadcast(g, shape)
    assert back.shape == shape and np.isclose((np.broadcast_to(x, big)*g).sum(), (x*back).sum())

@given(SEEDS, DTYPES, st.integers(1, 15))
@settings(max_examples=150)
def test_random_expressions(seed, dtype, steps):
    "Deep, shared graphs: the same gradients as torch in every leaf and every node between"
    def grow(tensors, dice):
        for _ in range(steps):
            x, y = (tensors[i] for i in dice.integers(len(tensors), size=2))
            i = dice.integers(0, 3, size=3)
            tensors.append([lambda: x @ y, lambda: x + y[:1], lambda: x*y.sigmoid(), lambda: x.softmax(-1)/(y*y + 1),
                            lambda: x - y.mean(1, keepdims=True), lambda: x[i] + y[i, i], lambda: x.T.relu() - 1,
                            lambda: (y.exp() + 1).log(), lambda: x.log_softmax(0)*y[:, :1], lambda: (x*x + 1)**y.tanh(),
                            lambda: (x + y).reshape(9)[[0, 0, 4]] + x, lambda: 1/(x*x + 1).sqrt()]
                           [dice.integers(12)]().tanh())
        return sum((t*t).sum() for t in tensors)
    arrays = [array((3, 3), dtype, seed + i) for i in range(3)]
    ours, theirs = [Tensor(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    all_ours, all_theirs = list(ours), list(theirs)
    loss = grow(all_ours, np.random.default_rng(seed))
    torch_loss = grow(all_theirs, np.random.default_rng(seed))
    for t in all_theirs: t.retain_grad()
    loss.backward()
    torch_loss.backward()
    tol = 1e-10 if dtype == np.float64 else 1e-4
    scale = max(1, *(abs(t.grad).max().item() for t in all_theirs))
    for a, b in zip(all_ours, all_theirs):
        assert a.grad.dtype == dtype
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=tol, atol=tol*scale)

# the rules of backward

def test_leaves_accumulate_and_nodes_between_start_anew():
    x = Tensor([1.0, 2.0])
    y = x*3
    z = (y*y).sum()
    for n in (1, 2, 3):
        z.backward()
        assert x.grad.tolist() == [18*n, 36*n] and y.grad.tolist() == [6, 12] and z.grad.tolist() == 1
    z.zero_grad()
    assert x.grad is y.grad is z.grad is None
    z.backward(np.float32(2))
    assert x.grad.tolist() == [36, 72]

def test_gradients_are_the_leafs_own():
    x, y = Tensor(np.ones((2, 3))), Tensor(np.ones(3))
    g = np.ones((2, 3))
    (x + x + y).backward(g)
    x.grad *= 5
    assert np.all(g == 1) and y.grad.tolist() == [2, 2, 2] and np.all(x.grad == 10)
    z = Tensor([3.0])
    z.backward(h := np.array([7.0]))
    z.grad += 1
    assert h[0] == 7
    u, v = x*1, y*1                                             # additions between the leaves share arrays
    x.zero_grad(); y.zero_grad()
    (u + v + 2*u + v).backward(g)
    assert np.all(g == 1) and np.all(x.grad == 3) and y.grad.tolist() == [4, 4, 4]
    before = x.grad = np.full((2, 3), 10.0)
    (x*1).backward(g)
    assert np.all(before == 10) and np.all(x.grad == 11)
    for f in (Tensor.sum, Tensor.mean, lambda t: t.T.sum(), lambda t: t.reshape(-1).sum()):
        t = Tensor(np.ones((2, 2)))
        f(t).backward()
        t.grad += 1                                             # no read-only window

def test_no_gradient_runs_into_constants_or_data():
    c, d = np.ones((2, 2)), np.ones((2, 2))
    t = Tensor(d)
    assert t.data is d
    ((c @ t)*c + c - t/c).sum().backward()
    assert np.all(c == 1) and np.all(d == 1)

def test_mixed_precision_follows_numpy_and_comes_back():
    x, y = Tensor(np.ones(3, np.float32)), Tensor(np.ones(3))
    z = x*y
    assert z.dtype == np.float64
    z.sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64

@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_dtype_is_kept_everywhere(dtype):
    x = Tensor(np.full((2, 3), 0.5, dtype))
    s = x.sum()
    nodes = [x.exp(), x.log(), x.sqrt(), x.tanh(), x.sigmoid(), x.relu(), x.softmax(), x.log_softmax(), s, s*2, 2 - s,
             s/np.float64(3), s**2, 2**s, x.mean(), x.mean(0), x.max(), x[0, 0], x[0, 0]*1.5, x @ np.ones(3), x.T @ x,
             x + np.arange(3), x*True, np.float64(2)*x, np.ones((2, 2)) @ x, -x, x.reshape(6).max(0, True)]
    for y in nodes:
        assert y.dtype == dtype and isinstance(y.data, np.ndarray), y.op
        y.backward(np.ones(y.shape))
        assert all(v.grad.dtype == dtype and isinstance(v.grad, np.ndarray) for v in topological(y)), y.op

def test_long_chains_and_no_circles():
    x = Tensor(1.0)
    y = x
    for _ in range(30_000): y = y + 0.0
    y.backward()
    assert x.grad == 1 and len(topological(y)) == 30_001
    del y
    gc.collect(); gc.disable()
    try:
        z = Tensor(np.ones((3, 3)))
        ((z @ z).softmax().log()[[0, 0]].max(1) + z.mean()).sum().backward()
        del z
        assert gc.collect() == 0
    finally: gc.enable()

def test_doublings_are_walked_once():
    x = y = Tensor([1.0])
    for _ in range(60): y = y + y
    y.backward()
    assert x.grad == 2.0**60

# what it looks like, and what fails

def test_python_protocols():
    x = Tensor([[1, 2], [3, 4]], label='x')
    assert x.label == 'x' and x.shape == (2, 2) and x.dtype == np.float64 and float(x[1, 0]) == 3
    a, b = x
    (a*b).sum().backward()
    assert x.grad.tolist() == [[3, 4], [1, 2]] and sum(Tensor([1, 2, 3])).data == 6
    assert repr(x) == 'Tensor([[1., 2.],\n        [3., 4.]])' and repr(Tensor(2)) == 'Tensor(2.)'
    assert 'float32' in repr(Tensor(np.float32(1))) and Tensor(np.float32(1)).dtype == np.float32
    with pytest.raises(TypeError): iter(Tensor(1.0))
    with pytest.raises(ValueError): float(x)
    assert x != Tensor(x.data) and len({x, x}) == 1
    assert apply('f', np.sin, (x,), lambda g, x, z: g*np.cos(x)).op == 'f'

def test_numpy_on_the_left_asks_us():
    x = Tensor(np.ones((2, 2)))
    for y in (np.ones((2, 2)) + x, np.ones(2) - x, np.ones(2)*x, np.ones(2)/x, np.ones(2)**x, np.ones((3, 2)) @ x,
              np.float64(1) + x, np.float32(1)/x, np.int64(1) - x): assert type(y) is Tensor
    with pytest.raises(TypeError): np.exp(x)

@pytest.mark.parametrize('make, error, words', [
    (lambda t: t + np.ones(5), ValueError, r'^\+ of \(3, 4\) and \(5,\): '),
    (lambda t: np.ones((2, 4)) - t, ValueError, r'^- of \(2, 4\) and \(3, 4\): '),
    (lambda t: t @ t, ValueError, r'^@ of \(3, 4\) and \(3, 4\): '),
    (lambda t: t @ 2, ValueError, r'^@ of \(3, 4\) and \(\): '),
    (lambda t: t.reshape(5), ValueError, r'^reshape of \(3, 4\): .*\(5,\)'),
    (lambda t: t.transpose(0, 0), ValueError, r'^transpose of \(3, 4\): '),
    (lambda t: t.sum(2), ValueError, r'^sum of \(3, 4\): axis 2'),
    (lambda t: t.mean((0, 0)), ValueError, r'^sum of \(3, 4\): '),
    (lambda t: t.max(-3), ValueError, r'^max of \(3, 4\): axis -3'),
    (lambda t: t.softmax(2), ValueError, r'^softmax of \(3, 4\): axis 2'),
    (lambda t: t.sum().log_softmax(1), ValueError, r'^log_softmax of \(\): axis 1'),
    (lambda t: t[3], IndexError, r'^\[\] of \(3, 4\): index 3'),
    (lambda t: t[0, 0, 0], IndexError, r'^\[\] of \(3, 4\): too many'),
    (lambda t: t[1.5], IndexError, r'^\[\] of \(3, 4\): only integers'),
    (lambda t: t[np.ones(2, bool)], IndexError, r'^\[\] of \(3, 4\): boolean'),
    (lambda t: t.backward(), ValueError, r'\(3, 4\).*none was given'),
    (lambda t: t.backward(np.ones(4)), ValueError, r'\(3, 4\).*given was \(4,\)'),
    (lambda t: t.sum().backward(np.ones(1)), ValueError, r'\(\).*given was \(1,\)'),
    (lambda t: t + None, TypeError, 'same_kind'), (lambda t: t*'a', TypeError, 'same_kind'),
    (lambda t: t*1j, TypeError, 'same_kind'),
    (lambda t: Tensor(np.arange(3)), TypeError, 'not int64'), (lambda t: Tensor(np.ones(2, bool)), TypeError, 'not bool'),
    (lambda t: Tensor(np.ones(2, np.float16)), TypeError, 'not float16'), (lambda t: Tensor(None), TypeError, 'not object'),
    (lambda t: Tensor('a'), TypeError, 'holds float32'), (lambda t: Tensor([1j]), TypeError, 'not complex'),
    (lambda t: apply('bad', lambda x: x, (t,), lambda g, x, z: g.T).backward(np.ones((3, 4))), ValueError,
     r'\(4, 3\).*\(3, 4\)'),
])
def test_errors_name_the_shapes(make, error, words):
    with pytest.raises(error, match=words) as e: make(Tensor(np.ones((3, 4))))
    assert '\n' not in str(e.value)

def test_failed_backward_leaves_no_trace():
    x = Tensor(np.ones(3))
    y = x*2
    with pytest.raises(ValueError): y.backward()
    assert x.grad is None and y.grad is None

def test_usual_work_is_silent():
    "No warnings from the usual operations, large inputs included"
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x = Tensor(np.array([[-1e4, 0.0, 1e4]], np.float32))
        (x.sigmoid() + x.tanh() + x.relu() + x.softmax() + x.log_softmax() + x**2 + x**0).sum().backward()
        assert np.isfinite(x.grad).all()
