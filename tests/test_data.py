"Data: any bytes give data or one line; downloads that fail in every way; splits, batches, windows"
import errno, hashlib, json, multiprocessing, os, random, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest, torch
from hypothesis import example, given, settings, strategies as st
from nnzero.lm import data as D
from nnzero.lm.data import (PAD, Batches, CharTokenizer, DataError, LineData, Source, TextData, audit, decode, download,
                            fetch, is_original, lines, load, mode, read_file, split, unseen, windows, write_whole)

quick = settings(max_examples=150)
GOOD = b'emma\nolivia\nava\n'*5_000

# ---- any file

def through(text):
    "A text goes the whole way: tokenizer, data, batches, sweeps, and back to what it was"
    items = lines(text)
    tokenizer = CharTokenizer.train(items)
    data = LineData(items, tokenizer)
    counted = sum(int((y != PAD).sum()) for _, y in data.sweep(7))
    assert counted == data.predictions == sum(map(len, items)) + len(items)
    for x, y in (next(Batches(data, 3)), data[:]):
        assert x.shape == y.shape and x.dtype == y.dtype == torch.int64 and x.min() >= 0 and y.min() >= PAD
    assert [tokenizer.decode(row[row != PAD]) for row in data[:][1]] == items
    assert mode(text) in ('lines', 'text', None) and len(tokenizer.symbols) == tokenizer.vocab_size
    assert all(s.strip() for s in tokenizer.symbols)
    running = CharTokenizer.train(text, mark=False)
    if len(text) > 2:
        data = TextData(text, running, 2)
        swept = torch.cat([y[y != PAD] for _, y in data.sweep(2)])
        assert running.decode(swept) == text[1:] and next(Batches(data, 3))[0].shape == (3, 2)

ENCODINGS = ['utf-8', 'utf-8', 'latin-1', 'cp1252', 'utf-16', 'utf-32', 'utf-7', 'ascii', 'punycode', 'idna', 'hex',
             'rot13', 'undefined', 'raw_unicode_escape', 'unicode_escape', 'shift_jis', 'no such', '', '\0', 'gb18030']
text_like = st.lists(st.sampled_from([b'\n', b'\r', b'\r\n', b'\xef\xbb\xbf', b'\0', b' ', b'a', b'\xc3\xa9', b'\xe2\x80\xa8',
                                      b'\xff', b'+2AA-', b'.', b'\x85', b'\\ud800', b'\xf0\x9f\x91\xa9']), max_size=30).map(b''.join)

@quick
@given(st.one_of(st.binary(max_size=60), text_like), st.sampled_from(ENCODINGS))
@example(b'', 'utf-8')
@example(b'\xef\xbb\xbf', 'utf-8')
@example(b'+2AA-', 'utf-7')
@example(b'a\xff', 'utf-8')
def test_any_bytes(tmp_path_factory, content, encoding):
    path = tmp_path_factory.getbasetemp()/'file.txt'
    path.write_bytes(content)
    try: text = load(path, encoding)
    except DataError as e:
        assert len(str(e).splitlines()) == 1 and 'file.txt' in str(e)
    else:
        assert '\r' not in text and not text.startswith('\ufeff') or content.count(b'\xef\xbb\xbf') > 1
        through(text)

@quick
@given(st.text(min_size=1, max_size=50))
def test_any_text(text):
    try: clean = decode(text.encode('utf-8', 'surrogatepass'))
    except DataError: return
    through(clean)

def test_lines_keep_what_is_inside():
    assert lines('a\x85b\u2028c\x0bd\n \n e f \n') == ['a\x85b\u2028c\x0bd', 'e f']
    assert decode(b'a\r\nb\rc\n\nd') == 'a\nb\nc\n\nd'
    assert lines('\u3000emma\xa0\n\x0b\n\x0cava\x1c') == ['emma', 'ava']

