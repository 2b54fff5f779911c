"The transformer beyond its lesson: torch's own as the judge, odd shapes, number types, caches, states"
import copy, json, math
from dataclasses import asdict
import pytest, torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from nnzero.lm.data import CharTokenizer, DataError, LineData
from nnzero.lm.loss import evaluate, nll
from nnzero.lm.sample import context, generate, same_logits
from nnzero.lm.train import TrainConfig, load_weights, parameter_groups, read_tensors, save_model, train
from nnzero.makemore.transformer import (Attention, Block, Transformer, TransformerConfig,
                                         attention_maps, attention_weights)

NAMES = ['emma', 'ola', 'ida', 'noa', 'mia', 'leonardo', 'x']

def model(seed=0, spread=0.1, **sizes):
    torch.manual_seed(seed)
    net = Transformer(TransformerConfig(**dict(vocab_size=11, block_size=9, n_embd=12, n_head=3, n_layer=2) | sizes))
    with torch.no_grad():
        for p in net.parameters(): p.add_(spread*torch.randn_like(p))
    return net

def judge(block, config):
    "torch's own block with the same weights"
    C = config.n_embd
    net = nn.TransformerEncoderLayer(C, config.n_head, 4*C, 0.0, 'gelu', batch_first=True, norm_first=True)
    a, (wide, _, narrow) = block.attention, block.mlp
    net.self_attn.in_proj_weight, net.self_attn.in_proj_bias = a.qkv.weight, a.qkv.bias
    net.self_attn.out_proj, net.linear1, net.linear2 = a.out, wide, narrow
    net.norm1, net.norm2 = block.norm1, block.norm2
    return net

def later(T): return torch.ones(T, T).triu(1).bool()

def by_torch(net, idx):
    T = idx.shape[1]
    x = net.embed(idx) + net.place.weight[:T]
    for block in net.blocks: x = judge(block, net.config)(x, src_mask=later(T))
    return net.out(net.norm(x))

@settings(max_examples=25, deadline=None)
@given(B=st.integers(1, 5), T=st.integers(1, 9), h=st.integers(1, 4), d=st.integers(1, 6), L=st.integers(1, 3))
def test_equal_to_torchs_own(B, T, h, d, L):
    net = model(n_embd=h*d, n_head=h, n_layer=L).double()
    idx = torch.randint(11, (B, T))
    assert torch.allclose(net(idx), by_torch(net, idx), rtol=0, atol=1e-11)

def test_all_gradients_are_torchs():
    net, idx = model().double(), torch.randint(11, (4, 9))
    nll(net(idx), idx).backward()
    mine = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    nll(by_torch(net, idx), idx).backward()
    for name, p in net.named_parameters(): assert torch.allclose(p.grad, mine[name], rtol=0, atol=1e-12), name

@pytest.mark.parametrize('shape', [(3, 5, 4), (2, 3, 1, 8), (7, 2)])
def test_weights_are_those_of_torchs_attention(shape):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, *shape).double()
    T = shape[-2]
    mine = attention_weights(q, k, later(T)) @ v
    assert torch.allclose(mine, F.scaled_dot_product_attention(q, k, v, is_causal=True), rtol=0, atol=1e-12)

def test_weights_gradcheck():
    torch.manual_seed(0)
    q, k = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, k: attention_weights(q, k, later(4)), (q.detach().requires_grad_(), k.detach().requires_grad_()))

@settings(max_examples=15, deadline=None)
@given(h=st.integers(1, 3), d=st.integers(1, 5), L=st.integers(1, 3), n=st.integers(1, 8), T=st.integers(1, 12), B=st.integers(1, 5))
def test_stepping_is_reading_at_once(h, d, L, n, T, B):
    net = model(n_embd=h*d, n_head=h, n_layer=L, block_size=n)
    assert same_logits(net, torch.randint(11, (B, T))) < 1e-5

def test_stepping_at_makemores_sizes():
    net = model(vocab_size=27, block_size=16, n_embd=64, n_head=4, n_layer=4, spread=0.02)
    assert same_logits(net, torch.randint(27, (6, 16))) < 1e-5
    assert context(net) == 16

