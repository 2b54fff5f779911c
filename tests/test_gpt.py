"GPT beyond its lesson: torch and makemore's transformer as judges, caches of odd sizes, number types, states"
import copy, math
from dataclasses import asdict
import pytest, torch
from hypothesis import given, settings, strategies as st
from nnzero.gpt.model import GPT, GPTConfig, SIZES, attend, flops, gpt2_config, num_params, shifted, turned, turns
from nnzero.lm.data import CharTokenizer, LineData, TextData
from nnzero.lm.loss import nll
from nnzero.lm.sample import generate, same_logits
from nnzero.lm.train import Trainer, TrainConfig, load_weights, parameter_groups, read_tensors, save_model, train
from nnzero.makemore.transformer import Transformer, TransformerConfig, attention_weights

KINDS = dict(bias=st.booleans(), tied=st.booleans(), positions=st.sampled_from(['learned', 'rotary']),
             norm=st.sampled_from(['layer', 'rms']), activation=st.sampled_from(['gelu', 'relu2']),
             shift=st.sampled_from([0, 1, 3]))
LATE = dict(bias=False, tied=False, positions='rotary', norm='rms', activation='relu2', shift=3, zero=True)
OLD_AND_LATE = pytest.mark.parametrize('kind', [{}, LATE], ids=['old', 'late'])

def model(seed=0, spread=0.2, **sizes):
    torch.manual_seed(seed)
    net = GPT(GPTConfig(**dict(vocab_size=11, block_size=9, n_embd=12, n_head=3, n_layer=2) | sizes)).eval()
    with torch.no_grad():
        for p in net.parameters(): p.add_(spread*torch.randn_like(p))
    return net

def first_of(i, n):
    "The first id read with id i: a row of n places that is full goes on with its last n//2 ids"
    known = 0
    first = 0
    for j in range(i + 1):
        if known == n: first, known = j - n//2, n//2
        known += 1
    return first

def one_by_one(net, ids, n):
    with torch.no_grad():
        return torch.stack([net(ids[:, first_of(i, n):i + 1])[:, -1] for i in range(ids.shape[1])], 1)

def read(net, ids, cuts, length=None):
    "In pieces, of which each row takes another number at each step"
    state, out = net.start(len(ids), length), [[] for _ in ids]
    done = [0]*len(ids)
    with torch.no_grad():
        for lengths in cuts:
            lengths = [min(k, ids.shape[1] - d) for k, d in zip(lengths, done)]
            T = max(1, *lengths)
            piece = torch.stack([torch.cat([row[d:d + k], row.new_full((T - k,), 7)])
                                 for row, d, k in zip(ids, done, lengths)])
            logits, state = net.step(piece, state, torch.tensor(lengths))
            for r, k in enumerate(lengths): out[r] += list(logits[r, :k])
            done = [d + k for d, k in zip(done, lengths)]
    return [torch.stack(row) if row else None for row in out]

@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 9), B=st.integers(1, 4), data=st.data(), **KINDS)
def test_reading_on_is_by_its_definition(n, B, data, **kind):
    net = model(block_size=9, **kind).double() if kind['positions'] == 'learned' else model(
        block_size=9, n_embd=12, n_head=2, **kind).double()
    ids = torch.randint(11, (B, 40))
    cuts = data.draw(st.lists(st.lists(st.integers(0, 15), min_size=B, max_size=B), max_size=12))
    want = one_by_one(net, ids, n)
    for r, row in enumerate(read(net, ids, cuts, n)):
        if row is not None: assert torch.allclose(row, want[r, :len(row)], rtol=0, atol=1e-10)

@OLD_AND_LATE
def test_every_prefix_cached_equals_uncached(kind):
    net = model(block_size=33, n_head=3, n_embd=24, **kind)
    ids = torch.randint(11, (3, 33))
    state = net.start(3)
    with torch.no_grad():
        for t in range(33):
            logits, state = net.step(ids[:, t:t + 1], state)
            assert (logits[:, 0] - net(ids[:, :t + 1])[:, -1]).abs().max() < 1e-5
    assert same_logits(net, ids) < 1e-5

@settings(max_examples=30, deadline=None)
@given(V=st.integers(1, 30), n=st.integers(1, 12), L=st.integers(1, 3), h=st.integers(1, 4), d=st.integers(1, 4), **KINDS)
def test_parameters_are_counted(V, n, L, h, d, **kind):
    c = GPTConfig(V, n, L, h, 4*h*d, **kind)
    assert num_params(c) == sum(p.numel() for p in GPT(c).parameters())
    assert flops(c, 2*n) - flops(c, n) == 4*L*4*h*d*n and flops(c, training=True) == 3*flops(c)

def test_it_is_the_transformer_of_makemore():
    net = model(tied=False).double()
    other = Transformer(TransformerConfig(11, 9, 12, 3, 2)).double()
    other.load_state_dict(net.state_dict())
    ids = torch.randint(11, (4, 9))
    assert torch.allclose(net(ids), other(ids), rtol=0, atol=1e-12)

