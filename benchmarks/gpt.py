"""GPT beside nanoGPT: `python benchmarks/gpt.py [--rounds N] [--nanogpt FILE]`

A training step at the sizes of nanoGPT's line for a processor (4 layers, 4 heads, 128 wide, 64
places, batches of 12, no dropout, no biases): its model, its AdamW and a batch cut as its train.py
does, beside ours with `nnzero.lm.train.Trainer`, as it is: batch, forward, backward, clipping,
optimizer, and the loss read. Then sampling: 255 symbols after one, context 256, nanoGPT's
`generate` and our `step` with its cache, one text and 16 at once. All take turns within one
process on one thread; every round is a fresh process. nanoGPT's model.py is no dependency: it is
given by --nanogpt, or fetched from GitHub at a fixed commit and checked by its hash.
"""
import contextlib, io, json, sys, warnings
import bench

URL = 'https://raw.githubusercontent.com/karpathy/nanoGPT/3adf61e154c3fe3fca428ad6bc3818b27a3b8291/model.py'
SHA256 = '7c01703240dbec5d554527dc666e35b3df8391d0b117fddc07afcf325a21d11c'
SIZES = dict(n_layer=4, n_head=4, n_embd=128)
LATE = dict(tied=False, positions='rotary', norm='rms', activation='relu2', shift=3, zero=True)
STEPS, TURNS, LIMITS = 5, 8, {'float32': 1, 'bfloat16': 0.6}

def theirs(file:str, text:str):
    "A step of nanoGPT's training, and its sampler"
    import torch
    nano = bench.loaded('nanogpt', file)
    def model(block):
        with contextlib.redirect_stdout(io.StringIO()):
            return nano.GPT(nano.GPTConfig(block, 65, **SIZES, dropout=0.0, bias=False))
    small, writer = model(64), model(256).eval()
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = small.configure_optimizers(0.1, 1e-3, (0.9, 0.99), 'cpu')
    ids = {c: i for i, c in enumerate(sorted(set(text)))}
    data = torch.tensor([ids[c] for c in text], dtype=torch.int64)
    def step():
        at = torch.randint(len(data) - 64, (12,))
        x = torch.stack([data[i:i + 64] for i in at])
        y = torch.stack([data[i + 1:i + 65] for i in at])
        loss = small(x, y)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(small.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()
    return step, lambda: writer.generate(torch.zeros(1, 1, dtype=torch.int64), 255)

def ours(text:str, precision:str='float32', optimizer:str='adamw', **parts):
    "A step of our training"
    from nnzero.gpt.model import GPT, GPTConfig
    from nnzero.lm.data import CharTokenizer, TextData
    from nnzero.lm.train import TrainConfig, Trainer
    tok = CharTokenizer.train(text, mark=False)
    data, model = TextData(text, tok, 64), GPT(GPTConfig(tok.vocab_size, 64, **SIZES, bias=False, **parts))
    config = TrainConfig(steps=10**6, batch_size=12, lr=1e-3, schedule='constant', warmup=0,
                         precision=precision, optimizer=optimizer, device='cpu')
    return Trainer(model, data, data, config).step

def writing(rows:int):
    "255 symbols in each row, with the cache"
    import torch
    from nnzero.gpt.model import GPT, GPTConfig
    model = GPT(GPTConfig(65, 256, **SIZES, bias=False)).eval()
    def write():
        x, state = torch.zeros(rows, 1, dtype=torch.int64), model.start(rows)
        with torch.no_grad():
            for _ in range(255):
                logits, state = model.step(x, state)
                x = torch.multinomial(logits[:, -1].softmax(-1), 1)
    return write

def timed(what:str, file:str) -> dict:
    "Median milliseconds of processor time for each side, taken in turns"
    import torch
    from nnzero.lm.data import load
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    text = load('shakespeare')
    step, write = theirs(file, text)
    if what == 'writing': sides = {'nanoGPT': write, 'nnzero': writing(1), 'nnzero, 16 rows': writing(16)}
    else: sides = {'nanoGPT': step, 'float32': ours(text), 'bfloat16': ours(text, 'bfloat16'),
                   'late': ours(text, **LATE), 'late, bfloat16': ours(text, 'bfloat16', **LATE),
                   'late, bfloat16, Muon': ours(text, 'bfloat16', 'muon', **LATE)}
    steps, turns = (1, 3) if what == 'writing' else (STEPS, TURNS)
    return bench.in_turns(sides, turns, steps, warm=1)

def main(rounds:int, given:str|None):
    if (file := bench.fetched('nanogpt_model.py', URL, SHA256, given)) is None:
        return print("nanoGPT's model.py could not be fetched; give it by --nanogpt FILE")
    info = bench.machine('nnzero', 'numpy', 'torch')
    found = bench.interleave(rounds, ['training', 'writing'], lambda what: bench.child(__file__, what, file))
    rows, faster = [], []
    for name in found['training'][0]:
        ratio = [r[name]/r['nanoGPT'] for r in found['training']]
        rows.append([name, bench.spread([r[name] for r in found['training']]), bench.spread(ratio),
                     f'{LIMITS[name]:g}' if name in LIMITS else ''])
    for name in found['writing'][0]:
        each = 16 if '16' in name else 1
        ratio = [each*r['nanoGPT']/r[name] for r in found['writing']]
        faster.append([name, bench.spread([255e3*each/r[name] for r in found['writing']]),
                       bench.spread(ratio), '5' if name == 'nnzero' else ''])
    text = ('# GPT beside nanoGPT\n\n' + bench.table(['a step of training, ms', 'time', 'of nanoGPT\'s', 'aim'], rows)
            + '\n\n' + bench.table(['255 symbols after one', 'symbols a second', 'times nanoGPT\'s', 'aim'], faster)
            + '\n\nProcessor time on one thread, 4 layers, 4 heads, 128 wide; training with 64 places and batches of '
            'twelve, in float32 where nothing else is said; `late` has rotary positions, RMS norms, squared ReLUs and '
            f'a shift by three places. Median (lower to upper quartile) of {rounds} rounds; ratios are taken round by '
            f'round.\n\n{bench.machine_line(info)}\n')
    bench.report('gpt', text, machine=info, rounds=rounds, found=found)

if __name__ == '__main__':
    if sys.argv[1:2] and sys.argv[1] in ('training', 'writing'): print(json.dumps(timed(*sys.argv[1:3])))  # a child
    else:
        parser = bench.options(__doc__, 7)
        parser.add_argument('--nanogpt', metavar='FILE', help="nanoGPT's model.py, if it is here already")
        args = parser.parse_args()
        main(args.rounds, args.nanogpt)
