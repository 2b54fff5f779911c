"""The tokenizer beside `tokenizers` and the lecture's way: `python benchmarks/tokenizer.py [--rounds N]`

Tiny Shakespeare, GPT-4's split pattern, 512 tokens. Three sides: ours; the library `tokenizers`,
written in Rust, on one thread; and the way of the lecture's exercise, which counts all pairs again
for each merge and reads each piece anew for each token, written out here. It is given eight merges,
and its time for one is compared with ours and theirs for one of 256. Encoding starts with nothing
known. Before anything is timed, merges and ids of the three must be the same. The sides take turns
within one process on one thread; every round is a fresh process. `tokenizers` is a requirement of
the development, not of the library.
"""
import json, os, sys
import bench

MERGES, FEW, ROUNDS = 256, 8, 7
LIMITS = {'training': 3.0, 'encoding': 2.0}     # seconds of one core

def counted(rows):
    from collections import Counter
    from itertools import pairwise
    counts = Counter()
    for row in rows: counts.update(pairwise(row))
    return counts

def joined(row, pair, new):
    out, i = [], 0
    while i < len(row):
        hit = tuple(row[i:i + 2]) == pair
        out.append(new if hit else row[i])
        i += 1 + hit
    return out

def naive_train(parts, merges, order):
    "Count, merge the most frequent, go on; of equals the lowest in the alphabet's order"
    rows, found = [list(part.encode().translate(order)) for part in parts], []
    for new in range(256, 256 + merges):
        counts = counted(rows)
        best = max(counts, key=lambda p: (counts[p], -p[0], -p[1]))
        rows = [joined(row, best, new) for row in rows]
        found.append(best)
    return found

def naive_encode(parts, ranks, order):
    "Each piece by itself, merge by merge"
    from itertools import pairwise
    out = []
    for part in parts:
        ids = list(part.encode().translate(order))
        while hits := [p for p in pairwise(ids) if p in ranks]:
            pair = min(hits, key=ranks.get)
            ids = joined(ids, pair, ranks[pair])
        out += ids
    return out

def theirs(text, pattern, merges=MERGES):
    import tokenizers as hf
    from tokenizers import models, pre_tokenizers as pre, trainers
    found = hf.Tokenizer(models.BPE())
    found.pre_tokenizer = pre.Sequence([pre.Split(hf.Regex(pattern), 'isolated'),
                                        pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    found.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=256 + merges, min_frequency=2, show_progress=False,
        initial_alphabet=pre.ByteLevel.alphabet()))
    return found

def timed() -> dict:
    "Seconds of processor time for each side, taken in turns"
    os.environ |= {'RAYON_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'}
    import tokenizers as hf
    from nnzero.gpt.tokenizer import GPT2_BYTES, PATTERNS, BPETokenizer, pieces
    from nnzero.lm.data import load
    text, pattern = load('shakespeare'), PATTERNS['gpt4']
    order = bytes(map(GPT2_BYTES.index, range(256)))
    def train(size=256 + MERGES): return BPETokenizer.train(text, size, ties='lowest', alphabet=GPT2_BYTES)
    ours, its = train(), theirs(text, pattern)
    merges, ids, saved = ours.merges, ours.encode(text), its.to_str()
    def fresh(): return hf.Tokenizer.from_str(saved)
    assert its.encode(text).ids == ids and naive_train(pieces(text), FEW, order) == merges[:FEW]
    assert naive_encode(pieces(text), ours._ranks, order) == ids
    def milliseconds(sides, turns): return bench.in_turns(sides, turns, 1, 0)
    def blank(): return BPETokenizer(merges, alphabet=GPT2_BYTES)
    training = milliseconds({'nnzero': train, 'tokenizers': lambda: theirs(text, pattern),
                             'the lecture\'s way': lambda: naive_train(pieces(text), FEW, order)}, 3)
    encoding = milliseconds({'nnzero': lambda: blank().encode(text), 'tokenizers': lambda: fresh().encode(text),
                             'the lecture\'s way': lambda: naive_encode(pieces(text), ours._ranks, order)}, 3)
    training['the lecture\'s way'] *= MERGES/FEW
    return {what: {side: ms/1000 for side, ms in found.items()}
            for what, found in (('training', training), ('encoding', encoding))}

def main(rounds:int):
    info = bench.machine('nnzero', 'regex', 'tokenizers')
    found = bench.interleave(rounds, ['all'], lambda _: bench.child(__file__, 'all'))['all']
    rows = []
    for what in ('training', 'encoding'):
        for side in found[0][what]:
            rows.append([f'{what}: {side}', bench.spread([r[what][side] for r in found]),
                         bench.spread([r[what][side]/r[what]['nnzero'] for r in found]),
                         f'{LIMITS[what]:g}' if side == 'nnzero' else ''])
    text = ('# The tokenizer\n\n' + bench.table(['tiny Shakespeare, 512 tokens', 'seconds', 'of nnzero\'s', 'aim, seconds'], rows)
            + f'\n\nProcessor time on one thread, GPT-4\'s pattern, the same merges and ids. The lecture\'s way was given {FEW} '
            f'merges of {MERGES}, and its time multiplied accordingly. Median (lower to upper quartile) of {rounds} rounds; ratios '
            f'are taken round by round.\n\n{bench.machine_line(info)}\n')
    bench.report('tokenizer', text, machine=info, rounds=rounds, found=found)

if __name__ == '__main__':
    if sys.argv[1:2] == ['all']: print(json.dumps(timed()))        # a child
    else:
        main(bench.options(__doc__, ROUNDS).parse_args().rounds)
