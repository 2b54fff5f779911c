"The command `nnzero`, from outside: what it prints, where, and its exit status."
import os, subprocess, sys
from pathlib import Path
import pytest
from nnzero import __version__

HERE = Path(__file__).resolve().parents[1]
HEAVY = ['torch', 'numpy', 'matplotlib', 'nbdev', 'nbclient', 'nbformat', 'IPython', 'execnb', 'yaml', 'rich', 'tqdm',
         'pypandoc', 'nnzero.book', 'nnzero.site']

def nnzero(*args, cwd=HERE, code='from nnzero.cli import main; main()', **env):
    "Exit status, stdout and stderr of a call"
    done = subprocess.run([sys.executable, '-c', code, *args], cwd=cwd, capture_output=True, text=True,
                          encoding='utf-8', env=os.environ | {'PYTHONPATH': str(HERE), 'COLUMNS': '100'} | env)
    return done.returncode, done.stdout, done.stderr

def one_line(error):
    "The error is one line, without a traceback"
    assert error.startswith('nnzero: ') and error.count('\n') == 1 and 'Traceback' not in error, error
    return error

@pytest.mark.parametrize('args, words', [
    (['--help'], ['Usage: nnzero', 'book', '--version']),
    (['book', '--help'], ['run', 'check', 'build', '_docs']),
    (['book', 'run', '--help'], ['[NOTEBOOK]', '--flags', '--all', 'reader', 'slow,canonical']),
    (['book', 'check', '--help'], ['change nothing']), (['book', 'build', '--help'], ['_docs'])])
def test_help(args, words):
    status, out, error = nnzero(*args)
    assert status == 0 and error == '' and all(word in out for word in words), out

def test_version():
    assert nnzero('--version') == (0, f'nnzero {__version__}\n', '')

def test_as_module():
    done = subprocess.run([sys.executable, '-m', 'nnzero.cli', '--version'], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f'nnzero {__version__}\n')

@pytest.mark.parametrize('args', [['--help'], ['--version'], ['book', '--help'], ['book', 'run', '--help'], ['nope'], []])
def test_loads_nothing_heavy(args):
    code = f'''
import sys
from nnzero.cli import main
try: main()
except SystemExit: sys.stderr.write('loaded: ' + ' '.join(m for m in {HEAVY} if m in sys.modules))
'''
    assert nnzero(*args, code=code)[2].endswith('loaded: ')

@pytest.mark.parametrize('args, word', [
    (['nope'], 'nope'), (['--nope'], '--nope'), (['book', 'nope'], 'nope'), (['book', 'run', '--nope'], '--nope'),
    (['book', 'check', 'extra'], 'extra')])
def test_wrong_words(args, word):
    status, out, error = nnzero(*args)
    assert status == 2 and out == '' and word in error and 'Traceback' not in error

@pytest.mark.parametrize('args', [['book', 'run'], ['book', 'check'], ['book', 'build']])
def test_no_book_here(args, tmp_path):
    status, out, error = nnzero(*args, cwd=tmp_path)
    assert status == 2 and out == '' and 'settings.ini' in one_line(error)

@pytest.fixture
def tiny(tmp_path):
    "A folder with just enough of a book for errors"
    (tmp_path/'nbs').mkdir()
    ini = (HERE/'settings.ini').read_text(encoding='utf-8')
    for key in ('repo', 'lib_name', 'lib_path'): ini = ini.replace(f'\n{key} = nnzero', f'\n{key} = shop')
    (tmp_path/'settings.ini').write_text(ini, encoding='utf-8')
    (tmp_path/'_quarto.yml').write_text('website: {sidebar: {contents: [till.ipynb]}}')
    (tmp_path/'nbs/till.ipynb').write_text(
        '{"cells": [{"cell_type": "code", "id": "c0", "metadata": {}, "outputs": [], "execution_count": null, '
        '"source": ["1/0"]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n')
    return tmp_path

def test_wrong_names(tiny):
    status, _, error = nnzero('book', 'run', 'tilt', cwd=tiny)
    assert status == 2 and 'did you mean till?' in one_line(error)
    status, _, error = nnzero('book', 'run', '--flags', 'slow,fast', cwd=tiny/'nbs')
    assert status == 2 and "no flag 'fast'" in one_line(error)

def test_failing_cell(tiny):
    before = (tiny/'nbs/till.ipynb').read_bytes()
    status, out, error = nnzero('book', 'run', cwd=tiny)
    assert status == 1 and 'nbs/till.ipynb cell c0: ZeroDivisionError' in one_line(error) and 'FAILED' in out
    assert (tiny/'nbs/till.ipynb').read_bytes() == before

def test_damaged_notebook(tiny):
    (tiny/'nbs/till.ipynb').write_text('{')
    for command in ('run', 'check'):
        status, _, error = nnzero('book', command, cwd=tiny)
        assert status == 2 and 'till.ipynb' in one_line(error)

PATCHED = '''
import nnzero.site, nnzero.cli
def root(): raise {error}
nnzero.site.root = root
nnzero.cli.main()
'''

@pytest.mark.parametrize('error, wanted', [
    ('KeyboardInterrupt', (130, '', '')), ("nnzero.site.BookError('two\\nlines')", (2, '', 'nnzero: two lines\n')),
    ("OSError(28, 'No space left on device')", (2, '', 'nnzero: [Errno 28] No space left on device\n'))])
def test_errors_for_people(error, wanted):
    assert nnzero('book', 'check', code=PATCHED.format(error=error)) == wanted

def test_our_own_faults_keep_their_traceback():
    status, _, error = nnzero('book', 'check', code=PATCHED.format(error="KeyError('ours')"))
    assert status == 1 and error.startswith('Traceback') and "KeyError: 'ours'" in error
