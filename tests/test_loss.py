"The loss: float64 references on random shapes and dtypes, infinities, whole sets, modes, errors"
import math
from types import SimpleNamespace
import numpy as np, pytest, torch
import torch.nn.functional as F
from hypothesis import example, given, settings, strategies as st
from torch import nn
from nnzero.lm.data import PAD, CharTokenizer, LineData, TextData
from nnzero.lm.loss import (Unigram, Uniform, bits, evaluate, evaluating, losses, nll, perplexity,
                            row_losses, standard_error)

prop = settings()
few = settings(max_examples=25)
seeds = st.integers(0, 2**32 - 1)
fronts = st.lists(st.integers(0, 4), max_size=3).map(tuple)
DTYPES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float16: 1e-5}

def reference(logits, targets):
    "Each loss in float64 by log-sum-exp in numpy, 0 where the target is PAD"
    z, t = logits.detach().double().numpy(), targets.numpy()
    z, t = z.reshape(-1, z.shape[-1]), t.reshape(-1)
    top = z.max(1, keepdims=True)
    each = np.log(np.exp(z - top).sum(1)) + top[:, 0] - z[np.arange(len(t)), t.clip(0)]
    return np.where(t == PAD, 0, each)

def draw(front, V, seed, dtype=torch.float64, scale=3.0, pad=0.3):
    "Random logits and targets, some of them PAD"
    g = torch.Generator().manual_seed(seed)
    logits = (scale*torch.randn(*front, V, generator=g, dtype=torch.float64)).to(dtype)
    targets = torch.randint(V, front, generator=g)
    return logits, targets.masked_fill(torch.rand(front, generator=g) < pad, PAD)

@prop
@given(fronts, st.integers(1, 6), st.sampled_from(list(DTYPES)), seeds, st.sampled_from([0.1, 3.0, 300.0]))
@example((), 3, torch.float64, 0, 1.0)
@example((2, 0), 3, torch.float32, 0, 1.0)
def test_terms_and_mean(front, V, dtype, seed, scale):
    logits, targets = draw(front, V, seed, dtype, scale)
    each, expected = losses(logits, targets), reference(logits, targets)
    assert each.shape == targets.shape and each.dtype == max(dtype, torch.float32, key=lambda d: d.itemsize)
    tolerance = DTYPES[dtype]*max(1, scale)
    np.testing.assert_allclose(each.double().numpy().reshape(-1), expected, rtol=1e-5, atol=tolerance)
    n, mean = int((targets != PAD).sum()), nll(logits, targets)
    assert mean.shape == ()
    if n: assert abs(mean.item() - expected.sum()/n) <= 10*tolerance
    else: assert mean.isnan()

@few
@given(fronts, st.integers(1, 6), seeds)
def test_gradient_is_p_minus_one_hot(front, V, seed):
    logits, targets = draw(front, V, seed)
    if not (targets != PAD).any(): return
    slope, = torch.autograd.grad(nll(logits.requires_grad_(), targets), logits)
    asked = (targets != PAD)[..., None]
    right = (logits.softmax(-1) - F.one_hot(targets.clamp(min=0), V))/asked.sum()*asked
    assert torch.allclose(slope, right, atol=1e-14)

@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_infinities(dtype):
    logits = torch.tensor([[-math.inf, 0, 0], [0, -math.inf, 0], [-math.inf]*3], dtype=dtype)
    assert nll(logits, torch.tensor([1, 0, PAD])).item() == pytest.approx(math.log(2))
    assert nll(logits, torch.tensor([0, 0, PAD])).item() == math.inf
    assert losses(logits, torch.tensor([0, 0, PAD])).tolist() == pytest.approx([math.inf, math.log(2), 0])
    z = logits[:2].clone().requires_grad_()
    slope, = torch.autograd.grad(nll(z, torch.tensor([1, 0])), z)
    assert not slope.isnan().any()

def test_not_contiguous():
    logits, targets = draw((3, 4), 5, 0)
    turned = logits.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous() and torch.equal(losses(turned, targets), losses(logits, targets))
    assert torch.equal(losses(logits.mT.contiguous().mT, targets), losses(logits, targets))

