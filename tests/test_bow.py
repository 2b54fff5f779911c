"The causal bag of words beyond its lesson: a plain loop as the judge, odd shapes, number types, states, resuming"
import copy, json, math
from dataclasses import asdict
import pytest, torch
from hypothesis import given, settings, strategies as st
from nnzero.lm.data import CharTokenizer, DataError, LineData
from nnzero.lm.loss import evaluate, nll
from nnzero.lm.sample import context, generate, same_logits, start, step
from nnzero.lm.train import TrainConfig, load_weights, parameter_groups, read_tensors, save_model, train
from nnzero.makemore.bow import BoW, BoWConfig, shares

NAMES = ['emma', 'ola', 'ida', 'noa', 'mia', 'leonardo', 'x']

def model(seed=0, spread=0.2, **sizes):
    torch.manual_seed(seed)
    net = BoW(BoWConfig(**dict(vocab_size=11, block_size=16, n_embd=5, n_hidden=7) | sizes))
    with torch.no_grad():
        for p in net.parameters(): p.add_(spread*torch.randn_like(p))
    return net

def judge(net, idx):
    "The same, place after place"
    logits = []
    for t in range(idx.shape[1]):
        x = net.embed.weight[idx[:, :t + 1]] + net.place.weight[:t + 1]
        v = x[:, -1] + x.mean(1)
        h = torch.tanh(v @ net.hidden.weight.T + net.hidden.bias)
        v = v + h @ net.back.weight.T + net.back.bias
        logits.append(v @ net.out.weight.T + net.out.bias)
    return torch.stack(logits, 1)

@settings(max_examples=25, deadline=None)
@given(V=st.integers(1, 30), D=st.integers(1, 20), H=st.integers(1, 20), B=st.integers(1, 6),
       n=st.integers(1, 40), seed=st.integers(0, 9), data=st.data())
def test_equal_to_the_loop_and_to_its_own_steps(V, D, H, B, n, seed, data):
    net = model(seed, vocab_size=V, n_embd=D, n_hidden=H, block_size=n)
    idx = torch.randint(V, (B, data.draw(st.integers(1, n))))
    assert torch.allclose(net(idx), judge(net, idx), rtol=0, atol=1e-5)
    assert same_logits(net, idx, tries=2) < 1e-5

def test_float64_and_all_gradients():
    net, idx = model().double(), torch.randint(11, (6, 9))
    other = copy.deepcopy(net)
    nll(net(idx), idx).backward()
    nll(judge(other, idx), idx).backward()
    for (name, p), q in zip(net.named_parameters(), other.parameters()):
        assert p.grad.abs().max() > 0 and torch.allclose(p.grad, q.grad, rtol=0, atol=1e-13), name
    logits, (total, _) = net.step(idx, net.start(6))
    assert total.dtype == torch.float64 and torch.allclose(logits, net(idx), rtol=0, atol=1e-13)

@pytest.mark.parametrize('T', [0, 1, 2, 50, 1000])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_shares(T, dtype):
    a = shares(T, torch.zeros(3, dtype=dtype))
    assert a.shape == (T, T) and a.dtype == dtype and (a.triu(1) == 0).all()
    if dtype != torch.bfloat16 and T:
        assert torch.allclose(a.sum(1), torch.ones(T, dtype=dtype), atol=1e-5)
        assert torch.allclose(a[-1], torch.full((T,), 1/T, dtype=dtype))

def test_shares_in_bfloat16_know_more_than_256_places():
    a = shares(1000, torch.zeros(1, dtype=torch.bfloat16))
    assert abs(a[-1, 0].item()*1000 - 1) < 0.01

def test_everything_stays_on_its_device():
    assert shares(3, torch.zeros(1, device='meta')).device.type == 'meta'
    with torch.device('meta'): net = model(spread=0)
    idx = torch.zeros(2, 5, dtype=torch.int64, device='meta')
    logits, state = net.step(idx, net.start(2))
    assert {net(idx).device.type, logits.device.type, *(s.device.type for s in state)} == {'meta'}

@pytest.mark.parametrize('T', [16, 40])
def test_stepping_is_reading_at_once(T):
    assert same_logits(model(), torch.randint(11, (5, T))) < 1e-5

def test_a_state_is_a_sum_and_a_count_of_constant_size():
    net, state = model(block_size=300), model().start(3)
    for n in (1, 0, 7, 200):
        lengths = torch.tensor([n, max(n - 1, 0), 0])
        _, state = net.step(torch.randint(11, (3, n + 2)), state, lengths)
        assert state[0].shape == (3, 5) and state[1].shape == (3,)
    assert state[1].tolist() == [208, 205, 0] and (state[0][2] == 0).all()

def test_padding_beyond_the_block():
    net, idx = model(), torch.randint(11, (2, 30))
    logits, (_, count) = net.step(idx, net.start(2), torch.tensor([16, 3]))
    assert count.tolist() == [16, 3] and torch.allclose(logits[:, :16], net(idx[:, :16]), atol=1e-5)

def test_no_place_sees_a_later_one_nor_its_neighbours():
    net, idx = model(), torch.randint(11, (30, 16))
    for t in (0, 7, 15): assert torch.allclose(net(idx)[:, :t + 1], net(idx[:, :t + 1]), atol=1e-5)
    assert torch.allclose(net(idx)[3:4], net(idx[3:4]), atol=1e-5)
    changed = idx.clone();  changed[:, 9] = (idx[:, 9] + 1) % 11
    moved = (net(idx) != net(changed)).any(-1).any(0)
    assert moved.tolist() == [False]*9 + [True]*7

