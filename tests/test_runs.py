"The commands train, sample and eval, as a newcomer and as a stranger would use them."
import json, os, pickle, re, resource, shlex, shutil, signal, subprocess, sys, time
from hashlib import sha256
from pathlib import Path
import pytest
import safetensors.torch
import torch
from command import nnzero, start
from nnzero import cli
from nnzero.lm.data import load, lines
from train_case import ENV

HERE = Path(__file__).resolve().parents[1]

GREEK = """Αθήνα Θεσσαλονίκη Πάτρα Ηράκλειο Λάρισα Βόλος Ιωάννινα Τρίκαλα Χαλκίδα Σέρρες Αλεξανδρούπολη Ξάνθη Κατερίνη Αγρίνιο
Καλαμάτα Καβάλα Χανιά Λαμία Κομοτηνή Ρόδος Δράμα Βέροια Κοζάνη Καρδίτσα Ρέθυμνο Πτολεμαΐδα Τρίπολη Κόρινθος Γιαννιτσά
Μυτιλήνη Χίος Σαλαμίνα Ελευσίνα Έδεσσα Φλώρινα Νάουσα Καστοριά Γρεβενά Άργος Σπάρτη Ναύπλιο Μεσολόγγι Λιβαδειά Θήβα Άμφισσα
Άρτα Πρέβεζα Ηγουμενίτσα Κέρκυρα Λευκάδα Ζάκυνθος Αργοστόλι Πύργος Αίγιο Ναύπακτος Κιλκίς Πολύγυρος Σπέτσες Ύδρα Πόρος Αίγινα
Σύρος Νάξος Πάρος Μύκονος Σαντορίνη Μήλος Κως Λέρος Πάτμος Κάλυμνος Σάμος Ικαρία Λήμνος Θάσος Σκόπελος Σκιάθος Σκύρος Κάρπαθος
Κάσος Νίσυρος Τήλος Σύμη Αστυπάλαια Αμοργός Ίος Φολέγανδρος Σίκινος Κίμωλος Σίφνος Σέριφος Κύθνος Κέα Άνδρος Τήνος Κύθηρα""".split()
KANA = """あおもり もりおか せんだい あきた やまがた ふくしま みと うつのみや まえばし ちば とうきょう よこはま にいがた とやま かなざわ
ふくい こうふ ながの ぎふ しずおか なごや つ おおつ きょうと おおさか こうべ なら わかやま とっとり まつえ おかやま ひろしま やまぐち
とくしま たかまつ まつやま こうち ふくおか さが ながさき くまもと おおいた みやざき かごしま なは さっぽろ はこだて くしろ""".split()

def text(folder, words):
    path = folder/'text.txt'
    path.write_text('\n'.join(words) + '\n', encoding='utf-8')
    return path

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A run that others may read, and copy, and not change"
    out = tmp_path_factory.mktemp('runs')/'companies'
    nnzero('train', 'companies', '--steps', 40, '--out', out)
    return out

@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path/'copy')
    return tmp_path/'copy'

@pytest.mark.parametrize('model', cli.MODELS)
@pytest.mark.parametrize('words', [GREEK, KANA], ids=['greek', 'kana'])
def test_another_script(tmp_path, words, model):
    data, out = text(tmp_path, words), tmp_path/'run'
    steps = [] if model in ('bigram', 'ngram') else ['--steps', 60]
    said = nnzero('train', data, '--model', model, '--out', out, *steps)
    assert f'nnzero sample {out}' in said and 'nats' in said
    written = nnzero('sample', out, '-n', 5).splitlines()
    assert len(written) == 5 and set(''.join(written)) <= set(''.join(words))
    assert set(written).isdisjoint(nnzero('sample', out, '-n', 5, '--new-only').splitlines()) or set(written) - set(words)
    assert not set(nnzero('sample', out, '-n', 20, '--new-only').splitlines()) & set(words)
    rows = [line.split() for line in nnzero('eval', out).splitlines()[1:]]
    assert [row[0] for row in rows] == ['train', 'dev', 'test'] and sum(int(row[1]) for row in rows) == len(set(words))
    assert nnzero('sample', out, '--seed', 1) == nnzero('sample', out, '--seed', 1) != nnzero('sample', out, '--seed', 2)

