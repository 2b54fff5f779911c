"""A GPT by hand beside torch's autograd: `python benchmarks/by_hand.py [--rounds N]`

A step of training on names, batches of 32 rows of 16 places, in float32: zero_grad, forward,
cross-entropy, backward, AdamW. Ours is `nnzero.gpt.by_hand.HandGPT` in numpy; torch's is
`nnzero.gpt.model.GPT`, with its own attention and its fused AdamW. Both start from the same weights
and see the same batches; before anything is timed, their losses and gradients must agree. They take
turns within one process on one thread, and every round is a fresh process. A second table says in
which layers the time of ours is spent.
"""
import json, statistics, sys, time
import bench

SIZES = {'2 layers, 32 wide': dict(n_layer=2, n_embd=32), '4 layers, 64 wide': dict(n_layer=4, n_embd=64),
         '4 layers, 128 wide': dict(n_layer=4, n_embd=128)}
HOW = dict(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
TURNS, LIMIT = 60, 2.5                                  # steps of each that are timed; times torch's time, at most

def data():
    "Names as the chapter has them"
    import torch
    from nnzero.lm.data import Batches, CharTokenizer, LineData, lines, load
    names = lines(load('names'))
    tok = CharTokenizer.train(names)
    return tok.vocab_size, Batches(LineData(names, tok, 16), 32)

def networks(size:str, V:int):
    "Torch's GPT and ours with its weights"
    import numpy as np, torch
    from nnzero.gpt.by_hand import HandGPT, load_torch
    from nnzero.gpt.model import GPT, GPTConfig
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = dict(vocab_size=V, block_size=16, n_head=4) | SIZES[size]
    theirs = GPT(GPTConfig(**sizes))
    return theirs, load_torch(HandGPT(**sizes).astype(np.float32), theirs.state_dict())

def by_hand(net):
    "A step of ours"
    from nnzero.backprop.layers import AdamW, CrossEntropy
    optimizer, ce = AdamW(net.parameters(), **HOW), CrossEntropy(ignore_index=-1)
    def step(x, y):
        optimizer.zero_grad()
        loss = ce.forward(net.forward(x.numpy()), y.numpy())
        net.backward(ce.backward())
        optimizer.step()
        return float(loss)
    return step

def by_torch(net):
    "A step of torch's"
    import torch
    from nnzero.lm.loss import nll
    optimizer = torch.optim.AdamW(net.parameters(), **HOW, fused=True)
    def step(x, y):
        optimizer.zero_grad()
        loss = nll(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step

def shares(net, step, batches, turns:int=20) -> dict:
    "Of the time of a step, the part in each kind of layer"
    from nnzero.backprop import layers as L
    from nnzero.gpt.by_hand import Heads, Tied
    kinds, spent = (L.Linear, L.GELU, L.LayerNorm, L.Embedding, Heads, Tied), {}
    def clock(name, call):
        def timed(*args):
            start = time.process_time()
            y = call(*args)
            spent[name] = spent.get(name, 0) + time.process_time() - start
            return y
        return timed
    for layer in L._find(net, kinds):
        for way in ('forward', 'backward'): setattr(layer, way, clock(type(layer).__name__, getattr(layer, way)))
    for i in range(5): step(*batches.at(i))
    spent.clear()
    start = time.process_time()
    for i in range(turns): step(*batches.at(i))
    whole = time.process_time() - start
    return {name: s/whole for name, s in spent.items()} | {'all else': 1 - sum(spent.values())/whole}

def timed(size:str) -> dict:
    "Median milliseconds of processor time of a step of each, and where ours spends it"
    import numpy as np
    V, batches = data()
    theirs, ours = networks(size, V)
    ours_step, torch_step = by_hand(ours), by_torch(theirs)
    for i in range(5):
        a, b = ours_step(*batches.at(i)), torch_step(*batches.at(i))
        assert abs(a - b) < 1e-4, f'they disagree: {a} and {b}'
        if i == 0:
            from nnzero.gpt.by_hand import as_torch
            grads = as_torch(ours)
            for name, p in theirs.named_parameters():
                assert np.abs(grads[name][1] - p.grad.numpy()).max() < 1e-4, name
    ready = [batches.at(i) for i in range(TURNS)]
    def over(step):
        left = iter(ready)
        return lambda: step(*next(left))
    found = bench.in_turns({'nnzero': over(ours_step), 'torch': over(torch_step)}, TURNS, 1, warm=0)
    return found | dict(shares=shares(ours, ours_step, batches))

def main(rounds:int):
    info = bench.machine('nnzero', 'numpy', 'torch')
    found = bench.interleave(rounds, list(SIZES), lambda size: bench.child(__file__, size))
    ratios = {size: [r['nnzero']/r['torch'] for r in rs] for size, rs in found.items()}
    rows = [[size, *(bench.spread([r[side] for r in found[size]]) for side in ('torch', 'nnzero')),
             bench.spread(ratios[size]), f'{LIMIT:g}'] for size in SIZES]
    kinds = list(found['4 layers, 128 wide'][0]['shares'])
    parts = [[kind, *(f"{100*statistics.median(r['shares'][kind] for r in found[size]):.0f}" for size in SIZES)]
             for kind in kinds]
    text = ('# A GPT by hand beside torch\n\n'
            + bench.table(['a step of training, ms', 'torch', 'nnzero', 'nnzero / torch', 'at most'], rows)
            + '\n\n' + bench.table(['% of our time in', *SIZES], parts)
            + f'\n\nProcessor time on one thread; 4 heads, 32 names in rows of 16 places, float32, AdamW. Median (lower to '
            f'upper quartile) of {rounds} rounds; ratios are taken round by round.\n\n{bench.machine_line(info)}\n')
    bench.report('by_hand', text, machine=info, rounds=rounds, found=found, ratios=ratios)
    bench.demand(ratios, 'torch', LIMIT)

if __name__ == '__main__':
    if sys.argv[1:2] and sys.argv[1] in SIZES: print(json.dumps(timed(sys.argv[1])))     # a child process
    else:
        main(bench.options(__doc__, 7).parse_args().rounds)