def test_earlier_letters_may_change_places():
    net, idx = model().double(), torch.randint(11, (8, 12))
    mixed = torch.cat([idx[:, torch.randperm(11)], idx[:, 11:]], 1)
    assert torch.allclose(net(idx)[:, -1], net(mixed)[:, -1], atol=1e-12)
    assert (net(idx) - net(mixed)).abs().max() > 1e-3

def test_too_long_a_row():
    with pytest.raises(ValueError, match='17 places') as e: model()(torch.zeros(1, 17, dtype=torch.int64))
    assert len(str(e.value).splitlines()) == 1

@pytest.mark.parametrize('wrong', [-1, 11, 10**6])
def test_an_id_that_does_not_exist(wrong):
    idx = torch.zeros(2, 3, dtype=torch.int64)
    idx[-1, 1] = wrong
    with pytest.raises((IndexError, RuntimeError)): model()(idx)
    with pytest.raises((IndexError, RuntimeError)): model().step(idx, model().start(2))

@pytest.mark.parametrize('rows', [0, 3])
def test_rows_without_ids_and_no_rows(rows):
    net, none = model(), torch.zeros(rows, 0, dtype=torch.int64)
    assert net(none).shape == (rows, 0, 11) and net(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 11)
    logits, state = net.step(none, net.start(rows))
    assert logits.shape == (rows, 0, 11) and torch.equal(state[0], net.start(rows)[0])

def test_number_types():
    net, idx = model(), torch.randint(11, (60, 16))
    with torch.autocast('cpu', dtype=torch.bfloat16): out = net(idx)
    nll(out, idx).backward()
    assert torch.allclose(out.float(), net(idx), atol=0.3) and net.embed.weight.grad.dtype == torch.float32
    half = copy.deepcopy(net).bfloat16()
    logits, (total, _) = half.step(idx, half.start(60))
    assert total.dtype == torch.float32 and logits.dtype == torch.bfloat16
    assert torch.allclose(half(idx).float(), net(idx), atol=0.5)
    assert torch.allclose(logits.float(), net(idx), atol=0.5)

def test_ids_that_do_not_lie_in_one_row_and_the_step_leaves_its_state_alone():
    net, idx = model(), torch.randint(11, (12, 15))
    assert torch.allclose(net(idx.T), net(idx.T.contiguous()), atol=1e-6)
    state = net.start(12)
    net.step(idx, state)
    assert (state[0] == 0).all() and (state[1] == 0).all()

def test_a_fresh_model():
    torch.manual_seed(0)
    net = BoW(BoWConfig(27))
    assert sum(p.numel() for p in net.parameters()) == 12_827 and net.name == 'bow'
    assert context(net) == 16 and net.slides is False
    idx = torch.randint(27, (200, 16))
    assert abs(nll(net(idx), torch.randint(27, (200, 16))).item() - math.log(27)) < 0.1
    decay, rest = parameter_groups(net, 0.1)
    assert {id(p) for p in decay['params']} == {id(l.weight) for l in (net.hidden, net.back, net.out)}

def test_it_learns_and_writes_and_a_line_ends_with_its_block():
    tok = CharTokenizer.train(NAMES)
    data = LineData(NAMES, tok)
    torch.manual_seed(0)
    net = BoW(BoWConfig(tok.vocab_size, 12, 16, 32))
    train(net, data, data, TrainConfig(steps=200, batch_size=7, lr=0.01, eval_every=200), progress=False)
    assert evaluate(net, data) < 0.6
    assert set(generate(net, tok, 20, seed=1)) & set(NAMES)
    assert all(len(text) <= 12 for text in generate(net, tok, 20, temperature=5.0, seed=2))
    with pytest.raises(DataError): generate(net, tok, prompt='emmaolaidanoa')

def test_stepping_from_the_outside():
    net, idx = model(), torch.randint(11, (2, 5))
    logits, state = step(net, idx, start(net, 2))
    more, _ = step(net, idx[:, :1], state)
    assert torch.allclose(more[:, 0], net(torch.cat([idx, idx[:, :1]], 1))[:, -1], atol=1e-5)

def test_saved_and_read_to_the_bit(tmp_path):
    tok, net = CharTokenizer.train(NAMES), model(vocab_size=CharTokenizer.train(NAMES).vocab_size)
    save_model(tmp_path, net, tok)
    kept = json.loads((tmp_path/'config.json').read_text())['model']
    assert kept.pop('name') == 'bow' and kept == asdict(net.config)
    again = BoW(BoWConfig(**kept))
    load_weights(again, read_tensors(tmp_path/'model.safetensors')[0])
    idx = torch.randint(net.config.vocab_size, (50, 16))
    assert torch.equal(net(idx), again(idx))

def test_resumed_it_ends_bit_equal(tmp_path):
    tok = CharTokenizer.train(NAMES)
    data, ends = LineData(NAMES, tok), []
    for name, stops in (('whole', (40,)), ('parts', (20, 40))):
        for steps in stops:
            torch.manual_seed(0)
            config = TrainConfig(steps=steps, batch_size=4, lr=0.01, eval_every=10, schedule='constant', warmup=0)
            done = train(BoW(BoWConfig(tok.vocab_size, 12, 8, 8)), data, data, config, out=tmp_path/name,
                         tokenizer=tok, resume=steps == 40 and len(stops) == 2, progress=False)
        ends.append(done.model)
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in ends)))

@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(n_embd=-1), dict(n_hidden=0), dict(block_size=0)])
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(ValueError) as e: BoWConfig(**dict(vocab_size=11) | wrong)
    assert len(str(e.value).splitlines()) == 1
