"gradcheck on random functions and every kind of container: right passes, wrong is found, x stays, nan never passes"
import math
import subprocess
import sys
from array import array

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from nnzero.micrograd.gradcheck import gradcheck, numerical_gradient

torch.set_num_threads(1)

numbers = st.floats(-3, 3, width=32)            # exact in float32 as in float64
vectors = st.lists(numbers, min_size=1, max_size=6)
TERMS = [(math.sin, math.cos), (math.exp, math.exp), (math.tanh, lambda x: 1 - math.tanh(x)**2),
         (lambda x: x**3 - x, lambda x: 3*x*x - 1), (lambda x: 1/(1 + x*x), lambda x: -2*x/(1 + x*x)**2)]
terms = st.lists(st.tuples(st.floats(-2, 2), st.sampled_from(TERMS)), min_size=1, max_size=3)


def smooth(parts):
    "A random function of one number, and its exact derivative"
    return (lambda x: sum(w*g(x) for w, (g, _) in parts)), (lambda x: sum(w*dg(x) for w, (_, dg) in parts))


def flat(x):
    "The numbers of nested lists, arrays and tensors as floats"
    if hasattr(x, 'detach'): return x.detach().reshape(-1).tolist()
    if hasattr(x, 'reshape'): return x.reshape(-1).tolist()
    return [v for item in x for v in flat(item)] if hasattr(x, '__len__') else [x]


def bits(x):
    "The very bits of an array, a tensor or a list, so that -0.0 is not 0.0"
    return x.detach().numpy().tobytes() if hasattr(x, 'detach') else x.tobytes() if hasattr(x, 'tobytes') else repr(x)


KINDS = {
    'list': lambda v: list(v),
    'nested': lambda v: [v[0], [[u] for u in v[1:]]],
    'array': lambda v: array('d', v),
    'float64': lambda v: np.array(v),
    'float32': lambda v: np.array(v, dtype=np.float32).reshape(1, -1),
    'strided': lambda v: np.array([v, v]).T[:, 0],
    'torch64': lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True),
    'torch32': lambda v: torch.tensor([v], dtype=torch.float32),
    'mixed': lambda v: [np.array(v[:1]), torch.tensor(v[1:], dtype=torch.float64)],
}
kinds = pytest.mark.parametrize('kind', KINDS)


def refill(x, values):
    "A gradient of the shape of `x`, of nested lists, from a flat list"
    values = iter(values)
    def fill(x):
        if hasattr(x, '__len__') and len(getattr(x, 'shape', (1,))): return [fill(item) for item in x]
        return next(values)
    return fill(x)


@given(numbers, terms)
def test_float(x, parts):
    f, df = smooth(parts)
    assert gradcheck(f, x, df(x)) < 1e-6
    assert math.isclose(numerical_gradient(f, x), df(x), rel_tol=1e-6, abs_tol=1e-7)
    with pytest.raises(AssertionError, match='and the slope is'): gradcheck(f, x, df(x) + 0.01 + 0.01*abs(df(x)))


@kinds
@given(v=vectors, parts=terms, data=st.data())
def test_containers(kind, v, parts, data):
    f, df = smooth(parts)
    x = KINDS[kind](v)
    before, grad, where = bits(x), [df(u) for u in v], data.draw(st.integers(0, len(v) - 1))
    total = lambda x: sum(map(f, flat(x)))
    gradcheck(total, x, refill(x, grad))
    grad[where] += 0.1*(1 + abs(grad[where])) + 0.1*abs(total(x))
    with pytest.raises(AssertionError, match='and the slope is'): gradcheck(total, x, refill(x, grad))
    for bad in (math.nan, math.inf, -math.inf):
        grad[where] = bad
        with pytest.raises(AssertionError, match='nan|inf'): gradcheck(total, x, refill(x, grad))
    assert bits(x) == before