@pytest.mark.parametrize('encoding, guess', [('utf-16-le', 'utf-16'), ('utf-16-be', 'utf-16'), ('utf-32-le', 'utf-32'),
                                             ('utf-32-be', 'utf-32'), ('cp1252', 'cp1252')])
def test_another_encoding_is_guessed(tmp_path, encoding, guess):
    text = 'Zo\xeb\n' if encoding == 'cp1252' else '\ufeffZo\xeb\n'
    (tmp_path/'a.txt').write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=f"a.txt: .* perhaps '{guess}'$"): load(tmp_path/'a.txt')
    assert load(tmp_path/'a.txt', guess) == 'Zo\xeb\n'

def test_an_empty_file_is_named(tmp_path):
    (tmp_path/'a.txt').write_bytes(b' \n')
    with pytest.raises(DataError, match='a.txt: is empty'): load(tmp_path/'a.txt')

@pytest.mark.parametrize('make, word', [
    (lambda p: p/'none.txt', 'no such file, and no data set: names, shakespeare, companies'),
    (lambda p: p, 'is a folder'), (lambda p: '', 'no such file'), (lambda p: 'a\0b', 'no such file'),
    (lambda p: 'x'*5000, 'no such file'), (lambda p: '~nobody/x', 'no such file')])
def test_no_file(tmp_path, make, word):
    with pytest.raises(DataError, match=word): load(make(tmp_path))

@pytest.mark.skipif(os.name == 'nt' or getattr(os, 'geteuid', lambda: 1)() == 0, reason='everything can be read')
def test_not_to_be_read(tmp_path):
    (tmp_path/'a.txt').write_text('emma')
    (tmp_path/'a.txt').chmod(0)
    with pytest.raises(DataError, match='Permission denied'): load(tmp_path/'a.txt')

def test_a_path_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('names').write_text('mine\n')
    assert load(Path('names')) == load('./names') == 'mine\n' != load('names')

@pytest.mark.parametrize('text, guess', [
    ('emma\nolivia\nava\n', 'lines'), ('a b c\n'*50, 'lines'), ('one line only', 'text'), ('x'*41 + '\n' + 'y', None),
    ('emma\n\nava\n', None), (('x'*60 + '\n')*10, None), (('x'*60 + '\n\n')*10, 'text'), ('a\n'*60 + '\n' + 'b\n', 'lines'),
    ('x'*40 + '\nb', 'lines'), ('x'*500, 'text')])
def test_mode(text, guess): assert mode(text) == guess

# ---- the tokenizer's file

@quick
@given(st.sets(st.characters(exclude_categories=()), min_size=1, max_size=20), st.booleans())
def test_save_and_load(tmp_path_factory, chars, mark):
    path = tmp_path_factory.getbasetemp()/'tokenizer.json'
    a = CharTokenizer(chars, mark)
    a.save(path)
    b = CharTokenizer.load(path)
    assert (a.chars, a.mark, a.vocab_size, a.symbols) == (b.chars, b.mark, b.vocab_size, b.symbols)
    text = ''.join(chars)
    assert b.decode(b.encode(text)) == text and set(b.encode(text)) == set(range(int(mark), b.vocab_size))

json_like = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(['name', 'mark', 'chars']), inner), max_leaves=8)

