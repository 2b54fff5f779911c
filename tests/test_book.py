"Faults are put into a small book, one at a time, and `nnzero.book` has to name each of them."
import os, shutil, signal, subprocess, sys, time
from pathlib import Path
import nbformat, pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nnzero import book
from nnzero.site import BookError

HERE = Path(__file__).resolve().parents[1]
SIDEBAR = 'website: {title: shop, sidebar: {contents: [index.ipynb, {section: "1 Prices", contents: [%s]}]}}\n'
PROSE = 'A price is what a thing costs, and the tax comes on top of it. ' * 3

def put(root, path, *cells):
    "Write a notebook; texts that begin with # and a space or with A are prose, the others code"
    make = lambda s, i: (new_markdown_cell if s.startswith(('# ', 'A ')) else new_code_cell)(s, id=f'c{i}')
    nb = new_notebook(cells=[make(s, i) for i, s in enumerate(cells)])
    nb.metadata['kernelspec'] = {'display_name': 'python3', 'language': 'python', 'name': 'python3'}
    (root/'nbs'/path).write_text(nbformat.writes(nb) + '\n', encoding='utf-8')

def edit(root, path, change):
    "Change a notebook's cells, as an editor would, with its outputs left alone"
    nb = book.read(root/'nbs'/path)
    change(nb)
    (root/'nbs'/path).write_text(book.text_of(nb), encoding='utf-8')

def source(cell, text):
    return lambda nb: nb.cells[cell].__setitem__('source', text)

@pytest.fixture(scope='session')
def original(tmp_path_factory):
    "A book of three pages that has nothing wrong with it"
    root = tmp_path_factory.mktemp('book')
    ini = (HERE/'settings.ini').read_text(encoding='utf-8')
    for key in ('repo', 'lib_name', 'lib_path'): ini = ini.replace(f'\n{key} = nnzero', f'\n{key} = shop')
    (root/'settings.ini').write_text(ini, encoding='utf-8')
    (root/'_quarto.yml').write_text(SIDEBAR % 'vat.ipynb, till.ipynb')
    (root/'nbs/assets').mkdir(parents=True)
    (root/'nbs/assets/references.bib').write_text('')
    put(root, 'index.ipynb', '# Shop\n\n> What things cost.', 'A [till](till.ipynb), see %(repo)s [@x1].', '6*7')
    put(root, 'vat.ipynb', '# Tax\n\n> On top.', '#| default_exp vat', PROSE,
        '#| exports\ndef gross(net):\n    "With the tax"\n    return 1.25*net', 'assert gross(4) == 5\ngross(4)')
    put(root, 'till.ipynb', '# Till\n\n> Adds up.', 'from shop.vat import gross', PROSE,
        'assert gross(8) == 10\ngross(8)', '#| slow\nassert gross(1) > 1\ngross(100)')
    (root/'nbs/assets/references.bib').write_text('@misc{x1, title={A}}\n')
    book.run(root, active={'slow'}, say=str)
    return root

@pytest.fixture
def root(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path/'book'))

def only(lines, *parts):
    "There is one fault, and its line has all these parts"
    assert len(lines) == 1 and all(part in lines[0] for part in parts), lines

def test_nothing_wrong(root):
    before = {p: p.read_bytes() for p in root.rglob('*') if p.is_file()}
    assert book.check(root) == []
    assert {p: p.read_bytes() for p in root.rglob('*') if p.is_file()} == before

@pytest.mark.parametrize('name, change, words', [
    ('vat.py', lambda p: p.write_text(p.read_text().replace('1.25', '1.5')), 'not what its notebook exports'),
    ('vat.py', lambda p: p.write_text(p.read_text() + '# a comment\n'), 'not what its notebook exports'),
    ('_modidx.py', lambda p: p.write_text(p.read_text() + '\n'), 'not what its notebook exports'),
    ('old.py', lambda p: p.write_text(''), 'no notebook exports it'),
    ('vat.py', lambda p: p.unlink(), 'missing')])
def test_library(root, name, change, words):
    change(root/'shop'/name)
    only(book.library_faults(root), f'shop/{name}', words)
    assert any(words in line for line in book.check(root))