@pytest.mark.parametrize('shapes', [((3, 5), (3, 1)), ((3, 5), (5,)), ((2, 3, 5), (6,)), ((5,), (1,)), ((), ())])
def test_shapes_that_do_not_fit(shapes):
    logits, targets = torch.zeros(shapes[0]), torch.zeros(shapes[1], dtype=torch.int64)
    for f in (nll, losses):
        with pytest.raises(ValueError, match='targets should have') as e: f(logits, targets)
        assert '\n' not in str(e.value)

@pytest.mark.parametrize('target', [5, -2, -100])
def test_targets_that_are_no_class(target):
    with pytest.raises(IndexError): nll(torch.zeros(1, 5), torch.tensor([target]))

# whole sets

class Table(nn.Module):
    "Logits that depend on the last symbol; notes the mode and whether a graph is built"
    def __init__(self, W):
        super().__init__()
        self.W, self.drop, self.seen = nn.Parameter(W), nn.Dropout(0.5), []
    def forward(self, idx):
        self.seen.append((self.training, torch.is_grad_enabled()))
        return self.drop(self.W[idx])

items_ = st.lists(st.text('abc', min_size=0, max_size=9), min_size=1, max_size=40).map(
    lambda items: [*filter(None, items)] or ['a'])
tokenizer = CharTokenizer(list('abc'))

@few
@given(items_, seeds, st.integers(1, 50), st.sampled_from([None, 12]))
def test_lines_beside_a_loop(items, seed, batch_size, block):
    data = LineData(items, tokenizer, block)
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logp, total, n = W.log_softmax(1), [], 0
    for item in items:
        ids = [0, *tokenizer.encode(item), 0]
        total += [-logp[a, b].item() for a, b in zip(ids, ids[1:])]
    model = Table(W).train()
    assert evaluate(model, data, batch_size) == pytest.approx(math.fsum(total)/len(total), abs=1e-12)
    assert set(model.seen) == {(False, False)} and model.training and model.drop.training
    sums, counts = row_losses(model, data, batch_size)
    assert sums.dtype == torch.float64 and len(sums) == len(items) and counts.sum() == len(total)
    assert sorted(counts.tolist()) == sorted(len(i) + 1 for i in items)

@few
@given(st.text('abc ', min_size=3, max_size=200), st.integers(1, 30), st.integers(1, 9), seeds)
def test_text_beside_a_loop(text, block, batch_size, seed):
    if len(text) <= block: block = len(text) - 1
    t = CharTokenizer(list('abc '), mark=False)
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ids, logp = t.encode(text), W.log_softmax(1)
    right = math.fsum(-logp[a, b].item() for a, b in zip(ids, ids[1:]))/(len(ids) - 1)
    data = TextData(text, t, block)
    assert evaluate(Table(W), data, batch_size) == pytest.approx(right, abs=1e-12)
    unigram = Unigram(4).fit(data)
    q = np.bincount(ids[1:])/(len(ids) - 1)
    assert evaluate(unigram, data) == pytest.approx(-sum(x*math.log(x) for x in q if x), abs=1e-12)

def test_a_plain_function_is_a_model():
    data = LineData(['ab', 'c'], tokenizer)
    assert evaluate(lambda idx: torch.zeros(*idx.shape, 4), data) == pytest.approx(math.log(4))

def test_impossible_symbols():
    few, all_ = LineData(['aa', 'b'], tokenizer), LineData(['aa', 'b', 'c'], tokenizer)
    model = Unigram(4).fit(few)
    assert evaluate(model, few) < math.log(4) and evaluate(model, all_) == math.inf
    assert evaluate(Unigram(4).fit(few, add=1), all_) < math.inf
    assert evaluate(Unigram(4).fit(few, add=1e9), all_) == pytest.approx(math.log(4), abs=1e-6)

@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_of_a_model(dtype):
    data = LineData(['abc', 'a', 'cab']*50, tokenizer)
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert evaluate(Table(W), data) == pytest.approx(evaluate(Table(W.double()), data), abs=1e-6)

def test_batch_size_changes_nothing_in_float32():
    data = LineData(['abc', 'a', 'cab', 'ccccbbb']*100, tokenizer)
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    found = [evaluate(Table(W), data, n) for n in (1, 3, 64, 399, 400, 10_000)]
    assert max(found) - min(found) < 1e-12