@pytest.mark.parametrize('model', cli.MODELS)
def test_running_text(tmp_path, model):
    out, steps = tmp_path/'run', [] if model in ('bigram', 'ngram') else ['--steps', 30]
    (tmp_path/'play.txt').write_text(load('shakespeare')[:50_000])
    nnzero('train', tmp_path/'play.txt', '--model', model, '--out', out, *steps)
    assert nnzero('sample', out, '--prompt', 'The ', '--max-tokens', 30).startswith('The ')
    greedy = nnzero('sample', out, '--prompt', 'The ', '--max-tokens', 30, '--temperature', 0)
    assert greedy == nnzero('sample', out, '--prompt', 'The ', '--max-tokens', 30, '--top-k', 1, '--seed', 5)
    assert len(nnzero('eval', out).splitlines()) == 4

@pytest.mark.parametrize('model', cli.MODELS)
def test_tokens(tmp_path, model):
    data, out = text(tmp_path, GREEK), tmp_path/'run'
    counts, args = model in ('bigram', 'ngram'), ['train', data, '--model', model, '--tokenizer', 'bpe:300', '--out', out]
    said = nnzero(*args, *([] if counts else ['--steps', 15]))
    assert 'nats per character' in said and json.loads((out/'config.json').read_text())['model']['vocab_size'] == 300
    assert nnzero('sample', out, '-n', 1, '--prompt', 'Αθ').startswith('Αθ')
    header, *rows = nnzero('eval', out).splitlines()
    assert header.endswith('nats/character') and all(0 < float(row.split()[-1]) < float(row.split()[3]) for row in rows)
    if counts: return
    assert 'per symbol' in nnzero(*args, '--resume', '--steps', 20)
    args[args.index('bpe:300')] = 'bpe:301'
    assert 'begun with 300 tokens, and not 301' in nnzero(*args, '--resume', '--steps', 25, status=2)
    args[args.index('bpe:301')] = 'char'
    assert 'tokenizer bpe' in nnzero(*args, '--resume', '--steps', 25, status=2)

def test_compared_on_lines(monkeypatch):
    "The GPT's recipe is for running text, in `compare` as in `train`"
    seen = {}
    monkeypatch.setattr('nnzero.makemore.zoo.learn', lambda model, data, **how: seen.update(how) or model.eval())
    for source, size in (('companies', cli.LINES), ('shakespeare', cli.gpt_recipe('cpu')['batch_size'])):
        cli._compared(source, cli.WHERE | {'mode': 'lines' if source == 'companies' else 'text'}, None, ['gpt'], 1, {'steps': 2})
        assert seen['batch_size'] == size and seen['optimizer'] == 'muon'

@pytest.mark.parametrize('words, why', [('bpe:', 'a number'), ('bpe:1e3', 'a number'), ('bpe:-5', 'a number'), ('bpe:٣٠٠', 'a number'),
                                        ('bpe:99999999999', 'a number'), ('bpe:200', 'from 257'), ('char:65', 'say char'), ('word', 'only char, bpe')])
def test_wrong_tokenizer(tmp_path, words, why):
    assert why in nnzero('train', 'companies', '--tokenizer', words, '--steps', 5, '--out', tmp_path/'run', status=2)
    assert not (tmp_path/'run').exists()

def test_eval_of_another_file(made, tmp_path):
    own = lines(load('companies'))
    table = nnzero('eval', made, text(tmp_path, own[:20])).splitlines()
    assert len(table) == 2 and table[1].split()[1] == '20'
    assert 'not in the vocabulary' in nnzero('eval', made, text(tmp_path, GREEK), status=2)

