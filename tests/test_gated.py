"LSTM and GRU beyond their lesson: torch's own as the judge on random shapes, number types, states, resuming"
import copy, json, math
from dataclasses import asdict
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from nnzero.lm.data import CharTokenizer, LineData
from nnzero.lm.loss import evaluate, nll
from nnzero.lm.sample import context, generate, same_logits
from nnzero.lm.train import TrainConfig, load_weights, parameter_groups, read_tensors, save_model, train
from nnzero.makemore.gated import GRU, GRUConfig, GRURecurrence, LSTM, LSTMConfig, lstm_cell

NAMES = ['emma', 'ola', 'ida', 'noa', 'mia', 'leonardo', 'x']
CONFIGS = {LSTM: LSTMConfig, GRU: GRUConfig}
both = pytest.mark.parametrize('make', [LSTM, GRU])

def model(make, seed=0, spread=0.3, **sizes):
    torch.manual_seed(seed)
    net = make(CONFIGS[make](**dict(vocab_size=11, n_embd=5, n_hidden=7) | sizes))
    with torch.no_grad():
        for p in net.parameters(): p.add_(spread*torch.randn_like(p))
    return net

def judge(net, idx):
    "Logits and last state by torch's own network"
    c, H, lstm = net.config, net.config.n_hidden, isinstance(net, LSTM)
    own = (nn.LSTM if lstm else nn.GRU)(c.n_embd, H, batch_first=True).to(net.first.dtype)
    hidden = torch.zeros_like(net.input.bias)
    if not lstm: hidden[2*H:] = net.inner
    own.load_state_dict({'weight_ih_l0': net.input.weight, 'bias_ih_l0': net.input.bias,
                         'weight_hh_l0': net.recur.T, 'bias_hh_l0': hidden})
    first = [f.expand(1, len(idx), -1).contiguous() for f in net.first.split(H)]
    h, last = own(net.embed(idx), tuple(first) if lstm else first[0])
    return net.out(h), tuple(s[0] for s in last) if lstm else (last[0],)

def plain_gru(x, U, b, h):
    "A loop over the formula, one gate after the other"
    H, states = len(b), [h]
    for x_t in x:
        r = torch.sigmoid(x_t[:, :H] + h @ U[:, :H])
        z = torch.sigmoid(x_t[:, H:2*H] + h @ U[:, H:2*H])
        n = torch.tanh(x_t[:, 2*H:] + r*(h @ U[:, 2*H:] + b))
        h = (1 - z)*n + z*h
        states.append(h)
    return torch.stack(states)

def states_of(net, state): return state if isinstance(state, tuple) else (state,)

@both
@given(B=st.integers(1, 9), T=st.integers(1, 20), D=st.integers(1, 9), H=st.integers(1, 12), V=st.integers(1, 40),
       seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_equal_to_torchs_own(make, B, T, D, H, V, seed):
    for dtype, atol in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        net = model(make, seed, vocab_size=V, n_embd=D, n_hidden=H).to(dtype)
        idx = torch.randint(V, (B, T))
        logits, last = judge(net, idx)
        stepped, state = net.step(idx, net.start(B))
        for mine in (net(idx), stepped):
            assert mine.shape == (B, T, V) and torch.allclose(mine, logits, rtol=0, atol=atol)
        for a, b in zip(states_of(net, state), last, strict=True):
            assert a.shape == (B, H) and torch.allclose(a, b, rtol=0, atol=atol)

@both
@pytest.mark.parametrize('B, T', [(1, 5), (20, 9), (32, 16)])
@pytest.mark.parametrize('way', ['forward', 'step'])
def test_all_gradients_are_torchs(make, B, T, way):
    net, idx = model(make, vocab_size=27, n_embd=6, n_hidden=8).double(), torch.randint(27, (B, T))
    c, H = net.config, 8
    logits = net(idx) if way == 'forward' else net.step(idx, net.start(B))[0]
    nll(logits, idx).backward()
    twin = copy.deepcopy(net)
    twin.zero_grad()
    x = twin.embed(idx.T) @ twin.input.weight.T + twin.input.bias
    first = [f.expand(B, -1) for f in twin.first.split(H)]
    if make is GRU: h = plain_gru(x, twin.recur, twin.inner, first[0])[1:]
    else:
        state, h = first, []
        for x_t in x:
            i, f, g, o = (x_t + state[0] @ twin.recur).split(H, 1)
            memory = torch.sigmoid(f)*state[1] + torch.sigmoid(i)*torch.tanh(g)
            state = torch.sigmoid(o)*torch.tanh(memory), memory
            h.append(state[0])
        h = torch.stack(h)
    nll(twin.out(h).transpose(0, 1), idx).backward()
    for (name, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, rtol=0, atol=1e-12), name

@both
def test_gradients_in_float32_are_those_of_float64(make):
    net, idx = model(make, vocab_size=27, n_embd=16, n_hidden=16), torch.randint(27, (32, 16))
    exact = copy.deepcopy(net).double()
    for m in (net, exact): nll(m.train()(idx), idx).backward()          # another kernel for each
    for (name, p), q in zip(net.named_parameters(), exact.parameters(), strict=True):
        assert torch.allclose(p.grad.double(), q.grad, rtol=0, atol=1e-6), name

@pytest.mark.parametrize('T', [0, 1, 4])
def test_recurrence_gradcheck(T):
    torch.manual_seed(1)
    args = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((T, 2, 9), (3, 9), (3,), (2, 3))]
    assert torch.autograd.gradcheck(GRURecurrence.apply, args)
    assert torch.equal(GRURecurrence.apply(*args)[0], args[3])
    assert torch.allclose(GRURecurrence.apply(*args), plain_gru(*args), atol=1e-14)

