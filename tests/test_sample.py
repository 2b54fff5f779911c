"The sampler: what is no lesson. Draws beside exact probabilities, states beside recomputing, batches beside single rows."
import math, random
from collections import Counter, namedtuple
from dataclasses import dataclass
import numpy as np, pytest, torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from nnzero.lm.data import CharTokenizer, DataError, LineData, TextData, lines, load
from nnzero.lm.loss import Uniform
from nnzero.makemore.bigram import Bigram, BigramConfig
from nnzero.makemore.mlp import MLP, MLPConfig
from nnzero.makemore.ngram import NGram, NGramConfig
from nnzero.lm.sample import (_rows, context, filter_logits, generate, min_p, same_logits, start, step, temper, top_k,
                              top_p)

LINES = ['emma', 'ava', 'mia', 'emmy', 'yves', 'vera', 'eve', 'sam', 'max', 'ravi']
TOK = CharTokenizer.train(LINES)
TEXT = 'to be, or not to be: that is the question.\nto sleep, to dream\n'*8
LETTERS = CharTokenizer.train(TEXT, mark=False)
V = TOK.vocab_size

@dataclass
class ToyConfig:
    vocab_size:int
    block_size:int=8
    width:int=12

class ToyRNN(nn.Module):
    "A recurrent net that remembers everything: its context has no end, whatever the block"
    name, context = 'toy-rnn', None

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed, self.out = nn.Embedding(config.vocab_size, config.width), nn.Linear(config.width, config.vocab_size)
        self.cell = nn.Linear(2*config.width, config.width)

    def start(self, B): return self.out.weight.new_zeros(B, self.config.width)

    def step(self, idx, state, lengths=None):
        logits = []
        for t in range(idx.shape[1]):
            new = torch.tanh(self.cell(torch.cat([self.embed(idx[:, t]), state], 1)))
            state = new if lengths is None else torch.where((t < lengths)[:, None], new, state)
            logits.append(self.out(state))
        return torch.stack(logits, 1), state

    def forward(self, idx): return self.step(idx, self.start(len(idx)))[0]

class ToyAttention(nn.Module):
    "Two layers of attention with learned positions; its cache holds keys and values of one block"
    name = 'toy-attention'

    def __init__(self, config):
        super().__init__()
        self.config, D = config, config.width
        self.embed, self.place = nn.Embedding(config.vocab_size, D), nn.Embedding(config.block_size, D)
        self.qkv, self.out = nn.ModuleList(nn.Linear(D, 3*D) for _ in range(2)), nn.Linear(D, config.vocab_size)

    def start(self, B):
        def empty(): return self.out.weight.new_zeros(B, self.config.block_size, self.config.width)
        return dict(n=torch.zeros(B, dtype=torch.int64), layers=[(empty(), empty()) for _ in self.qkv])

    def step(self, idx, state, lengths=None):
        (B, T), n = idx.shape, state['n']
        at = n[:, None] + torch.arange(T)                                               # (B, T)
        safe = at.clamp(max=self.config.block_size - 1)
        real = torch.ones(B, T, dtype=torch.bool) if lengths is None else torch.arange(T) < lengths[:, None]
        x, layers = self.embed(idx) + self.place(safe), []
        for layer, (keys, values) in zip(self.qkv, state['layers']):
            q, k, v = layer(x).chunk(3, -1)
            for b, t in real.nonzero().tolist(): keys[b, at[b, t]], values[b, at[b, t]] = k[b, t], v[b, t]
            score = q @ keys.mT/q.shape[-1]**0.5                                        # (B, T, block)
            score = score.masked_fill(torch.arange(keys.shape[1]) > safe[..., None], -math.inf)
            x = x + score.softmax(-1) @ values
            layers.append((keys, values))
        return self.out(x), dict(n=n + real.sum(1), layers=layers)

    def forward(self, idx):
        assert idx.shape[1] <= self.config.block_size, 'no position for that'
        x = self.embed(idx) + self.place(torch.arange(idx.shape[1]))
        future = torch.ones(idx.shape[1], idx.shape[1]).triu(1).bool()
        for layer in self.qkv:
            q, k, v = layer(x).chunk(3, -1)
            score = (q @ k.mT/q.shape[-1]**0.5).masked_fill(future, -math.inf)
            x = x + score.softmax(-1) @ v
        return self.out(x)