def test_many_terms_do_not_drift():
    "A hundred thousand equal losses of a model in float32 have their own value as the mean"
    data = LineData(['abcabcabc']*10_000, tokenizer)
    model = Table(torch.full((4, 4), 0.1))
    one = losses(model.W[:1].detach(), torch.tensor([0])).double().item()
    assert one == pytest.approx(math.log(4), abs=1e-6)
    assert evaluate(model, data) == pytest.approx(one, abs=1e-12)

@pytest.mark.parametrize('batches', [[], [(torch.zeros(2, 3).long(), torch.full((2, 3), PAD))]])
def test_nothing_to_predict(batches):
    with pytest.raises(ValueError, match='nothing to predict'):
        evaluate(Uniform(3), SimpleNamespace(sweep=lambda n: iter(batches)))

def test_modes_come_back_part_by_part():
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Sequential(nn.Dropout()))
    model[1].eval()
    before = [m.training for m in model.modules()]
    with pytest.raises(KeyboardInterrupt), evaluating(model) as inside:
        assert inside is model and not any(m.training for m in model.modules())
        raise KeyboardInterrupt
    assert [m.training for m in model.modules()] == before and torch.is_grad_enabled()
    with torch.no_grad(), evaluating(model): pass
    assert torch.is_grad_enabled()

# how sure

@few
@given(st.integers(2, 30), seeds)
def test_standard_error_of_single_predictions(n, seed):
    x = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert standard_error(x, torch.ones(n)) == pytest.approx((x.std()/n**0.5).item())
    assert standard_error(x, torch.full((n,), 3)) == pytest.approx((x.std()/n**0.5).item()/3)

def test_standard_error_where_only_lengths_differ():
    n = torch.tensor([1, 5, 9, 2])
    assert standard_error(2.5*n, n) == pytest.approx(0, abs=1e-12)

@pytest.mark.parametrize('n', [0, 1])
def test_standard_error_needs_rows(n):
    with pytest.raises(ValueError, match='two rows'): standard_error(torch.ones(n), torch.ones(n))

# units and models

def test_units():
    assert bits(math.log(2)) == 1 and perplexity(math.log(7)) == pytest.approx(7)
    assert perplexity(math.inf) == perplexity(1000) == math.inf and perplexity(0.0) == 1
    assert perplexity(torch.tensor(0.0)) == 1 and bits(torch.tensor(math.log(4))).item() == pytest.approx(2)

@pytest.mark.parametrize('model', [Uniform(4), Unigram(4), Unigram(4).fit(LineData(['abc'], tokenizer))])
def test_baselines_are_distributions(model):
    out = model(torch.zeros(2, 3, dtype=torch.int64))
    assert out.shape == (2, 3, 4) and torch.allclose(out.exp().sum(-1), torch.ones(2, 3).double())
    assert not list(model.parameters()) and model.name in ('uniform', 'unigram')

def test_baselines_are_saved_and_loaded():
    model, again = Unigram(4).fit(LineData(['abca', 'c'], tokenizer)), Unigram(4)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.logp, model.logp) and model.half().logp.dtype == torch.float16

def test_fit_refuses_foreign_ids():
    with pytest.raises(ValueError, match=r'not in 0\.\.2'): Unigram(3).fit(LineData(['abc'], tokenizer))

# what can't be meant

@pytest.mark.parametrize('logits, targets, match', [
    ([[0.0, 1.0]], torch.tensor([0]), 'logits should be a tensor, and are a list'),
    (np.zeros((1, 2)), torch.tensor([0]), 'logits should be a tensor, and are a ndarray'),
    (torch.zeros(1, 2), np.array([0]), 'targets should be a tensor'),
    (torch.zeros(1, 2), torch.tensor([0], dtype=torch.int32), 'targets int64; they are torch.float32 and torch.int32'),
    (torch.zeros(1, 2), torch.tensor([0.0]), 'targets int64'),
    (torch.zeros(1, 2, dtype=torch.int64), torch.tensor([0]), 'logits should be floats')])
def test_what_is_no_logits_or_targets(logits, targets, match):
    for f in (nll, losses):
        with pytest.raises(ValueError, match=match) as e: f(logits, targets)
        assert '\n' not in str(e.value)

two = LineData(['ab', 'c'], tokenizer)