def test_edited_cell(root):
    edit(root, 'till.ipynb', source(3, 'assert gross(8) == 10\ngross(16)'))
    lines = book.check(root)
    assert 'nbs/till.ipynb: the outputs are of other code: run it again' in lines
    assert 'nbs/till.ipynb cell c4: its output is of other code' in lines and len(lines) == 2

def test_edited_module(root):
    edit(root, 'vat.ipynb', lambda nb: [source(3, nb.cells[3].source.replace('1.25', '1.5'))(nb),
                                        source(4, 'gross(4)')(nb)])
    book.export(root)
    stale = {page.path for page, nb in book.book(root).items() if book.stale(root, nb)}
    assert stale == {'vat.ipynb', 'till.ipynb'}

def test_imports_through_others(root):
    (root/'shop/a.py').write_text('def f():\n    from .b import x\n')
    (root/'shop/b.py').write_text('x = 1\n')
    cells = [new_code_cell('from shop import a')]
    before = book.stamp(root, cells)
    (root/'shop/b.py').write_text('x = 2\n')
    assert book.stamp(root, cells) != before

def test_comments_are_not_code(root):
    edit(root, 'vat.ipynb', lambda nb: [
        source(3, '#| exports\n# a comment\ndef gross( net ):\n    """Other\n    words"""\n\n    return 1.25 * net')(nb),
        source(4, '#| fig-cap: "Words"\n\nassert gross(4) == 5    # so\ngross(4)')(nb)])
    book.export(root)
    assert all(book.stale(root, nb, {'slow'}) == [] for nb in book.book(root).values())

@pytest.mark.parametrize('code', ['"Hello"', '"Hi"', 'gross(8);', 'gross(8.0)', '%time', 'gross (\n9)'])
def test_what_counts(root, code):
    edit(root, 'till.ipynb', source(3, 'gross(8)'))
    before = book.stamps(root, book.read(root/'nbs/till.ipynb'))
    edit(root, 'till.ipynb', source(3, code))
    assert book.stamps(root, book.read(root/'nbs/till.ipynb'))['code'] != before['code']

def test_changed_output(root):
    edit(root, 'till.ipynb', lambda nb: nb.cells[3].outputs[0].data.__setitem__('text/plain', '11.0'))
    only(book.check(root), 'nbs/till.ipynb: the outputs were changed')
    edit(root, 'till.ipynb', lambda nb: nb.cells[3].__setitem__('outputs', []))
    only(book.check(root), 'nbs/till.ipynb: the outputs were changed')

def test_no_stamp(root):
    edit(root, 'till.ipynb', lambda nb: nb.metadata.pop('nnzero'))
    only(book.check(root), 'nbs/till.ipynb: it has not been run')

def test_slow_cells(root):
    path, output = root/'nbs/till.ipynb', lambda: book.read(path).cells[4].outputs
    edit(root, 'till.ipynb', lambda nb: nb.cells.append(new_code_cell('1 + 1', id='c5')))
    book.run(root, say=str)
    assert output() and book.check(root) == []          # its code, down to itself, is the same
    edit(root, 'till.ipynb', source(3, 'assert gross(8) == 10\ngross(16)'))
    book.run(root, say=str)
    assert not output()
    only(book.check(root), 'nbs/till.ipynb cell c4: it has not been run')
    book.run(root, active={'slow'}, say=str)
    assert output()[0].data['text/plain'] == '125.0' and book.check(root) == []

def test_stale_slow_cell_alone(root):
    edit(root, 'till.ipynb', source(4, '#| slow\ngross(200)'))
    only(book.stale(root, book.read(root/'nbs/till.ipynb')), 'cell c4', 'other code')
    lines = []
    book.run(root, say=lines.append)
    assert len(lines) == 1 and book.read(root/'nbs/till.ipynb').cells[4].outputs == []

def test_gpu_cells_may_be_missing_but_not_old(root):
    edit(root, 'till.ipynb', lambda nb: nb.cells.append(new_code_cell('#| gpu\nassert True', id='c5')))
    assert book.check(root) == []
    edit(root, 'till.ipynb', lambda nb: nb.metadata['nnzero']['flagged'].__setitem__('c5', '0'))
    only(book.check(root), 'cell c5: its output is of other code')

