"Networks beside torch and beside one node for each operation; losses, steps, seeds, messages"
import math, random
import pytest, torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from nnzero.micrograd.engine import Value, topological
from nnzero.micrograd.nn import (ACTIVATIONS, MLP, SGD, Layer, Neuron, Vector, cross_entropy, dot,
                                 hinge, log_sum_exp, moons, pack, squared_error)

torch.set_num_threads(1)
prop = settings(max_examples=100)
seeds = st.integers(0, 2**32 - 1)
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)
activations = st.sampled_from(sorted(ACTIVATIONS))
scores = st.floats(-1000, 1000, allow_subnormal=False)

def tensor(x, **kwargs): return torch.tensor(x, dtype=torch.float64, **kwargs)

def same(ours, theirs, tol=1e-12):
    "Equal to `tol`, relative to the largest of them (a sum of large terms may be small) and to 1"
    assert len(ours) == len(theirs)
    scale = max(1.0, *map(abs, theirs))
    assert all(abs(a - b) <= tol*scale for a, b in zip(ours, theirs)), (ours, theirs)

def network(nin, nouts, activation, seed):
    "A network with other biases than 0, and three examples"
    rng = random.Random(seed)
    net = MLP(nin, nouts, activation, rng)
    for layer in net.layers:
        for n in layer.neurons: n.b.data = rng.uniform(-1, 1)
    return net, [[rng.gauss(0, 1) for _ in range(nin)] for _ in range(3)], rng

def listed(out): return out if isinstance(out, list) else [out]

def plain_forward(net, params, x):
    "The outputs for one example, with one node for each operation; `params` as `parameters()`"
    params = iter(params)
    for layer in net.layers:
        rows = [[next(params) for _ in range(len(x) + 1)] for _ in layer.neurons]
        x = [ACTIVATIONS[n.activation](sum((w*v for w, v in zip(row, x)), row[-1]))
             for n, row in zip(layer.neurons, rows)]
    return x

def torch_forward(net, params, X):
    acts = {'tanh': torch.tanh, 'relu': torch.relu, 'sigmoid': torch.sigmoid, 'linear': lambda x: x}
    for layer, (W, b) in zip(net.layers, params): X = acts[layer.neurons[0].activation](X @ W.T + b)
    return X

def summed(rows, factors): return sum(o*f for o, f in zip(sum(rows, []), factors))

@prop
@given(st.integers(1, 5), sizes, activations, seeds)
def test_fused_is_plain_is_torch(nin, nouts, activation, seed):
    net, points, rng = network(nin, nouts, activation, seed)
    factors = [rng.uniform(-2, 2) for _ in range(3*nouts[-1])]
    inputs = [[Value(v) for v in x] for x in points]
    fused = summed([listed(net(x)) for x in inputs], factors)
    fused.backward()

    params = [Value(p.data) for p in net.parameters()]
    others = [[Value(v) for v in x] for x in points]
    plain = summed([plain_forward(net, params, x) for x in others], factors)
    plain.backward()
    same([fused.data], [plain.data])
    same([p.grad for p in net.parameters()], [p.grad for p in params])
    same([v.grad for x in inputs for v in x], [v.grad for x in others for v in x])

    pairs = [(tensor([[w.data for w in n.w] for n in l.neurons], requires_grad=True),
              tensor([n.b.data for n in l.neurons], requires_grad=True)) for l in net.layers]
    X = tensor(points, requires_grad=True)
    theirs = (torch_forward(net, pairs, X).flatten()*tensor(factors)).sum()
    theirs.backward()
    same([fused.data], [theirs.item()])
    grads = [(W.grad.tolist(), b.grad.tolist()) for W, b in pairs]
    same([p.grad for p in net.parameters()],
         [g for W, b in grads for row, bias in zip(W, b) for g in (*row, bias)])
    same([v.grad for x in inputs for v in x], X.grad.flatten().tolist())

@prop
@given(st.integers(1, 5), sizes, activations, seeds)
def test_shape_of_a_network(nin, nouts, activation, seed):
    net = MLP(nin, nouts, activation, random.Random(seed))
    params = net.parameters()
    assert len(set(params)) == len(params) == sum((a + 1)*b for a, b in zip([nin, *nouts], nouts))
    kinds = [{n.activation for n in layer.neurons} for layer in net.layers]
    assert kinds == [{activation}]*(len(nouts) - 1) + [{'linear'}]
    out = net([0.5]*nin)
    assert isinstance(out, Value) if nouts[-1] == 1 else len(out) == nouts[-1]
    assert all(n.b.data == 0 and all(-1 <= w.data <= 1 for w in n.w)
               for layer in net.layers for n in layer.neurons)

