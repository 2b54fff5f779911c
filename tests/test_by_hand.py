"A GPT by hand beyond its lesson: torch as judge for every parameter on random shapes, nudging, faults, files, edges"
import copy, math, subprocess, sys
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from nnzero.backprop.layers import AdamW, CrossEntropy, Embedding, Linear, SGD
from nnzero.gpt.by_hand import (Block, CausalAttention, HandGPT, Heads, Tied, as_torch, attend, attend_back, load_torch)
from nnzero.gpt.model import GPT, GPTConfig
from nnzero.lm.data import PAD, CharTokenizer
from nnzero.lm.loss import nll
from nnzero.lm.train import read_tensors, save_model
from nnzero.micrograd.gradcheck import gradcheck

SIZES = dict(L=st.integers(1, 3), h=st.integers(1, 4), d=st.integers(1, 5), V=st.integers(1, 9), n=st.integers(1, 9),
             B=st.integers(1, 4), tied=st.booleans(), seed=st.integers(0, 10**6), data=st.data())

def theirs(V=11, n=9, L=2, h=3, C=12, tied=True, seed=0, spread=0.3):
    torch.manual_seed(seed)
    net = GPT(GPTConfig(V, n, L, h, C, tied=tied)).double()
    with torch.no_grad():
        for p in net.parameters(): p.add_(spread*torch.randn_like(p))
    return net

def ours(net):
    c = net.config
    return load_torch(HandGPT(c.vocab_size, c.block_size, c.n_layer, c.n_head, c.n_embd, c.tied, rng=1), net.state_dict())

def step(net, x, y):
    ce = CrossEntropy(ignore_index=PAD)
    loss = ce.forward(net.forward(x), y)
    net.backward(ce.backward())
    return loss

@settings(max_examples=40)
@given(**SIZES)
def test_every_gradient_is_torchs(L, h, d, V, n, B, tied, seed, data):
    judge = theirs(V, n, L, h, h*d, tied, seed)
    net, rng = ours(judge), np.random.default_rng(seed)
    T = data.draw(st.integers(1, n))
    x, y = rng.integers(V, size=(2, B, T))
    y[rng.random((B, T)) < 0.2] = PAD
    y[0, 0] = 0
    loss, true = step(net, x, y), nll(judge(torch.tensor(x)), torch.tensor(y))
    true.backward()
    assert abs(loss - true.item()) < 1e-9
    found = as_torch(net)
    named = dict(judge.named_parameters())
    assert found.keys() - {'out.weight'} == named.keys() - {'out.weight'} and len(net.parameters()) == len(named)
    for name, p in named.items():
        assert found[name][1].shape == tuple(p.shape) and np.abs(found[name][1] - p.grad.numpy()).max() < 1e-9, name

@settings(max_examples=25)
@given(B=st.integers(1, 3), h=st.integers(1, 3), T=st.integers(1, 6), d=st.integers(1, 4), scale=st.sampled_from([0.1, 1, 20]),
       seed=st.integers(0, 10**6))
def test_attention_and_its_way_back(B, h, T, d, scale, seed):
    q, k, v, dy = np.random.default_rng(seed).normal(size=(4, B, h, T, d))*scale
    Q, K, V = (torch.tensor(a, requires_grad=True) for a in (q, k, v))
    Y = torch.nn.functional.scaled_dot_product_attention(Q, K, V, is_causal=True)
    Y.backward(torch.tensor(dy))
    y, A = attend(q, k, v)
    assert np.allclose(y, Y.detach().numpy(), atol=1e-9*scale) and np.allclose(A.sum(-1), 1) and not np.triu(A, 1).any()
    for mine, t in zip(attend_back(dy, q, k, v, A), (Q, K, V)):
        assert np.allclose(mine, t.grad.numpy(), rtol=1e-9, atol=1e-9*scale**2)
    dS = A*(dy @ v.swapaxes(-1, -2) - (dy*y).sum(-1, keepdims=True))
    assert np.allclose(dS.sum(-1), 0, atol=1e-9*scale**2)

