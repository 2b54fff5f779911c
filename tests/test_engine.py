"The engine beside torch, at the edges, at depth, and in what it leaves behind"
import gc, math, operator, os, random, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from nnzero.micrograd.engine import Value, topological

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = int(os.environ.get('NNZERO_EXAMPLES', 1000))          # random graphs beside torch
many = settings(max_examples=EXAMPLES)
few = settings(many, max_examples=max(EXAMPLES//5, 1))
torch.set_num_threads(1)

def tensor(x): return torch.tensor(x, dtype=torch.float64, requires_grad=True)

def same(ours, theirs, scale=0.0, tol=1e-12):
    "Equal to `tol`, relative to the number itself or to a larger `scale`; inf and nan as they are"
    if math.isnan(theirs): return math.isnan(ours)
    if math.isinf(theirs): return ours == theirs
    return abs(ours - theirs) <= tol*max(abs(theirs), scale)

def python(code, *flags):
    "Run code in a fresh process"
    command = [sys.executable, *flags, '-c', code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

# Each operation with the operands for which it is tried. Far out the slope 1 - tanh(x)**2 is a
# difference of nearly equal numbers: one rounding in tanh is 1e-13 of it at 4 and all of it at 19,
# in torch as much as here, so beyond 4 nobody can be asked for 1e-12. The same holds for s*(1 - s).
# Divisors, bases and arguments of log keep away from 0, where slopes grow without limit.
def small(x): return abs(x) <= 4
def apart(x): return abs(x) > 0.25
def positive(x): return x > 0.25
def always(*xs): return True
UNARY = {'neg': (operator.neg, always), 'relu': (lambda x: x.relu(), always),
         'exp': (lambda x: x.exp(), small), 'log': (lambda x: x.log(), positive),
         'tanh': (lambda x: x.tanh(), small), 'sigmoid': (lambda x: x.sigmoid(), small)}
# A negative base has powers for whole exponents only, and no slope in them: constants, then.
UNARY |= {f'**{n!r}': (lambda x, n=n: x**n, apart) for n in (-2, -1, 0, 1, 2, 3, 2.0, -1.0)}
BINARY = {'+': (operator.add, always), '-': (operator.sub, always), '*': (operator.mul, always),
          '/': (operator.truediv, lambda x, y: apart(y)),
          '**': (operator.pow, lambda x, y: positive(x) and small(y))}
KINDS = [int, float, np.float64, np.float32, np.int64, bool]
WHOLE = (int, np.int64, bool)

@st.composite
def constants(draw):
    kind = draw(st.sampled_from(KINDS))
    some = (0, 1) if kind is bool else (-3, -1, 0, 1, 2) if kind in WHOLE else (-2.5, 0.5, 1.0, 3.0)
    return kind(draw(st.sampled_from(some)))

numbers = st.floats(-3, 3, allow_subnormal=False).map(lambda x: round(x, 6))
node = st.integers(0, 12).map(lambda i: (i,))       # an operand, so many nodes back
steps = st.one_of(st.tuples(st.sampled_from(sorted(UNARY)), node),
                  st.tuples(st.sampled_from(sorted(BINARY)), node, node),
                  st.tuples(st.sampled_from(sorted(BINARY)), node, constants()),
                  st.tuples(st.sampled_from(sorted(BINARY)), constants(), node))
leaves = st.lists(numbers, min_size=1, max_size=4)

def grow(start, program):
    """The same graph twice, as two lists of nodes, leaves first. Left out are steps whose operands
    are outside of what was chosen above, and those with a large result."""
    ours, theirs = [Value(x) for x in start], [tensor(x) for x in start]
    for name, *operands in program:
        f, valid = UNARY.get(name) or BINARY[name]
        places = [x[0] % len(ours) if isinstance(x, tuple) else None for x in operands]
        mine, other = ([nodes[-1 - i] if i is not None else x for i, x in zip(places, operands)]
                       for nodes in (ours, theirs))
        if not valid(*(x.data if type(x) is Value else float(x) for x in mine)): continue
        made = f(*mine)
        assert type(made) is Value and type(made.data) is float, f'{name} of {mine} gives {made!r}'
        if abs(made.data) > 50: continue
        ours.append(made)
        theirs.append(f(*(x if torch.is_tensor(x) else float(x) for x in other)))
    return ours, theirs

def slopes_at_most(root):
    "The sum of |slope| over all paths from `root`, for each node: rounding is relative to that"
    most = dict.fromkeys(topological(root), 0.0)
    most[root] = 1.0
    for v in reversed(topological(root)):
        for parent, slope in ((v.a, v.da), (v.b, v.db)):
            if parent is not None: most[parent] += abs(slope)*most[v]
    return most

def total(nodes):
    "One result in which all nodes take part, for either kind"
    out = nodes[0]*1.5
    for v in nodes[1:]: out = out + v
    return out

@many
@given(leaves, st.lists(steps, min_size=1, max_size=40))
def test_random_graphs_beside_torch(start, program):
    ours, theirs = grow(start, program)
    for t in theirs: t.retain_grad()
    mine, other = total(ours), total(theirs)
    mine.backward()
    other.backward()
    most = slopes_at_most(mine)
    assert same(mine.data, other.item(), sum(abs(v.data) for v in ours))
    for v, t in zip(ours, theirs):
        assert same(v.data, t.item(), 1.0)
        assert same(v.grad, t.grad.item(), most[v])

@few
@given(leaves, st.lists(steps, min_size=1, max_size=15))
def test_backward_again(start, program):
    ours = grow(start, program)[0]
    root = total(ours)
    root.backward()
    once = [v.grad for v in topological(root)]
    root.backward()
    for v, g in zip(topological(root), once):
        assert same(v.grad, 2*g if v.a is None else g, tol=0)       # exactly twice, to the last bit
    root.zero_grad()
    assert not any(v.grad for v in topological(root))
    root.backward()
    assert all(same(v.grad, g, tol=0) for v, g in zip(topological(root), once))

def test_twice_is_exactly_twice():
    "In small whole numbers nothing is rounded"
    x, y = Value(3.0), Value(-2.0)
    b = x*y + x
    root = b*b*x - (b - y)*2 + (x*x).relu()
    root.backward()
    once = {v: v.grad for v in topological(root)}
    root.backward()
    assert (once[x], once[y]) == (35, -58)              # by hand, with b = -3
    assert all(v.grad == (2*g if v.a is None else g) for v, g in once.items())

def test_a_leaf_is_a_result_too():
    x = Value(3.0)
    x.backward()
    x.backward()
    assert x.grad == 2 and topological(x) == [x]

@few
@given(leaves, st.lists(steps, min_size=2, max_size=15), st.integers(0, 30))
def test_two_results_that_share_nodes(start, program, first):
    ours, theirs = grow(start, program)
    first %= len(ours)
    roots = ours[first]*ours[-1], total(ours)
    for root in roots: root.backward()
    (theirs[first]*theirs[-1]).backward(retain_graph=True)
    total(theirs).backward()
    most = [slopes_at_most(root) for root in roots]
    for v, t in zip(ours[:len(start)], theirs):
        assert same(v.grad, t.grad.item(), sum(m.get(v, 0.0) for m in most))

def beside_torch(f, kinds, numbers):
    "Value and slopes of f, where the operands of kind Value vary and the others are constants"
    ours = [kind(x) for kind, x in zip(kinds, numbers)]
    theirs = [tensor(x) if kind is Value else float(v) for kind, x, v in zip(kinds, numbers, ours)]
    y, z = f(*ours), f(*theirs)
    y.backward()
    z.backward()
    assert type(y) is Value and type(y.data) is float
    varied = [(v, t) for v, t in zip(ours, theirs) if torch.is_tensor(t)]
    return [y.data, *(v.grad for v, t in varied)], [z.item(), *(t.grad.item() for v, t in varied)]

def agree(f, valid, kinds, numbers):
    "Whether the operands are fit for f; if so, ours must agree with torch's"
    plain = [float(x if kind is Value else kind(x)) for kind, x in zip(kinds, numbers)]
    if not valid(*plain): return False
    assert all(map(same, *beside_torch(f, kinds, numbers))), (kinds, numbers)
    return True

@pytest.mark.parametrize('name', UNARY)
def test_each_function(name):
    assert sum(agree(*UNARY[name], [Value], [x]) for x in (-3.5, -1.25, -0.5, 0.5, 2.0, 3.75)) >= 3

@pytest.mark.parametrize('name', BINARY)
def test_each_operator(name):
    "For certain, whatever the random graphs contain: constants of each kind on each side"
    sides = [(Value, Value), *((Value, kind) for kind in KINDS), *((kind, Value) for kind in KINDS)]
    pairs = [(x, y) for x in (-1.25, -0.5, 0.5, 2.0, 3.75) for y in (-2.0, -0.5, 0.5, 3.0)]
    for kinds in sides:
        assert sum(agree(*BINARY[name], kinds, pair) for pair in pairs) >= 5, kinds

def test_chain_thousands_deep_beside_torch():
    rng = random.Random(3)
    x, w, links = 0.7, 0.3, [(rng.randrange(6), rng.uniform(-1, 1)) for _ in range(5_000)]
    def chain(x, w):
        v = x
        for k, c in links:              # each step moves v a little, so that the gradient survives
            v = [v + 0.01*w, v - c*0.01, v*(1 - 0.01*w), v/(1 + 0.01*c*w),
                 0.98*v + 0.01*(v*w).tanh(), v + 0.01*(c*v).sigmoid()][k]
        return v
    ours, theirs = (Value(x), Value(w)), (tensor(x), tensor(w))
    chain(*ours).backward()
    chain(*theirs).backward()
    for v, t in zip(ours, theirs):
        assert abs(t.grad.item()) > 1e-12 and same(v.grad, t.grad.item())

MILLION = """
import threading
from nnzero.micrograd.engine import Value
def work():
    x = last = Value(1.0)
    for _ in range(1_000_000): last = last + x
    last.backward()
    assert x.grad == last.data == 1_000_001
    last.zero_grad()
    assert x.grad == 0
    del last                            # a million frees, each from within the one before
    print('done')
threading.stack_size(256*1024)          # little stack: an engine that recurses in C dies here
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
def test_a_million_nodes():
    out = python(MILLION)
    assert (out.returncode, out.stdout, out.stderr) == (0, 'done\n', '')

@pytest.mark.parametrize('other', [Value, int, float, np.float64, np.float32, np.int64])
def test_comparisons(other):
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        for x in (1, 2, 3):
            assert compare(Value(x), other(2)) == compare(x, 2)
            assert compare(other(2), Value(x)) == compare(2, x)

def test_comparisons_in_use():
    x, y, nan = Value(2.0), Value(2.0), Value(math.nan)
    assert x == x and x != y and len({x, y}) == 2
    assert not (nan < x or nan > x or nan <= x or nan >= x or nan <= nan)
    assert max([Value(1.0), x, Value(-3.0)]) is x
    assert [v.data for v in sorted([Value(3.0), Value(-1.0), x])] == [-1, 2, 3]

def slope(f, *at): return beside_torch(f, [Value]*len(at), at)

@pytest.mark.parametrize('n', [0.5, 0.0, 1.0, 3.0, 1.5, 2])
def test_powers_of_zero(n):
    ours, theirs = slope(lambda x: x**n, 0.0)
    assert ours == theirs
    assert ours[1] == {0.5: math.inf, 1.0: 1.0}.get(n, 0.0)
    ours, theirs = slope(operator.pow, 0.0, float(n))
    assert ours == theirs

@pytest.mark.parametrize('x', [-2.0, -0.5])
@pytest.mark.parametrize('n', [-1.0, 0.0, 1.0, 2.0, 3.0])
def test_powers_of_negative_numbers(x, n):
    ours, theirs = slope(operator.pow, x, n)
    assert ours[:2] == theirs[:2] and math.isnan(ours[2])       # no slope in the exponent there
    if n: assert math.isnan(theirs[2])

@pytest.mark.parametrize('x, n', [(1e-200, -1.0), (-1e-200, -1.0), (-1e-120, -2.0)])
def test_slopes_too_large_for_a_float(x, n):
    ours, theirs = slope(lambda x: x**n, x)
    assert math.isfinite(theirs[0]) and same(ours[0], theirs[0])
    assert math.isinf(theirs[1]) and ours[1] == theirs[1]

@pytest.mark.parametrize('x', [-1000.0, -700.0, -40.0, 0.0, 40.0, 710.0, 1000.0])
def test_far_out(x):
    ours, theirs = slope(lambda x: x.tanh(), x)
    assert ours == theirs and ours[0] == math.tanh(x)
    ours, theirs = slope(lambda x: x.sigmoid(), x)
    assert all(math.isfinite(v) for v in ours)
    assert same(ours[0], theirs[0]) and (x > 0 or same(ours[1], theirs[1]))
    if abs(x) == 1000: assert ours == [float(x > 0), 0.0]
    assert slope(lambda x: x.relu(), x)[0] == [max(x, 0.0), float(x > 0)]

@pytest.mark.parametrize('error, f', [
    (ValueError, lambda: Value(0.0).log()), (ValueError, lambda: Value(-1.0).log()),
    (ValueError, lambda: Value(0.0)**-1), (ValueError, lambda: 0**Value(-0.5)),
    (ValueError, lambda: Value(-8.0)**(1/3)), (ValueError, lambda: (-8)**Value(1/3)),
    (OverflowError, lambda: Value(1000.0).exp()), (OverflowError, lambda: Value(1e200)**2),
    (ZeroDivisionError, lambda: Value(1.0)/0), (ZeroDivisionError, lambda: 1/Value(0.0)),
    (ZeroDivisionError, lambda: Value(0.0)/Value(0.0))])
def test_no_number_there(error, f):
    with pytest.raises(error): f()

def test_nan_passes_through():
    x, nan = Value(2.0), Value(math.nan)
    for made in (nan + x, x - nan, nan*0.0, nan/x, x/nan, nan**2, 2**nan, -nan,
                 nan.exp(), nan.log(), nan.tanh(), nan.sigmoid(), nan.relu()):
        assert math.isnan(made.data), f'{made.op} gives {made.data}'
    (x*nan).backward()
    assert math.isnan(x.grad) and nan.grad == 2

@pytest.mark.parametrize('wrong', [None, 'abc', [1.0], 1j, Value(1.0)])
def test_what_is_no_number(wrong):
    with pytest.raises((TypeError, ValueError), match='float'): Value(wrong)
    if type(wrong) is Value: return
    for f in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow):
        for args in ((Value(1.0), wrong), (wrong, Value(1.0))):
            with pytest.raises((TypeError, ValueError)): f(*args)
    with pytest.raises(TypeError): Value(1.0) < wrong

def test_nothing_is_left_for_the_collector():
    "A graph is freed as soon as nobody holds it, since it has no cycles"
    def work():
        xs = [Value(i/10, label=f'x{i}') for i in range(1, 11)]
        made = [f(x) for f, valid in UNARY.values() for x in xs if valid(x.data)]
        made += [f(x, y) for f, _ in BINARY.values() for x in xs for y in (*xs, 1, 2.5)]
        root = total(made)
        root.backward()
        root.backward()
        root.zero_grad()
        return len(topological(root))
    gc.collect()
    gc.disable()
    try:
        assert work() > 500
        assert gc.collect() == 0
    finally: gc.enable()

def test_an_array_is_no_number():
    for f in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow):
        for args in ((Value(1.0), np.ones(2)), (np.ones(2), Value(1.0))):
            with pytest.raises(TypeError): f(*args)

def modules(code):
    "Milliseconds for each module that is imported, as `-X importtime` tells"
    lines = python(code, '-X', 'importtime').stderr.splitlines()
    fields = [line[12:].split('|') for line in lines if '[us]' not in line]
    return {name.strip(): int(own)/1e3 for own, _, name in fields}

def test_import_is_light():
    "Nothing heavy, and at most 30 ms beyond Python's own start; best of seven for busy machines"
    start, code = modules('pass'), 'import nnzero.micrograd.engine'
    runs = [{k: t for k, t in modules(code).items() if k not in start} for _ in range(7)]
    assert 'nnzero.micrograd.engine' in runs[0]
    assert not {'torch', 'numpy', 'matplotlib'} & {name.split('.')[0] for name in runs[0]}
    assert min(sum(run.values()) for run in runs) < 30
