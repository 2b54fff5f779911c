"The bigram model: what is no lesson. Counting beside a loop, drawing beside its rule, sampling any model."
import math
from collections import Counter
from itertools import pairwise
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from nnzero.lm.data import CharTokenizer, LineData, TextData
from nnzero.lm.loss import Uniform, evaluate, nll
from nnzero.makemore.bigram import Bigram, BigramConfig, count_bigrams, pick, probs, sample

LINES = ['emma', 'ava', 'a', 'mia', 'emmy']
TOK = CharTokenizer.train(LINES)
DATA = LineData(LINES, TOK)

def fitted(add=0.0): return Bigram(BigramConfig(TOK.vocab_size)).fit(DATA, add)

@given(st.lists(st.integers(0, 6), max_size=60))
def test_counts_are_those_of_a_loop(ids):
    N, loop = count_bigrams(torch.tensor(ids, dtype=torch.int64), 7), Counter(pairwise(ids))
    assert N.shape == (7, 7) and N.dtype == torch.int64
    assert all(N[i, j] == loop[i, j] for i in range(7) for j in range(7))

def test_counts_of_text():
    tok = CharTokenizer.train('abcab', mark=False)
    N = count_bigrams(TextData('abcab', tok, 2), 3)
    assert N.tolist() == [[0, 2, 0], [0, 0, 1], [1, 0, 0]]

@pytest.mark.parametrize('ids', ([0, 3, 0], [0, -1, 0], [3]))
def test_ids_outside(ids):
    with pytest.raises(ValueError, match='not in 0..2'): count_bigrams(torch.tensor(ids), 3)

def test_counts_of_short_integers():
    stream = torch.tensor([0, 26, 26, 5, 0], dtype=torch.uint8)
    assert torch.equal(count_bigrams(stream, 27), count_bigrams(stream.long(), 27))

def test_large_vocabulary():
    stream = torch.tensor([0, 2999, 2999, 5])
    assert count_bigrams(stream, 3000).sum() == 3 and count_bigrams(stream, 3000)[2999, 2999] == 1

@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=5),
       st.floats(0, 100))
def test_probs(rows, add):
    N = torch.tensor(rows)
    before, P = N.clone(), probs(N, add)
    assert P.dtype == torch.float64 and torch.equal(N, before)
    assert torch.allclose(P.sum(-1), torch.ones(len(rows), dtype=torch.float64))
    for row, p in zip(rows, P.tolist()):
        total = sum(row) + 4*add
        assert p == pytest.approx([(n + add)/total for n in row] if total else [1/4]*4)

def test_probs_keep_their_float_input():
    N = torch.zeros(2, 2, dtype=torch.float64)
    probs(N), probs(N, 1)
    assert N.sum() == 0

@pytest.mark.parametrize('add', (-1, -1e-9, math.nan, math.inf))
def test_add(add):
    with pytest.raises(ValueError, match='add is'): probs(torch.ones(2), add)

@pytest.mark.parametrize('bad', (-1, math.nan))
def test_counts_below_zero(bad):
    with pytest.raises(ValueError, match='not below 0'): probs(torch.tensor([2.0, bad]), 3)

@pytest.mark.parametrize('add', (0, 0.5))
def test_fit_is_the_least_loss(add):
    "A step of gradient descent away from the fitted table doesn't lower the loss of its own counts"
    model = fitted(add).double()
    model.fit(DATA, add)
    N = count_bigrams(DATA, TOK.vocab_size) + add
    def loss(W): return -torch.where(N > 0, N*W.log_softmax(1), 0.0).sum()
    best, g = loss(model.W), torch.Generator().manual_seed(0)
    for _ in range(20):
        assert loss(model.W + 0.1*torch.randn(model.W.shape, generator=g, dtype=torch.float64)) > best

def test_contract():
    model, idx = fitted(), torch.tensor([[0, 1, 2], [3, 0, 1]])
    assert model(idx).shape == (2, 3, TOK.vocab_size) and model.name == 'bigram'
    assert torch.equal(model(idx)[1, 2], model(idx[:1])[0, 1])          # the last id alone
    assert evaluate(Bigram(model.config), DATA) == pytest.approx(evaluate(Uniform(TOK.vocab_size), DATA))
    copy = Bigram(model.config)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.W, model.W)

def test_descent_reaches_the_table():
    model, (x, y) = Bigram(BigramConfig(TOK.vocab_size)), DATA[torch.arange(len(LINES))]
    optimizer = torch.optim.SGD(model.parameters(), lr=20)
    for _ in range(3000):
        optimizer.zero_grad();  nll(model(x), y).backward();  optimizer.step()
    assert (model.W.softmax(1) - fitted().W.softmax(1)).abs().max() < 1e-3

@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda p: sum(p) > 0.1),
       st.floats(0, 1, exclude_max=True))
@settings(max_examples=300)
def test_pick(weights, u):
    p = torch.tensor(weights, dtype=torch.float64)
    p = p/p.sum()
    i = pick(p.log(), torch.tensor([u], dtype=torch.float64)).item()
    assert 0 <= i < len(p) and p[i] > 0
    assert p[:i].sum() <= u + 1e-9 and u <= p[:i + 1].sum() + 1e-9

def test_pick_refuses():
    for logits in ([math.nan, 0], [-math.inf, -math.inf], [math.inf, 0]):
        with pytest.raises(ValueError, match='no numbers'): pick(torch.tensor(logits), torch.rand(1))
    for u in ((3,), (1,), (3, 2), (1, 3, 1)):
        with pytest.raises(ValueError, match='one u'): pick(torch.zeros(3, 3), torch.rand(u))