@settings(max_examples=30, deadline=None)
@given(T=st.integers(1, 9), S=st.integers(1, 9), d=st.integers(1, 8), kind=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_attention(T, S, d, kind):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, T, d), torch.randn(2, 3, S, d), torch.randn(2, 3, S, d)
    seen = torch.rand(T, S) < 0.5
    seen[:, 0] = True
    exact = 0.05 if kind == torch.bfloat16 else 1e-5
    out = attend(*(t.to(kind) for t in (q, k, v)), seen)
    assert out.dtype == kind and torch.allclose(out.float(), attention_weights(q, k, ~seen) @ v, atol=exact)
    later = torch.ones(T, T).triu(1).bool()
    q, k, v = (t[:, :, :T] if t.shape[2] >= T else torch.randn(2, 3, T, d) for t in (q, k, v))
    out = attend(*(t.to(kind) for t in (q, k, v)))
    assert torch.allclose(out.float(), attention_weights(q, k, later) @ v, atol=exact)

def test_gradients_of_the_written_out_way():
    torch.manual_seed(0)
    exact = torch.randn(3, 2, 4, 8, 16, requires_grad=True)
    short = exact.detach().bfloat16().requires_grad_()
    g = torch.randn(2, 4, 8, 16)
    attend(*exact).backward(g)
    attend(*short).backward(g.bfloat16())
    assert (exact.grad - short.grad.float()).norm() < 0.02*exact.grad.norm()

def test_turning_keeps_lengths_and_knows_distances_only():
    torch.manual_seed(0)
    q, k = torch.randn(2, 50, 12).double()
    t = torch.arange(50)
    a, b = turned(q, turns(t, 12)), turned(k, turns(t, 12))
    assert torch.allclose(a.norm(dim=1), q.norm(dim=1), atol=1e-4)      # angles are float32
    far = turned(q, turns(t + 1000, 12)) @ turned(k, turns(t + 1000, 12)).T
    assert torch.allclose(far, a @ b.T, atol=1e-2)

@pytest.mark.parametrize('T', [1, 2, 5])
def test_shifted_takes_parts_of_the_places_before(T):
    x = torch.randn(2, T, 16)
    y = shifted(x, 3)
    for j, (a, b) in enumerate(((0, 4), (4, 8), (8, 12), (12, 16))):
        assert torch.equal(y[:, j:, a:b], x[:, :max(T - j, 0), a:b]) and not y[:, :j, a:b].any()

@OLD_AND_LATE
def test_first_loss_is_that_of_knowing_nothing(kind):
    torch.manual_seed(0)
    net = GPT(GPTConfig(65, 64, **kind))
    ids = torch.randint(65, (8, 65))
    assert abs(nll(net(ids[:, :-1]), ids[:, 1:]).item() - math.log(65)) < 0.05

def test_zero_begins_with_blocks_that_add_nothing():
    c = GPTConfig(11, 9, 2, 3, 12, zero=True, tied=False)
    net = GPT(c)
    x = torch.randn(2, 9, 12)
    for block in net.blocks: assert torch.equal(block(x), x)
    assert not net.out.weight.any()

def test_residual_layers_begin_smaller():
    net = GPT(GPTConfig(65, n_layer=8, n_embd=256))
    assert abs(net.blocks[0].mlp[2].weight.std()*math.sqrt(16)/0.02 - 1) < 0.02
    assert abs(net.blocks[0].mlp[0].weight.std()/0.02 - 1) < 0.02 and abs(net.embed.weight.std()/0.02 - 1) < 0.05

def test_zero_and_tied():
    net = GPT(GPTConfig(65, zero=True))
    assert net.embed.weight.any(), 'a tied table of zeros could learn nothing'

@OLD_AND_LATE
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_killed_and_resumed_bit_equal(tmp_path, kind, precision):
    text = 'the quick brown fox jumps over the lazy dog. '*20
    tok = CharTokenizer.train(text, mark=False)
    data = [TextData(part, tok, 9) for part in (text[:600], text[600:])]
    def run(steps, out):
        net = GPT(GPTConfig(tok.vocab_size, 9, 2, 2, 8, **kind))
        torch.manual_seed(3)
        for p in net.parameters(): p.data = torch.randn_like(p)*0.1
        config = TrainConfig(steps=steps, batch_size=4, eval_every=5, precision=precision, schedule='constant')
        return train(net, *data, config, out, tok, resume=True, progress=False).model
    whole = run(12, None)
    run(7, tmp_path/'run')
    again = run(12, tmp_path/'run')
    for (name, p), q in zip(whole.named_parameters(), again.parameters()): assert torch.equal(p, q), name

