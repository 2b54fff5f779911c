"""Interpolated Kneser-Ney beside nltk's: `python benchmarks/ngram.py [--rounds N]`

Both count the same names and give probabilities by the same formula with one discount. Counting is
timed on all training names; asking on all of dev for nnzero, and on a few letters of it for nltk,
which takes some milliseconds for each. Before anything is timed the two must agree on a text.
Without nltk (`pip install nltk`; it is no dependency of nnzero) nnzero is measured alone.
"""
import importlib.util, json, statistics, sys, time
import bench

ORDERS, DISCOUNT, ASKED = (3, 5), 0.75, 40      # ASKED: letters that nltk is asked for in a process

def data():
    from nnzero.lm.data import CharTokenizer, LineData, lines, load, split
    names = lines(load('names'))
    train, dev, _ = split(names)
    return train, dev, CharTokenizer.train(names), LineData

def nnzero(order:int) -> dict:
    "Seconds to count the training names, and microseconds for each symbol of dev"
    import torch
    torch.set_num_threads(1)
    from nnzero.lm.loss import evaluate
    from nnzero.makemore.ngram import NGram, NGramConfig
    train, dev, tok, LineData = data()
    train, dev = LineData(train, tok), LineData(dev, tok)
    model = NGram(NGramConfig(tok.vocab_size, order, discounts=(DISCOUNT,))).fit(LineData(['a'], tok))
    evaluate(model, LineData(['a'], tok))               # whatever is slow only the first time
    start = time.process_time()
    model.fit(train)
    counted = time.process_time()
    loss = evaluate(model, dev)
    return dict(count=counted - start, ask=1e6*(time.process_time() - counted)/dev.predictions, loss=loss)

def nltk_model(sequences, order:int):
    from nltk.lm import KneserNeyInterpolated
    from nltk.util import everygrams
    model = KneserNeyInterpolated(order, DISCOUNT)
    model.fit([list(everygrams(s, max_len=order)) for s in sequences], vocabulary_text=''.join(sequences))
    return model

def nltk(order:int) -> dict:
    "The same for nltk, names padded as it needs them; a few symbols from all over dev"
    train, dev, _, _ = data()
    def padded(name): return '<'*(order - 1) + name + '>'
    sequences = [padded(name) for name in train]
    start = time.process_time()
    model = nltk_model(sequences, order)
    counted = time.process_time()
    asked = [(line[i + 1 - order:i], line[i]) for line in map(padded, dev) for i in range(order - 1, len(line))]
    asked = asked[::len(asked)//ASKED][:ASKED]
    for context, symbol in asked: model.score(symbol, tuple(context))
    return dict(count=counted - start, ask=1e6*(time.process_time() - counted)/len(asked))

def agree(order:int=4) -> dict:
    """The largest difference of a probability on a text, from contexts that do not reach its start.

    nltk's empty context is not mixed with 1/V; so much is added to its answer before comparing.
    """
    import torch
    from nnzero.lm.data import CharTokenizer, TextData
    from nnzero.makemore.ngram import NGram, NGramConfig
    train, dev, _, _ = data()
    text = '#' + '\n'.join(train[:400])
    tok, theirs = CharTokenizer.train(text, mark=False), nltk_model([text], order)
    V, off, n = tok.vocab_size, 0.0, 0
    ours = NGram(NGramConfig(V, order, discounts=(DISCOUNT,))).fit(TextData(text, tok, 1))
    before = {c: {text[i - 1] for i in range(1, len(text)) if text[i] == c} for c in tok.chars}
    pairs = sum(map(len, before.values()))
    kinds = sum(bool(b) for b in before.values())
    for name in dev[:12]:
        for end in range(1, len(name)):
            context = tuple(c for c in name[max(0, end + 1 - order):end])
            if any(c not in tok.chars for c in name): continue
            p, left = ours(torch.tensor([tok.encode(context)]))[0, -1].exp(), 1.0
            for k in range(len(context)):                   # what reaches the empty context
                if theirs.counts[context[k:]]: left *= theirs.estimator.alpha_gamma('a', context[k:])[1]
            for c, mine in zip(tok.chars, p.tolist()):
                root = len(before[c])/pairs
                mixed = (max(len(before[c]) - DISCOUNT, 0) + DISCOUNT*kinds/V)/pairs
                off, n = max(off, abs(mine - theirs.score(c, context) - left*(mixed - root))), n + 1
    return dict(off=off, compared=n)

def main(rounds:int):
    both = importlib.util.find_spec('nltk') is not None
    info = bench.machine('nnzero', 'torch', *(['nltk'] if both else []))
    if both:
        same = bench.child(__file__, 'agree', 4)
        if same['off'] > 1e-9: sys.exit(f'the two disagree by {same["off"]:.2g}')
    cases = [(who, n) for n in ORDERS for who in (['nnzero', 'nltk'] if both else ['nnzero'])]
    found = bench.interleave(rounds, cases, lambda case: bench.child(__file__, *case))
    rows, ratios = [], {}
    for n in ORDERS:
        for what, unit in (('count', 'counting, s'), ('ask', 'asking, µs a symbol')):
            ours = [r[what] for r in found['nnzero', n]]
            row = [f'order {n}, {unit}', '', bench.spread(ours), '']
            if both:
                theirs = [r[what] for r in found['nltk', n]]
                ratios[f'{what} {n}'] = [a/b for a, b in zip(theirs, ours)]
                row[1], row[3] = bench.spread(theirs), bench.spread(ratios[f'{what} {n}'])
            rows.append(row)
    text = ('# Kneser-Ney beside nltk\n\n' + bench.table(['', 'nltk', 'nnzero', 'nltk / nnzero'], rows)
            + f'\n\nInterpolated Kneser-Ney with the discount {DISCOUNT}, names; processor time on one thread. Median '
            f'(lower to upper quartile) of {rounds} rounds; ratios are taken round by round.')
    if both: text += (f' On {same["compared"]:,} probabilities of a text the two agree to {same["off"]:.0e}, once the '
                      'empty context of nltk, which is not smoothed, is mixed with 1/V.')
    text += f'\n\n{bench.machine_line(info)}\n'
    bench.report('ngram', text, machine=info, rounds=rounds, ratios=ratios,
                 found={f'{who} {n}': rs for (who, n), rs in found.items()})
    for what, r in ratios.items():
        if statistics.median(r) < 1: sys.exit(f'{what}: nltk is faster')

if __name__ == '__main__':
    jobs = dict(nnzero=nnzero, nltk=nltk, agree=agree)
    if sys.argv[1:2] and sys.argv[1] in jobs: print(json.dumps(jobs[sys.argv[1]](int(sys.argv[2]))))    # a child process
    else:
        main(bench.options(__doc__, 5).parse_args().rounds)
