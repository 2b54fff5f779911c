"""The models beside makemore.py: `python benchmarks/zoo.py [--rounds N] [--makemore FILE]`

One training step of each model of makemore, at its default sizes, with its own data loader
(no workers) and optimizer, beside ours of the same sizes with `nnzero.lm.train.Trainer`, as it
is: batch, forward, backward, optimizer, and the loss read. The two take turns within one process
on one thread; every round is a fresh process. makemore.py is no dependency of the project: it is
given by --makemore, or fetched from GitHub at a fixed commit and checked by its hash.
"""
import json, sys, warnings
import bench

URL = 'https://raw.githubusercontent.com/karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/makemore.py'
SHA256 = '49b281f40d2c4897737cb90f21f55d4cbbe7d10329212caab72a9054ba17be96'
WIDE, BLOCK = dict(n_embd=64, n_hidden=64), dict(block_size=16)
SIZES = {'bigram': {}, 'bow': WIDE | BLOCK, 'rnn': WIDE, 'gru': WIDE, 'mlp': WIDE | BLOCK,
         'transformer': dict(n_embd=64, n_head=4, n_layer=4) | BLOCK}
LIMITS = {'bigram': 0.3, 'bow': 0.6, 'rnn': 0.55, 'gru': 0.65, 'mlp': 0.55, 'transformer': 0.75}
STEPS, TURNS = 20, 12                   # steps in a turn; turns of each side in a process

def theirs(file:str, kind:str, names:list, held:int=1000):
    "A step of makemore.py"
    import torch
    mk = bench.loaded('makemore', file)
    config = mk.ModelConfig(vocab_size=27, block_size=16)
    make = dict(bigram=mk.Bigram, bow=mk.BoW, mlp=mk.MLP, transformer=mk.Transformer).get(kind)
    model = make(config) if make else mk.RNN(config, kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    data = mk.CharDataset(names, sorted(set(''.join(names))), 15)
    loader = mk.InfiniteDataLoader(data, batch_size=32, pin_memory=False, num_workers=0)
    def step():
        x, y = loader.next()
        loss = model(x, y)[1]
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step

def ours(kind:str, names:list, precision:str='float32'):
    "A step of ours, with the same settings"
    from nnzero.lm.data import CharTokenizer, LineData
    from nnzero.lm.train import TrainConfig, Trainer
    from nnzero.makemore.zoo import build
    tok = CharTokenizer.train(names)
    data, model = LineData(names, tok), build(kind, tok.vocab_size, **SIZES[kind])
    config = TrainConfig(steps=10**6, lr=5e-4, schedule='constant', warmup=0, weight_decay=0.01,
                         clip=None, precision=precision, device='cpu')
    return Trainer(model, data, data, config).step

def timed(file:str, kind:str) -> dict:
    "Median milliseconds of processor time for a step of each, taken in turns"
    import torch
    from nnzero.lm.data import lines, load
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = lines(load('names'))
    steps = dict(makemore=theirs(file, kind, names), nnzero=ours(kind, names))
    if kind == 'transformer': steps['bf16'] = ours(kind, names, 'bfloat16')
    return bench.in_turns(steps, TURNS, STEPS, warm=5)

def main(rounds:int, given:str|None):
    if (file := bench.fetched('makemore.py', URL, SHA256, given)) is None:
        return print('makemore.py could not be fetched; give it by --makemore FILE')
    info = bench.machine('nnzero', 'numpy', 'torch')
    found = bench.interleave(rounds, list(SIZES), lambda kind: bench.child(__file__, file, kind))
    rows, ratios = [], {}
    for kind, rs in found.items():
        ratios[kind] = [r['nnzero']/r['makemore'] for r in rs]
        rows.append([kind, *(bench.spread([r[side] for r in rs]) for side in ('makemore', 'nnzero')),
                     bench.spread(ratios[kind]), f'{LIMITS[kind]:g}'])
        if kind == 'transformer':
            ratios['transformer, bf16'] = [r['bf16']/r['makemore'] for r in rs]
            rows.append(['transformer, bf16', rows[-1][1], bench.spread([r['bf16'] for r in rs]),
                         bench.spread(ratios['transformer, bf16']), ''])
    head = ['a step of 32 names, ms', 'makemore', 'nnzero', 'nnzero / makemore', 'aim']
    text = ('# The models beside makemore.py\n\n' + bench.table(head, rows) + '\n\nProcessor time on one thread, '
            f'default sizes of makemore, float32 where nothing else is said. Median (lower to upper quartile) of {rounds} '
            f'rounds; ratios are taken round by round.\n\n{bench.machine_line(info)}\n')
    bench.report('zoo', text, machine=info, rounds=rounds, found=found, ratios=ratios)

if __name__ == '__main__':
    if sys.argv[2:3] and sys.argv[2] in SIZES: print(json.dumps(timed(*sys.argv[1:3])))     # a child process
    else:
        parser = bench.options(__doc__, 7)
        parser.add_argument('--makemore', metavar='FILE', help='makemore.py, if it is here already')
        args = parser.parse_args()
        main(args.rounds, args.makemore)