@kinds
@given(v=vectors, data=st.data())
def test_nan_from_f_never_passes(kind, v, data):
    x, calls, when = KINDS[kind](v), [], data.draw(st.integers(0, 1 + 2*len(v)))
    def f(x):
        calls.append(1)
        return math.nan if len(calls) == when + 1 else sum(flat(x))*0
    with pytest.raises((AssertionError, ValueError), match='nan'): gradcheck(f, x, refill(x, [0.0]*len(v)))


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_x_not_finite(bad):
    for x in ([1.0, bad], np.array([1.0, bad]), torch.tensor([1.0, bad])):
        with pytest.raises((AssertionError, ValueError)): gradcheck(lambda x: float(x[0]), x, [1.0, 0.0])
        with pytest.raises((AssertionError, ValueError)): gradcheck(lambda x: float(x[0] + x[1]), x, [1.0, 1.0])


@kinds
@given(v=vectors, data=st.data())
def test_restored_when_f_raises(kind, v, data):
    x, calls, when = KINDS[kind](v), [], data.draw(st.integers(1, 2 + 2*len(v)))
    before = bits(x)
    def f(x):
        calls.append(1)
        if len(calls) == when: raise KeyboardInterrupt
        return sum(flat(x))
    with pytest.raises(KeyboardInterrupt): gradcheck(f, x, refill(x, [1.0]*len(v)))
    assert bits(x) == before


@kinds
def test_kind_of_the_result(kind):
    x = KINDS[kind]([1.0, 2.0, -0.5])
    out = numerical_gradient(lambda x: sum(u*u for u in flat(x)), x)
    assert type(out) is type(x) and getattr(out, 'dtype', None) == getattr(x, 'dtype', None)
    assert np.allclose(flat(out), [2, 4, -1], atol=1e-3) and not getattr(out, 'requires_grad', False)
    assert refill(out, flat(out)) == refill(x, flat(out))         # the same nesting


def test_lists_keep_their_objects():
    x = [3, True, np.float64(2.0), 1e300]
    before = [(type(v), v) for v in x]
    numerical_gradient(lambda x: sum(map(float, x)), x)
    assert [(type(v), v) for v in x] == before


def test_zero_dimensional():
    for x in (np.array(3.0), torch.tensor(3.0, dtype=torch.float64, requires_grad=True), np.float64(3.0), 3):
        assert gradcheck(lambda x: x*x, x, 6.0) < 1e-9
        assert abs(float(numerical_gradient(lambda x: x*x, x)) - 6) < 1e-9


def test_gradient_that_is_x_itself():
    x = np.array([0.3, -2.0])
    assert gradcheck(lambda x: (x**2).sum()/2, x, x) < 1e-9
    with pytest.raises(AssertionError): gradcheck(lambda x: (x**2).sum(), x, x)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_network_against_autograd(dtype):
    torch.manual_seed(0)
    inputs, targets = torch.randn(16, 6, dtype=dtype), torch.randint(0, 4, (16,))
    p = [torch.randn(6, 4, dtype=dtype, requires_grad=True), torch.zeros(4, dtype=dtype, requires_grad=True)]
    f = lambda p: torch.nn.functional.cross_entropy(torch.tanh(inputs @ p[0])*3 + p[1], targets)
    value = f(p)
    grads = torch.autograd.grad(value, p, retain_graph=True)
    assert gradcheck(f, p, grads) < (1e-8 if dtype == torch.float64 else 1e-3)
    value.backward()                            # a graph built before the check is still good after it
    assert all(torch.equal(q.grad, g) for q, g in zip(p, grads))
    with pytest.raises(AssertionError): gradcheck(f, p, [g.flip(0) for g in grads])


def test_not_a_leaf():
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    hidden = w*2
    gradcheck(lambda t: (t**3).sum(), hidden, 3*hidden**2)
    assert torch.allclose(numerical_gradient(lambda t: (t**3).sum(), hidden), 3*hidden.detach()**2)


def test_a_graph_that_saved_x_is_still_good():
    w = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    value = (w**3).sum()                        # autograd keeps w for the backward pass, and counts writes to it
    gradcheck(lambda w: (w**3).sum(), w, 3*w**2)
    value.backward()
    assert torch.equal(w.grad, 3*w.detach()**2)


