"N-grams: the formula on random data, odd data, large vocabularies, memory, wrong input, saving"
import math, random
from collections import Counter, defaultdict
import pytest, torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file, save_file
from nnzero.lm.data import CharTokenizer, LineData, TextData
from nnzero.lm.loss import row_losses
from nnzero.makemore.ngram import METHODS, NGram, NGramConfig, discounts, take

def tables(sequences, n, hand_down):
    "Counts for contexts of n - 1 tokens, or as many as there are, and all shorter ones; by tuples"
    table = defaultdict(Counter)
    for ids in sequences:
        for i in range(1, len(ids)): table[tuple(ids[max(0, i + 1 - n):i])][ids[i]] += 1
    for k in range(n - 1, 0, -1):
        for h in [h for h in table if len(h) == k]:
            for w, c in table[h].items(): table[h[1:]][w] += hand_down(c)
    return {h: Counter({w: c for w, c in row.items() if c}) for h, row in table.items() if any(row.values())}

def textbook(sequences, n, V, method, strength, ds):
    "P(w | h) as a function, by the book"
    pass_on = {'add-k': lambda c: 0, 'kneser-ney': lambda c: 1}.get(method, lambda c: c)
    table, by_order = tables(sequences, n, pass_on), []
    for k in range(n):
        if method not in ('absolute', 'kneser-ney'): by_order.append([0])
        else:
            counts = [c for h, row in table.items() if len(h) == k for c in row.values()]
            by_order.append([0, *(ds or discounts(torch.tensor(counts)).tolist())])
    def p(w, h):
        shorter = p(w, h[1:]) if h else 1/V
        row = table.get(h)
        if not row: return shorter
        d = by_order[len(h)]
        lost = {v: d[min(c, len(d) - 1)] for v, c in row.items()}
        m = {'add-k': strength*V, 'witten-bell': len(row)}.get(method, strength)
        return (row[w] - lost.get(w, 0) + (sum(lost.values()) + m)*shorter)/(row.total() + m)
    return p

prop = settings()
LINES = st.lists(st.text('abc', min_size=1, max_size=6), min_size=1, max_size=12)

@prop
@given(LINES, st.integers(1, 5), st.sampled_from(sorted(METHODS)), st.sampled_from([0.1, 2.0]),
       st.sampled_from([(), (0.6,), (0.4, 0.9, 1.3)]))
def test_lines_follow_the_formula(items, n, method, strength, ds):
    tok = CharTokenizer('abcd')                                         # d is never seen
    ds = ds if method in ('absolute', 'kneser-ney') else ()
    m = NGram(NGramConfig(5, n, method, strength=strength, discounts=ds)).fit(LineData(items, tok))
    p = textbook([[0, *tok.encode(s), 0] for s in items], n, 5, method, strength, ds)
    asked = items[:3] + ['dab', 'cccc']
    out = m(LineData(asked, tok)[:][0]).exp()
    assert torch.allclose(out.sum(-1), torch.ones(()).double())
    for b, s in enumerate(asked):
        ids = [0, *tok.encode(s)]
        for t in range(len(ids)):
            want = [p(w, tuple(ids[max(0, t + 2 - n):t + 1])) for w in range(5)]
            assert math.dist(out[b, t].tolist(), want) < 1e-12

@prop
@given(st.text('abc', min_size=3, max_size=60), st.integers(1, 6), st.sampled_from(sorted(METHODS)))
def test_text_follows_the_formula(text, n, method):
    tok = CharTokenizer('abc', mark=False)
    m = NGram(NGramConfig(3, n, method)).fit(TextData(text, tok, 2))
    p = textbook([tok.encode(text)], n, 3, method, m.config.strength, ())
    for h in ('a', 'ab', 'cab', 'aaaa', 'abcabc', 'b'*9):
        out = m(torch.tensor([tok.encode(h)])).exp()[0, -1]
        want = [p(w, tuple(tok.encode(h)[1 - n:] if n > 1 else ())) for w in range(3)]
        assert math.dist(out.tolist(), want) < 1e-12

def stream(n, V, seed=0):
    class Data: pass
    data = Data()
    data.stream = torch.randint(V, (n,), generator=torch.Generator().manual_seed(seed)).pow(2)//V   # uneven
    return data

