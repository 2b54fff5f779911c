"Every model by its name, as a user would: trained, killed, resumed, compared."
import json, math, os, signal, subprocess, sys, time
from pathlib import Path
import pytest
import torch
from command import nnzero, start
from nnzero.lm.data import CharTokenizer, DataError, LineData, lines, load, split
from nnzero.lm.sample import same_logits
from nnzero.lm.train import read_tensors
from nnzero.makemore import zoo

LEARNED = [name for name in zoo.MODELS if name not in ('bigram', 'ngram')]
COMPANIES = lines(load('companies'))

def content(folder):
    "What a run has come to: weights, moments and the losses on the way, to the bit"
    tensors, about = read_tensors(folder/'state.safetensors')
    history = json.loads(about['state'])['record']['history']
    return ({k: t.numpy().tobytes() for k, t in tensors.items()}, (folder/'model.safetensors').read_bytes(),
            [(row['step'], row['train'], row['dev']) for row in history])

@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='no SIGKILL here')
@pytest.mark.parametrize('model', LEARNED)
def test_killed_and_resumed(model, tmp_path):
    "kill -9 after the first checkpoint, then --resume: the end is bit-equal to that of a run that was left alone"
    command = ['train', 'companies', '--model', model, '--steps', 45, '--eval-every', 5,
               *(['--n-layer', 1] if model == 'transformer' else []), '--out']
    child, state = start(*command, tmp_path/'cut'), tmp_path/'cut/state.safetensors'
    end = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < end and not state.exists(): time.sleep(0.02)
    time.sleep(0.1)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL and not (tmp_path/'cut/loss.svg').exists(), 'it was not killed in the middle'
    nnzero('train', 'companies', '--resume', '--out', tmp_path/'cut')
    nnzero(*command, tmp_path/'whole')
    assert content(tmp_path/'cut') == content(tmp_path/'whole')
    assert nnzero('sample', tmp_path/'cut', '-n', 3) == nnzero('sample', tmp_path/'whole', '-n', 3)

@pytest.mark.parametrize('model', zoo.MODELS)
def test_logits_by_steps(model):
    "What the sampler sees is what the loss was measured on"
    tok = CharTokenizer.train(COMPANIES)
    parts = dict(train=COMPANIES[:200], dev=COMPANIES[200:250], test=COMPANIES[250:])
    cls = zoo.named('model', zoo.MODELS, model)
    net = zoo.build(model, **zoo.fitting(cls, parts, tok))
    if hasattr(net, 'fit'): zoo.learn(net, zoo.examples(parts, tok, net))
    idx = LineData(parts['dev'], tok)[torch.arange(8)][0]
    assert same_logits(net.eval(), idx) < 1e-5

@pytest.mark.parametrize('model', zoo.MODELS)
def test_running_text(model):
    text = load('shakespeare')[:12_000]
    parts, tok = dict(zip(('train', 'dev', 'test'), split(text))), CharTokenizer.train(text, mark=False)
    net, result = zoo.measure(model, parts, tok, steps=3)
    assert 0 < result.test < math.log(tok.vocab_size) + 1 and len(result.samples) == 5
    assert math.isclose(result.bits, result.test/math.log(2), rel_tol=1e-9)

def test_a_line_that_is_too_long(tmp_path):
    for model in ('bow', 'transformer'):
        said = nnzero('train', 'companies', '--model', model, '--block-size', 4, '--out', tmp_path/'run', status=2)
        assert 'places' in said and not (tmp_path/'run').exists()
    nnzero('train', 'companies', '--model', 'bow', '--steps', 3, '--out', tmp_path/'run')
    long = tmp_path/'long.txt'
    long.write_text('\n'.join([*COMPANIES[:10], 'a'*39]))
    assert 'places' in nnzero('eval', tmp_path/'run', long, status=2)

@pytest.mark.parametrize('args, words', [
    (['nothing.txt'], 'no such file'), (['companies', '--models', 'rnn,nnr'], 'no model'), (['companies', '--models', ','], 'no model'),
    (['companies', '--seeds', '0'], 'seeds'), (['companies', '--seeds', '-3'], 'seeds'), (['companies', '--steps', '-1'], 'steps'),
    (['companies', '--split', 'half'], 'no split'), (['companies', '--mode', 'x'], '--mode lines'), (['companies', 'more'], 'more')])
def test_wrong_words(args, words, tmp_path):
    assert words in nnzero('compare', *args, '--out', tmp_path/'out', status=2)
    assert not (tmp_path/'out').exists()

@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='no SIGKILL here')
def test_a_comparison_goes_on(tmp_path):
    "What was finished before a kill is not done again"
    command = ['compare', 'companies', '--models', 'bigram,ngram,rnn', '--seeds', 2, '--steps', 150, '--out', tmp_path/'out']
    child = start(*command)
    assert 'bigram' in child.stderr.readline()
    child.kill()
    child.communicate()
    kept = json.loads((tmp_path/'out/compare.json').read_text())['results']
    assert kept and len(kept) < 4
    table = nnzero(*command)
    assert len(table.splitlines()) == 4
    assert json.loads((tmp_path/'out/compare.json').read_text())['results'][:len(kept)] == kept
    assert nnzero(*command) == table
    assert 'another --out' in nnzero(*command, '--split', 'classic', status=2)
    assert len(nnzero(*command, '--models', 'ngram').splitlines()) == 2

