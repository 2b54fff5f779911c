"""Exercises outside of their notebooks: what ships of each accepts the book's solution and another right answer, and refuses
what the notebook calls wrong, with a message that helps. And the faults of the command that grades a file."""
import ast, json, re, signal, sys, time, warnings
from functools import cache
from pathlib import Path
import pytest
from command import nnzero, start
from nnzero import exercises as ex, reader

HERE = Path(__file__).resolve().parents[1]
BOOK = json.loads((HERE/'nnzero'/'data'/'exercises.json').read_text(encoding='utf-8'))
CHAPTERS = list(dict.fromkeys(about['page'] for about in BOOK.values()))
NARROW = {}     # graders that refuse a right answer, and why: to be mended in their chapters

@pytest.fixture(autouse=True)
def data_that_ship(monkeypatch): monkeypatch.setenv('NNZERO_DATA', str(HERE/'nnzero'/'data'))

@cache
def cells(page):
    "The cells of a chapter, code as text and text as nothing"
    folder, _, name = page.removesuffix('.html').rpartition('/')
    file, = [f for f in (HERE/'nbs'/folder).glob('*.ipynb') if re.sub(r'^\d+_', '', f.stem) == name]
    return json.loads(file.read_text(encoding='utf-8'))['cells']

@cache
def code(page): return [''.join(c['source']) if c['cell_type'] == 'code' else '' for c in cells(page)]

@cache
def context(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return ex.context(name, BOOK[name])

def places(name):
    "Numbers of the cells: of the grader, of the solution, and of all up to the next exercise's grader"
    sources = code(BOOK[name]['page'])
    grader = next(i for i, s in enumerate(sources) if f"@exercise('{name}')" in s)
    check = next(i for i, s in enumerate(sources) if i > grader and re.search(ex.ANSWER % name, s))
    solution = [i for i in range(grader, check) if 'code-summary: "A solution' in sources[i]]
    return grader, solution, [i for i, s in enumerate(sources) if i > grader and f"refuse('{name}'" in s]

def solved(name):
    "The names around an exercise, and those of the book's solution"
    space, sources = dict(context(name)), code(BOOK[name]['page'])
    for i in places(name)[1]: exec(sources[i], space)
    return space

def of_chapter(page): return [name for name in BOOK if BOOK[name]['page'] == page]

@pytest.mark.parametrize('page', CHAPTERS)
def test_accepts_the_solution(page):
    for name in of_chapter(page):
        assert reader.check_exercise(name, solved(name)[BOOK[name]['answer']]) == f'{name}: right'

def wrong(name):
    "What the grader says of each wrong answer of the notebook"
    grader, solution, last = places(name)
    space, sources, said = solved(name), code(BOOK[name]['page']), []
    before = ex.statements(cells(BOOK[name]['page'])[:grader])
    between = [p for p in ex.statements(cells(BOOK[name]['page'])[:last[-1] + 1]) if p.cell > max([grader, *solution])]
    used = set().union(*(ex.names(p.code)[1] for p in between), *(ex.names(sources[i])[1] for i in last))
    fresh = {}
    exec(ex.needed(before, used - set(space), module(BOOK[name]['page'])), fresh)
    space = fresh | space
    space |= {'check_exercise': lambda *a: f'{a[0]}: right', 'refuse': lambda name, *answers: said.extend(
        reader.refuse(name, *answers))}
    for i in range(max([grader, *solution]) + 1, last[-1] + 1):
        if ex.SKIPPED.search(sources[i]): continue
        for part, tree in ex.split_up(sources[i]):
            if 'refuse(' in part or isinstance(tree, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.Import): exec(part, space)
    return said

@cache
def module(page): return ex._module(cells(page), 'nnzero')

@pytest.mark.parametrize('page', CHAPTERS)
def test_refuses_what_is_wrong(page):
    for name in of_chapter(page):
        said = wrong(name)
        assert len(said) >= 2, f'{name}: {len(said)} wrong answers in the notebook'
        for line in said:
            words = line.removeprefix(f'{name}: ')
            assert len(words) > 8 and 'Traceback' not in words and line.startswith(name), f'{name} says {line!r}'

@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.xfail(strict=True, reason=NARROW[n]) if n in NARROW else ())
                                  for n in BOOK])