@pytest.mark.parametrize('layer, C', [(Heads(2), 12), (CausalAttention(4, 2, rng=0), 4), (Block(4, 1, rng=0), 4)])
def test_nudged(layer, C):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, C))
    w = rng.normal(size=layer.forward(x).shape)
    layer.zero_grad()
    pairs = [(x, layer.backward(w)), *((p.data, p.grad) for p in layer.parameters())]
    for a, grad in pairs: gradcheck(lambda _: (w*layer.forward(x)).sum(), a, grad)

def test_nudged_whole():
    net, ce = ours(theirs(5, 4, 1, 2, 4)), CrossEntropy()
    x, y = np.array([[0, 3, 3], [4, 1, 0]]), np.array([[1, 2, 2], [0, 0, 4]])
    step(net, x, y)
    for p in net.parameters(): gradcheck(lambda _: ce.forward(net.forward(x), y), p.data, p.grad)

def test_no_place_hears_a_later_one():
    net = ours(theirs())
    x = np.random.default_rng(0).integers(11, size=(2, 9))
    before = net.forward(x).copy()
    for t in range(9):
        other = x.copy()
        other[:, t:] = (other[:, t:] + 1) % 11
        assert np.array_equal(net.forward(other)[:, :t], before[:, :t])
        assert np.allclose(net.forward(x[:, :t + 1]), before[:, :t + 1], atol=1e-12)

@pytest.mark.parametrize('tied', [True, False])
def test_gradients_add_up_until_they_are_zeroed(tied):
    net, rng = ours(theirs(tied=tied)), np.random.default_rng(0)
    batches = rng.integers(11, size=(2, 2, 3, 9))
    apart = []
    for x, y in batches:
        net.zero_grad()
        step(net, x, y)
        apart.append([p.grad.copy() for p in net.parameters()])
    net.zero_grad()
    for x, y in batches: step(net, x, y)
    for p, a, b in zip(net.parameters(), *apart): assert np.allclose(p.grad, a + b, atol=1e-12)

def test_a_batch_in_parts_is_the_batch():
    net, rng = ours(theirs()), np.random.default_rng(0)
    x, y = rng.integers(11, size=(2, 4, 9))
    step(net, x, y)
    whole = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    for half in (slice(2), slice(2, 4)): step(net, x[half], y[half])
    for p, a in zip(net.parameters(), whole): assert np.allclose(p.grad/2, a, atol=1e-12)

@pytest.mark.parametrize('tied', [True, False])
def test_twenty_steps_beside_torch(tied):
    judge, rng = theirs(tied=tied, spread=0.1), np.random.default_rng(0)
    net, how = ours(judge), dict(lr=3e-3, betas=(0.9, 0.99), weight_decay=0.1)
    mine, other = AdamW(net.parameters(), **how), torch.optim.AdamW(judge.parameters(), **how)
    for _ in range(20):
        x, y = rng.integers(11, size=(2, 4, 9))
        mine.zero_grad()
        loss = step(net, x, y)
        mine.step()
        other.zero_grad()
        true = nll(judge(torch.tensor(x)), torch.tensor(y))
        true.backward()
        other.step()
        assert abs(loss - true.item()) < 1e-9