@prop
@given(seeds)
def test_same_seed_same_weights(seed):
    def weights(seed): return [p.data for p in MLP(3, [4, 2], rng=random.Random(seed)).parameters()]
    assert weights(seed) == weights(seed) != weights(seed + 1)
    assert moons(20, seed=seed) == moons(20, seed=seed)
    assert moons(20, seed=seed)[0] != moons(20, seed=seed + 1)[0]

def test_without_a_generator_the_weights_are_those_of_seed_0():
    state = random.getstate()
    for kind, *sizes in ((MLP, 3, [4, 2]), (Layer, 3, 4), (Neuron, 3)):
        default, zero = kind(*sizes), kind(*sizes, rng=random.Random(0))
        assert [p.data for p in default.parameters()] == [p.data for p in zero.parameters()]
    assert len({tuple(w.data for w in n.w) for n in Layer(3, 4).neurons}) == 4
    assert random.getstate() == state                       # nobody else's chance is used

@prop
@given(st.integers(0, 30), seeds)
def test_moons(n, seed):
    state = random.getstate()
    points, labels = moons(n, noise=0, seed=seed)
    assert random.getstate() == state
    assert len(points) == n and labels == [1 if i % 2 == 0 else -1 for i in range(n)]
    for (x, y), label in zip(points, labels):
        if label == 1: assert math.isclose(math.hypot(x, y), 1) and y >= -1e-12
        else: assert math.isclose(math.hypot(x - 1, y - 0.5), 1) and y <= 0.5 + 1e-12

def test_moons_are_pinned():
    "The book prints what depends on these numbers"
    points, labels = moons()
    assert len(points) == 100 and sum(labels) == 0
    again = random.Random(1337)
    t = again.uniform(0, math.pi)
    assert points[0] == [math.cos(t) + again.gauss(0, 0.1), math.sin(t) + again.gauss(0, 0.1)]
    spread = [math.hypot(x, y) - 1 for x, y in moons(4000, noise=0.2)[0][::2]]
    assert math.isclose(math.sqrt(sum(s*s for s in spread)/len(spread)), 0.2, rel_tol=0.1)

def leaves(xs): return [Value(x) for x in xs], tensor(xs, requires_grad=True)

def compare(mine, ours, loss, theirs):
    ours.backward()
    theirs.backward()
    same([ours.data], [theirs.item()])
    same([v.grad for v in mine], loss.grad.flatten().tolist())

@prop
@given(st.lists(st.tuples(scores, st.sampled_from([1, -1])), min_size=1, max_size=8))
def test_hinge_is_torchs(pairs):
    xs, labels = zip(*pairs)
    mine, other = leaves(xs)
    compare(mine, hinge(mine, labels), other, (1 - tensor(labels)*other).relu().mean())

def test_hinge_at_its_bend():
    s = [Value(1.0), Value(-1.0)]
    loss = hinge(s, [1, -1])
    loss.backward()
    assert (loss.data, s[0].grad, s[1].grad) == (0, 0, 0)

@prop
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=8))
def test_squared_error_is_torchs(pairs):
    xs, targets = zip(*pairs)
    mine, other = leaves(xs)
    compare(mine, squared_error(mine, targets), other, F.mse_loss(other, tensor(targets)))

@st.composite
def logits(draw):
    rows, kinds = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    row = st.lists(scores, min_size=kinds, max_size=kinds)
    target = st.integers(0, kinds - 1)
    return [draw(row) for _ in range(rows)], [draw(target) for _ in range(rows)]

@prop
@given(logits())
def test_cross_entropy_is_torchs(given):
    numbers, targets = given
    mine, other = [[Value(x) for x in row] for row in numbers], tensor(numbers, requires_grad=True)
    theirs = F.cross_entropy(other, torch.tensor(targets))
    compare(sum(mine, []), cross_entropy(mine, targets), other, theirs)
    for row, right in zip(mine, other.logsumexp(1).tolist()): same([log_sum_exp(row).data], [right])

@pytest.mark.parametrize('row', [[1000.0, 0.0], [-1000.0, -1000.0], [1e300, -1e300], [0.0],
                                 [5.0, 5.0, 5.0]])
def test_extreme_logits(row):
    for t in range(len(row)):
        mine, other = [Value(x) for x in row], tensor([row], requires_grad=True)
        ours, theirs = cross_entropy([mine], [t]), F.cross_entropy(other, torch.tensor([t]))
        ours.backward()
        theirs.backward()
        assert math.isclose(ours.data, theirs.item(), rel_tol=1e-12, abs_tol=1e-15)
        same([v.grad for v in mine], other.grad[0].tolist())

@prop
@given(st.lists(st.floats(-2, 2, allow_subnormal=False), min_size=1, max_size=4), st.floats(0, 0.2),
       st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.01, 0.3]))