def lively(model, scale=3.0):
    "Larger weights: a distribution that depends on what came before"
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters(): p.copy_(torch.randn_like(p)*scale/max(p.shape[-1], 1)**0.5)
    return model.double()

def models(tok):
    "All that stand, and two with a state; for lines or for text"
    data = LineData(LINES, tok) if tok.mark is not None else TextData(TEXT, tok, 16)
    return [Bigram(BigramConfig(tok.vocab_size)).fit(data, 0.1), NGram(NGramConfig(tok.vocab_size, 4)).fit(data),
            NGram(NGramConfig(tok.vocab_size, 1)).fit(data), Uniform(tok.vocab_size),
            lively(MLP(MLPConfig(tok.vocab_size, blank=tok.mark))), lively(MLP(MLPConfig(tok.vocab_size, blank=None))),
            lively(ToyRNN(ToyConfig(tok.vocab_size))), lively(ToyAttention(ToyConfig(tok.vocab_size)))]

def ident(model): return f'{model.name}{getattr(getattr(model, "config", None), "order", "")}'

class Fixed(nn.Module):
    "The same logits everywhere"
    name, context = 'fixed', 1

    def __init__(self, logits):
        super().__init__()
        self.register_buffer('logits', torch.as_tensor(logits))

    def forward(self, idx): return self.logits.expand(*idx.shape, -1)

ABC = CharTokenizer('abcdefgh', mark=False)
P = torch.tensor([0.30, 0.22, 0.17, 0.12, 0.09, 0.06, 0.03, 0.01], dtype=torch.float64)

def draw(logits, **how):
    "20,000 letters"
    return ''.join(t[1:] for t in generate(Fixed(logits), ABC, 200, 'a', max_tokens=100, **how))

def chi_squared(text, p):
    "Of the characters of a text against probabilities; and how many degrees of freedom"
    counts = Counter(text)
    assert all(p[ABC.chars.index(c)] > 0 for c in counts), 'something was drawn that was cut off'
    seen = [(counts[c], len(text)*q) for c, q in zip(ABC.chars, p.tolist()) if q > 0]
    return sum((o - e)**2/e for o, e in seen), len(seen) - 1

def exact(p, keep): return torch.where(keep, p, 0)/p[keep].sum()

KEPT = {    # settings, and the probabilities that they should make of P
    'plain': (dict(), P),
    'cold': (dict(temperature=0.5), P**2/(P**2).sum()),
    'hot': (dict(temperature=2.0), P**0.5/(P**0.5).sum()),
    'top-k': (dict(top_k=3), exact(P, torch.arange(8) < 3)),
    'top-p': (dict(top_p=0.8), exact(P, torch.arange(8) < 4)),
    'min-p': (dict(min_p=0.25), exact(P, P >= 0.075)),
    'hot top-p': (dict(temperature=2.0, top_p=0.8), exact(P**0.5/(P**0.5).sum(), torch.arange(8) < 5)),
    'hot min-p': (dict(temperature=2.0, min_p=0.5), exact(P**0.5/(P**0.5).sum(), P >= 0.075)),
    'all': (dict(temperature=2.0, top_k=6, top_p=0.95, min_p=0.5), exact(P**0.5/(P**0.5).sum(), P >= 0.075)),
    'top-k top-p': (dict(top_k=4, top_p=0.6), exact(P, torch.arange(8) < 2)),     # of the four: 0.37, 0.27, ...
}

@pytest.mark.parametrize('name', KEPT)
@pytest.mark.parametrize('order', (range(8), (3, 0, 7, 5, 1, 6, 2, 4)))
def test_distributions(name, order):
    how, p = KEPT[name]
    text = draw(P[list(order)].log(), seed=3, **how)
    statistic, df = chi_squared(text, p[list(order)])
    assert len(text) == 20_000 and statistic < df + 4*math.sqrt(2*df) + 4, (statistic, df)