def test_rows_of_different_lengths_up_to_the_last_place():
    net = model().eval()
    whole = torch.randint(11, (3, 9))
    with torch.no_grad():
        lengths = torch.tensor([9, 1, 4])
        _, state = net.step(whole, net.start(3), lengths)
        assert state['read'].tolist() == [9, 1, 4]
        pieces = torch.stack([whole[1, 1:9], whole[2, [4, 5, 6, 7, 8, 0, 0, 0]]])
        logits, _ = net.step(pieces, dict(read=state['read'][1:], caches=[c[1:] for c in state['caches']]), torch.tensor([8, 5]))
        assert torch.allclose(logits[0], net(whole[1:2])[0, 1:], atol=1e-5)
        assert torch.allclose(logits[1, :5], net(whole[2:])[0, 4:], atol=1e-5)

def test_a_step_of_nothing():
    net, idx = model().eval(), torch.randint(11, (3, 4))
    with torch.no_grad():
        _, state = net.step(idx, net.start(3), torch.tensor([0, 0, 0]))
        logits, state = net.step(idx, state)
        assert torch.allclose(logits, net(idx), atol=1e-5) and state['read'].tolist() == [4, 4, 4]
        assert net.step(idx[:, :0], state)[0].shape == (3, 0, 11)

def test_no_place_sees_a_later_one():
    net, idx = model(), torch.randint(11, (30, 9))
    for t in (0, 4, 8):
        assert torch.allclose(net(idx)[:, :t + 1], net(idx[:, :t + 1]), atol=1e-5)

@pytest.mark.parametrize('wrong', [-1, 11, 10**6])
def test_an_id_that_does_not_exist(wrong):
    with pytest.raises(IndexError): model()(torch.tensor([[0, wrong]]))

def test_rows_that_are_too_long_and_none():
    net = model()
    with pytest.raises(ValueError) as e: net(torch.zeros(2, 10, dtype=torch.int64))
    assert len(str(e.value).splitlines()) == 1 and '10' in str(e.value)
    assert net(torch.zeros(3, 0, dtype=torch.int64)).shape == (3, 0, 11)
    assert net(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 11)

def test_autocast_and_other_number_types():
    net, idx = model(), torch.randint(11, (60, 9))
    with torch.autocast('cpu', dtype=torch.bfloat16): out = net(idx)
    nll(out, idx).backward()
    assert torch.allclose(out.float(), net(idx), atol=0.3)
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in net.parameters())
    assert torch.allclose(copy.deepcopy(net).bfloat16()(idx).float(), net(idx), atol=0.5)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        stepped, _ = net.step(idx, net.start(60))
    assert torch.allclose(stepped.float(), out.float(), atol=0.3)
    half = copy.deepcopy(net).bfloat16().eval()
    with torch.no_grad(): assert half.step(idx, half.start(60))[0].dtype == torch.bfloat16

@pytest.mark.parametrize('scale', [1e2, 1e4])
def test_huge_scores_are_numbers(scale):
    q = (scale*torch.randn(2, 6, 4)).requires_grad_()
    A = attention_weights(q, q, later(6))
    A[..., 0].sum().backward()
    assert A.isfinite().all() and q.grad.isfinite().all() and torch.allclose(A.sum(-1), torch.ones(2, 6))

def test_dropout_is_seeded_and_off_in_eval():
    net, idx = model(dropout=0.5), torch.randint(11, (5, 9))
    torch.manual_seed(1);  a = net(idx)
    torch.manual_seed(1);  b = net(idx)
    torch.manual_seed(2);  c = net(idx)
    assert torch.equal(a, b) and not torch.equal(a, c)
    net.eval()
    assert torch.equal(net(idx), net(idx))
    plain = model(dropout=0.0)
    plain.load_state_dict(net.state_dict())
    assert torch.equal(plain(idx), net(idx))

def test_dropout_stands_where_it_should():
    "with all of it, training gives other numbers at the embeddings, the weights and both additions"
    net, idx, seen = model(dropout=0.5), torch.randint(11, (5, 9)), []
    for m in net.modules():
        if isinstance(m, nn.Dropout): m.register_forward_hook(lambda m, i, y: seen.append((i[0] != y).any().item()))
    net(idx)
    assert seen == [True]*(1 + 2*3)