@pytest.mark.parametrize('damage', ['', '[]', '{', 'null', '{"results": 3, "about": {}}', '{"results": [3]}', '\x00'])
def test_damaged_comparison(damage, tmp_path):
    (tmp_path/'compare.json').write_text(damage)
    nnzero('compare', 'companies', '--models', 'ngram', '--out', tmp_path, status=2)
    assert (tmp_path/'compare.json').read_text() == damage

def test_names_load_nothing_else():
    code = 'import sys; from nnzero.makemore.zoo import MODELS; print("torch" in sys.modules, "numpy" in sys.modules, len(MODELS))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split()[:2] == ['False', 'False'] and int(done.stdout.split()[2]) == len(set(zoo.MODELS) - {'gpt'})    # which the command enters

def test_every_model_has_a_name_and_refuses():
    for name in zoo.MODELS:
        assert zoo.named('model', zoo.MODELS, name).name == name
        if name != 'bigram':
            with pytest.raises(ValueError): zoo.build(name, 0)
        with pytest.raises(TypeError): zoo.build(name, 27, n_whatever=3)
    with pytest.raises(DataError): zoo.build('transformers', 27)

PARTS = dict(zip(('train', 'dev', 'test'), split(COMPANIES, distinct=True)))

def test_the_seed_and_the_settings_arrive():
    tok = CharTokenizer.train(COMPANIES)
    first = [zoo.measure('rnn', PARTS, tok, seed, n_hidden=8, steps=0) for seed in (0, 0, 1)]
    (same, a), (again, b), (_, c) = first
    assert a.parameters == sum(p.numel() for p in zoo.build('rnn', tok.vocab_size, n_hidden=8).parameters())
    assert a.dev == b.dev != c.dev and a.samples == b.samples
    net, _ = zoo.measure('rnn', PARTS, tok, 1, n_hidden=8, steps=3)
    alone = zoo.build('rnn', tok.vocab_size, seed=1, n_hidden=8)
    data = zoo.examples(PARTS, tok, alone)
    zoo.learn(alone, data, seed=1, **zoo.pace('rnn', data['train'], {'steps': 3}))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), alone.parameters()))
    said = list(zoo.compare(PARTS, tok, ['rnn'], 1, steps=3, n_hidden=8))
    assert said[0].parameters == a.parameters and said[0].seed == 0
    assert math.isclose(said[0].bits, said[0].test/math.log(2), rel_tol=1e-9)       # of the test part, not another
    assert zoo.pace('rnn', range(300), {'lr': 0.5, 'batch_size': 8}) == {'steps': 1500, 'lr': 0.5, 'batch_size': 8}

def test_what_the_data_decide():
    tok = CharTokenizer.train(COMPANIES)
    mlp = zoo.named('model', zoo.MODELS, 'mlp')
    assert zoo.fitting(mlp, PARTS, tok)['blank'] == tok.mark
    assert zoo.fitting(mlp, PARTS, CharTokenizer.train('ab', mark=False))['blank'] is None
    need = 1 + max(map(len, COMPANIES))
    for block, fails in ((need, False), (need - 1, True)):
        net = zoo.build('bow', tok.vocab_size, block)
        if fails:
            with pytest.raises(DataError, match='places'): zoo.examples(PARTS, tok, net)
        else: zoo.examples(PARTS, tok, net)
    wide = zoo.build('mlp', 27, 100)
    text = load('shakespeare')[:500]
    pieces = zoo.examples({'train': text}, CharTokenizer.train(text, mark=False), wide)
    assert pieces['train'].block_size == 100

def test_the_last_weights_are_looked_at_too():
    "13 steps are no multiple of the distance between looks"
    tok = CharTokenizer.train(COMPANIES)
    net = zoo.build('rnn', tok.vocab_size, n_hidden=8)
    data, looks = zoo.examples(PARTS, tok, net), []
    from nnzero.lm import train
    class Looking(train.Trainer):
        def evaluate(self):
            looks.append(self.done)
            return super().evaluate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, 'Trainer', Looking)
        zoo.learn(net, data, steps=13, lr=1e-3)
    assert looks[-1] == 13 and len(looks) <= 7

def test_counting_is_smoothed():
    tok = CharTokenizer.train(COMPANIES)
    assert math.isfinite(zoo.measure('bigram', PARTS | {'dev': ['qqzzqq'], 'test': ['zqzqxz']}, tok)[1].test)
    counted = [zoo.measure('bigram', PARTS, tok, seed)[1] for seed in (0, 0, 1)]
    assert counted[0].samples == counted[1].samples != counted[2].samples and len({r.dev for r in counted}) == 1

def test_the_order_of_the_table():
    row = lambda name, seed, dev, test: zoo.Result(name, seed, 1, 1.0, 1.0, dev, test, 1.0, [])
    shown = zoo.table([row('rnn', 0, 2.0, 1.0), row('mlp', 0, 1.5, 3.0), row('mlp', 1, 1.7, 3.0)]).splitlines()
    assert [line.split()[0] for line in shown] == ['model', 'mlp', 'rnn'] and shown[1].count('±') == 4 and '±' not in shown[2]