def test_chi_squared_would_notice():
    "The same draws against probabilities that are a little wrong"
    text = draw(P.log(), seed=3)
    for wrong in (KEPT['cold'][1], P.flip(0), (P + 0.01)/(P + 0.01).sum()):
        statistic, df = chi_squared(text, wrong)
        assert statistic > df + 4*math.sqrt(2*df) + 4

def test_rows_are_independent():
    "Pairs of letters in neighbouring rows, and of neighbouring letters in a row"
    texts = generate(Fixed(P.log()), ABC, 200, 'a', max_tokens=100)
    grid = torch.tensor([ABC.encode(t[1:]) for t in texts])                     # (200, 100)
    for a, b in ((grid[:-1], grid[1:]), (grid[:, :-1], grid[:, 1:])):
        counts = torch.bincount((8*a + b).flatten(), minlength=64).double()
        expected = (P[:, None]*P).flatten()*a.numel()
        assert ((counts - expected)**2/expected).sum() < 63 + 4*math.sqrt(126)

def test_prompts_are_independent():
    "The same letters drawn behind different prompts would be one text twice"
    a, b = (t[1:] for t in generate(Fixed(P.log()), ABC, 1, ['a', 'b'], max_tokens=2000))
    same = sum(x == y for x, y in zip(a, b))/2000
    assert abs(same - (P**2).sum()) < 0.05

logits_strategy = st.lists(st.floats(-30, 30), min_size=1, max_size=9).map(lambda z: torch.tensor(z, dtype=torch.float64))

@given(logits_strategy, st.integers(1, 12))
@settings(max_examples=200)
def test_top_k(z, k):
    kept = top_k(z, k) > -math.inf
    assert kept.tolist() == [sum(y > x for y in z.tolist()) < k for x in z.tolist()]
    assert torch.equal(top_k(z, k)[kept], z[kept])

@given(logits_strategy, st.floats(0.001, 1))
@settings(max_examples=300)
def test_top_p(z, p):
    q, kept = z.softmax(0), top_p(z, p) > -math.inf
    assert kept.any() and q[kept].sum() >= p - 1e-12
    rest = kept & (z > z[kept].min())           # without the last of them, and what is as likely: too little
    assert q[rest].sum() < p + 1e-12 and (z[kept].min() > z[~kept]).all()
    if p == 1: assert kept.all()

@given(logits_strategy, st.floats(0.001, 1))
@settings(max_examples=200)
def test_min_p(z, p):
    q, kept = z.softmax(0), min_p(z, p) > -math.inf
    clear = (q/q.max() - p).abs() > 1e-9
    assert torch.equal(kept[clear], (q >= p*q.max())[clear]) and kept[z.argmax()]

@given(logits_strategy, st.floats(0.01, 100))
@settings(max_examples=200)
def test_temper(z, T):
    p = z.log_softmax(0)/T
    assert torch.allclose(temper(z, T).softmax(0), p.softmax(0), atol=1e-12)

def test_temper_ends():
    z = torch.tensor([[1.0, 3, 3, -math.inf], [0, -2, -5, -math.inf]])
    assert temper(z, 0).tolist() == [[-math.inf, 0, -math.inf, -math.inf], [0, -math.inf, -math.inf, -math.inf]]
    assert torch.allclose(temper(z, 1e300).softmax(-1), torch.tensor([1, 1, 1, 0.0]).double()/3)
    assert torch.allclose(temper(z, 5e-324).softmax(-1)[1], torch.tensor([1, 0, 0, 0.0]).double())
    huge = torch.tensor([1e38, -1e38])
    assert temper(huge, 1e-300).softmax(-1).tolist() == [1, 0]