@pytest.mark.parametrize('model, data, size, match', [
    (lambda idx: (torch.zeros(*idx.shape, 4), None), two, 256, 'should return logits alone, and returns a tuple'),
    (Uniform, two, 256, 'function or an instance, and is a type'),
    ({'logp': torch.zeros(3)}, two, 256, 'function or an instance, and is a dict'),
    (Uniform(4), two, 0, 'batch_size should be at least 1, and is 0'),
    (Uniform(4), two, -3, 'batch_size should be at least 1'),
    (Uniform(4), ['ab', 'c'], 256, 'the data have no sweep: a list')])
def test_what_can_not_be_measured(model, data, size, match):
    for f in (evaluate, row_losses):
        with pytest.raises(ValueError, match=match) as e: f(model, data, size)
        assert '\n' not in str(e.value)

@pytest.mark.parametrize('size', [1, 2, 7])
def test_batch_size_arrives(size):
    asked = []
    row_losses(Uniform(4), SimpleNamespace(sweep=lambda n: asked.append(n) or two.sweep(n)), size)
    assert asked == [size]

class Elsewhere(Exception): pass

@pytest.mark.parametrize('where', ['parameter', 'buffer'])
def test_inputs_go_where_the_model_is(where):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            if where == 'parameter': self.w = nn.Parameter(torch.zeros(1))
            else: self.register_buffer('w', torch.zeros(1))
        def forward(self, idx):
            assert idx.device == self.w.device
            raise Elsewhere
    for device in ('cpu', 'meta'):
        with pytest.raises(Elsewhere): evaluate(Model().to(device), two)

def test_targets_go_where_the_logits_are():
    with pytest.raises(NotImplementedError, match='out of meta'): evaluate(Uniform(4).to('meta'), two)

@pytest.mark.parametrize('add', [-1, -1e-9, math.nan, math.inf])
def test_fit_refuses_to_add(add):
    with pytest.raises(ValueError, match='add should be a number'): Unigram(4).fit(two, add)

@pytest.mark.parametrize('stream, match', [([], 'nothing to predict'), ([0], 'nothing to predict'),
                                           ([0, 4], r'not in 0\.\.3'), ([0, -1], r'not in 0\.\.3')])
def test_fit_refuses_streams(stream, match):
    with pytest.raises(ValueError, match=match):
        Unigram(4).fit(SimpleNamespace(stream=torch.tensor(stream, dtype=torch.int64)))

@pytest.mark.parametrize('add, counts', [(0, [2, 1, 1, 1]), (1, [3, 2, 2, 2]), (0.5, [2.5, 1.5, 1.5, 1.5])])
def test_fit_counts(add, counts):
    q = torch.tensor(counts, dtype=torch.float64)
    assert torch.allclose(Unigram(4).fit(two, add).logp.exp(), q/q.sum())

@pytest.mark.parametrize('n', [0, -1])
def test_no_symbols(n):
    with pytest.raises(ValueError, match='vocab_size should be at least 1'): Uniform(n)

@pytest.mark.parametrize('sums, counts, match', [
    (torch.ones(3), torch.ones(2), r'should be \(N,\), and are \(3,\) and \(2,\)'),
    (torch.ones(3, 1), torch.ones(3, 1), r'should be \(N,\)'),
    (torch.ones(()), torch.ones(()), r'should be \(N,\)'),
    (torch.tensor([1, math.inf]), torch.ones(2), 'infinite loss'),
    (torch.ones(2), torch.zeros(2), 'without predictions'),
    (torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), 'without predictions')])
def test_standard_error_refuses(sums, counts, match):
    with pytest.raises(ValueError, match=match): standard_error(sums, counts)

def test_standard_error_with_unequal_counts_by_hand():
    "L = 12/6, r = -1, 0, 1"
    for dtype in (torch.int64, torch.float16, torch.float64):
        found = standard_error(torch.tensor([1, 2, 9], dtype=dtype), torch.tensor([1, 1, 4]))
        assert found == pytest.approx(math.sqrt(3)/6, abs=1e-15)

def test_standard_error_of_float16_sums():
    "Their own sum would be infinite"
    sums, n = torch.tensor([60.0, 62.0]*2000).half(), torch.full((4000,), 20)
    assert standard_error(sums, n) == pytest.approx(1/20/3999**0.5)