def test_recurrence_leaves_its_inputs_alone():
    args = [torch.randn(s, requires_grad=True) for s in ((6, 2, 9), (3, 9), (3,), (2, 3))]
    before, dh = [t.detach().clone() for t in args], torch.randn(7, 2, 3)
    kept, h = dh.clone(), GRURecurrence.apply(*args)
    first = torch.autograd.grad(h, args, dh, retain_graph=True)
    again = torch.autograd.grad(h, args, dh)
    assert all(torch.equal(a, b) for a, b in zip(first, again)) and torch.equal(dh, kept)
    assert all(torch.equal(a, b) for a, b in zip(before, args))

def test_no_second_derivative_in_silence():
    x = torch.randn(3, 2, 12, requires_grad=True)
    h = GRURecurrence.apply(x, torch.randn(4, 12, requires_grad=True), torch.zeros(4), torch.zeros(2, 4))
    d, = torch.autograd.grad((h**2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError): d.sum().backward()

@both
@pytest.mark.parametrize('scale', [1, 100, 1e4])
def test_saturated_gates_are_numbers(make, scale):
    net = model(make)
    for p in net.parameters(): p.data.mul_(scale)
    net.out.weight.data.div_(scale)
    logits = net(torch.randint(11, (5, 30)))
    logits.sum().backward()
    assert logits.isfinite().all() and all(p.grad.isfinite().all() for p in net.parameters())

@both
def test_an_open_gate_keeps_and_a_shut_one_drops(make):
    net, idx = model(make, hold=0.0, spread=0.0), torch.randint(11, (4, 200))
    net.input.weight.data.zero_(), net.recur.data.zero_()
    H = net.config.n_hidden
    first = [torch.randn(4, H) for _ in states_of(net, net.start(4))]
    give = first[0] if make is GRU else tuple(first)
    for bias, share in ((30.0, 1.0), (-30.0, 0.0)):
        net.input.bias.data[H:2*H] = bias
        end = states_of(net, net.step(idx, give)[1])[-1]
        assert torch.allclose(end, share*first[-1], atol=1e-5)

@both
@pytest.mark.parametrize('sizes', [dict(), dict(n_hidden=1), dict(n_embd=1), dict(vocab_size=2), dict(vocab_size=500)])
def test_stepping_is_reading_at_once(make, sizes):
    net = model(make, **sizes)
    assert context(net) is None
    assert same_logits(net, torch.randint(net.config.vocab_size, (5, 40))) < 1e-5

@both
def test_rows_of_length_zero_keep_their_state(make):
    net, idx = model(make), torch.randint(11, (3, 6))
    state = net.step(idx, net.start(3))[1]
    after = net.step(idx, state, torch.tensor([0, 6, 2]))[1]
    for a, b in zip(states_of(net, state), states_of(net, after)):
        assert torch.equal(a[0], b[0]) and not torch.equal(a[1], b[1])

@both
def test_no_place_sees_a_later_one(make):
    net, idx = model(make), torch.randint(11, (30, 20))
    for t in (0, 7, 19):
        assert torch.allclose(net(idx)[:, :t + 1], net(idx[:, :t + 1]), atol=1e-5)

@both
def test_both_ways_of_the_input_agree(make):
    net, idx = model(make).double(), torch.randint(11, (30, 4))
    alone = torch.cat([net.step(row[None], net.start(1))[0] for row in idx])
    assert torch.allclose(net.step(idx, net.start(30))[0], alone, atol=1e-12)

@both
@pytest.mark.parametrize('wrong', [-1, 11, 10**6])
@pytest.mark.parametrize('many', [1, 100])
def test_an_id_that_does_not_exist(make, wrong, many):
    idx = torch.zeros(many, 3, dtype=torch.int64)
    idx[-1, 1] = wrong
    for way in (lambda net: net(idx), lambda net: net.step(idx, net.start(many))):
        with pytest.raises((IndexError, RuntimeError)): way(model(make))

@both
@pytest.mark.parametrize('rows', [0, 3])
def test_rows_without_ids_and_no_rows(make, rows):
    net = model(make)
    empty = torch.zeros(rows, 0, dtype=torch.int64)
    assert net(empty).shape == (rows, 0, 11) and net(empty.new_zeros(0, 5)).shape == (0, 5, 11)
    for a, b in zip(states_of(net, net.step(empty, net.start(rows))[1]), states_of(net, net.start(rows))):
        assert torch.equal(a, b)

@both
def test_ids_that_do_not_lie_in_one_row(make):
    net, idx = model(make), torch.randint(11, (20, 30))
    assert torch.equal(net(idx.T), net(idx.T.contiguous()))

@both
def test_autocast_and_other_number_types(make):
    net, idx = model(make), torch.randint(11, (60, 20))
    with torch.autocast('cpu', dtype=torch.bfloat16): out = net(idx)
    nll(out.float(), idx).backward()
    assert torch.allclose(out.float(), net(idx), atol=0.3) and net.recur.grad.isfinite().all()
    assert net.recur.grad.dtype == torch.float32
    assert torch.allclose(copy.deepcopy(net).bfloat16()(idx).float(), net(idx), atol=0.5)

@both
def test_no_gradients_are_kept_in_evaluation(make):
    net, idx = model(make), torch.randint(11, (4, 9))
    with torch.no_grad(): out = net(idx)
    assert not out.requires_grad and torch.allclose(out, net(idx), atol=1e-6)
    net.eval()
    assert torch.allclose(out, net(idx), atol=1e-6)

@pytest.mark.parametrize('make, size', [(LSTM, 36_635), (GRU, 28_379)])
def test_a_fresh_model(make, size):
    torch.manual_seed(0)
    net = make(CONFIGS[make](27))
    assert sum(p.numel() for p in net.parameters()) == size and net.name == make.__name__.lower()
    idx = torch.randint(27, (200, 16))
    assert abs(nll(net(idx), torch.randint(27, (200, 16))).item() - math.log(27)) < 0.15
    decay, rest = parameter_groups(net, 0.1)
    assert any(p is net.recur for p in decay['params']) and any(p is net.first for p in rest['params'])

@both
@pytest.mark.parametrize('hold', [-2.5, 0, 1, 5])
def test_hold_is_the_bias_of_the_gate_that_keeps(make, hold):
    bias = make(CONFIGS[make](11, 5, 7, hold=hold)).input.bias
    assert (bias[7:14] == hold).all() and (bias[:7] == 0).all() and (bias[14:] == 0).all()

@both
def test_saved_and_read_to_the_bit(make, tmp_path):
    tok = CharTokenizer.train(NAMES)
    net = model(make, vocab_size=tok.vocab_size)
    save_model(tmp_path, net, tok)
    about = json.loads((tmp_path/'config.json').read_text())['model']
    assert about.pop('name') == net.name and about == asdict(net.config)
    again = make(CONFIGS[make](**about))
    load_weights(again, read_tensors(tmp_path/'model.safetensors')[0])
    idx = torch.randint(tok.vocab_size, (50, 30))
    assert torch.equal(net(idx), again(idx))

@both
def test_resumed_it_ends_bit_equal(make, tmp_path):
    tok = CharTokenizer.train(NAMES)
    data, ends = LineData(NAMES, tok), []
    for name, stops in (('whole', (40,)), ('parts', (20, 40))):
        for steps in stops:
            torch.manual_seed(0 if name == 'whole' or steps == 20 else 1)    # a resumed one is built with other weights
            config = TrainConfig(steps=steps, batch_size=4, lr=0.01, eval_every=10, schedule='constant', warmup=0)
            done = train(make(CONFIGS[make](tok.vocab_size, 8, 16)), data, data, config, out=tmp_path/name,
                         tokenizer=tok, resume=steps == 40 and len(stops) == 2, progress=False)
        ends.append(done.model)
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in ends), strict=True))