def test_how_much_is_forgiven():
    f = lambda x: x[0]
    gradcheck(f, [1.0, 2.0], [1 + 1e-6, 1e-10])
    for wrong in ([1 + 1e-5, 0], [1 - 1e-5, 0], [1, 1e-7], [1, -1e-7]):
        with pytest.raises(AssertionError, match='is allowed'): gradcheck(f, [1.0, 2.0], wrong)
    assert gradcheck(f, [1.0, 2.0], [1.5, 0.25], rtol=1, atol=1) == pytest.approx(0.5)
    with pytest.raises(AssertionError): gradcheck(f, [1.0, 2.0], [1 + 1e-6, 0], rtol=0, atol=0)


@pytest.mark.parametrize('x', [1e8, -1e8, 1e-8, -1e-8, 0.0])
def test_far_and_near(x):
    for v in (float(x), np.array(x), torch.tensor(x, dtype=torch.float64)):
        slope = float(numerical_gradient(lambda v: v**3 + v, v))
        assert math.isclose(slope, 3*x*x + 1, rel_tol=1e-9)


@pytest.mark.parametrize('x, grad', [
    ([1.0, 2.0], [1.0]), ([1.0], [1.0, 1.0]), ([1.0], [[1.0]]), (1.0, [1.0]), ([1.0], 1.0),
    (np.ones((2, 3)), np.ones((3, 2))), (np.ones(3), np.ones((3, 1))), (torch.ones(2), None),
    ([], []), (np.ones(0), np.ones(0)), ([[], []], [[], []])])
def test_shapes(x, grad):
    with pytest.raises(ValueError, match='differ in shape|no numbers'): gradcheck(lambda x: 0.0, x, grad)


@pytest.mark.parametrize('x', [np.arange(3), np.ones(2, dtype=bool), torch.arange(3), array('b', [1, 2])])
def test_whole_numbers(x):
    before = bits(x)
    with pytest.raises(TypeError): numerical_gradient(lambda x: 0.0, x)
    assert bits(x) == before


@pytest.mark.parametrize('bad', ['abc', None, (1.0, 2.0), [(1.0, 2.0)], ['a'], {1.0}])
def test_no_numbers(bad):
    with pytest.raises((TypeError, ValueError)): gradcheck(lambda x: 0.0, bad, bad)


def test_what_f_may_return():
    for result in (1, 1.0, np.float32(1), np.array(1.0), torch.tensor(1.0, requires_grad=True)):
        assert gradcheck(lambda x: result, [1.0], [0.0]) == 0
    for result in (None, np.ones(3), torch.ones(3), 1j, 'one'):
        with pytest.raises((TypeError, ValueError, RuntimeError)): gradcheck(lambda x: result, [1.0], [0.0])


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_f_not_finite(bad):
    with pytest.raises(ValueError, match=f'^f gave {bad}$'): gradcheck(lambda x: bad, [1.0], [0.0])


def test_numbers_in_a_tuple():
    with pytest.raises(TypeError, match='in a tuple: make it a list'): gradcheck(sum, (1.0, 2.0), [1.0, 1.0])
    with pytest.raises(TypeError, match='in a tuple: make it a list'): numerical_gradient(sum, (1.0, 2.0), h=1e-5)
    assert gradcheck(sum, [1.0, 2.0], (1.0, 1.0)) < 1e-9            # a claim is only read
    assert gradcheck(lambda x: x[0].sum(), (np.ones(2),), (np.ones(2),)) < 1e-9


def test_tolerances_do_not_depend_on_the_step():
    with pytest.raises(AssertionError, match='grad is 12'): gradcheck(lambda x: x*x, 3.0, 12.0, h=0.1)
    with pytest.raises(AssertionError): gradcheck(lambda x: x*x, 3.0, 6.001, h=0.1)
    assert gradcheck(lambda x: x*x, 3.0, 6.0, h=0.1) < 1e-9
    assert gradcheck(lambda x: x*x, 3.0, 6.0, h=1e-10) < 1e-4


def test_random_or_with_memory():
    calls = []
    with pytest.raises(ValueError, match='two calls of f'):
        gradcheck(lambda x: calls.append(1) or x[0] + len(calls), [1.0], [1.0])


@pytest.mark.parametrize('h', [0, 1e-30])
def test_step_too_small(h):
    with pytest.raises(ValueError, match='lost in rounding'): gradcheck(lambda x: x, 1.0, 1.0, h=h)


def test_loads_no_library():
    code = "import sys, nnzero.micrograd.gradcheck; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'