def test_large_vocabulary_does_not_overflow():
    V, data = 60_000, stream(30_000, 60_000)
    m = NGram(NGramConfig(V, 6)).fit(data)
    p = m(data.stream[None, :5]).exp()
    assert torch.allclose(p.sum(-1), torch.ones(()).double())
    assert p[0, 4].argmax() == data.stream[5]                           # a context seen once
    assert m.keys.max() < V*(len(m.keys) + 1) and (m.keys.diff() > 0).all()

def test_state_is_bounded_by_the_text():
    data = stream(50_000, 50)
    m = NGram(NGramConfig(50, 8)).fit(data)
    assert len(m.share) <= 8*50_000 and len(m.keys) <= 7*50_000

@pytest.mark.parametrize('text, order', [('ab', 5), ('aaaaaaa', 3), ('ab'*9, 9)])
def test_text_shorter_than_the_order_and_of_one_kind(text, order):
    tok = CharTokenizer('ab', mark=False)
    for method in METHODS:
        m = NGram(NGramConfig(2, order, method)).fit(TextData(text, tok, 1))
        p = m(torch.tensor([[0, 1, 1, 0, 1, 0, 1, 1, 1, 0]])).exp()
        assert torch.allclose(p.sum(-1), torch.ones(()).double()) and (p > 0).all()

def test_padding_on_either_side_changes_nothing():
    tok, items = CharTokenizer('abc'), ['abc', 'cab', 'bb', 'abba']
    m = NGram(NGramConfig(4, 4)).fit(LineData(items, tok))
    plain = m(torch.tensor([[0, 1, 2]]))
    assert torch.equal(m(torch.tensor([[0, 1, 2, 0, 0]]))[:, :3], plain)
    assert torch.equal(m(torch.tensor([[0, 0, 0, 1, 2]]))[:, 2:], plain)
    assert torch.equal(m(torch.tensor([[1, 3, 0, 1, 2]]))[:, 2:], plain)      # nor does another line

def test_no_batch_and_no_time():
    m = NGram(NGramConfig(4, 3)).fit(LineData(['abc'], CharTokenizer('abc')))
    assert m(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 4)
    assert m(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 4)

def test_unfitted_is_uniform_and_half_precision_sums_to_one():
    m = NGram(NGramConfig(7, 4))
    assert torch.allclose(m(torch.tensor([[0, 6, 3]])).exp(), torch.full((1, 3, 7), 1/7).double())
    m = NGram(NGramConfig(4, 3)).fit(LineData(['abc', 'ab'], CharTokenizer('abc'))).float()
    p = m(torch.tensor([[0, 1, 2]]))
    assert p.dtype == torch.float32 and torch.allclose(p.exp().sum(-1), torch.ones(()))

@pytest.mark.parametrize('ids', [[[0, 4]], [[-1, 0]]])
def test_ids_outside_are_refused(ids):
    m = NGram(NGramConfig(4, 3)).fit(LineData(['abc'], CharTokenizer('abc')))
    with pytest.raises(ValueError, match='outside'): m(torch.tensor(ids))
    with pytest.raises(ValueError, match='outside'): NGram(NGramConfig(3)).fit(LineData(['abc'], CharTokenizer('abc')))

@pytest.mark.parametrize('wrong', [dict(order=0), dict(method='x'), dict(strength=-1.0), dict(strength=math.nan), dict(strength=math.inf),
    dict(order='kneser-ney'), dict(order=2.0), dict(order=2.5), dict(discounts=0.75), dict(discounts=(1.5,)), dict(discounts=(-0.1,)),
    dict(method='dirichlet', discounts=(0.5,))])
def test_wrong_configurations_are_refused(wrong):
    with pytest.raises(ValueError): NGramConfig(5, **wrong)

def test_wrong_vocabularies_are_refused():
    for V in (0, -3, 27.0):
        with pytest.raises(ValueError, match='wrong number'): NGramConfig(V)

@pytest.mark.parametrize('ids', [torch.zeros(3, dtype=torch.int64), torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.int32)])
def test_ids_of_another_kind_are_refused(ids):
    with pytest.raises(ValueError, match='int64'): NGram(NGramConfig(4))(ids)

@pytest.mark.parametrize('data', [[0, 1], torch.tensor([0, 1]), 'ab'])
def test_only_data_are_counted(data):
    with pytest.raises(ValueError, match='LineData'): NGram(NGramConfig(4)).fit(data)