def test_rows_of_a_filter_are_separate():
    z = torch.randn(5, 3, 9, generator=torch.Generator().manual_seed(0))
    for how in (dict(top_k=3), dict(top_p=0.6), dict(min_p=0.2), dict(temperature=0.7, top_k=5, top_p=0.9, min_p=0.1)):
        whole = filter_logits(z, **how)
        assert whole.dtype == torch.float64
        for i in range(5):
            for j in range(3): assert torch.equal(whole[i, j], filter_logits(z[i, j], **how))

def test_inputs_are_left_alone():
    z = torch.randn(4, 6)
    before = z.clone()
    filter_logits(z, 0.5, 2, 0.5, 0.5), filter_logits(z, 0), top_k(z, 2), top_p(z, 0.3), min_p(z, 0.3)
    assert torch.equal(z, before)

def test_ties_are_treated_alike():
    z = torch.tensor([1.0, 1, 1, 0, 0, -1])
    assert (top_k(z, 2) > -math.inf).tolist() == [True]*3 + [False]*3
    assert (top_k(z, 4) > -math.inf).tolist() == [True]*5 + [False]
    assert (top_p(z, 0.3) > -math.inf).tolist() == [True]*3 + [False]*3
    assert (min_p(z, 1) > -math.inf).tolist() == [True]*3 + [False]*3

def test_bfloat16():
    z = torch.randn(2000, generator=torch.Generator().manual_seed(0)).bfloat16()
    for f, how in ((top_k, 7), (top_p, 0.5), (min_p, 0.3)):
        assert torch.equal(f(z, how) > -math.inf, f(z.double(), how) > -math.inf), f
    assert filter_logits(z, 0.7, top_p=0.5).dtype == torch.float64
    text = draw(P.log().bfloat16())
    statistic, df = chi_squared(text, P.log().bfloat16().double().softmax(0))
    assert statistic < df + 4*math.sqrt(2*df) + 4

def test_top_p_of_a_large_vocabulary():
    "Half precision has no sum of 50,000 equal shares"
    z = torch.zeros(50_000).bfloat16()
    z[::2] = -1
    kept = (top_p(z, 0.5) > -math.inf)
    assert torch.equal(kept, z == 0)

@pytest.mark.parametrize('tok', (TOK, LETTERS), ids=('lines', 'text'))
@pytest.mark.parametrize('i', range(8))
@pytest.mark.parametrize('T', (1, 8, 20))
def test_state(tok, i, T):
    model = models(tok)[i]
    idx = torch.randint(tok.vocab_size, (3, T), generator=torch.Generator().manual_seed(T))
    assert same_logits(model, idx, tries=10) < 1e-9, ident(model)

def test_same_logits_notices():
    class Forgetful(ToyRNN):
        def step(self, idx, state, lengths=None): return super().step(idx, 0*state, lengths)
    class Padded(ToyRNN):
        def step(self, idx, state, lengths=None): return super().step(idx, state)
    class Nan(ToyRNN):
        def step(self, idx, state, lengths=None):
            logits, state = super().step(idx, state, lengths)
            return logits*math.nan, state
    class Far(ToyAttention):
        def step(self, idx, state, lengths=None):
            logits, new = super().step(idx, state, lengths)
            return logits, new | dict(n=new["n"]*0 + new["n"].min())
    idx = torch.randint(V, (3, 12), generator=torch.Generator().manual_seed(0))
    for wrong in (Forgetful, Padded, Nan, Far): assert not same_logits(lively(wrong(ToyConfig(V))), idx) < 1e-3, wrong

def test_context():
    assert context(NGram(NGramConfig(9, 4))) == 3 and context(NGram(NGramConfig(9, 1))) == 1
    assert context(MLP(MLPConfig(9, 5))) == 5 and context(Uniform(9)) is None
    assert context(ToyRNN(ToyConfig(9))) is None and context(ToyAttention(ToyConfig(9))) == 8