def test_eval_false_never_runs(root):
    edit(root, 'till.ipynb', lambda nb: nb.cells.append(new_code_cell('#| eval: false\n1/0', id='c5')))
    book.run(root, ['till'], {'slow'}, say=str)
    assert book.check(root) == []

def test_error_output(root):
    error = new_output('error', ename='ValueError', evalue='bad', traceback=[])
    edit(root, 'till.ipynb', lambda nb: nb.cells[3].outputs.append(error))
    assert any('nbs/till.ipynb cell c3' in line and 'error' in line for line in book.check(root))

@pytest.mark.parametrize('path', ['README.md', 'CITATION.cff'])
def test_stale_texts(root, path):
    (root/path).write_text('old')
    only(book.check(root), path, 'nnzero book run')
    book.run(root, say=str)
    assert book.check(root) == []

def test_readme(root):
    text = (root/'README.md').read_text()
    assert text.startswith('# Shop\n\n> What') and 'see shop.' in text and '```text\n42\n```' in text
    assert '(https://nnzero.github.io/shop/till.html)' in text
    assert 'version: "' in (root/'CITATION.cff').read_text()

def test_reading_order(root):
    (root/'_quarto.yml').write_text(SIDEBAR % 'till.ipynb, vat.ipynb')
    only(book.check(root), 'nbs/till.ipynb cell c1: imports shop.vat, which comes later')

def test_module_name(root):
    edit(root, 'vat.ipynb', source(1, '#| default_exp tax'))
    assert any('nbs/vat.ipynb: exports shop.tax, and not shop.vat' in line for line in book.check(root))

@pytest.mark.parametrize('change', [
    lambda nb: nb.cells[3].__setitem__('execution_count', 7), lambda nb: nb.cells[3].metadata.__setitem__('tags', ['a']),
    lambda nb: nb.metadata.__setitem__('widgets_state', {})])
def test_unclean(root, change):
    edit(root, 'till.ipynb', change)
    only(book.check(root), 'nbs/till.ipynb: not clean')

def test_limits(root):
    put(root, 'till.ipynb', '# T\n\n> T.', 'A ' + 'word '*151, 'from os import *', 'x = 1\n'*30, 'y = "' + 'y'*100 + '"')
    lines = '\n'.join(book.check(root))
    for part in ('longest text cell: 152', 'cell c2: a wildcard', 'longest code cell: 30', 'cell c4: a line of over',
                 'check something: 0', 'ninth code cell of ten: 30'): assert part in lines

def test_damaged_notebook(root):
    (root/'nbs/till.ipynb').write_text('{"cells": [')
    with pytest.raises(BookError, match='till.ipynb'): book.check(root)

def test_nothing_new_stays(root):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.glob('nbs/*.ipynb')}
    lines = []
    book.run(root, all=True, active={'slow'}, say=lines.append)
    assert len(lines) == 3 and all(line.endswith('(nothing new)') for line in lines)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.glob('nbs/*.ipynb')} == before
    book.run(root, say=lines.append)
    assert lines[-1] == 'everything is up to date'

def test_only_the_cost_is_new(root):
    edit(root, 'till.ipynb', source(3, 'from time import time_ns\nprint("Cost of this page:", time_ns())'))
    book.run(root, ['till'], {'slow'}, say=str)
    before = (root/'nbs/till.ipynb').read_bytes()
    book.run(root, ['till'], {'slow'}, say=str)
    assert (root/'nbs/till.ipynb').read_bytes() == before
    assert book.stale(root, book.read(root/'nbs/till.ipynb'), {'slow'}) == []

def test_failing_cell(root):
    edit(root, 'vat.ipynb', source(4, '1/0'))
    edit(root, 'till.ipynb', source(3, 'assert gross(8) == 10\ngross(9)'))
    before, lines = (root/'nbs/vat.ipynb').read_bytes(), []
    with pytest.raises(book.CellFailed, match='nbs/vat.ipynb cell c4: ZeroDivisionError: division by zero'):
        book.run(root, say=lines.append)
    assert (root/'nbs/vat.ipynb').read_bytes() == before and 'FAILED' in lines[0]
    assert book.stale(root, book.read(root/'nbs/till.ipynb')) == []     # the others are stored