def test_newest_run(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    assert 'train one first' in nnzero('sample', status=2)
    assert 'runs/names-bigram' in nnzero('train', 'names', '--model', 'bigram')
    assert len(nnzero('sample').splitlines()) == 10 and len(nnzero('eval').splitlines()) == 4

@pytest.mark.parametrize('args, words', [
    (['nothing.txt'], 'no such file'), (['names', '--model', 'mpl'], 'no model'),
    (['names', '--tokenizer', 'words'], 'no tokenizer'), (['names', '--mode', 'list'], '--mode lines'),
    (['names', '--split', 'half'], 'no split'), (['names', '--order', '3'], 'mlp has no order'),
    (['names', '--n-hidden', '-1'], 'n_hidden'), (['names', '--n-hidden', '99999999999'], 'n_hidden'),
    (['names', '--n-embd', '10000000', '--n-hidden', '10000000'], 'too large'),
    (['names', '--lr', '-1'], 'lr is'), (['names', '--schedule', 'square'], 'schedule'),
    (['names', '--steps', '-5'], 'steps'), (['names', '--device', 'tpu'], 'no device'),
    (['names', '--model', 'ngram', '--steps', '5'], 'counted'), (['names', '--model', 'ngram', '--method', 'x'], 'method'),
    (['names', '--resume'], 'no such run'), (['companies', '--batch-size', '0'], 'batch_size'), ([''], 'no such file'),
    (['companies', '--lr', 'nan'], 'lr is nan'), (['companies', '--lr', '1e400'], 'lr is inf'), (['companies', '--lr', 'x'], '--lr'),
    (['companies', '--seed', 2**64], 'seed'), (['companies', '--seed', '-1'], 'seed'), (['companies', '--steps', 10**30], 'steps'),
    (['companies', '--steps', '1.5'], '--steps'), (['companies', '--stepz', '1'], '--steps'), (['companies', 'extra'], 'extra'),
    (['companies', '--n-embd', '0'], 'n_embd should be from 1'), (['companies', '--block-size', '0'], 'block_size'),
    (['companies', '--model', 'ngram', '--order', '0'], 'order'), (['companies', '--model', 'ngram', '--order', '51'], 'from 1 to 50'),
    (['companies', '--model', 'ngram', '--n-embd', '3'], 'no n_embd'), (['companies', '--accumulate', '5'], '5 equal parts'),
    (['companies', '--precision', 'float16'], 'precision'), (['companies', '--model', ''], 'no model'), (['/'], 'folder')])
def test_wrong_words(tmp_path, args, words):
    assert words in nnzero('train', *args, '--out', tmp_path/'run', status=2)
    assert not (tmp_path/'run').exists()

@pytest.mark.parametrize('args, words', [
    (['--temperature', '-1'], 'temperature'), (['--top-k', '0'], 'top_k'), (['--top-p', '1.5'], 'top_p'),
    (['--min-p', '-1'], 'min_p'), (['-n', '-1'], ''), (['--prompt', 'Ω'], 'vocabulary'), (['--max-tokens', '-1'], ''),
    (['--temperature', 'nan'], 'temperature'), (['--temperature', '1e400'], 'temperature'), (['--top-p', '0'], 'top_p'),
    (['--stop', ''], 'stop'), (['-n', 10**12], 'n is'), (['-n', 'x'], "'-n'"), (['--tempature', '1'], '--temperature'), (['extra'], 'extra'),
    (['--prompt', 'a\nb'], 'vocabulary')])
def test_wrong_sampling(made, args, words):
    assert words in nnzero('sample', made, *args, status=2)

@pytest.mark.parametrize('content, words', [
    ('', 'empty'), (b'\xff\xfe\xfa', 'utf-8'), ('one line', ''), ('a\nb\nc', 'too few'), ('\0\0', '')])
def test_wrong_files(tmp_path, content, words):
    path = tmp_path/'file.txt'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert words in nnzero('train', path, '--out', tmp_path/'run', status=2)
    assert not (tmp_path/'run').exists()

def test_unclear(tmp_path):
    data = tmp_path/'verse.txt'
    data.write_text('\n'.join(['a short line', 'another one, '*9]*30))
    assert '--mode' in nnzero('train', data, '--out', tmp_path/'run', status=2)
    nnzero('train', data, '--mode', 'text', '--model', 'ngram', '--out', tmp_path/'run')

pipes = pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes with names here')

@pipes
@pytest.mark.parametrize('name', ['config.json', 'tokenizer.json', 'model.safetensors', 'state.safetensors', 'more.txt'])
def test_pipe_in_a_run(copy, name):
    "A pipe that nobody writes to must not make us wait"
    (copy/name).unlink(missing_ok=True)
    os.mkfifo(copy/name)
    for args in (['sample'], ['eval'], ['train', 'companies', '--resume', '--steps', 50, '--out']):
        assert 'pipe' in nnzero(*args, copy, status=2)

@pipes
def test_data_that_is_no_file(tmp_path, made):
    os.mkfifo(tmp_path/'pipe')
    for data in (tmp_path/'pipe', '/dev/zero', '/dev/stdin'):
        if Path(data).is_file() or Path(data).is_dir(): continue        # stdin may be anything
        for args in (['train', data, '--out', tmp_path/'run'], ['eval', made, data]): assert 'into a file' in nnzero(*args, status=2)
    assert not (tmp_path/'run').exists()

@pytest.mark.parametrize('name', ['config.json', 'tokenizer.json', 'model.safetensors'])
@pytest.mark.parametrize('how', ['folder', 'loop', 'vast'])
def test_no_file_in_its_place(copy, name, how):
    (copy/name).unlink()
    if how == 'folder': (copy/name).mkdir()
    if how == 'loop': (copy/name).symlink_to(name)
    if how == 'vast':
        with open(copy/name, 'wb') as file: file.truncate(2**36)        # with nothing in it: takes no room
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    nnzero('sample', copy, status=2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + 300_000

def test_where_a_run_may_not_be(tmp_path):
    "A file, a loop, a folder that holds something else: nothing there is changed"
    (tmp_path/'file').write_text('mine')
    (tmp_path/'loop').symlink_to('loop')
    (tmp_path/'other').mkdir()
    (tmp_path/'other'/'log.csv').write_text('mine')
    (tmp_path/'empty').mkdir()
    words = {'file': 'is a file', 'other': 'other files', 'loop': 'loop', 'file/run': 'file'}
    for out in words:
        assert words[out] in nnzero('train', 'companies', '--model', 'bigram', '--out', tmp_path/out, status=2)
    assert (tmp_path/'file').read_text() == (tmp_path/'other'/'log.csv').read_text() == 'mine'
    assert [file.name for file in (tmp_path/'other').iterdir()] == ['log.csv']
    nnzero('train', 'companies', '--model', 'bigram', '--out', tmp_path/'empty')

def test_no_such_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 'no such user' in nnzero('train', 'companies', '--model', 'bigram', '--out', '~nobody-of-this-name/run', status=2)
    for args in (['sample'], ['eval'], ['train']): assert 'no such user' in nnzero(*args, '~nobody-of-this-name/x', status=2)
    assert not list(tmp_path.iterdir())

def test_no_run_here(tmp_path, made):
    assert 'no such run' in nnzero('sample', 'names', status=2)
    assert 'no config.json' in nnzero('eval', tmp_path, status=2)
    assert 'no such run' in nnzero('sample', made/'config.json', status=2)

def test_what_to_type_next(tmp_path):
    "A file name with a space in it: the lines that are to be typed have quotes"
    (tmp_path/'my towns').mkdir()
    data = text(tmp_path/'my towns', GREEK)
    said = nnzero('train', data, '--model', 'ngram', '--out', tmp_path/'my towns'/'run').splitlines()[-1]
    words = shlex.split(said.partition(': ')[2])
    assert words[0] == 'nnzero' and len(nnzero(*words[1:]).splitlines()) == 10
    line = cli._state_of(tmp_path/'no run', 'my text.txt')
    assert line == 'nnzero: nothing was saved'

@pytest.mark.parametrize('words', [['source'], ['encoding'], ['split', 'mode'], ['sha256']])
def test_half_a_record(copy, words):
    "A run that does not say where its data came from can be used, but not measured on them"
    config = json.loads((copy/'config.json').read_text())
    for word in words: del config['data'][word]
    (copy/'config.json').write_text(json.dumps(config))
    assert len(nnzero('sample', copy, '-n', 2).splitlines()) == 2
    assert 'does not say' in nnzero('eval', copy, status=2)

def test_no_record(copy):
    config = json.loads((copy/'config.json').read_text()) | {'data': None}
    (copy/'config.json').write_text(json.dumps(config))
    nnzero('sample', copy)
    assert 'does not say' in nnzero('eval', copy, status=2) and len(nnzero('eval', copy, 'companies').splitlines()) == 2
    nnzero('train', 'companies', '--resume', '--out', copy, '--steps', 42)

@pytest.mark.parametrize('train', [{'seed': 2**70}, {'seed': -1}, {'lr': 'x'}, {'width': 1}, {'steps': None}, {'betas': [1]}])
def test_hostile_settings(copy, train):
    change(copy, train=train)
    nnzero('train', 'companies', '--resume', '--out', copy, status=2)

def test_codes_for_a_terminal(copy):
    "A word from a stranger's folder is shown, and does not command the terminal"
    change(copy, model={'name': '\x1b[2Jmlp\x9b'})
    assert '\x1b' not in nnzero('sample', copy, status=2)
    change(copy, model={'name': 'mlp'}, data={'source': '\x1b]0;title\x07'})
    assert nnzero('eval', copy, status=2).rstrip('\n').isprintable()

def test_a_date_as_seed(tmp_path):
    one, two = [nnzero('train', 'companies', '--steps', 2, '--seed', seed, '--out', tmp_path/str(seed)).splitlines()[0]
                for seed in (20261121, 2**63 - 1)]
    assert one != two

def test_memory_full(monkeypatch, made):
    "Torch's way to say so on a CPU and on a GPU, and Python's"
    from nnzero.lm import sample
    for error in (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"), MemoryError(),
                  torch.OutOfMemoryError('CUDA out of memory.\nTried to allocate')):
        def full(*args, **kwargs): raise error
        monkeypatch.setattr(sample, 'generate', full)
        assert 'memory is full' in nnzero('sample', made, status=1)

@pytest.mark.parametrize('command', ['train', 'sample', 'eval'])
def test_help(command):
    "Every option has a text; examples stand at the end"
    said = nnzero(command, '--help')
    assert not re.search(r'^  --?[a-z-]+( <\w+>)?\s*$', said, re.M) and '\b' not in said
    if command != 'eval': assert f'  nnzero {command} ' in said.split('For example:')[1]

def test_a_run_is_not_overwritten(copy):
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    assert '--resume' in nnzero('train', 'companies', '--out', copy, status=2)
    assert 'lr' in nnzero('train', 'companies', '--out', copy, '--resume', '--lr', 0.5, status=2)
    assert 'model' in nnzero('train', 'companies', '--out', copy, '--resume', '--model', 'bigram', status=2)
    assert 'begun with' in nnzero('train', 'names', '--out', copy, '--resume', status=2)
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before

def test_longer(copy):
    nnzero('train', 'companies', '--out', copy, '--resume', '--steps', 60)
    assert (copy/'log.csv').read_text().splitlines()[-1].startswith('60,')

class Trap:
    def __reduce__(self): return os.mkdir, ('TRAPPED',)

def change(folder, **fields):
    "Change the config of a run"
    config = json.loads((folder/'config.json').read_text())
    for name, value in fields.items():
        config = config | {name: config[name] | value if isinstance(value, dict) and isinstance(config[name], dict) else value}
    (folder/'config.json').write_text(json.dumps(config))

def put(name, content): return lambda folder: (folder/name).write_bytes(content)
def cut(name, n): return lambda folder: (folder/name).write_bytes((folder/name).read_bytes()[:n])
def fields(**values): return lambda folder: change(folder, **values)

def swapped(folder):
    "Another alphabet of the same size"
    content = json.loads((folder/'tokenizer.json').read_text())
    content['chars'] = sorted(content['chars'][:-1] + ['Ω'])
    (folder/'tokenizer.json').write_text(json.dumps(content))

def bigger_alphabet(folder):
    "A tokenizer that does not fit, whose hash was forged"
    content = json.loads((folder/'tokenizer.json').read_text())
    content['chars'] = sorted(content['chars'] + ['Ω'])
    (folder/'tokenizer.json').write_text(json.dumps(content))
    change(folder, tokenizer={'sha256': sha256((folder/'tokenizer.json').read_bytes()).hexdigest()})

PICKLE = pickle.dumps(Trap())
HEADER = lambda content: len(content).to_bytes(8, 'little') + content
ATTACKS = {
    'a pickle': put('model.pt', PICKLE), 'a pickle in capitals': put('MODEL.PKL', PICKLE),
    'a pickle as weights': put('model.safetensors', PICKLE), 'a torch file as weights': put('model.safetensors', b'PK\x03\x04' + PICKLE),
    'a pickle as config': put('config.json', PICKLE), 'a pickle as tokenizer': put('tokenizer.json', PICKLE),
    'cut weights': cut('model.safetensors', -7), 'cut header': cut('model.safetensors', 60), 'no weights': cut('model.safetensors', 0),
    'a header of 2**62 bytes': put('model.safetensors', (2**62).to_bytes(8, 'little') + b'{}'),
    'tensors beyond the file': put('model.safetensors', HEADER(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}')),
    'missing weights': lambda folder: (folder/'model.safetensors').unlink(), 'missing config': lambda folder: (folder/'config.json').unlink(),
    'missing tokenizer': lambda folder: (folder/'tokenizer.json').unlink(), 'another tokenizer': swapped, 'a forged tokenizer': bigger_alphabet,
    'cut config': cut('config.json', 30), 'deep config': put('config.json', b'['*1_000_000), 'a list as config': put('config.json', b'[]'),
    'no utf-8': put('config.json', b'\xff\xff'), 'format 2': fields(format=2), 'format x': fields(format='x'), 'no model': fields(model=None),
    'unknown model': fields(model={'name': 'os.system'}), 'unknown field': fields(model={'width': 3}), 'a float size': fields(model={'n_embd': 1.5}),
    'nan': fields(model={'n_embd': float('nan')}), 'text as size': fields(model={'n_embd': '10'}), 'a list as size': fields(model={'n_embd': [1]}),
    'true as size': fields(model={'n_embd': True}), 'negative': fields(model={'n_hidden': -5}), 'zero': fields(model={'n_embd': 0}),
    '2**70 units': fields(model={'n_hidden': 2**70}), '10**9 units': fields(model={'n_hidden': 10**9}),
    'vast': fields(model={'n_hidden': 10**7, 'n_embd': 10**7}), 'large': fields(model={'n_hidden': 10**7, 'n_embd': 1000}),
    'other sizes': fields(model={'n_hidden': 201}), 'another vocabulary': fields(model={'vocab_size': 27}),
    'hash of a number': fields(tokenizer={'sha256': 7}), 'unknown tokenizer': fields(tokenizer={'name': 'x'}), 'data of numbers': fields(data={'source': 7})}

@pytest.mark.parametrize('attack', ATTACKS)
def test_hostile(copy, attack, monkeypatch):
    monkeypatch.chdir(copy.parent)
    ATTACKS[attack](copy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for command in ('sample', 'eval'): nnzero(command, copy, status=2)
    assert not Path('TRAPPED').exists(), 'code was run'
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + 300_000, 'too much memory'

@pytest.mark.parametrize('attack', ['a pickle', 'another tokenizer', 'cut config', 'unknown model', '2**70 units', 'vast', 'format 2'])
def test_hostile_resume(copy, attack, monkeypatch):
    monkeypatch.chdir(copy.parent)
    ATTACKS[attack](copy)
    nnzero('train', 'companies', '--resume', '--out', copy, '--steps', 50, status=2)
    assert not Path('TRAPPED').exists()

@pytest.mark.parametrize('content', [b'', PICKLE, b'x'*100, None], ids=['empty', 'pickle', 'noise', 'cut'])
def test_damaged_state(copy, content):
    path = copy/'state.safetensors'
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    assert 'state.safetensors' in nnzero('train', 'companies', '--resume', '--out', copy, '--steps', 50, status=2)

def test_data_changed(tmp_path):
    data = text(tmp_path, GREEK)
    nnzero('train', data, '--model', 'ngram', '--out', tmp_path/'run')
    data.write_text('\n'.join(KANA*3), encoding='utf-8')
    assert 'changed' in nnzero('eval', tmp_path/'run', status=2)
    assert 'changed' in nnzero('sample', tmp_path/'run', '--new-only', status=2)
    assert 'encoding' in nnzero('train', data, '--encoding', 'klingon', '--out', tmp_path/'other', status=2)
    data.unlink()
    assert 'no such file' in nnzero('eval', tmp_path/'run', status=2)
    nnzero('sample', tmp_path/'run')

def test_ctrl_c(tmp_path):
    "Status 130, a line that says how to go on; and the run goes on"
    out = tmp_path/'run'
    process = start('train', 'names', '--steps', 100_000, '--eval-every', 50, '--out', out)
    while not (out/'state.safetensors').exists() and process.poll() is None: time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=60)
    assert process.returncode == 130 and '--resume' in error and 'Traceback' not in error, error
    step = int(re.search(r'after step ([\d,]+)', error)[1].replace(',', ''))
    nnzero('train', 'names', '--resume', '--out', out, '--steps', step + 20)
    assert (out/'log.csv').read_text().splitlines()[-1].startswith(f'{step + 20},')

def test_pipe_closed(made):
    "nnzero sample | head -1 leaves without a word"
    process = start('sample', made, '-n', 1500)
    process.stdout.read(1)
    process.stdout.close()
    assert 'Traceback' not in process.stderr.read() and process.wait(timeout=60) in (0, 1)

def test_terminal_without_utf8(tmp_path):
    out = tmp_path/'run'
    nnzero('train', text(tmp_path, GREEK), '--model', 'ngram', '--out', out)
    done = subprocess.run([sys.executable, '-m', 'nnzero.cli', 'sample', out, '-n', '2'], capture_output=True,
                          env=os.environ | {'PYTHONIOENCODING': 'ascii', 'PYTHONPATH': str(HERE)})
    assert done.returncode == 0 and b'Traceback' not in done.stderr and done.stdout.isascii(), done.stderr

def torchrun(folder, *args):
    return [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', '-m', 'nnzero.cli', 'train', 'companies',
            '--out', str(folder), *map(str, args)]

def test_two_processes(made, tmp_path):
    "The command under torchrun: one voice, and the losses of one process"
    out = tmp_path/'run'
    done = subprocess.run(torchrun(out, '--steps', 40), capture_output=True, text=True, env=ENV, timeout=200)
    assert done.returncode == 0 and done.stdout.count('nnzero sample') == 1, done.stderr
    rows = [[[float(x or 0) for x in line.split(',')[:4]] for line in (run/'log.csv').read_text().splitlines()[1:]] for run in (made, out)]
    assert len(rows[0]) == len(rows[1]) and all(abs(a - b) < 1e-5 for x, y in zip(*rows) for a, b in zip(x, y)), rows
    done = subprocess.run(torchrun(out, '--steps', 40), capture_output=True, text=True, env=ENV, timeout=200)
    assert done.returncode and '--resume' in done.stderr, done.stderr