@pytest.mark.parametrize('i', range(8))
def test_no_more_than_its_context(i):
    "What lies further back than `context` changes nothing where the model can show it"
    model = models(TOK)[i]
    if context(model) is None or isinstance(model, ToyAttention): return
    idx = torch.randint(V, (6, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(): whole, short = model(idx)[:, -1], model(idx[:, -context(model):])[:, -1]
    assert torch.allclose(whole, short)

def test_the_state_is_used():
    "A recurrent model is shown each id once, attention too, up to its block"
    for cls, limit in ((ToyRNN, 40), (ToyAttention, 8)):
        model, shown = lively(cls(ToyConfig(LETTERS.vocab_size))), []
        inner = model.step
        model.step = lambda idx, state, lengths=None: shown.append(idx.shape[1]) or inner(idx, state, lengths)
        generate(model, LETTERS, 1, 'to', max_tokens=39)
        assert shown[:limit - 2] == [2] + [1]*(limit - 3) and len(shown) <= limit

def test_rows_of_a_state():
    Pair = namedtuple('Pair', 'a b')
    state = dict(x=torch.arange(3), y=[(torch.eye(3), 7)], z=Pair(torch.arange(3), None))
    some = _rows(state, [2, 0])
    assert some['x'].tolist() == [2, 0] and some['y'][0][1] == 7 and isinstance(some['y'][0], tuple)
    assert isinstance(some['z'], Pair) and some['z'].a.tolist() == [2, 0] and some['z'].b is None

@pytest.mark.parametrize('i', range(8))
def test_lines_in_a_batch_and_alone(i):
    model, prompts = models(TOK)[i], ['', 'e', 'emmy', 'ra', 'maxsam']
    together = generate(model, TOK, 3, prompts, max_tokens=12, seed=5)
    alone = [t for p in prompts for t in generate(model, TOK, 3, p, max_tokens=12, seed=5)]
    assert together == alone and [t[:len(p)] for p in prompts for t in ['']*3] == ['']*15
    assert all(t.startswith(p) for t, p in zip(together, [p for p in prompts for _ in range(3)]))
    assert generate(model, TOK, 40, 'e', max_tokens=12, seed=5)[:3] == generate(model, TOK, 3, 'e', max_tokens=12, seed=5)

@pytest.mark.parametrize('i', range(8))
def test_text_in_a_batch_and_alone(i):
    "Prompts shorter and longer than the block, and texts that slide over its end"
    model, prompts = models(LETTERS)[i], ['to', '', 'that is the question', 'or not t', 'or not to', 't']
    together = generate(model, LETTERS, 2, prompts, max_tokens=25)
    assert together == [t for p in prompts for t in generate(model, LETTERS, 2, p, max_tokens=25)]
    assert [len(t) for t in together] == [len(p) + 25 for p in prompts for _ in range(2)]

@pytest.mark.parametrize('i', range(8))
@pytest.mark.parametrize('tok', (TOK, LETTERS), ids=('lines', 'text'))
def test_cached_and_uncached_texts(tok, i):
    "The same as a loop that shows the model everything it can see, one row, one symbol at a time"
    model, how = models(tok)[i], dict(temperature=1.3, top_k=9, top_p=0.9, min_p=0.01)
    prompt, seen = 'ra' if tok is TOK else 'or not', context(model)
    rng, ids = random.Random(f'7 0 {prompt}'), ([0] if tok is TOK else []) + tok.encode(prompt)
    written = []
    for _ in range(20):
        with torch.no_grad(): z = model(torch.tensor([(ids + written)[-(seen or 100):]]))[0, -1]
        ends = filter_logits(z, **how).softmax(0).cumsum(0)
        written.append(int((ends/ends[-1] <= rng.random()).sum()))
        if written[-1] == tok.mark: break
    assert generate(model, tok, 1, prompt, max_tokens=20, seed=7, **how) == [prompt + tok.decode(written)]

def test_seed():
    model = models(TOK)[1]
    assert generate(model, TOK, 20) == generate(model, TOK, 20, seed=0) != generate(model, TOK, 20, seed=1)
    torch.manual_seed(1);  state, py = torch.get_rng_state(), random.getstate()
    first = generate(model, TOK, 20)
    torch.manual_seed(2)
    assert generate(model, TOK, 20) == first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state) and random.getstate() == py

def test_the_same_prompt_again_is_another_row():
    model = models(TOK)[1]
    assert generate(model, TOK, 2, ['e', 'e', 'a']) == generate(model, TOK, 4, 'e') + generate(model, TOK, 2, 'a')

def test_many_rows():
    "More than one batch holds"
    model = models(TOK)[0]
    assert generate(model, TOK, 600)[::100] == [generate(model, TOK, n)[-1] for n in range(1, 600, 100)]

def test_nothing_to_write():
    for model in models(TOK): assert generate(model, TOK, 0) == generate(model, TOK, 3, []) == []

def test_greedy():
    for tok in (TOK, LETTERS):
        for model in models(tok):
            texts = generate(model, tok, 3, 'e', max_tokens=9, temperature=0)
            assert len(set(texts)) == 1 and texts == generate(model, tok, 3, 'e', max_tokens=9, temperature=0, seed=1)
            if model.name in ('mlp', 'toy-rnn', 'toy-attention'):        # without ties
                assert texts == generate(model, tok, 3, 'e', max_tokens=9, top_k=1) == generate(
                    model, tok, 3, 'e', max_tokens=9, top_p=1e-9) == generate(model, tok, 3, 'e', max_tokens=9, min_p=1)

def test_known():
    model = models(TOK)[0]
    assert set(generate(model, TOK, 300)) & set(LINES)
    for known in (LINES, set(LINES), tuple(LINES), {name: 1 for name in LINES}):
        out = generate(model, TOK, 300, known=known)
        assert len(out) == 300 and not set(out) & set(LINES)
    plain = generate(model, TOK, 300)
    assert [o for o, p in zip(out, plain) if p not in LINES] == [p for p in plain if p not in LINES]    # others stay
    assert generate(model, TOK, 20, known=LINES) == out[:20]
    assert not set(generate(model, TOK, 50, 'm', known=LINES)) & set(LINES)

def test_known_with_a_stop():
    "What counts is the text as it is handed back"
    model = models(TOK)[0]
    short = {t for t in generate(model, TOK, 200, 'e', stop='a')}
    assert not set(generate(model, TOK, 50, 'e', stop='a', known=short)) & short

def test_everything_known():
    tok = CharTokenizer('a')
    model = Fixed([0.0, -math.inf])
    with pytest.raises(DataError, match='2 of 2 texts were known, 100 times each'): generate(model, tok, 2, known=[''])
    with pytest.raises(DataError, match='1 times each'): generate(model, tok, 2, known=[''], temperature=0)

class Pieces:
    "A tokenizer whose symbols are texts of any length; the ids of bytes that make no text alone"
    mark, name = None, 'pieces'

    def __init__(self, pieces): self.pieces, self.vocab_size = [p.encode() if isinstance(p, str) else p for p in pieces], len(pieces)

    def encode(self, text):
        ids, data = [], text.encode()
        while data:
            fits = [i for i, p in enumerate(self.pieces) if data.startswith(p)]
            if not fits: raise DataError('not in the vocabulary')
            ids.append(max(fits, key=lambda i: len(self.pieces[i])))
            data = data[len(self.pieces[ids[-1]]):]
        return ids

    def decode(self, ids): return b''.join(self.pieces[i] for i in ids).decode(errors='replace')

class Script(nn.Module):
    "Writes given ids, one after the other"
    name, context = 'script', None

    def __init__(self, ids, V):
        super().__init__()
        self.ids, self.V = ids, V

    def start(self, B): return torch.zeros(B, dtype=torch.int64)

    def step(self, idx, state, lengths=None):
        state = state + 1                                   # the prompt is one step, whatever its length
        ids = torch.tensor(self.ids + [0])[(state - 1).clamp(max=len(self.ids))]
        return torch.where(F.one_hot(ids, self.V) > 0, 0.0, -math.inf)[:, None].expand(-1, idx.shape[1], -1), state

@pytest.mark.parametrize('stop, right', [
    ('b', 'a'), ('xy', 'ab--'), ('y', 'ab--x'), ('-', 'ab'), ('--xy', 'ab'), ('z', 'ab--xy'), ('c', 'ab--xyz'),
    ('é', 'ab--xyzc'), ('cé', 'ab--xyz'), ('q', 'ab--xyzcéq'[:-1]), ('nothing', 'ab--xyzcéq')])
def test_stop(stop, right):
    "Inside of a symbol's text, across symbols, and behind a character that is made of two"
    tok = Pieces(['p', 'ab', '--x', 'yz', 'c', b'\xc3', b'\xa9', 'q'])
    model = Script([1, 2, 3, 4, 5, 6, 7], 8)
    assert generate(model, tok, 2, 'p', max_tokens=7, stop=stop) == ['p' + right]*2

def test_stop_is_not_looked_for_in_the_prompt():
    tok = Pieces(['p', 'ab', 'c'])
    assert generate(Script([1, 2, 0], 3), tok, 1, 'cp', max_tokens=3, stop='c') == ['cpab']
    assert generate(Script([1, 2, 0], 3), tok, 1, 'p', max_tokens=3, stop='pa') == ['pabcp']     # across its end

def test_stop_ends_the_work():
    model, calls = models(LETTERS)[1], []
    model.register_forward_hook(lambda *_: calls.append(1))
    text, = generate(model, LETTERS, 1, 'to ', max_tokens=400, stop='\n')
    assert '\n' not in text and len(calls) == len(text) - 3 + 1

def test_empty_prompt_of_a_text():
    seen = []
    class Watch(Fixed):
        context = None
        def forward(self, idx):
            seen.append(idx[:, 0].tolist())
            return super().forward(idx)
    model = Watch(torch.zeros(LETTERS.vocab_size))
    generate(model, LETTERS, 4, max_tokens=1)
    assert seen == [[LETTERS.encode('\n')[0]]*4]
    seen.clear()
    texts = generate(Watch(torch.zeros(8)), ABC, 50, max_tokens=1)
    assert len(seen[0]) == 50 and len(set(seen[0])) == 8 and {len(t) for t in texts} == {1}
    seen.clear()
    generate(Watch(torch.zeros(8)), ABC, 3, 'ab', max_tokens=1)
    assert seen == [[0]*3]          # the prompt's first letter

def test_a_prompt_that_can_not_slide():
    class Stiff(ToyAttention):
        slides = False
    model = lively(Stiff(ToyConfig(V)))                     # a block of 8: the mark and seven letters
    assert generate(model, TOK, 1, 'emmaava')[0].startswith('emmaava')
    with pytest.raises(DataError, match="'emmaavam'.* 8 tokens.* 8"): generate(model, TOK, 1, ['e', 'emmaavam'])
    with torch.no_grad(): model.out.bias[0] = -1e9          # no line ends by itself
    assert {len(t) for t in generate(model, TOK, 5, ['', 'em', 'emmaava'])} == {8}
    text = Stiff(ToyConfig(LETTERS.vocab_size))             # running text slides
    assert len(generate(text, LETTERS, 1, 'that is the question', max_tokens=20)[0]) == 40

def test_evaluation_mode_and_no_graph():
    class Moody(Bigram):
        def forward(self, idx):
            assert not self.training and not torch.is_grad_enabled()
            return super().forward(idx)
    model = Moody(BigramConfig(V)).fit(LineData(LINES, TOK)).train()
    assert generate(model, TOK, 2) and model.training and torch.is_grad_enabled()
    with pytest.raises(DataError): generate(model, TOK, 1, '!')
    assert model.training

WRONG = [dict(n=-1), dict(n=1.5), dict(n=True), dict(n='2'), dict(max_tokens=0), dict(max_tokens=None), dict(temperature=-0.1),
         dict(temperature=math.nan), dict(temperature=math.inf), dict(temperature='1'), dict(temperature=None), dict(top_k=0),
         dict(top_k=2.5), dict(top_k=-3), dict(top_p=0), dict(top_p=1.01), dict(top_p=math.nan), dict(top_p=-1), dict(min_p=0),
         dict(min_p=2), dict(min_p=False), dict(stop=''), dict(stop=5), dict(known='emma'), dict(known=None), dict(known=[['a']]), dict(known=[3]), dict(prompt=3),
         dict(prompt=[3]), dict(prompt=None)]

@pytest.mark.parametrize('wrong', WRONG, ids=repr)
def test_wrong_values(wrong):
    with pytest.raises(DataError) as e: generate(models(TOK)[0], TOK, **wrong)
    assert '\n' not in str(e.value) and next(iter(wrong)) in str(e.value)

def test_numpy_numbers():
    model = models(TOK)[0]
    texts = generate(model, TOK, np.int64(3), temperature=np.float32(0.5), top_k=np.int32(4), top_p=np.float32(0.5), min_p=np.float64(0.125))
    assert texts == generate(model, TOK, 3, temperature=0.5, top_k=4, top_p=0.5, min_p=0.125)
    for bad in (dict(n=np.bool_(True)), dict(top_p=np.float32(1.5)), dict(min_p=np.float32(0)), dict(temperature=np.float64('nan'))):
        with pytest.raises(DataError): generate(model, TOK, **bad)

def test_groups(monkeypatch):
    "Fewer rows side by side where a step would make too many logits; the texts stay the same"
    for model in models(LETTERS):
        whole, groups = generate(model, LETTERS, 5, ['to be', 't'], max_tokens=12), []
        with monkeypatch.context() as m:
            m.setattr('nnzero.lm.sample._LOGITS', 3*LETTERS.vocab_size*(context(model) or 6))
            m.setattr('nnzero.lm.sample.start', lambda model, B: groups.append(B) or start(model, B))
            assert generate(model, LETTERS, 5, ['to be', 't'], max_tokens=12) == whole
        assert groups == [3, 3, 3, 1], model.name

def test_wrong_words():
    model = models(TOK)[0]
    with pytest.raises(DataError, match="not in the vocabulary: '!'"): generate(model, TOK, 1, 'a!')
    with pytest.raises(DataError, match='the model has 3 symbols, the tokenizer'): generate(Bigram(BigramConfig(3)), TOK)
    with pytest.raises(DataError, match='no numbers'): generate(Fixed(torch.full((V,), math.nan)), TOK)
    with pytest.raises(DataError, match='no numbers'): generate(Fixed(torch.full((V,), math.nan)), TOK, temperature=0)
    with pytest.raises(DataError, match='no numbers'): generate(Fixed(torch.full((V,), -math.inf)), TOK)
    for bad in (dict(top_k=0), dict(top_p=2), dict(min_p=0), dict(temperature=-1)):
        with pytest.raises(DataError): filter_logits(torch.zeros(3), **bad)

def test_interface_by_hand():
    "Rows that wait (a length of 0), and a state without own ids"
    for model in models(TOK):
        with torch.no_grad():
            state = start(model, 2)
            _, state = step(model, torch.tensor([[0, 1], [0, 3]]), state, torch.tensor([2, 0]))
            a, state = step(model, torch.tensor([[2], [0]]), state, torch.tensor([0, 1]))
            b, state = step(model, torch.tensor([[4], [2]]), state)
            seen = context(model) or 9
            for logits, ids in ((a[1, 0], [0]), (b[0, 0], [0, 1, 4]), (b[1, 0], [0, 2])):
                assert torch.allclose(logits, model(torch.tensor([ids[-seen:]]))[0, -1]), model.name

def test_real_names():
    names = lines(load('names'))[:2000]
    tok = CharTokenizer.train(names)
    model = NGram(NGramConfig(tok.vocab_size)).fit(LineData(names, tok))
    new = generate(model, tok, 200, known=names, top_p=0.9)
    assert not set(new) & set(names) and len(new) == 200 and max(map(len, new)) < 40