def test_accepts_another_answer(name):
    file = HERE/'tests'/'answers'/f'on_{name.rpartition("-")[0].replace("-", "_")}.py'
    about = BOOK[name] | {'answer': name.replace('-', '_')}
    answer = ex.read_answer(file, about['answer'], context(name))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert ex.verdict(name, answer, file) == f'{name}: right'

@pytest.mark.parametrize('name', BOOK)
def test_the_grader_says_why(name):
    "No assertion of a grader is without a message"
    grader = next(n for n in ast.parse(BOOK[name]['code']).body if f"'{name}'" in ast.unparse(getattr(n, 'decorator_list', [])))
    bare = [n.lineno for n in ast.walk(grader) if isinstance(n, ast.Assert) and n.msg is None]
    assert not bare, f'lines {bare} of {grader.name}'

def test_nothing_slow_is_shipped():
    assert all('#| slow' not in about['code'] and about['question'] and about['title'] for about in BOOK.values())

def answer(folder, text):
    file = folder/'answer.py'
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file

def test_lists_and_asks():
    lines = nnzero('exercise').splitlines()
    assert len(lines) == len(BOOK) and lines[0].startswith('reader-1 ')
    said = nnzero('exercise', 'ninja-3')
    assert 'six faults' in said and 'dbias = dy.mean' in said and 'FILE has to define mended' in said

def test_right_and_wrong(tmp_path):
    good = answer(tmp_path, 'import math\ndef close(a, b): return math.isclose(a, b, rel_tol=0, abs_tol=1e-9)')
    assert nnzero('exercise', 'reader-1', good) == 'reader-1: right\n'

@pytest.mark.parametrize('text, words', [
    ('def close(a, b): return a == b', 'reader-1: 6 and 6.0000000009 differ by less than 1e-9'),
    ('def close(a, b):\n    return a < nothing', "NameError(\"name 'nothing' is not defined\")"), ('close = 3', "'int' object is not callable"),
    ('def close(a, b): raise SystemExit(0)', 'your answer ends the program'),
    ('def close(a, b): assert a != b, "two\\nlines"', 'two lines')])
def test_wrong_answers(tmp_path, text, words):
    from typer.testing import CliRunner
    from nnzero import cli
    result = CliRunner().invoke(cli.app, ['exercise', 'reader-1', str(answer(tmp_path, text))])
    assert result.exit_code == 1 and words in result.stdout and result.stdout.count('\n') == 1 and not result.stderr

@pytest.mark.parametrize('text, words', [
    ('def close(a, b:', 'answer.py, line 1: '), ('x = 1\n  y = 2', 'answer.py, line 2: '), ('far = 1', 'has to define close'),
    ('import nowhere', 'line 1: while the file was read: ModuleNotFoundError'), ('raise SystemExit(0)', 'SystemExit'),
    (b'\xff\xfe', 'answer.py'), (b'x = 0\0', 'answer.py'), ('', 'has to define close'), ('('*5000, 'answer.py')])
def test_files_that_cannot_be_graded(tmp_path, text, words):
    assert words in nnzero('exercise', 'reader-1', answer(tmp_path, text), status=2)

def test_other_wrong_input(tmp_path):
    assert 'reader-1' in nnzero('exercise', 'reader1', status=2)
    assert 'lists them' in nnzero('exercise', 'zzzzzzz', status=2)
    assert 'nowhere.py' in nnzero('exercise', 'reader-1', tmp_path/'nowhere.py', status=2)
    assert 'irectory' in nnzero('exercise', 'reader-1', tmp_path, status=2)

def test_a_file_leaves_the_grader_alone(tmp_path):
    "Names of the file do not reach the chapter's, and files beside it can be imported"
    (tmp_path/'beside.py').write_text('tiny = 1e-9')
    file = answer(tmp_path, 'from beside import tiny\ngrade_close = exercise = None\ndef close(a, b): return abs(a - b) < tiny')
    assert nnzero('exercise', 'reader-1', file) == 'reader-1: right\n' and str(tmp_path) not in sys.path

@pytest.mark.skipif(sys.platform == 'win32', reason='signals')
def test_ctrl_c(tmp_path):
    file = answer(tmp_path, 'def close(a, b):\n    print("here", flush=True)\n    while True: pass')
    process = start('exercise', 'reader-1', file)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error == 'nnzero: reader-1 was stopped, and not graded\n', (out, error)
