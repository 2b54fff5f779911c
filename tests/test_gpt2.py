"GPT-2's weights: transformers as judge where it is there, strangers' folders, damage, downloads, and the way back"
import copy, json, math, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import load_file, save_file
import nnzero.gpt.gpt2 as G
import nnzero.lm.data as D
from nnzero.gpt.gpt2 import gpt2_model, gpt2_name, gpt2_tokenizer, load_gpt2, save_gpt2
from nnzero.gpt.model import GPT, GPTConfig, SIZES, gpt2_config
from nnzero.gpt.tokenizer import GPT2_BYTES, MARK, BPETokenizer, to_signs
from nnzero.lm.data import CharTokenizer, DataError, TextData
from nnzero.lm.sample import generate, same_logits
from nnzero.lm.train import TrainConfig, save_model, train

TEXT = "The cat's hat sat on the mat; the rat, at that, ran. It's 1234 o'clock!\n\n  We'll see\tnaïve 東京 🙂 cafés. " * 30
MERGES = 48

@pytest.fixture(scope='module')
def tok(): return BPETokenizer.train(TEXT, 256 + MERGES + 1, pattern='gpt2', alphabet=GPT2_BYTES, specials=[MARK])

def gpt(seed=0, spread=0.3, **sizes):
    torch.manual_seed(seed)
    c = dict(vocab_size=256 + MERGES + 1, block_size=16, n_layer=2, n_head=2, n_embd=8, activation='gelu_tanh') | sizes
    model = GPT(GPTConfig(**c)).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(spread*torch.randn_like(p))
    return model

@pytest.fixture
def folder(tmp_path, tok):
    save_gpt2(gpt(), tok, tmp_path/'it')
    return tmp_path/'it'

def change(folder, file='config.json', drop=(), **new):
    said = json.loads((folder/file).read_text())
    (folder/file).write_text(json.dumps({k: v for k, v in (said | new).items() if k not in drop}))

def tensors(folder): return load_file(folder/'model.safetensors')

def refused(folder, why, part=load_gpt2):
    with pytest.raises(DataError, match=why) as e: part(folder)
    assert '\n' not in str(e.value) and len(str(e.value)) < 500

def same(a, b):
    assert a.config == b.config
    return all(t.equal(b.state_dict()[name]) for name, t in a.state_dict().items())

# ---- transformers as judge

@pytest.fixture(scope='module')
def hf():
    hf = pytest.importorskip('transformers')
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    return hf

SHAPES = [(305, 16, 8, 1, 1), (305, 24, 16, 2, 4), (50, 7, 12, 3, 3), (1000, 33, 32, 4, 2), (5, 64, 64, 2, 8), (257, 1, 20, 5, 5)]

def random_model(hf, shape, seed=0, **more):
    torch.manual_seed(seed)
    V, n, C, L, h = shape
    config = hf.GPT2Config(vocab_size=V, n_positions=n, n_embd=C, n_layer=L, n_head=h, bos_token_id=None, eos_token_id=None, **more)
    model = hf.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(0.2*torch.randn_like(p))
    return model