@both
def test_it_learns_and_is_sampled(make):
    tok = CharTokenizer.train(NAMES)
    data = LineData(NAMES, tok)
    torch.manual_seed(0)
    net = make(CONFIGS[make](tok.vocab_size, 16, 32))
    train(net, data, data, TrainConfig(steps=150, batch_size=7, lr=0.01, eval_every=150), progress=False)
    assert evaluate(net, data) < 0.6
    assert set(generate(net, tok, 20, seed=1)) & set(NAMES)
    assert same_logits(net, torch.randint(tok.vocab_size, (4, 30))) < 1e-4

def test_one_place_is_torchs_lstm_cell():
    cell = nn.LSTMCell(5, 7).double()
    x, h, c = (torch.randn(4, n).double() for n in (5, 7, 7))
    mine = lstm_cell(x @ cell.weight_ih.T + cell.bias_ih + cell.bias_hh, h, c, cell.weight_hh.T)
    assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(mine, cell(x, (h, c)), strict=True))

@pytest.mark.parametrize('config', [LSTMConfig, GRUConfig])
@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(n_embd=-1), dict(n_hidden=0), dict(hold=math.inf), dict(hold=math.nan)])
def test_sizes_that_cannot_be(config, wrong):
    with pytest.raises(ValueError) as e: config(**dict(vocab_size=11) | wrong)
    assert len(str(e.value).splitlines()) == 1