def test_dead_kernel(root):
    edit(root, 'till.ipynb', source(3, 'import os\nos._exit(1)'))
    with pytest.raises(book.CellFailed, match='c3: the kernel died'): book.run(root, ['till'], say=str)

@pytest.mark.skipif(os.name == 'nt', reason='sends a Unix signal')
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle(root, number):
    started = root/'started'
    edit(root, 'till.ipynb', source(3, f'open({str(started)!r}, "w").close()\nimport time\ntime.sleep(60)'))
    before = (root/'nbs/till.ipynb').read_bytes()
    running = subprocess.Popen([sys.executable, '-m', 'nnzero.cli', 'book', 'run', 'till'], cwd=root, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # CI in the background ignores it
    for _ in range(600):
        if started.exists(): break
        time.sleep(0.1)
    running.send_signal(number)
    _, error = running.communicate(timeout=30)
    assert (root/'nbs/till.ipynb').read_bytes() == before
    assert not list(root.glob('nbs/.*')) and 'Traceback' not in error
    assert number == signal.SIGKILL or running.returncode == 130

def test_edited_while_it_ran(root):
    path = root/'nbs/till.ipynb'
    edit(root, 'till.ipynb', source(3, f'open({str(path)!r}, "a").write(" ")\n1'))
    with pytest.raises(BookError, match='edited while it ran'): book.run(root, ['till'], say=str)

def test_whole_or_not_at_all(root, monkeypatch):
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(book.os, 'fsync', full)
    before = (root/'README.md').read_bytes()
    with pytest.raises(OSError): book.write(root/'README.md', 'half')
    assert (root/'README.md').read_bytes() == before and not list(root.glob('.README*'))

@pytest.mark.parametrize('cell', ['#| canonical\n1', '#| default_exp lm.data', 'import shop.user'])
def test_refused_data(root, cell, monkeypatch, tmp_path):
    (root/'shop/lm').mkdir()
    (root/'shop/lm/data.py').write_text('')
    (root/'shop/user.py').write_text('from .lm.data import load\n')
    edit(root, 'till.ipynb', lambda nb: nb.cells.append(new_code_cell(cell, id='c5')))
    before = (root/'nbs/till.ipynb').read_bytes()
    (tmp_path/'names.txt').write_text('emma\n')
    (tmp_path/'shakespeare.txt').write_text('First Citizen\n')
    for folder in (None, tmp_path):
        monkeypatch.setenv('NNZERO_DATA', str(folder)) if folder else monkeypatch.delenv('NNZERO_DATA', raising=False)
        with pytest.raises(BookError, match='till.ipynb: set NNZERO_DATA'): book.run(root, ['till'], say=str)
    assert (root/'nbs/till.ipynb').read_bytes() == before

def test_real_data(tmp_path):
    data = {name: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae' for name in book.published()}   # of 'foo'
    for name in data: (tmp_path/name).write_text('foo')
    assert book.is_real(tmp_path, data) and not book.is_real(tmp_path)
    (tmp_path/'names.txt').unlink()
    assert not book.is_real(tmp_path, data)

@pytest.mark.parametrize('name', ['till', 'till.ipynb', 'nbs/till.ipynb', './nbs/till.ipynb'])
def test_names(root, name):
    assert book.find(root, name) == root/'nbs/till.ipynb' == book.find(root, str(root/'nbs/till.ipynb'))

def test_wrong_names(root):
    with pytest.raises(BookError, match="'tilt' .*did you mean till"): book.run(root, ['tilt'], say=str)
    with pytest.raises(BookError, match="no flag 'fast'; there are: canonical, gpu, slow"):
        book.run(root, active={'fast'}, say=str)
    with pytest.raises(BookError): book.find(root, '')

def test_the_kernel_finds_this_library_in_its_folder(root):
    edit(root, 'till.ipynb', source(3, 'import os, shop\nos.path.samefile(os.path.dirname(shop.__path__[0]), "..")'))
    book.run(root, ['till'], {'slow'}, say=str)
    assert book.read(root/'nbs/till.ipynb').cells[3].outputs[0].data['text/plain'] == 'True'