def test_saved_and_loaded(tmp_path):
    for kind in ({}, LATE, {'tied': True}):
        net, tok = model(n_head=2, **kind), CharTokenizer.train('abcdefghijk', mark=False)
        save_model(tmp_path/'run', net, tok)
        other = GPT(net.config)
        load_weights(other, read_tensors(tmp_path/'run'/'model.safetensors')[0])
        ids = torch.randint(11, (2, 9))
        assert torch.equal(net(ids), other.eval()(ids))

def test_a_tied_table_decays_once():
    net = model()
    decayed, rest = parameter_groups(net, 0.1)
    assert any(p is net.embed.weight for p in decayed['params']) and not any(p is net.embed.weight for p in rest['params'])

def test_writing_past_the_block():
    net, tok = model(block_size=6), CharTokenizer.train('abcdefghijk', mark=False)
    texts = generate(net, tok, 3, prompt=['a', 'abcdefghijk', 'abcabc'], max_tokens=30, seed=1)
    alone = [generate(net, tok, 1, prompt=p, max_tokens=30, seed=1)[0] for p in ('a',)]
    assert all(len(t) >= 31 for t in texts) and texts[0] == alone[0]

@OLD_AND_LATE
def test_rows_that_end_at_different_times(kind):
    net, tok = model(block_size=6, n_head=2, **kind), CharTokenizer.train('abcdefghijk', mark=False)
    prompts = ['a', 'abcdefghijk', 'abcabc', 'kkk']
    texts = generate(net, tok, 2, prompt=prompts, max_tokens=30, stop='d', seed=1)
    alone = [text for p in prompts for text in generate(net, tok, 2, prompt=p, max_tokens=30, stop='d', seed=1)]
    assert texts == alone and len({len(t) for t in texts}) > 3
    assert all(len(v) == 3 for v in net.start(3).values()), 'rows come first'

@OLD_AND_LATE
def test_no_rows_and_no_ids(kind):
    net = model(n_head=2, **kind)
    state = net.start(2)
    for T in (3, 0, 9): logits, state = net.step(torch.zeros(2, T).long(), state)
    assert state['read'].tolist() == [7, 7] and net.step(torch.zeros(2, 0).long(), state)[0].shape == (2, 0, 11)
    logits, state = net.step(torch.zeros(0, 20).long(), net.start(0), torch.zeros(0).long())
    assert logits.shape == (0, 20, 11) and net(torch.zeros(0, 4).long()).shape == (0, 4, 11)

def test_a_long_text_at_a_block_of_one():
    net = model(block_size=1)
    ids = torch.randint(11, (1, 1500))
    with torch.no_grad():
        logits, state = net.step(ids, net.start(1))
        assert torch.allclose(logits[0], net(ids.T)[:, 0], atol=1e-5)

def test_operations_without_attention():
    c = GPTConfig(65)
    assert flops(c, 0) == 2*(12*c.n_layer*c.n_embd**2 + 65*c.n_embd) < flops(c, 1) < flops(c)

def test_sizes_on_meta():
    with torch.device('meta'): net = GPT(gpt2_config('gpt2-xl'))
    logits = net(torch.zeros(1, 1024, dtype=torch.int64, device='meta'))
    assert logits.shape == (1, 1024, 50_257) and {v.device.type for v in net.start(2).values()} == {'meta'}

def test_double_and_short_numbers():
    for kind in (torch.float64, torch.bfloat16):
        net = model().to(kind)
        logits, state = net.step(torch.randint(11, (2, 5)), net.start(2))
        assert logits.dtype == kind and state['caches'].dtype == kind
        assert torch.isfinite(net(torch.randint(11, (2, 9)))).all()

def test_step_under_autocast():
    net, ids = model(block_size=16), torch.randint(11, (2, 16))
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        state, rows = net.start(2), []
        for piece in ids.split(3, 1):
            logits, state = net.step(piece, state)
            rows.append(logits)
        assert (torch.cat(rows, 1) - net(ids)).abs().max() < 0.1*net(ids).abs().max()

@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(block_size=0), dict(n_embd=-8), dict(n_head=5), dict(n_layer=0),
    dict(dropout=1), dict(dropout=-0.1), dict(norm='none'), dict(positions='sine'), dict(activation='tanh'),
    dict(n_embd=9, n_head=3, positions='rotary'), dict(n_embd=9, n_head=3, shift=1), dict(shift=4), dict(shift=-1)])
def test_what_cant_be(wrong):
    with pytest.raises(ValueError) as e: GPTConfig(**dict(vocab_size=11, n_embd=12, n_head=3) | wrong)
    assert '\n' not in str(e.value)

def test_no_room_and_no_name():
    net = model()
    for n in (0, -1, 10):
        with pytest.raises(ValueError, match='no room'): net.start(1, n)
    with pytest.raises(ValueError, match='has 10 places'): net(torch.zeros(1, 10).long())
    with pytest.raises(ValueError, match='gpt2-medium'): gpt2_config('gpt2-small')
    assert [num_params(gpt2_config(name)) for name in SIZES][0] == 124_439_808
    assert net(torch.zeros(2, 0).long()).shape == (2, 0, 11)