@quick
@given(st.one_of(st.binary(max_size=40), json_like.map(lambda x: json.dumps(x).encode())))
@example(b'['*100_000)
@example(b'{"name": "char", "mark": 1, "chars": ["a"]}')
@example(b'{"name": "char", "mark": true, "chars": ["ab"]}')
@example(b'{"name": "char", "mark": true, "chars": []}')
@example(b'{"name": "char", "mark": false, "chars": {}}')
@example(b'{"name": "char", "mark": true, "chars": ["a", 1]}')
@example(b'{"name": "char", "mark": true, "chars": "ab"}')
@example(b'{"name": "bpe", "mark": true, "chars": ["a"]}')
def test_damaged_tokenizer(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp()/'damaged.json'
    path.write_bytes(content)
    with pytest.raises(DataError, match='is no tokenizer of characters'): CharTokenizer.load(path)

def test_tokenizer_errors(tmp_path):
    with pytest.raises(DataError, match='No such file'): CharTokenizer.load(tmp_path/'none.json')
    for nothing in ('', [], ['']):
        with pytest.raises(DataError, match='no characters'): CharTokenizer.train(nothing)
    t = CharTokenizer.train('ab')
    with pytest.raises(DataError, match="'e'.*'d'.*'c' .* and 1 more") as e: t.encode('aedcbf')
    assert '\n' not in str(e.value)
    with pytest.raises(DataError, match=r'U\+000A without a name'): t.encode('\n')
    for i in (-1, 3):
        with pytest.raises(DataError, match='no id'): t.decode([i])
    with pytest.raises(DataError, match=r"'z' \(U\+007A LATIN SMALL LETTER Z\)$"): t.encode('zzaz')
    assert t.decode([]) == '' and t.decode(torch.tensor([], dtype=torch.int64)) == ''
    assert CharTokenizer.train('.·').symbols == ['|', '.', '·'] and CharTokenizer.train('.·|').symbols[0] == '<mark>'
    assert CharTokenizer.train('.', mark=False).symbols == ['.']

# ---- files written whole

def test_write_whole(tmp_path, monkeypatch):
    path = tmp_path/'new/folder/a.bin'
    write_whole(path, b'1')
    write_whole(path, b'22')
    assert path.read_bytes() == b'22' and os.listdir(path.parent) == ['a.bin']
    sizes = []
    monkeypatch.setattr(os, 'fsync', lambda fd: sizes.append(os.fstat(fd).st_size))
    write_whole(path, b'22')
    assert sizes == [2]                             # all of it had left Python's buffer by then
    def full(*_): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space'): write_whole(path, b'333')
    assert path.read_bytes() == b'22' and os.listdir(path.parent) == ['a.bin']

def test_home_and_links(tmp_path, monkeypatch):
    for variable in ('HOME', 'USERPROFILE'): monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    CharTokenizer('ab').save('~/new/t.json')
    assert CharTokenizer.load('~/new/t.json').chars == ['a', 'b'] and read_file('~/new/t.json') == (tmp_path/'new/t.json').read_bytes()
    assert os.listdir(tmp_path) == ['new']
    for bad in ('', '~', 'new'):
        with pytest.raises(OSError): write_whole(bad, b'')
    assert os.listdir(tmp_path) == ['new']
    try: Path('link').symlink_to('new/t.json')
    except OSError: return                          # a system that allows no links
    write_whole('link', b'2')
    assert Path('link').is_symlink() and Path('new/t.json').read_bytes() == b'2'

# ---- downloads

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def head(self, n=len(GOOD), status=200):
        self.send_response(status)
        self.send_header('Content-Length', str(n))
        self.end_headers()
    def do_GET(self):
        what = self.path.strip('/')
        n = self.server.asked[what] = self.server.asked.get(what, 0) + 1
        if what == 'breaks-once': what = 'breaks' if n == 1 else 'good'
        if what == 'fails-twice': what = 'error' if n < 3 else 'good'
        try: getattr(self, 'reply_' + what.replace('-', '_'))()
        except (BrokenPipeError, ConnectionError): pass
        self.close_connection = True
    def reply_good(self): self.head(); self.wfile.write(GOOD)
    def reply_breaks(self): self.head(); self.wfile.write(GOOD[:1000])
    def reply_hangs_up(self): self.connection.close()
    def reply_error(self): self.head(0, 503)
    def reply_missing(self): self.head(0, 404)
    def reply_altered(self): self.head(); self.wfile.write(GOOD[:-1] + b'!')
    def reply_page(self): self.head(30); self.wfile.write(b'<html>Please log in</html>    ')
    def reply_endless(self):
        self.send_response(200)
        self.end_headers()
        while True: self.wfile.write(b'x'*65536)
    def reply_stalls(self): self.head(); self.wfile.write(GOOD[:1000]); self.wfile.flush(); self.server.released.wait(20)
    def reply_silent(self): self.server.released.wait(20)
    def reply_trickles(self):
        self.head()
        for i in range(1000):
            self.wfile.write(GOOD[i:i + 1])
            self.wfile.flush()
            if self.server.released.wait(0.02): return
    def reply_nonsense(self): self.wfile.write(b'\0\1\2 nonsense\r\n\r\n')
    def reply_redirect(self):
        self.send_response(302)
        self.send_header('Location', '/good')
        self.send_header('Content-Length', '0')
        self.end_headers()

@pytest.fixture
def server(monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'): monkeypatch.delenv(name, raising=False)
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.daemon_threads, s.asked, s.released = True, {}, threading.Event()
    threading.Thread(target=s.serve_forever, daemon=True).start()
    s.url = f'http://127.0.0.1:{s.server_address[1]}/'
    yield s
    s.released.set()
    s.shutdown()
    s.server_close()

@pytest.fixture(autouse=True)
def forget():
    "What one test has been told, and what has failed in it, is forgotten in the next"
    D._note.cache_clear()
    D._failed.clear()

def source(url): return Source('five.txt', url, len(GOOD), hashlib.sha256(GOOD).hexdigest(), 'names.txt')

@pytest.mark.parametrize('what, tries', [('good', 1), ('redirect', 1), ('breaks-once', 2), ('fails-twice', 3)])
def test_download(server, what, tries):
    assert download(source(server.url + what), pauses=(0, 0)) == GOOD and server.asked[what] == tries

@pytest.mark.parametrize('what, why, tries', [
    ('breaks', '1000 of 80000 bytes', 3), ('hangs-up', 'closed|reset', 3), ('error', '503|Service Unavailable', 3),
    ('missing', '404|Not Found', 1), ('altered', 'not the original', 3), ('page', '30 of 80000', 3),
    ('endless', 'not the original', 3), ('nonsense', 'nonsense', 3), ('stalls', 'timed out', 1), ('silent', 'timed out|no answer', 1),
    ('trickles', 'too slow', 1)])
def test_download_fails(server, tmp_path, monkeypatch, what, why, tries):
    monkeypatch.setattr(D, 'PATIENCE', 0.03 if what == 'trickles' else 0.3)
    start = time.monotonic()
    with pytest.raises(OSError, match=why): download(source(server.url + what), pauses=(0, 0))
    assert time.monotonic() - start < 5 and server.asked[what] == tries
    with pytest.raises(OSError): fetch(source(server.url + 'missing'), tmp_path)
    assert os.listdir(tmp_path) == []

def test_pauses_between_tries(server, monkeypatch):
    slept = []
    monkeypatch.setattr(D.time, 'sleep', slept.append)
    with pytest.raises(OSError): download(source(server.url + 'breaks'))
    assert slept == [0.5, 2]

def test_nobody_there(monkeypatch):
    start = time.monotonic()
    for url in ('http://127.0.0.1:1/', 'http://nnzero.invalid/', 'nonsense', 'http://[/'):
        with pytest.raises((OSError, ValueError)): download(source(url))
    assert time.monotonic() - start < 9
    def slow(*_, **__): time.sleep(1)
    monkeypatch.setattr(D, 'urlopen', slow)         # a look-up of the address that takes its time
    monkeypatch.setattr(D, 'PATIENCE', 0.05)
    with pytest.raises(OSError, match='no answer in 0.05 seconds'): download(source('http://x/'))

def test_cache(server, tmp_path, capsys):
    there, file = source(server.url + 'good'), tmp_path/'five.txt'
    assert fetch(there, tmp_path) == fetch(there, tmp_path) == GOOD and server.asked['good'] == 1
    file.write_bytes(GOOD[:-1])
    assert fetch(there, tmp_path) == file.read_bytes() == GOOD and server.asked['good'] == 2
    assert os.listdir(tmp_path) == ['five.txt']
    file.unlink()
    file.mkdir()                                    # something that can't be overwritten
    assert fetch(there, tmp_path) == GOOD and 'could not be written' in capsys.readouterr().err
    assert os.listdir(tmp_path) == ['five.txt']

def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert D.cache_folder() == tmp_path/'nnzero'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    monkeypatch.setenv('LOCALAPPDATA', str(tmp_path/'Local'))
    for platform, folder in (('linux', '.cache'), ('darwin', 'Library/Caches'), ('win32', 'Local')):
        monkeypatch.setattr(D.sys, 'platform', platform)
        assert D.cache_folder() == tmp_path/folder/'nnzero'

def _fetch_in_process(url, folder, answers): answers.put(fetch(source(url), Path(folder)) == GOOD)

def test_two_processes_at_once(server, tmp_path):
    context = multiprocessing.get_context('spawn')
    answers = context.Queue()
    ps = [context.Process(target=_fetch_in_process, args=(server.url + 'good', str(tmp_path), answers)) for _ in range(2)]
    for p in ps: p.start()
    assert [answers.get(timeout=60) for _ in ps] == [True, True]
    for p in ps: p.join()
    assert os.listdir(tmp_path) == ['five.txt'] and (tmp_path/'five.txt').read_bytes() == GOOD

def test_many_threads_at_once(server, tmp_path):
    found = []
    ts = [threading.Thread(target=lambda: found.append(fetch(source(server.url + 'good'), tmp_path))) for _ in range(8)]
    for t in ts: t.start()
    for t in ts: t.join()
    assert found == [GOOD]*8 and os.listdir(tmp_path) == ['five.txt']

# ---- load: four places to look

@pytest.fixture
def alone(monkeypatch, tmp_path):
    "No folder of data and an empty cache; `names` is a source of our own"
    monkeypatch.delenv('NNZERO_DATA', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    def at(url):
        monkeypatch.setitem(D.SOURCES, 'names', source(url)._replace(file='names.txt'))
        return tmp_path
    return at

def test_only_sources_have_originals():
    for name in ('companies', 'nmaes', ''):
        with pytest.raises(DataError, match='no original'): is_original(name)

def test_load_downloads_once(alone, server, capsys):
    folder = alone(server.url + 'good')
    assert load('names') == load('names') == GOOD.decode() and is_original('names') and server.asked['good'] == 1
    assert os.listdir(folder/'cache/nnzero') == ['names.txt'] and capsys.readouterr().err == ''

def test_load_offline(alone, server, capsys):
    alone(server.url + 'missing')
    assert load('names') == load('names') != GOOD.decode() and not is_original('names')
    note = capsys.readouterr().err
    assert note.count('\n') == 1 and 'data that come with nnzero' in note and 'Not Found' in note
    assert server.asked['missing'] == 1                         # and it isn't asked again at once
    D._failed['names'] = time.monotonic() - 1, ''
    load('names')
    assert server.asked['missing'] == 2
    assert len(set(lines(load('names')))) >= 3000

def test_a_folder_without_the_file(alone, server, capsys, monkeypatch):
    monkeypatch.setenv('NNZERO_DATA', str(alone(server.url + 'good')/'none'))
    assert load('names') != GOOD.decode() and server.asked == {}
    assert capsys.readouterr().err.count('\n') == 1

def test_a_folder_with_the_file(alone, server, capsys, monkeypatch):
    folder = alone(server.url + 'good')
    monkeypatch.setenv('NNZERO_DATA', str(folder))
    (folder/'names.txt').write_bytes(GOOD.replace(b'\n', b'\r\n'))
    assert load('names') == GOOD.decode() and is_original('names') and capsys.readouterr().err == ''
    (folder/'names.txt').write_bytes(b'zoe\n')
    assert load('names') == 'zoe\n' and not is_original('names') and server.asked == {}
    assert 'is not the original' in capsys.readouterr().err
    (folder/'names.txt').write_bytes(b'\xff')
    with pytest.raises(DataError, match='not utf-8'): load('names')
    monkeypatch.setenv('NNZERO_DATA', '')
    assert load('names') == GOOD.decode()

def test_shipped_data_is_what_it_should_be(monkeypatch, tmp_path):
    monkeypatch.setenv('NNZERO_DATA', str(tmp_path))
    names, firms, play = lines(load('names')), lines(load('companies')), load('shakespeare')
    assert len(names) == len(set(names)) >= 3000 and len(firms) == len(set(firms)) >= 300 and len(play.encode()) >= 60_000
    assert mode(load('names')) == mode(load('companies')) == 'lines' and mode(play) == 'text'

# ---- splits

@quick
@given(st.lists(st.integers(0, 40), min_size=10, max_size=200), st.integers(0, 5), st.booleans())
def test_split(items, seed, distinct):
    kept = list(items)
    try: parts = split(items, seed=seed, distinct=distinct)
    except DataError:
        assert len(set(items) if distinct else items) < 10
        return
    assert items == kept and all(parts)
    assert sorted(sum(parts, [])) == sorted(set(items) if distinct else items)
    if distinct: assert all(row['seen'] == 0 for row in audit(a=parts[0], b=parts[1], c=parts[2]).values())
    assert not set(unseen(parts[1], parts[0])) & set(parts[0])

@pytest.mark.parametrize('n', [10, 999, 5830, 29_494, 32_033, 100_000])
def test_split_as_in_the_lecture(n):
    items = list(range(n))
    random.seed(42)
    random.shuffle(items)
    a, b = int(0.8*n), int(0.9*n)
    assert split(list(range(n))) == (items[:a], items[a:b], items[b:])

@pytest.mark.parametrize('fractions', [(), (0.5, 0.6), (1.5, -0.5), (0.8, 0.1), (1.0, 0.0), (float('nan'),)])
def test_fractions(fractions):
    with pytest.raises(DataError, match='positive and make 1'): split(list(range(100)), fractions)

@given(st.integers(3, 5000), st.sampled_from([(0.3333333,)*3, (0.3333334,)*3, (0.5, 0.4999999), (0.1,)*10]))
def test_no_line_is_lost(n, fractions):
    try: parts = split(range(n), fractions)
    except DataError: assert n < 20
    else: assert sorted(sum(parts, [])) == list(range(n))

def test_distinct_keeps_the_order_of_the_file():
    items = [f'{i*i % 97}' for i in range(300)]
    assert split(items, distinct=True) == split(list(dict.fromkeys(items)))

def test_split_text():
    assert split('abcdefghij', (0.7, 0.2, 0.1)) == ('abcdefg', 'hi', 'j') and split('ab', (1.0,)) == ('ab',)

# ---- batches

names = st.lists(st.text('abc', max_size=6), min_size=1, max_size=25)

@quick
@given(names, st.integers(1, 9))
def test_windows_are_the_lecture(items, k):
    t = CharTokenizer('abc')
    X, Y = [], []
    for item in items:
        context = [0]*k
        for i in [*t.encode(item), 0]:
            X.append(context)
            Y.append(i)
            context = context[1:] + [i]
    x, y = windows(LineData(items, t), k)
    assert x.tolist() == X and y.tolist() == Y and x.dtype == y.dtype == torch.int64

@quick
@given(names, st.integers(0, 3))
def test_lines_of_any_length(items, extra):
    t = CharTokenizer('abc')
    longest = max(map(len, items)) + 1
    for data, width in ((LineData(items, t), longest), (LineData(items, t, longest + extra), longest + extra)):
        x, y = data[list(range(len(items)))]
        assert x.shape == y.shape == (len(items), width) and x.is_contiguous() and y.is_contiguous()
        for item, a, b in zip(items, x.tolist(), y.tolist()):
            ids, rest = t.encode(item), width - len(item) - 1
            assert a == [0, *ids] + [0]*rest and b == [*ids, 0] + [PAD]*rest
    if longest > 1:
        with pytest.raises(DataError, match='do not fit into a block'): LineData(items, t, longest - 1)

class Pairs:
    "Another tokenizer, whose mark is not 0"
    mark, vocab_size = 9, 10
    def encode(self, text): return [int(c) for c in text]

def test_a_mark_that_is_not_zero():
    data = LineData(['12', '345'], Pairs())
    x, y = data[:]
    assert x.tolist() == [[9, 1, 2, 0], [9, 3, 4, 5]] and y.tolist() == [[1, 2, 9, PAD], [3, 4, 5, 9]]
    X, Y = windows(data, 2)
    assert X.tolist() == [[9, 9], [9, 1], [1, 2], [9, 9], [9, 3], [3, 4], [4, 5]] and Y.tolist() == [1, 2, 9, 3, 4, 5, 9]

@quick
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 3), st.integers(0, 40), st.sampled_from([1, 2, 3]))
def test_batches(n, size, seed, step, world):
    data, size = LineData(['a'*i for i in range(n)], CharTokenizer('a')), size*world
    order = lambda batches: [int((y != PAD).sum()) - 1 for _ in range(6) for y in next(batches)[1]]
    whole = Batches(data, size, seed)
    state = {'step': step, 'seed': seed, 'batch_size': size, 'examples': n}
    whole.load_state_dict(state)
    there = order(whole)
    assert whole.state_dict() == {**state, 'step': step + 6}
    from_start = Batches(data, size, seed)
    everything = [int((y != PAD).sum()) - 1 for _ in range(step + 6) for y in next(from_start)[1]]
    assert everything[step*size:] == there                          # resumed is the same as never stopped
    for e in range(len(everything)//n): assert sorted(everything[e*n:(e + 1)*n]) == list(range(n))
    ranks = [Batches(data, size, seed, rank=r, world=world) for r in range(world)]
    for rank in ranks: rank.load_state_dict(state)
    shared = [int((y != PAD).sum()) - 1 for _ in range(6) for rank in ranks for y in next(rank)[1]]
    assert shared == there

def test_seeds_and_epochs_differ():
    orders = {tuple(D._order(50, seed, epoch).tolist()) for seed in (0, 1, 2**32, 2**40, -1) for epoch in range(20)}
    assert len(orders) == 100

def test_other_randomness_is_left_alone():
    data = LineData(['a', 'b', 'c'], CharTokenizer('abc'))
    random.seed(1), torch.manual_seed(1)
    want = random.random(), torch.rand(1).item()
    random.seed(1), torch.manual_seed(1)
    for _, (x, y) in zip(range(5), Batches(data, 2)): split(list(range(20)))
    assert (random.random(), torch.rand(1).item()) == want

@pytest.mark.parametrize('bad', [dict(batch_size=0), dict(batch_size=-2), dict(batch_size=3, world=2),
                                 dict(batch_size=2, rank=2, world=2), dict(batch_size=2, rank=-1, world=2)])
def test_wrong_batches(bad):
    with pytest.raises(DataError, match='no equal share'): Batches(LineData(['a'], CharTokenizer('a')), **bad)

@quick
@given(st.text('ab', min_size=2, max_size=60), st.integers(1, 9), st.integers(1, 4))
def test_text(text, T, size):
    t = CharTokenizer('ab', mark=False)
    if T >= len(text):
        with pytest.raises(DataError, match='has no window'): TextData(text, t, T)
        return
    data = TextData(text, t, T)
    x, y = data[:]
    assert x.is_contiguous() and y.is_contiguous() and len(data) == len(text) - T
    for i, (a, b) in enumerate(zip(x, y)): assert t.decode(a) == text[i:i + T] and t.decode(b) == text[i + 1:i + T + 1]
    xs, ys = zip(*[(x, y) for x, y in data.sweep(size)])
    x, y = torch.cat(xs).view(-1), torch.cat(ys).view(-1)
    assert t.decode(x[y != PAD]) == text[:-1] and t.decode(y[y != PAD]) == text[1:]
    assert len(y) - data.predictions < T

@pytest.mark.parametrize('change, word', [
    (dict(step=-1), 'no step -1'), (dict(step=None), 'no step None'), (dict(step='3'), "no step '3'"), (dict(seed=2), 'saved with seed 2, not 0'),
    (dict(batch_size=4), 'batch_size 4, not 2'), (dict(examples=4), 'examples 4, not 3'), (dict(seed=2, examples=4), 'seed 2, not 0, examples 4, not 3')])
def test_a_state_that_does_not_fit(change, word):
    batches = Batches(LineData(['a', 'b', 'c'], CharTokenizer('abc')), 2)
    assert batches.state_dict() == dict(step=0, seed=0, batch_size=2, examples=3)
    with pytest.raises(DataError, match=word): batches.load_state_dict({**batches.state_dict(), **change})
    for name in change:
        with pytest.raises(DataError): batches.load_state_dict({k: v for k, v in batches.state_dict().items() if k != name})
    with pytest.raises(DataError, match='no batch number -1'): batches.at(-1)

def test_wrong_arguments():
    t, plain = CharTokenizer('ab'), CharTokenizer('ab', mark=False)
    for wrong in ('ab', None, (c for c in 'ab'), t):
        with pytest.raises(DataError, match='takes a list'): LineData(wrong, t)
    for wrong in (plain, None, ['ab']):
        with pytest.raises(DataError, match='with a mark'): LineData(['ab'], wrong)
    for wrong in ('ab', ['ab']):
        with pytest.raises(DataError, match='takes LineData or TextData'): Batches(wrong, 2)
    for wrong in (['ab'], ['a', '']):
        with pytest.raises(DataError, match='is not one character'): CharTokenizer(wrong)
    with pytest.raises(DataError, match='no characters'): CharTokenizer([])
    with pytest.raises(DataError, match='no window of 0'): TextData('abab', plain, 0)
    for data in (LineData(['a', 'b'], t), TextData('abab', plain, 2)):
        for size in (0, -1):
            with pytest.raises(DataError, match='holds nothing'): next(data.sweep(size))

def test_no_indices():
    for data, width in ((LineData(['a', 'b'], CharTokenizer('ab')), 0), (LineData(['a', 'b'], CharTokenizer('ab'), 5), 5),
                        (TextData('abab', CharTokenizer('ab', mark=False), 3), 3)):
        for none in ([], slice(0, 0), torch.tensor([], dtype=torch.int64)):
            assert data[none][0].shape == data[none][1].shape == (0, width)

def test_a_sweep_begins_with_short_lines():
    widths = [x.shape[1] for x, _ in LineData(['a'*(i*7 % 11) for i in range(11)], CharTokenizer('a')).sweep(2)]
    assert widths == sorted(widths) == [2, 4, 6, 8, 10, 11]

def test_indices():
    data = LineData(['a', 'bb', 'c'], CharTokenizer('abc'))
    for i in (1, [1], slice(1, 2), torch.tensor([1]), -2, torch.tensor([False, True, False])):
        assert data[i][1].tolist() == [[2, 2, 0]]
    with pytest.raises(IndexError): data[3]
    with pytest.raises(IndexError): data[torch.tensor([0, 3])]

def test_memory_is_that_of_the_text():
    data = LineData(['a'*100_000] + ['a']*5_000, CharTokenizer('a'))
    assert data._padded.numel() < 250_000                           # and not 5,001 times 100,001
    assert data[1:3][0].shape == (2, 2)