def test_sgd_is_torchs(start, lr, momentum, weight_decay):
    mine, other = leaves(start)
    ours = SGD(mine, lr, momentum, weight_decay)
    theirs = torch.optim.SGD([other], lr=lr, momentum=momentum, weight_decay=weight_decay)
    for k in range(6):
        if k == 4: ours.lr = theirs.param_groups[0]['lr'] = lr/2        # as a schedule does
        for optimizer in (ours, theirs): optimizer.zero_grad()
        sum((v*v + 1).log() + v*0.3 for v in mine).backward()
        ((other*other + 1).log() + other*0.3).sum().backward()
        ours.step()
        theirs.step()
        same([v.data for v in mine], other.tolist())

def test_step_alone_changes_no_gradient_and_zero_grad_no_value():
    p = Value(2.0)
    optimizer = SGD([p], lr=0.5)
    p.grad = 3.0
    optimizer.step()
    assert (p.data, p.grad) == (0.5, 3.0)
    optimizer.zero_grad()
    assert (p.data, p.grad) == (0.5, 0.0)
    net = MLP(2, [3, 1])
    net([1.0, 2.0]).backward()
    assert any(p.grad for p in net.parameters())
    net.zero_grad()
    assert not any(p.grad for p in net.parameters())

def test_gradients_add_up_over_examples_and_calls():
    net, points, _ = network(2, [3, 1], 'tanh', 5)
    total = sum(net(x) for x in points)
    total.backward()
    once = [p.grad for p in net.parameters()]
    net.zero_grad()
    for x in points: net(x).backward()
    same([p.grad for p in net.parameters()], once)
    total.backward()
    same([p.grad for p in net.parameters()], [2*g for g in once])

def test_weights_follow_their_values():
    "The pack of the weights is made once; training changes what is in it"
    n = Neuron(2, 'linear')
    n.w[0].data, n.w[1].data, n.b.data = 3.0, -2.0, 0.5
    assert n([10.0, 1.0]).data == 28.5
    assert len(topological(n([10.0, 1.0]))) < len(topological(sum(w*1.0 for w in n.w) + n.b)) + 8

@prop
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=6), scores)
def test_dot_and_vectors(pairs, factor):
    a, b = map(list, zip(*pairs))
    ws, xs = [Value(x) for x in a], [Value(x) for x in b]
    s = dot(pack(ws), pack(xs))*factor
    s.backward()
    same([s.data], [math.sumprod(a, b)*factor if hasattr(math, 'sumprod') else
                    math.fsum(x*y for x, y in pairs)*factor], tol=1e-9)
    assert [w.grad for w in ws] == [x*factor for x in b]
    assert [x.grad for x in xs] == [w*factor for w in a]
    v = Vector(a)
    assert v*2 == 2*v == v + v == [2*x for x in a] and 0.0 + v == v == a

def test_links_of_a_pack():
    ws = [Value(x) for x in (1.0, 2.0, 3.0)]
    whole = pack(ws)
    assert [p.data for p in (whole, whole.b, whole.b.b)] == [[1, 2, 3], [1, 2], [1]]
    assert whole.b.b.b is None and whole.values == tuple(ws) and pack([1.0, ws[0]]).data == [1, 1]

def test_a_square_in_one_dot():
    ws = [Value(2.0), Value(-3.0)]
    shared = pack(ws)
    dot(shared, shared).backward()
    assert [w.grad for w in ws] == [4, -6]

def two(): return [Value(1.0), Value(2.0)]

@pytest.mark.parametrize('call, words', [
    (lambda: MLP(2, [3, 1])([1.0, 2.0, 3.0]), '2 weights, and 3 inputs'),
    (lambda: MLP(2, [3, 1])([1.0]), '2 weights, and 1 inputs'),
    (lambda: MLP(2, [3, 1])([]), 'nothing to pack: a neuron needs an input'),
    (lambda: Neuron(0), 'nothing to pack'),
    (lambda: MLP(2, [2, 1], 'step'),
     "no activation 'step'; there are: tanh, relu, sigmoid, linear"),
    (lambda: hinge(two(), [1, 0]), 'labels must be 1 or -1, not {0}'),
    (lambda: hinge(two(), [1]), '2 outputs, 1 targets'),
    (lambda: squared_error(two(), [1.0, 2.0, 3.0]), '2 outputs, 3 targets'),
    (lambda: cross_entropy([two()], [2]), 'target 2, with logits 0 to 1'),
    (lambda: cross_entropy([two()], [-1]), 'target -1, with logits 0 to 1'),
    (lambda: cross_entropy([two()], [0, 1]), '1 outputs, 2 targets'),
])
def test_messages(call, words):
    with pytest.raises(ValueError) as e: call()
    assert words in str(e.value) and '\n' not in str(e.value)