def test_maps():
    net, idx = model(dropout=0.5), torch.randint(11, (5, 7))
    maps = attention_maps(net, idx)
    assert maps.shape == (2, 5, 3, 7, 7) and torch.allclose(maps.sum(-1), torch.ones(2, 5, 3, 7)) and net.training
    first = net.blocks[0]
    q, k, _ = first.attention.qkv(first.norm1(net.embed(idx) + net.place.weight[:7])).chunk(3, -1)
    right = attention_weights(first.attention.heads(q), first.attention.heads(k), later(7))
    assert torch.allclose(maps[0], right, atol=1e-6)
    with pytest.raises(ValueError): attention_maps(net, torch.zeros(1, 50, dtype=torch.int64))
    assert not any(b.attention.drop._forward_hooks for b in net.blocks)

def test_a_fresh_model():
    torch.manual_seed(0)
    net = Transformer(TransformerConfig(27))
    assert sum(p.numel() for p in net.parameters()) == 204_544 and net.name == 'transformer' and not net.slides
    idx = torch.randint(27, (200, 16))
    assert abs(nll(net(idx), torch.randint(27, (200, 16))).item() - math.log(27)) < 1.0
    decay, rest = parameter_groups(net, 0.1)
    assert any(p is net.out.weight for p in decay['params']) and any(p is net.place.weight for p in rest['params'])

def data():
    tok = CharTokenizer.train(NAMES)
    return tok, LineData(NAMES, tok)

def test_it_learns_and_is_sampled():
    tok, lines = data()
    net = Transformer(TransformerConfig(tok.vocab_size, 9, 24, 2, 2))
    train(net, lines, lines, TrainConfig(steps=150, batch_size=7, lr=0.01, eval_every=150), progress=False)
    assert evaluate(net, lines) < 0.5
    assert set(generate(net, tok, 20, seed=1)) & set(NAMES)
    assert set(generate(net, tok, 3, prompt=['leo', 'i', ''], seed=1)) and same_logits(net, torch.randint(tok.vocab_size, (4, 9))) < 1e-4
    with pytest.raises(DataError): generate(net, tok, 1, prompt='leonardoleonardo')

def test_resumed_bit_equal(tmp_path):
    tok, lines = data()
    c = TrainConfig(steps=12, batch_size=3, lr=0.01, eval_every=4)
    def fresh():
        torch.manual_seed(0)
        return Transformer(TransformerConfig(tok.vocab_size, 9, 12, 2, 2, 0.2))
    through = train(fresh(), lines, lines, c, progress=False).model
    cut = TrainConfig(**asdict(c) | dict(schedule='constant', warmup=0))
    whole = train(fresh(), lines, lines, cut, out=tmp_path/'whole', tokenizer=tok, progress=False).model
    train(fresh(), lines, lines, TrainConfig(**asdict(cut) | dict(steps=8)), out=tmp_path/'cut', tokenizer=tok, progress=False)
    again = train(fresh(), lines, lines, cut, out=tmp_path/'cut', tokenizer=tok, resume=True, progress=False).model
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    assert not torch.equal(through.out.weight, whole.out.weight)

def test_saved_and_read_to_the_bit(tmp_path):
    net = model(dropout=0.1)
    save_model(tmp_path, net, None)
    about = json.loads((tmp_path/'config.json').read_text())['model']
    assert about.pop('name') == 'transformer'
    again = Transformer(TransformerConfig(**about))
    load_weights(again, read_tensors(tmp_path/'model.safetensors')[0])
    idx = torch.randint(11, (50, 9))
    assert torch.equal(net.eval()(idx), again.eval()(idx))

@pytest.mark.parametrize('wrong', [dict(vocab_size=0), dict(block_size=0), dict(n_embd=-1), dict(n_head=0), dict(n_layer=0),
                                   dict(n_head=5), dict(dropout=1.0), dict(dropout=-0.1), dict(dropout=math.nan)])
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(ValueError) as e: TransformerConfig(**dict(vocab_size=11) | wrong)
    assert len(str(e.value).splitlines()) == 1