def test_pick_is_double():
    logits, u = torch.tensor([0.0, -17.0]), torch.tensor([1 - 1e-8], dtype=torch.float64)
    assert pick(logits, u).item() == 1

def test_sampling_is_right():
    model, n = fitted(0.5), 20_000
    lines = [l for l in sample(model, TOK, n, context=1) if l]
    again = probs(count_bigrams(LineData(lines, TOK), TOK.vocab_size))
    assert (again[1:] - model.W.double().exp()[1:]).abs().max() < 0.02

def test_seeds_and_order():
    model = fitted()
    assert sample(model, TOK, 30)[:7] == sample(model, TOK, 7) == sample(model, TOK, 7, context=1)
    assert sample(model, TOK, 30) != sample(model, TOK, 30, seed=1)
    assert sample(model, TOK, 0) == []

def test_independent_of_global_random_state():
    torch.manual_seed(1);  first = sample(fitted(), TOK, 5);  state = torch.get_rng_state()
    torch.manual_seed(2)
    assert sample(fitted(), TOK, 5) == first
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())

def test_max_len():
    endless = Bigram(BigramConfig(TOK.vocab_size))
    with torch.no_grad(): endless.W[:, 0] = -math.inf
    assert [len(l) for l in sample(endless, TOK, 3, max_len=17)] == [17]*3
    assert [len(l) for l in sample(endless, TOK, 3)] == [100]*3

def test_known():
    out = sample(fitted(), TOK, 200, known=LINES)
    assert len(out) == 200 and not set(out) & set(LINES)
    tok = CharTokenizer.train(['a'])
    with pytest.raises(ValueError, match='only 0 of 500 lines'):
        sample(Bigram(BigramConfig(2)).fit(LineData(['a', 'a'], tok)), tok, 5,
               known=['a'*k for k in range(101)])

def test_how_many_were_not_known():
    tok = CharTokenizer.train(['a'])
    model = Bigram(BigramConfig(2)).fit(LineData(['aa', 'a'], tok))
    drawn = sample(model, tok, 500)
    known = ['a'*k for k in range(len(max(drawn)))]             # all but the longest
    new = sum(line not in known for line in drawn)
    assert 0 < new < 5
    with pytest.raises(ValueError, match=f'only {new} of 500 lines'): sample(model, tok, 5, known=known)

def test_tries():
    "A hundred are made, and no more; one is enough if nothing is known"
    tok = CharTokenizer.train(['abcd'])
    model = Memory(5)
    with pytest.raises(ValueError, match='only 0 of 200 lines'): sample(model, tok, 2, known=['abcd'])
    assert len(model.seen) == 100*5
    model.seen.clear()
    sample(model, tok, 2)
    assert len(model.seen) == 5

@pytest.mark.parametrize('wrong', (dict(context=0), dict(context=-1), dict(max_len=0), dict(n=-1),
                                   dict(known='ava')))
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match='at least'): sample(fitted(), TOK, **dict(n=1) | wrong)

def test_no_numbers():
    model = Bigram(BigramConfig(TOK.vocab_size))
    with torch.no_grad(): model.W.fill_(math.nan)
    with pytest.raises(ValueError, match='no numbers'): sample(model, TOK, 3)

class Elsewhere(nn.Module):
    "Stands in for a model on another device: takes ids there, and its logits come from there"
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1, device='meta'))
    def forward(self, idx):
        assert idx.device == self.p.device
        return torch.zeros(*idx.shape, 5, device=idx.device)

def test_ids_go_where_the_model_is():
    "The meta device holds no numbers, so the way back is what fails, and not the model"
    with pytest.raises(NotImplementedError, match='meta'): sample(Elsewhere(), TOK, 2)

@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_writes_the_same():
    assert sample(fitted().cuda(), TOK, 20) == sample(fitted(), TOK, 20)

def test_no_mark():
    with pytest.raises(ValueError, match='without a mark'):
        sample(fitted(), CharTokenizer.train('ab', mark=False), 1)

class Memory(nn.Module):
    "Writes a, b, c, ... in order, and sees how long it has been writing; notes its mode and gradients"
    def __init__(self, V):
        super().__init__()
        self.V, self.seen, self.p = V, [], nn.Parameter(torch.zeros(1))
    def forward(self, idx):
        self.seen.append((self.training, torch.is_grad_enabled(), idx.shape[1]))
        logits = torch.full((*idx.shape, self.V), -math.inf)
        nxt = (torch.arange(1, idx.shape[1] + 1) % self.V).expand_as(idx)
        return logits.scatter(-1, nxt[..., None], 0) + self.p

def test_any_model():
    tok = CharTokenizer.train(['abcd'])
    for mode in (True, False):
        model = Memory(5).train(mode)
        assert sample(model, tok, 2) == ['abcd']*2 and model.training is mode
        assert {m for m, _, _ in model.seen} == {False} == {g for _, g, _ in model.seen}
        assert [t for _, _, t in model.seen] == [1, 2, 3, 4, 5]
    model = Memory(5)
    sample(model, tok, 1, max_len=6, context=2)
    assert max(t for _, _, t in model.seen) == 2

def test_mode_is_restored_after_an_error():
    class Broken(Memory):
        def forward(self, idx): raise RuntimeError('broken')
    model = Broken(5)
    with pytest.raises(RuntimeError): sample(model, TOK, 1)
    assert model.training and torch.is_grad_enabled()