def test_it_overfits_one_batch():
    net, rng = HandGPT(11, 9, 1, 2, 16, rng=0), np.random.default_rng(0)
    x, y = rng.integers(11, size=(2, 3, 9))
    optimizer = AdamW(net.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss = step(net, x, y)
        optimizer.step()
    assert loss < 0.02

def test_the_bias_of_the_keys_has_no_say():
    net, x = CausalAttention(6, 3, rng=0), np.random.default_rng(0).normal(size=(2, 5, 6))
    dy = np.random.default_rng(1).normal(size=(2, 5, 6))
    before = net.forward(x)
    net.backward(dy)
    dq, dk, dv = np.split(net.qkv.bias.grad, 3)
    assert np.abs(dk).max() < 1e-14 and min(np.abs(dq).max(), np.abs(dv).max()) > 0.1
    net.qkv.bias.data[6:12] += 3
    assert np.allclose(net.forward(x), before, atol=1e-12)

@pytest.mark.parametrize('big', [1e3, 1e6])
def test_huge_scores_overflow_nothing(big):
    q, k, v, dy = np.random.default_rng(0).normal(size=(4, 1, 2, 6, 3))
    with np.errstate(over='raise', invalid='raise', divide='raise'):
        y, A = attend(big*q, k, v)
        grads = attend_back(dy, big*q, k, v, A)
    assert all(np.isfinite(a).all() for a in (y, *grads))

@pytest.mark.parametrize('kind', [np.float32, np.float64])
def test_number_types_are_kept(kind):
    net = HandGPT(11, 9, 2, 2, 8, rng=0).astype(kind)
    x = np.random.default_rng(0).integers(11, size=(2, 9))
    logits = net.forward(x)
    net.backward(logits)
    assert logits.dtype == kind and {p.grad.dtype for p in net.parameters()} == {np.dtype(kind)}

def test_single_precision_is_near():
    judge = theirs(spread=0.1)
    net, x = ours(judge), np.random.default_rng(0).integers(11, size=(2, 9))
    exact = net.forward(x)
    assert np.abs(net.astype(np.float32).forward(x) - exact).max() < 1e-4

def test_first_weights():
    net = HandGPT(300, 64, 8, 4, 128, rng=0)
    found = {name: data for name, (data, _) in as_torch(net).items()}
    torch.manual_seed(0)
    for name, p in GPT(GPTConfig(300, 64, 8, 4, 128)).named_parameters():
        assert found[name].shape == tuple(p.shape)
        assert abs(found[name].std() - p.std(correction=0).item()) < 0.05*0.02 and abs(found[name].mean() - p.mean().item()) < 1e-3
    ids = np.random.default_rng(0).integers(300, size=(2, 65))
    assert abs(CrossEntropy().forward(net.forward(ids[:, :-1]), ids[:, 1:]) - math.log(300)) < 0.1
    same = [HandGPT(11, rng=3).forward(np.zeros((1, 3), int)) for _ in range(2)]
    assert np.array_equal(*same)

def test_as_torch_are_windows():
    net = HandGPT(11, 9, 1, 2, 8, rng=0)
    found = as_torch(net)
    found['blocks.0.mlp.0.weight'][0][3, 5] = 7
    found['blocks.0.mlp.0.weight'][1][3, 5] = 8
    layer = net.blocks[0].mlp.layers[0].weight
    assert layer.data[5, 3] == 7 and layer.grad[5, 3] == 8
    assert found['out.weight'][0] is found['embed.weight'][0]
    apart = as_torch(HandGPT(11, 9, 1, 2, 8, tied=False))
    assert apart['out.weight'][0].shape == (11, 8) and len(apart) == len(found)

@pytest.mark.parametrize('tied', [True, False])
def test_from_a_file(tmp_path, tied):
    judge, tok = theirs(tied=tied).float(), CharTokenizer.train('abcdefghijk', mark=False)
    save_model(tmp_path/'run', judge, tok)
    tensors = read_tensors(tmp_path/'run'/'model.safetensors')[0]
    net = load_torch(HandGPT(11, 9, 2, 3, 12, tied), tensors)
    x = np.random.default_rng(0).integers(11, size=(2, 9))
    with torch.no_grad(): assert np.allclose(net.forward(x), judge(torch.tensor(x)).numpy(), atol=1e-4)

def test_what_does_not_fit():
    state, net = theirs().state_dict(), HandGPT(11, 9, 2, 3, 12, rng=0)
    wrong = [{n: t for n, t in state.items() if n != 'norm.bias'}, state | {'blocks.2.norm1.weight': torch.ones(12)},
             state | {'place.weight': torch.ones(1, 12)}, state | {'norm.bias': torch.ones(())},
             state | {'out.weight': torch.ones(11, 12)}, {n: t for n, t in state.items() if n != 'embed.weight'}, {}]
    for tensors in wrong:
        with pytest.raises(ValueError) as e: load_torch(net, tensors)
        assert '\n' not in str(e.value)
    untied, rotary = theirs(tied=False).state_dict(), GPT(GPTConfig(11, 9, 2, 3, 12, positions='rotary')).state_dict()
    for tensors in (untied, rotary, theirs(L=3).state_dict(), theirs(L=1).state_dict()):
        with pytest.raises(ValueError): load_torch(net, tensors)
    with pytest.raises(ValueError, match='out.weight'): load_torch(HandGPT(11, 9, 2, 3, 12, False), {n: t for n, t in untied.items() if n != 'out.weight'})

def test_a_load_that_fails_changes_nothing():
    state, net = theirs().state_dict(), HandGPT(11, 9, 2, 3, 12, rng=0)
    before = copy.deepcopy(as_torch(net))
    with pytest.raises(ValueError): load_torch(net, state | {'norm.bias': torch.ones(5)})
    for name, (data, _) in as_torch(net).items(): assert np.array_equal(data, before[name][0]), name

def test_wrong_input():
    net = HandGPT(11, 9, 1, 2, 8, rng=0)
    for T in (0, 10):
        with pytest.raises(ValueError, match=f'{T} places, and the block 9'): net.forward(np.zeros((1, T), int))
    with pytest.raises(IndexError, match='11 is not in 0..10'): net.forward(np.array([[0, 11]]))
    with pytest.raises(IndexError): net.forward(np.array([[0, -1]]))
    with pytest.raises(TypeError): net.forward(np.zeros((1, 3)))
    with pytest.raises(RuntimeError, match='forward'): HandGPT(11, 9, 1, 2, 8).backward(np.zeros((1, 3, 11)))
    net.forward(np.zeros((1, 3), int))
    with pytest.raises(ValueError, match='dy has shape'): net.backward(np.zeros((1, 4, 11)))
    with pytest.raises(ValueError, match="can't be shared by 3 heads"): HandGPT(11, n_embd=8, n_head=3)
    with pytest.raises(ValueError, match='last axis should be 8'): CausalAttention(8, 2).forward(np.zeros((1, 2, 7)))

@pytest.mark.parametrize('C, h', [(6, 4), (7, 3), (4, 0), (4, -2), (4, 8)])
def test_heads_that_cannot_share(C, h):
    for call in (CausalAttention, Block, lambda C, h: HandGPT(11, n_embd=C, n_head=h)):
        with pytest.raises(ValueError, match=f"{C} numbers can't be shared by {h} heads alike"): call(C, h)

@pytest.mark.parametrize('ids', [[1, 2], 3, [[[1, 2]]], []])
def test_ids_are_rows(ids):
    with pytest.raises(ValueError, match='ids are .B, T.'): HandGPT(11, 9, 1, 2, 8, rng=0).forward(np.array(ids, dtype=int))

@pytest.mark.parametrize('shape', [(1, 3, 8), (3, 12), (12,), (1, 1, 3, 12)])
def test_what_heads_do_not_take(shape):
    with pytest.raises(ValueError, match='is not .B, T, 3C.'): Heads(2).forward(np.ones(shape))

def test_what_a_tied_table_does_not_take():
    with pytest.raises(ValueError, match='last axis should be 3'): Tied(Embedding(5, 3, rng=0)).forward(np.ones((1, 2, 4)))

def test_tensors_that_ask_for_gradients_and_those_that_numpy_lacks():
    judge, net = theirs(), HandGPT(11, 9, 2, 3, 12, rng=0)
    load_torch(net, dict(judge.named_parameters()))
    assert np.array_equal(net.embed.weight.data, judge.embed.weight.detach())
    before = copy.deepcopy(as_torch(net))
    for half in (judge.bfloat16().state_dict(), {n: [[1], [1, 2]] for n in judge.state_dict()}):
        with pytest.raises(ValueError, match='is no array') as e: load_torch(net, half)
        assert '\n' not in str(e.value)
    for name, (data, _) in as_torch(net).items(): assert np.array_equal(data, before[name][0]), name

def test_parts_of_layers_are_found_once():
    net = HandGPT(11, 9, 3, 2, 8, rng=0)
    assert len(net.parameters()) == 2 + 3*12 + 2 and sum(isinstance(p.data, np.ndarray) for p in net.parameters()) == 40
    table = Embedding(5, 3, rng=0)
    assert Tied(table).parameters() == table.parameters()
    assert isinstance(HandGPT(11, tied=False).out, Linear) and HandGPT(11, tied=False).out.bias is None

def test_the_module_loads_no_torch():
    code = "import sys, nnzero.gpt.by_hand; assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], check=True)