@pytest.mark.parametrize('tied', [True, False])
@pytest.mark.parametrize('shape', SHAPES)
def test_logits_are_those_of_transformers(hf, tmp_path, shape, tied):
    theirs = random_model(hf, shape, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path)
    ours, none = load_gpt2(tmp_path)
    assert none is None and ours.config.tied == tied and (ours.out.weight is ours.embed.weight) == tied
    V, n = shape[:2]
    idx = torch.randint(V, (3, n))
    with torch.no_grad(): want, found = theirs(idx).logits, ours(idx)
    assert want.std() > 0.1 and (want - found).abs().max() < 1e-4
    # with our cache: row by row of another length, then on, one by one
    lengths = torch.tensor([n, n//2, min(1, n//3)])
    state = ours.start(3)
    with torch.no_grad():
        logits, state = ours.step(idx, state, lengths)
        for r, k in enumerate(lengths): assert k == 0 or (logits[r, :k] - want[r, :k]).abs().max() < 1e-4
        for t in range(n//2, n):
            more = ((lengths + (t - n//2)) < n).long()
            at = (lengths + (t - n//2)).clamp(max=n - 1)
            logits, state = ours.step(idx[torch.arange(3), at][:, None], state, more)
            for r in range(3):
                if more[r]: assert (logits[r, 0] - want[r, at[r]]).abs().max() < 1e-4
    assert same_logits(ours, idx) < 1e-4

@pytest.mark.parametrize('act, own', [('gelu_new', 'gelu_tanh'), ('gelu_pytorch_tanh', 'gelu_tanh'), ('gelu', 'gelu'), ('relu2', 'relu2')])
def test_activations_are_those_of_transformers(hf, tmp_path, act, own):
    theirs = random_model(hf, SHAPES[1], activation_function=act)
    theirs.save_pretrained(tmp_path)
    ours, idx = gpt2_model(tmp_path), torch.randint(305, (2, 24))
    with torch.no_grad(): assert (theirs(idx).logits - ours(idx)).abs().max() < 1e-4
    assert ours.config.activation == own

@pytest.mark.parametrize('kind', ['float16', 'bfloat16', 'float64'])
def test_other_number_types(hf, tmp_path, kind):
    theirs = random_model(hf, SHAPES[1]).to(getattr(torch, kind))
    theirs.save_pretrained(tmp_path)
    ours, idx = gpt2_model(tmp_path), torch.randint(305, (2, 24))
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    with torch.no_grad(): assert (theirs.float()(idx).logits - ours(idx)).abs().max() < 1e-4

def test_sharded_by_transformers(hf, tmp_path):
    theirs = random_model(hf, SHAPES[3])
    theirs.save_pretrained(tmp_path, max_shard_size='40kB')
    assert len(list(tmp_path.glob('model-*.safetensors'))) > 2 and not (tmp_path/'model.safetensors').exists()
    ours, idx = gpt2_model(tmp_path), torch.randint(1000, (2, 33))
    with torch.no_grad(): assert (theirs(idx).logits - ours(idx)).abs().max() < 1e-4

@pytest.mark.parametrize('tied', [True, False])
def test_transformers_reads_what_we_write_and_goes_on_alike(hf, tmp_path, tok, tied):
    ours = gpt(tied=tied, block_size=64, n_embd=16, n_head=4)
    save_gpt2(ours, tok, tmp_path)
    theirs, reader = hf.GPT2LMHeadModel.from_pretrained(tmp_path).eval(), hf.GPT2Tokenizer.from_pretrained(tmp_path)
    assert reader(TEXT).input_ids == tok.encode(TEXT)
    for prompt in ('The', 'the cat sat on the mat and ran at that rat; that is'):    # the second is over half of the block with what follows
        ids = reader(prompt, return_tensors='pt').input_ids
        want = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64 - ids.shape[1], do_sample=False,
                               eos_token_id=None, pad_token_id=tok.vocab_size - 1)[0]
        loaded, read = load_gpt2(tmp_path)
        seen, state, x = ids[0].tolist(), loaded.start(1), ids
        with torch.no_grad():
            while len(seen) < 64:
                logits, state = loaded.step(x, state)
                x = logits[:, -1:].argmax(-1)
                seen.append(x.item())
        assert seen == want.tolist()
        assert generate(loaded, read, prompt=prompt, max_tokens=64 - ids.shape[1], temperature=0)[0] == read.decode(want)

STRANGE = ['', ' ', '  two', "it's IT'S we'LL", 'ünï', 'a\n\n b\t\tc \r\n', '東京🙂', '1234567', '\x00\x7f\xad\xa0', ' \u3000 x', MARK[:-1], '\u0301']

@pytest.mark.parametrize('form', ['two files', 'one file'])
def test_ids_are_those_of_transformers(hf, tmp_path, folder, tok, form):
    reader = hf.GPT2Tokenizer.from_pretrained(folder)
    if form == 'one file':
        reader.save_pretrained(tmp_path/'new')
        assert (tmp_path/'new'/'tokenizer.json').exists()
    own = gpt2_tokenizer(tmp_path/'new' if form == 'one file' else folder)
    for text in (*STRANGE, TEXT): assert own.encode(text) == reader(text).input_ids
    text = f'the cat{MARK}the mat{MARK}'
    assert own.encode(text, allowed='all') == reader(text).input_ids != own.encode(text)
    assert own.decode(own.encode(TEXT)) == TEXT and own.mark is None

def test_a_tokenizer_trained_by_tokenizers(hf, tmp_path):
    tokenizers = pytest.importorskip('tokenizers')
    from tokenizers import models, pre_tokenizers, processors, trainers
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer, made.post_processor = pre_tokenizers.ByteLevel(add_prefix_space=False), processors.ByteLevel(trim_offsets=False)
    how = dict(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    made.train_from_iterator([TEXT], trainers.BpeTrainer(**how))
    made.add_special_tokens([MARK])
    made.save(str(tmp_path/'tokenizer.json'))
    own = gpt2_tokenizer(tmp_path)
    for text in (*STRANGE, TEXT): assert own.encode(text) == made.encode(text).ids
    assert own.encode(MARK, allowed='all') == made.encode(MARK).ids
    made.train_from_iterator([TEXT], trainers.BpeTrainer(**how, special_tokens=[MARK]))     # in front
    made.save(str(tmp_path/'tokenizer.json'))
    refused(tmp_path, 'in the order of bytes', gpt2_tokenizer)

# ---- the way there and back, without transformers

@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(V=st.integers(1, 40), n=st.integers(1, 20), L=st.integers(1, 3), h=st.integers(1, 4), d=st.integers(1, 4), tied=st.booleans(),
       act=st.sampled_from(['gelu', 'gelu_tanh', 'relu2']), drop=st.sampled_from([0.0, 0.25]))
def test_round_trip(tmp_path, V, n, L, h, d, tied, act, drop):
    model = gpt(vocab_size=V, block_size=n, n_layer=L, n_head=h, n_embd=h*d, tied=tied, activation=act, dropout=drop)
    save_gpt2(model, None, tmp_path)
    found, none = load_gpt2(tmp_path, dropout=drop)
    assert same(model, found) and none is None and not found.training
    assert {p.dtype for p in found.parameters()} == {torch.float32} and all(p.requires_grad and p.is_leaf for p in found.parameters())
    found.train()(torch.zeros(1, n).long()).sum().backward()
    assert all(p.grad is not None for p in found.parameters())

def test_what_is_loaded_is_its_own(folder):
    "The file may change or go, and the numbers stay; reading leaves random numbers alone"
    torch.manual_seed(3)
    state = torch.get_rng_state()
    model = gpt2_model(folder)
    assert torch.get_rng_state().equal(state)
    before = copy.deepcopy(model.state_dict())
    (folder/'model.safetensors').write_bytes(b'x')
    assert all(t.equal(before[name]) for name, t in model.state_dict().items())
    assert all(p.is_contiguous() for p in model.parameters())

def test_it_can_be_trained_on_and_saved_as_a_run(folder, tok, tmp_path):
    model, read = load_gpt2(folder, dropout=0.1)
    data = TextData(TEXT, read, 16)
    train(model, data, data, TrainConfig(steps=3, batch_size=4, lr=1e-3), progress=False)
    assert model.out.weight is model.embed.weight
    save_model(tmp_path/'run', model, read)
    assert BPETokenizer.load(tmp_path/'run'/'tokenizer.json').encode(TEXT) == tok.encode(TEXT)
    refused(tmp_path/'run', 'vocab_size is None')           # our own form is another one

def test_names():
    assert gpt2_name('blocks.11.mlp.2.bias') == 'h.11.mlp.c_proj.bias' and gpt2_name('norm.weight') == 'ln_f.weight'
    for name in ('blocks.0.other.weight', 'head.weight', 'foo', '', 'blocks.0.', 'embed', 'embed.weight\n'):
        with pytest.raises(KeyError): gpt2_name(name)
    with torch.device('meta'): names = [*map(gpt2_name, GPT(gpt2_config()).state_dict())]
    assert len({*names}) == len(names) == 12*12 + 5

@pytest.mark.parametrize('parts', [dict(positions='rotary'), dict(norm='rms'), dict(bias=False), dict(shift=1)])
def test_what_is_no_gpt2_is_not_written(tmp_path, tok, parts):
    with pytest.raises(DataError, match=f'^{[*parts][0]} is'): save_gpt2(gpt(n_embd=16, **parts), tok, tmp_path/'new')
    assert not (tmp_path/'new').exists()

def test_tokenizers_that_the_files_have_no_words_for(tmp_path):
    for wrong, why in ((dict(pattern='gpt4'), 'pattern'), (dict(pattern=None), 'pattern'),
                       (dict(pattern='gpt2', specials=['Ġ']), 'alike')):
        with pytest.raises(DataError, match=why): save_gpt2(gpt(), BPETokenizer(**wrong), tmp_path/'new')
    twice = BPETokenizer([(0, 1), (1, 2), (256, 2), (0, 257)], 'gpt2')
    with pytest.raises(DataError, match='alike'): save_gpt2(gpt(), twice, tmp_path/'new')
    assert not (tmp_path/'new').exists()
    plain = BPETokenizer([(97, 98)], 'gpt2', ['<|a b|>', '<|b|>'])              # bytes in their order
    save_gpt2(gpt(), plain, tmp_path/'new')
    back = gpt2_tokenizer(tmp_path/'new')
    assert back.encode('ab<|a b|>', allowed='all') == plain.encode('ab<|a b|>', allowed='all') == [256, 257]

def content(folder): return {file.name: file.read_bytes() for file in folder.iterdir()}

@pytest.mark.parametrize('name', ['tokenizer.json', 'vocab.json', 'merges.txt', 'added_tokens.json', 'tokenizer_config.json'])
def test_no_tokenizer_of_another_is_left_beside_ours(tmp_path, tok, name):
    (tmp_path/name).write_text('{}')
    with pytest.raises(DataError, match=f'another tokenizer, in {name}'): save_gpt2(gpt(), None, tmp_path)
    assert content(tmp_path) == {name: b'{}'}                   # nothing written, nothing deleted
    if name in ('vocab.json', 'merges.txt'):                    # which are written anew
        save_gpt2(gpt(), tok, tmp_path)
        assert gpt2_tokenizer(tmp_path).merges == tok.merges
    else:
        with pytest.raises(DataError, match='another tokenizer'): save_gpt2(gpt(), tok, tmp_path)
        assert content(tmp_path) == {name: b'{}'}

def test_a_folder_may_be_written_again(folder, tok):
    save_gpt2(gpt(seed=1), tok, folder)
    assert same(gpt(seed=1), gpt2_model(folder))
    before = content(folder)
    with pytest.raises(DataError, match='another tokenizer, in vocab.json'): save_gpt2(gpt(), None, str(folder))
    assert content(folder) == before

def test_more_tokens_than_rows_are_not_written(tmp_path, tok):
    with pytest.raises(DataError, match='305 tokens, and a table of 304$'): save_gpt2(gpt(vocab_size=304), tok, tmp_path/'new')
    assert not (tmp_path/'new').exists()

@pytest.mark.parametrize('wrong', [CharTokenizer('abc'), 'gpt2', 3, [], ''])
def test_only_our_tokenizer_is_written(tmp_path, wrong):
    with pytest.raises(DataError, match='no BPETokenizer'): save_gpt2(gpt(), wrong, tmp_path/'new')
    assert not (tmp_path/'new').exists()

def test_what_config_json_says_of_dropout(tmp_path):
    save_gpt2(gpt(dropout=0.25, tied=False), None, tmp_path)
    said = json.loads((tmp_path/'config.json').read_text())
    assert [said[f'{name}_pdrop'] for name in ('embd', 'resid', 'attn')] == [0.25]*3
    assert gpt2_model(tmp_path).config.dropout == 0

# ---- strangers' folders

@pytest.mark.parametrize('wrong, why', [
    (dict(model_type='gptj'), 'model_type is gptj'), (dict(scale_attn_weights=False), 'scale_attn_weights'),
    (dict(scale_attn_by_inverse_layer_idx=True), 'inverse'), (dict(reorder_and_upcast_attn=True), 'reorder'),
    (dict(add_cross_attention=True), 'cross'), (dict(layer_norm_epsilon=1e-6), 'epsilon'), (dict(n_inner=16), 'n_inner'),
    (dict(activation_function='relu'), 'relu'), (dict(activation_function=['gelu']), 'activation'), (dict(activation_function=None), 'None'),
    (dict(tie_word_embeddings='no'), 'tie_word'), (dict(n_layer=3), '2 blocks, not 3'), (dict(n_layer=1), '2 blocks, not 1'),
    (dict(n_layer=10**7), '2 blocks'), (dict(n_layer=10**9), 'from 1'), (dict(n_embd=2**40), 'from 1'), (dict(n_embd=10**400), 'n_embd'),
    (dict(n_embd=16), r'should be \['), (dict(vocab_size=304), 'wte.weight is'), (dict(n_positions=17), 'wpe.weight is'),
    (dict(n_head=3), 'shared'), (dict(n_head=0), 'n_head is 0'), (dict(n_head=2.0), 'n_head is 2.0'), (dict(n_head=None), 'None'),
    (dict(vocab_size={'a': ['b']*1000}), 'vocab_size is'), (dict(model_type='x'*10**5), 'model_type is x'),
    (dict(tie_word_embeddings=False), 'no lm_head')])
def test_config_of_a_stranger(folder, wrong, why):
    change(folder, **wrong)
    refused(folder, why)

def test_dropout_is_checked(folder):
    with pytest.raises(DataError, match='dropout'): load_gpt2(folder, dropout=1)
    assert load_gpt2(folder, dropout=0.5)[0].blocks[0].drop.p == 0.5

def test_old_configs_say_less(folder):
    change(folder, drop=('n_inner', 'scale_attn_weights', 'reorder_and_upcast_attn', 'add_cross_attention', 'layer_norm_epsilon',
                         'scale_attn_by_inverse_layer_idx', 'tie_word_embeddings', 'activation_function', 'model_type'), n_ctx=16)
    assert same(gpt(), gpt2_model(folder))
    change(folder, n_inner=32)
    assert same(gpt(), gpt2_model(folder))

@pytest.mark.parametrize('data', [b'', b'[]', b'{', b'null', b'"x"', b'['*100_000, b'\xff\xfe{', b'{"n_layer": 1' + b'0'*5000 + b'}'])
@pytest.mark.parametrize('file', ['config.json', 'vocab.json', 'tokenizer.json', 'tokenizer_config.json', 'added_tokens.json'])
def test_json_of_a_stranger(folder, file, data):
    (folder/file).write_bytes(data)
    refused(folder, 'no JSON object|n_layer|damaged')

def test_files_that_are_too_long_or_missing(folder, monkeypatch):
    monkeypatch.setattr(G, '_LONG', 100)
    refused(folder, 'too long')
    monkeypatch.undo()
    (folder/'merges.txt').unlink()
    refused(folder, 'No such file|no such file')
    (folder/'config.json').unlink()
    refused(folder, 'config.json: No such')
    (folder/'config.json').mkdir()
    refused(folder, 'is a folder')
    refused(folder/'nowhere', 'nowhere: no folder, and not one of gpt2')
    refused(folder/'merges.txt', 'no folder')
    for source in ('gpt3', '', 'gpt2\0', 'a\nb'): refused(source, '.')

TENSOR_FAULTS = [
    (lambda t: t.pop('transformer.h.1.ln_2.bias'), 'no h.1.ln_2.bias'), (lambda t: t.pop('transformer.wte.weight'), 'no wte.weight'),
    (lambda t: t.update(x=torch.ones(1)), 'has no x'), (lambda t: t.update({'wte.weight': torch.ones(1)}), 'another wte.weight'),
    (lambda t: t.update({'transformer.wpe.weight': torch.ones(8, 16)}), r'wpe.weight is \[8, 16\]'),
    (lambda t: t.update({'transformer.h.0.attn.c_attn.weight': torch.ones(24, 8)}), r'should be \[8, 24\]'),
    (lambda t: t.update({'transformer.ln_f.bias': torch.ones(8).int()}), 'I32'), (lambda t: t.update({'transformer.ln_f.bias': torch.ones(8) > 0}), 'BOOL'),
    (lambda t: t.update({'lm_head.weight': torch.ones(305, 8)}), 'lm_head.weight should be wte.weight'),
    (lambda t: t.update({'lm_head.weight': torch.ones(8, 305)}), r'lm_head.weight is \[8, 305\]'),
    (lambda t: t.update({'h.x.ln_1.bias': torch.ones(8)}), '3 blocks'), (lambda t: t.update({'h.00.ln_1.bias': torch.ones(8)}), '3 blocks'),
    (lambda t: t.update({'transformer.transformer.wte.weight': torch.ones(8)}), 'has no transformer.wte'),
    (lambda t: t.clear(), '0 blocks'), (lambda t: t.update({'h.0.ln_1.bias': torch.ones(8)}), 'another h.0.ln_1.bias')]

@pytest.mark.parametrize('fault, why', TENSOR_FAULTS)
def test_tensors_of_a_stranger(folder, fault, why):
    t = tensors(folder)
    fault(t)
    save_file(t, folder/'model.safetensors')
    refused(folder, why)

def test_forms_of_the_same(folder, tok):
    model, t = gpt(), tensors(folder)
    short = {k.removeprefix('transformer.'): v for k, v in t.items()}
    old = {f'h.{i}.attn.{name}': torch.ones(1, 1, 4, 4) for i in (0, 1) for name in ('bias', 'masked_bias')}
    for form in (short, short | old, t | old, t | {'lm_head.weight': t['transformer.wte.weight'].clone()}):
        save_file(form, folder/'model.safetensors')
        assert same(model, gpt2_model(folder))
    os.rename(folder/'model.safetensors', folder.parent/'blob')
    os.symlink(folder.parent/'blob', folder/'model.safetensors')           # as caches have it
    assert same(model, gpt2_model(folder))
    (folder.parent/'link').symlink_to(folder)
    assert same(model, gpt2_model(str(folder.parent/'link')))

def test_damaged_tensors(folder):
    whole = (folder/'model.safetensors').read_bytes()
    n = 8 + int.from_bytes(whole[:8], 'little')
    for data in (b'', whole[:7], whole[:n - 1], whole[:n], whole[:-1], whole + b'0', b'\xff'*8 + whole[8:], whole[:8] + b'{'*(n - 8) + whole[n:]):
        (folder/'model.safetensors').write_bytes(data)
        refused(folder, 'no safetensors file, or damaged')
    (folder/'model.safetensors').unlink()
    (folder/'model.safetensors').mkdir()
    refused(folder, 'no such file')

@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2500), byte=st.integers(0, 255), file=st.sampled_from(['model.safetensors', 'config.json', 'vocab.json', 'merges.txt']))
def test_any_damage_is_a_line_or_harmless(folder, at, byte, file):
    whole = bytearray((folder/file).read_bytes())
    kept = bytes(whole)
    whole[at % len(whole)] = byte
    (folder/file).write_bytes(bytes(whole))
    try: model, read = load_gpt2(folder)
    except DataError as e: assert '\n' not in str(e)
    else: assert isinstance(model, GPT) and read.vocab_size <= model.config.vocab_size
    finally: (folder/file).write_bytes(kept)

def sharded(folder):
    t = tensors(folder)
    (folder/'model.safetensors').unlink()
    files = {f'model-0000{i + 1}-of-00003.safetensors': dict([*t.items()][i::3]) for i in range(3)}
    for file, part in files.items(): save_file(part, folder/file)
    where = {name: file for file, part in files.items() for name in part}
    (folder/'model.safetensors.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': where}))
    return where

def test_shards(folder):
    where = sharded(folder)
    assert same(gpt(), gpt2_model(folder))
    (folder/where['transformer.wte.weight']).unlink()
    refused(folder, 'there is no such file')

@pytest.mark.parametrize('name', ['../x.safetensors', '/x.safetensors', 'a/b.safetensors', 'a\\b.safetensors', '..', '', '.x.safetensors', 'C:x.safetensors',
                                  'x.bin', 'pytorch_model.bin', None, 3, ['x.safetensors'], 'x.safetensors\n', '~.safetensors', 'x.safetensors\0'])
def test_no_way_out_of_the_folder(folder, name):
    where = sharded(folder)
    save_file(tensors_of(folder, where), folder.parent/'x.safetensors')
    (folder/'model.safetensors.index.json').write_text(json.dumps({'weight_map': where | {'transformer.wte.weight': name}}))
    refused(folder, 'is no safetensors file of this folder')

def tensors_of(folder, where): return load_file(folder/where['transformer.wte.weight'])

@pytest.mark.parametrize('index', ['{}', '[]', '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": 3}', '', '{"weight_map": {"a": {}}}'])
def test_an_index_of_nothing(folder, index):
    sharded(folder)
    (folder/'model.safetensors.index.json').write_text(index)
    refused(folder, 'index.json')

def test_pickles_are_not_opened(folder):
    (folder/'model.safetensors').unlink()
    refused(folder, 'has no model.safetensors$')
    (folder/'pytorch_model.bin').write_bytes(b'cos\nsystem\n(S"touch /tmp/owned"\ntR.')
    refused(folder, 'pytorch_model.bin: a pickle, which can run code')

TOKENIZER_FAULTS = [
    lambda v, m: v.pop('Ġ'), lambda v, m: v.update({'Ġ': 3}), lambda v, m: v.update(new=400), lambda v, m: v.update({'!': 1, '"': 0, 'x': '0'}),
    lambda v, m: m.pop(), lambda v, m: m.pop(0), lambda v, m: m.reverse(), lambda v, m: m.append('a b'), lambda v, m: m.append('a b c'),
    lambda v, m: m.append('ab'), lambda v, m: m.insert(0, m[0]), lambda v, m: v.update({'!': -1}), lambda v, m: v.update({'!': 0.5}),
    lambda v, m: v.update({'!': None}), lambda v, m: v.update({MARK: v[MARK] + 1}), lambda v, m: v.clear(), lambda v, m: v.update({'!': True}),
    lambda v, m: v.update({'東': v.pop('!')}), lambda v, m: v.update({'!!': v.pop('!')}), lambda v, m: v.update({'': v.pop('"'), '"#': v.pop('#')})]

@pytest.mark.parametrize('fault', TOKENIZER_FAULTS)
def test_tokenizer_of_a_stranger(folder, fault):
    vocab, merges = json.loads((folder/'vocab.json').read_text()), (folder/'merges.txt').read_text().split('\n')[1:-1]
    fault(vocab, merges)
    (folder/'vocab.json').write_text(json.dumps(vocab))
    (folder/'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]))
    refused(folder, '.', gpt2_tokenizer)

def test_merges_with_other_line_ends_and_without_their_first(folder, tok):
    text = (folder/'merges.txt').read_text()
    for other in (text.replace('\n', '\r\n'), text.split('\n', 1)[1], text + '\n\n'):
        (folder/'merges.txt').write_bytes(other.encode())
        assert gpt2_tokenizer(folder).merges == tok.merges
    (folder/'merges.txt').write_bytes(b'\xff\xfe')
    refused(folder, 'damaged', gpt2_tokenizer)

def one_file(folder, **new):
    vocab, merges = json.loads((folder/'vocab.json').read_text()), (folder/'merges.txt').read_text().split('\n')[1:-1]
    model = dict(type='BPE', dropout=None, unk_token=None, continuing_subword_prefix='', end_of_word_suffix='', fuse_unk=False, byte_fallback=False,
                 ignore_merges=False, vocab={k: v for k, v in vocab.items() if k != MARK}, merges=[m.split(' ') for m in merges])
    said = dict(version='1.0', added_tokens=[dict(id=vocab[MARK], content=MARK, special=True, lstrip=False, rstrip=False, single_word=False)],
                normalizer=None, pre_tokenizer=dict(type='ByteLevel', add_prefix_space=False, trim_offsets=True, use_regex=True),
                post_processor=dict(type='ByteLevel'), model=model)
    for name, value in new.items():
        at = said
        *path, last = name.split('__')
        for step in path: at = at[int(step) if step.isdigit() else step]
        at[last] = value
    (folder/'tokenizer.json').write_text(json.dumps(said))

def test_one_file(folder, tok):
    for new in ({}, dict(post_processor=None), dict(model__merges=[f'{a} {b}' for a, b in [(to_signs(tok.vocab[a]), to_signs(tok.vocab[b])) for a, b in tok.merges]]),
                dict(post_processor={'type': 'TemplateProcessing', 'special_tokens': {}})):
        one_file(folder, **new)
        found = gpt2_tokenizer(folder)
        assert (found.merges, found.alphabet, found.pattern, found.specials) == (tok.merges, tok.alphabet, tok.pattern, tok.specials)

@pytest.mark.parametrize('wrong', [
    dict(pre_tokenizer=None), dict(pre_tokenizer__type='Whitespace'), dict(pre_tokenizer__add_prefix_space=True), dict(pre_tokenizer__use_regex=False),
    dict(pre_tokenizer={'type': 'Sequence', 'pretokenizers': []}), dict(normalizer={'type': 'NFC'}), dict(model__type='Unigram'), dict(model=[]), dict(model__dropout=0.1),
    dict(model__continuing_subword_prefix='##'), dict(model__end_of_word_suffix='</w>'), dict(model__ignore_merges=True), dict(post_processor={'type': 'BertProcessing'}),
    dict(post_processor={'type': 'TemplateProcessing', 'special_tokens': {'<s>': {}}}), dict(added_tokens__0__lstrip=True), dict(added_tokens__0__single_word=True),
    dict(added_tokens__0__rstrip=True), dict(added_tokens=[3]), dict(added_tokens=3), dict(model__vocab=3), dict(model__merges=3), dict(model__merges=[[1, 2]]), dict(pre_tokenizer=3)])
def test_one_file_of_another_kind(folder, wrong):
    one_file(folder, **wrong)
    refused(folder, '.', gpt2_tokenizer)

def test_settings_of_older_folders(folder, tok):
    (folder/'tokenizer_config.json').write_text('{"model_max_length": 1024, "add_prefix_space": false}')
    assert gpt2_tokenizer(folder).merges == tok.merges
    (folder/'added_tokens.json').write_text(json.dumps({'<pad>': tok.vocab_size}))
    assert [*gpt2_tokenizer(folder).specials] == [MARK, '<pad>']
    refused(folder, '306 tokens, and a table of 305')
    for name in ('add_prefix_space', 'add_bos_token'):
        (folder/'tokenizer_config.json').write_text(json.dumps({name: True}))
        refused(folder, 'before a text')

def test_more_rows_than_tokens(tmp_path, tok):
    save_gpt2(gpt(vocab_size=384), tok, tmp_path)
    model, read = load_gpt2(tmp_path)
    assert model.config.vocab_size == 384 and read.vocab_size == 305
    with pytest.raises(DataError, match='384 symbols'): generate(model, read)

# ---- by name

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        s = self.server
        s.asked.append(self.path)
        file = s.folder/Path(self.path).name
        fault = s.faults.pop(0) if s.faults else ''
        if fault == 'error': return self.send_error(503)
        if self.path.startswith('/gpt2/') and fault != 'missing' and file.exists():
            self.send_response(200)
            data = file.read_bytes()
            if fault != 'no length': self.send_header('Content-Length', 'many' if fault == 'nonsense' else len(data))
            self.end_headers()
            self.wfile.write(data[:len(data)//2] if fault == 'short' else data)
        else: self.send_error(404)

@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(G.time, 'sleep', lambda s: None)
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.daemon_threads, s.asked, s.faults, s.folder, s.cache = True, [], [], folder, tmp_path/'cache'/'nnzero'/'gpt2'
    threading.Thread(target=s.serve_forever, daemon=True).start()
    monkeypatch.setattr(G, 'HUB', f'http://127.0.0.1:{s.server_address[1]}')
    yield s
    s.shutdown()
    s.server_close()

def test_by_name(hub):
    model, read = load_gpt2('gpt2')
    assert same(gpt(), model) and read.vocab_size == 305
    assert hub.asked == [f'/gpt2/resolve/main/{name}' for name in ('config.json', 'vocab.json', 'merges.txt', 'model.safetensors')]
    assert sorted(os.listdir(hub.cache)) == sorted(G.FILES)
    load_gpt2('gpt2')
    assert len(hub.asked) == 4
    (hub.cache/'vocab.json').unlink()
    load_gpt2('gpt2')
    assert hub.asked[4:] == ['/gpt2/resolve/main/vocab.json']
    refused('gpt2-xl', 'no download')
    assert len(hub.asked) == 6                                  # 404 is final

@pytest.mark.parametrize('faults, asked', [(['short'], 5), (['error', 'short'], 6), (['', '', '', 'error'], 5), (['no length'], 4)])
def test_a_server_that_stumbles(hub, faults, asked):
    hub.faults = faults
    assert same(gpt(), load_gpt2('gpt2')[0]) and len(hub.asked) == asked

@pytest.mark.parametrize('faults, why, asked', [(['short']*3, 'bytes came', 3), (['error']*3, '503|Service', 3), (['missing'], '404|Not Found', 1), (['nonsense']*3, 'many', 3)])
def test_a_server_that_fails(hub, faults, why, asked):
    hub.faults = faults
    refused('gpt2', why)
    assert len(hub.asked) == asked and os.listdir(hub.cache) == []
    assert same(gpt(), load_gpt2('gpt2')[0])                    # later it works

def test_a_page_in_place_of_the_weights(hub):
    (hub.folder/'model.safetensors').write_bytes(b'<html>log in</html>')
    refused('gpt2', 'model.safetensors: is no safetensors')

def test_nobody_there_and_nowhere_to_write(hub, monkeypatch, tmp_path):
    (tmp_path/'cache').write_text('a file')
    refused('gpt2', 'no download')
    monkeypatch.setattr(G, 'HUB', 'http://127.0.0.1:1')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'other'))
    refused('gpt2', 'refused|no download')

def test_a_folder_goes_before_a_name(hub, folder, tmp_path):
    folder.rename(tmp_path/'gpt2')
    assert same(gpt(), load_gpt2('gpt2')[0]) and hub.asked == []
