"""`Tensor` beside torch's autograd: `python benchmarks/tensor.py [--rounds N]`

One step of an MLP, batch 256, 64-256-256-10, float32, cross-entropy: forward, zero_grad, backward.
Then the gradient of an indexing with many repetitions, as an embedding has it.
"""
import json, statistics, sys, time
import numpy as np
import bench

SIZES, BATCH = (64, 256, 256, 10), 256
TABLE, PICKS = (1000, 64), (32, 128)
CASES = {'relu': 'an MLP step with relu, ms', 'tanh': 'an MLP step with tanh, ms',
         'pick': 'picking 32·128 rows of 1,000, ms'}
STEPS, REPEATS = 20, 15                 # steps timed together; of so many times the median

def parameters() -> list:
    "Weights and biases in turns"
    rng, out = np.random.default_rng(0), []
    for n, m in zip(SIZES, SIZES[1:]):
        out += [rng.normal(0, (2/n)**0.5, (n, m)).astype(np.float32), np.zeros(m, np.float32)]
    return out

def batch() -> tuple:
    rng = np.random.default_rng(1)
    return rng.normal(size=(BATCH, SIZES[0])).astype(np.float32), rng.integers(SIZES[-1], size=BATCH)

def scores(x, params, activation):
    "The network, written once for both"
    for i in range(0, len(params), 2):
        if i: x = getattr(x, activation)()
        x = x @ params[i] + params[i + 1]
    return x

def mlp(engine:str, activation:str):
    "A function that makes one step, and the parameters"
    x, y = batch()
    if engine == 'nnzero':
        from nnzero.backprop.tensor import Tensor
        params, rows = [Tensor(p) for p in parameters()], np.arange(BATCH)
        loss = lambda: -scores(x, params, activation).log_softmax()[rows, y].mean()
    else:
        import torch
        x, y = torch.tensor(x), torch.tensor(y)
        params = [torch.tensor(p, requires_grad=True) for p in parameters()]
        loss = lambda: torch.nn.functional.cross_entropy(scores(x, params, activation), y)
    return stepper(params, loss), params

def pick(engine:str):
    "A function that picks rows of a table and goes back, and the table; `add.at` is numpy's plain way back"
    rng = np.random.default_rng(2)
    table, index = rng.normal(size=TABLE).astype(np.float32), rng.integers(TABLE[0], size=PICKS)
    if engine == 'add.at':
        g = np.full((*PICKS, TABLE[1]), 1, np.float32)
        return lambda: (table[index].sum(), np.add.at(np.zeros_like(table), index, g))[0], []
    if engine == 'nnzero':
        from nnzero.backprop.tensor import Tensor
        table = Tensor(table)
    else:
        import torch
        table, index = torch.tensor(table, requires_grad=True), torch.tensor(index)
    return stepper([table], lambda: table[index].sum()), [table]

def stepper(params:list, loss):
    def step():
        for p in params: p.grad = None
        out = loss()
        out.backward()
        return out
    return step

def setup(engine:str, case:str):
    if engine == 'torch': import torch; torch.set_num_threads(1)
    return pick(engine) if case == 'pick' else mlp(engine, case)

def timed(engine:str, case:str) -> dict:
    "Milliseconds of a step"
    step, _ = setup(engine, case)
    for _ in range(STEPS): step()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(STEPS): step()
        times.append(1e3*(time.perf_counter() - start)/STEPS)
    return dict(ms=statistics.median(times))

def result(engine:str, case:str) -> dict:
    "The loss and the gradients of one step"
    step, params = setup(engine, case)
    loss = step()
    return dict(loss=float(loss.data), grads=[np.asarray(p.grad).tolist() for p in params])

def agree(case:str):
    "Both must compute the same before their speed is worth comparing"
    a, b = (bench.child(__file__, 'result', e, case) for e in ('nnzero', 'torch'))
    assert abs(a['loss'] - b['loss']) <= 1e-5*abs(b['loss']), f"{case}: {a['loss']} and {b['loss']}"
    for x, y in zip(a['grads'], b['grads'], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)

def report(info, ms, ratios, rounds) -> str:
    "The results as markdown"
    rows = [[CASES[c], bench.spread(ms['torch', c]), bench.spread(ms['nnzero', c]), bench.spread(ratios[c])]
            for c in CASES]
    plain = bench.spread(ms['add.at', 'pick'])
    return ('# `Tensor` beside torch\n\n' + bench.table(['', 'torch', 'nnzero', 'nnzero / torch'], rows)
            + f'\n\nForward and backward. For the last line `np.add.at` on the table as it is takes {plain} ms.'
            f'\n\nMedian (lower to upper quartile) of {rounds} rounds; ratios are taken round by round.'
            f'\n\n{bench.machine_line(info)}\n')

def main(rounds:int):
    info = bench.machine('nnzero', 'numpy', 'torch')
    for case in CASES: agree(case)
    cases = [(e, c) for c in CASES for e in ('nnzero', 'torch')] + [('add.at', 'pick')]
    ms = bench.interleave(rounds, cases, lambda case: bench.child(__file__, 'timed', *case)['ms'])
    ratios = {c: [a/b for a, b in zip(ms['nnzero', c], ms['torch', c])] for c in CASES}
    raw = dict(machine=info, rounds=rounds, steps=STEPS, repeats=REPEATS, sizes=SIZES, batch=BATCH,
               ms={f'{e}, {c}': t for (e, c), t in ms.items()}, ratios=ratios)
    text = report(info, ms, ratios, rounds)
    bench.report('tensor', text, **raw)

if __name__ == '__main__':
    if sys.argv[1:2] and sys.argv[1] in ('timed', 'result'):       # a child process
        print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
    else:
        main(bench.options(__doc__, 7).parse_args().rounds)