def test_default_strengths():
    assert [NGramConfig(4, method=m).strength for m in METHODS] == [0.1, 20.0, 0.0, 0.0, 0.0]

def test_what_never_occurred_is_impossible_without_smoothing():
    m = NGram(NGramConfig(4, 2, 'add-k', strength=0.0)).fit(LineData(['ab'], CharTokenizer('abc')))
    assert m(torch.tensor([[1]]))[0, 0].tolist() == [-math.inf, -math.inf, 0.0, -math.inf]

def test_state_survives_a_file_and_other_sizes(tmp_path):
    tok = CharTokenizer('abc')
    m = NGram(NGramConfig(4, 4)).fit(LineData(['abc', 'cab', 'bb'], tok))
    save_file(m.state_dict(), tmp_path/'m.safetensors')
    x = LineData(['abcab', 'cc'], tok)[:][0]
    other = NGram(NGramConfig(4, 4)).fit(LineData(['a'], tok))              # of other sizes
    for fresh in (NGram(NGramConfig(4, 4)), other):
        fresh.load_state_dict(load_file(tmp_path/'m.safetensors'))
        assert torch.equal(fresh(x), m(x))
    inside = torch.nn.Sequential(NGram(NGramConfig(4, 4)))                  # as a part of something
    inside.load_state_dict({f'0.{k}': v for k, v in m.state_dict().items()})
    assert torch.equal(inside(x), m(x))
    with pytest.raises(ValueError, match='vocab_size, order'): torch.nn.Sequential(NGram(NGramConfig(4, 3))).load_state_dict(inside.state_dict())
    for V, n in ((5, 4), (4, 3)):                                           # would be silent nonsense
        with pytest.raises(ValueError, match='vocab_size, order'): NGram(NGramConfig(V, n)).load_state_dict(m.state_dict())
    state = m.state_dict()
    del state['keys']
    with pytest.raises(RuntimeError, match='keys'): NGram(NGramConfig(4, 4)).load_state_dict(state)

def test_fitting_again_forgets():
    tok = CharTokenizer('abc')
    a, b = LineData(['abc', 'cab'], tok), LineData(['bbb'], tok)
    x = a[:][0]
    m = NGram(NGramConfig(4, 3)).fit(a)
    assert torch.equal(m.fit(b)(x), NGram(NGramConfig(4, 3)).fit(b)(x))

def test_order_of_the_lines_does_not_matter():
    items = [''.join(random.Random(i).choices('abcde', k=3 + i % 5)) for i in range(200)]
    tok = CharTokenizer('abcde')
    one, two = (NGram(NGramConfig(6, 4)).fit(LineData(x, tok)) for x in (items, items[::-1]))
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))

def test_rows_of_a_sweep_do_not_depend_on_the_batch():
    items = ['abc', 'a', 'cccba', 'bb']*5
    tok = CharTokenizer('abc')
    m, data = NGram(NGramConfig(4, 3)).fit(LineData(items, tok)), LineData(items, tok)
    assert torch.allclose(row_losses(m, data, 1)[0], row_losses(m, data, 20)[0])

def test_take_keeps_within_the_count():
    counts = torch.linspace(0, 5, 101, dtype=torch.float64)
    for ds in ((0.75,), (0.5, 1.0, 1.5), (1.0, 2.0, 3.0)):
        lost = take(counts, torch.tensor(ds, dtype=torch.float64))
        assert (lost >= 0).all() and (lost <= counts + 1e-12).all()

@pytest.mark.parametrize('counts', [[], [1], [2, 2], [1, 2, 3], [1, 1, 1, 2, 3, 4], [1]*9 + [2]*4 + [3], [5]*9])
def test_discounts_are_always_usable(counts):
    d = discounts(torch.tensor(counts, dtype=torch.float64))
    assert all(0 < x < r for r, x in enumerate(d.tolist(), 1))

def test_discounts_round_the_counts():
    counts = torch.tensor([1.0]*30 + [2]*9 + [3]*4 + [4]*2).double()
    assert torch.equal(discounts(counts - 0.3), discounts(counts)) and discounts(counts)[0] == 30/48

@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_agrees():
    tok = CharTokenizer('abc')
    m = NGram(NGramConfig(4, 4)).fit(LineData(['abc', 'cab', 'bb'], tok))
    x = LineData(['abcab', 'cc'], tok)[:][0]
    here = m(x)
    assert torch.allclose(m.cuda()(x.cuda()).cpu(), here)
