"""Layers by hand beside torch's autograd: `python benchmarks/layers.py [--rounds N]`

One step of an MLP, 64-256-256-10, on a batch of 256 in float32: zero_grad, forward, cross-entropy,
backward. Both sides start from the same weights and must find the same gradients. The two take
turns within one process on one thread; every round is a fresh process.
"""
import json, statistics, sys, time
import bench

SIZES, BATCH, STEPS = (64, 256, 256, 10), 256, 60       # steps of each side that are timed in a process
NAMES = {'relu': 'ReLU', 'tanh': 'Tanh'}
LIMIT = 2.0                                             # times torch's time, at most

def data():
    import numpy as np
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, SIZES[0]), np.float32), rng.integers(SIZES[-1], size=BATCH)

def by_hand(activation:str):
    "A function that takes one step with our layers: the loss, and the gradients"
    import numpy as np
    from nnzero.backprop import layers as L
    (x, targets), loss, parts = data(), L.CrossEntropy(), []
    for i, (n, m) in enumerate(zip(SIZES, SIZES[1:])):
        parts += [L.Linear(n, m, rng=i), getattr(L, NAMES[activation])()]
    net = L.Sequential(*parts[:-1]).astype(np.float32)
    def step():
        net.zero_grad()
        out = loss.forward(net.forward(x), targets)
        net.backward(loss.backward())
        return out
    return step, net.parameters()

def by_torch(activation:str, arrays:list):
    "The same with torch, from the same weights"
    import torch
    torch.set_num_threads(1)
    x, targets = map(torch.tensor, data())
    ps = [torch.tensor(a, requires_grad=True) for a in arrays]
    act = getattr(torch, activation)
    def step():
        for p in ps: p.grad = None
        h = act(torch.addmm(ps[1], x, ps[0]))
        h = act(torch.addmm(ps[3], h, ps[2]))
        loss = torch.nn.functional.cross_entropy(torch.addmm(ps[5], h, ps[4]), targets)
        loss.backward()
        return loss
    return step, ps

def timed(activation:str) -> dict:
    "Median milliseconds of a step of each, taken in turns"
    import numpy as np
    ours, ps = by_hand(activation)
    theirs, ts = by_torch(activation, [p.data for p in ps])
    for _ in range(5): a, b = ours(), theirs()
    assert abs(a - b.item()) < 1e-5, f'they disagree: {a} and {b.item()}'
    for p, t in zip(ps, ts, strict=True): assert np.abs(p.grad - t.grad.numpy()).max() < 1e-5
    ms = {ours: [], theirs: []}
    for i in range(STEPS):
        for step in (ours, theirs)[::1 if i % 2 else -1]:
            start = time.perf_counter()
            step()
            ms[step].append(1e3*(time.perf_counter() - start))
    return dict(nnzero=statistics.median(ms[ours]), torch=statistics.median(ms[theirs]), loss=float(a))

def main(rounds:int):
    info = bench.machine('nnzero', 'numpy', 'torch')
    found = bench.interleave(rounds, list(NAMES), lambda activation: bench.child(__file__, activation))
    ratios = {a: [r['nnzero']/r['torch'] for r in rs] for a, rs in found.items()}
    rows = [[f'a step with {a}, ms', *(bench.spread([r[side] for r in found[a]]) for side in ('torch', 'nnzero')),
             bench.spread(ratios[a])] for a in NAMES]
    widths = '-'.join(map(str, SIZES))
    text = ('# Layers by hand beside torch\n\n' + bench.table(['', 'torch', 'nnzero', 'nnzero / torch'], rows)
            + f'\n\nAn MLP {widths}, batch {BATCH}, float32, cross-entropy, forward and backward. Median (lower to '
            f'upper quartile) of {rounds} rounds; ratios are taken round by round. At most {LIMIT:g} is asked for.'
            f'\n\n{bench.machine_line(info)}\n')
    bench.report('layers', text, machine=info, rounds=rounds, steps=STEPS, found=found, ratios=ratios)
    bench.demand(ratios, 'torch', LIMIT)

if __name__ == '__main__':
    if sys.argv[1:2] and sys.argv[1] in NAMES: print(json.dumps(timed(sys.argv[1])))     # a child process
    else:
        main(bench.options(__doc__, 9).parse_args().rounds)
