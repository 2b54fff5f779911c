"The site: each kind of fault is found, and nothing in an intact book; both editions, and no download"
import json, os, stat, subprocess, sys
from pathlib import Path
import pytest
from nnzero import site
from nnzero.site import BookError, build, faults, labels, pages, site_faults

SETTINGS = '''[DEFAULT]
lib_name = tiny
user = u
version = 1.0
title = Tiny
description = A book
branch = main
git_url = https://github.com/u/tiny
doc_host = https://u.github.io
doc_baseurl = /tiny
custom_sidebar = True
skip_procs = add_show_docs,exec_show_docs,add_links,add_fold,mv_exports
procs = nnzero.site:front_matter nnzero.site:mark_exports nnzero.site:resolve
'''
QUARTO = '''website:
  title: Tiny
  sidebar:
    contents:
      - index.ipynb
      - section: "1 Lines"
        contents: [part/01_line.ipynb, part/02_curve.ipynb]
      - section: "Appendix"
        contents: [end.ipynb]
'''
BIB = '@book{euclid, author = {Euclid}, title = {Elements}, year = {1482}}\n'
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 9L9 0"/></svg>'
FIGURE = '#| label: fig-line\n#| fig-cap: "A \\"line\\", see @eq-line"\n#| fig-alt: "It \\"rises\\" & <ends>"\n'
MIXED = '''## Seen {#sec-seen}

$$y = x$$ {#eq-line}

@fig-line draws @eq-line in @sec-seen, see [@exr-line; not `@fig-code`] [@euclid] and [@tbl-line].

| x | y |
|---|---|
| 1 | 1 |

: A table {#tbl-line}

::: {#exr-line}
## Why?
Say why.
:::

::: {.callout-tip collapse="true"}
## A hint
Think.
:::

### Deeper

```
@fig-nothing ::: {#eq-nothing}
```
'''.replace('[@exr-line; not `@fig-code`]', '@exr-line, not `@fig-code`,')


def md(id, source): return dict(id=id, cell_type='markdown', metadata={}, source=source)
def code(id, source, *outputs):
    return dict(id=id, cell_type='code', metadata={}, execution_count=None, source=source, outputs=list(outputs))
def display(**data): return dict(output_type='display_data', metadata={}, data={k.replace('_', '/', 1): v for k, v in data.items()})
def stream(text): return dict(output_type='stream', name='stdout', text=text)
PICTURE = dict(output_type='display_data', metadata={}, data={'image/svg+xml': SVG, 'text/plain': 'Figure'})


def cells():
    "The notebooks of an intact book"
    return {
        'index.ipynb': [md('a', '# Home\n\n> Start.'), md('b', 'Version %(version)s. Read @sec-line or [go](part/01_line.ipynb#seen-too), then @sec-end.')],
        'part/01_line.ipynb': [
            md('a', '# A `line`\n\n> One sentence.'), code('b', '#| default_exp part.line'), md('c', MIXED),
            code('d', '#| exports\ndef double(x): return 2*x'), code('e', FIGURE + 'draw()', PICTURE), md('h', '## Seen too'),
            code('f', '#| code-fold: true\n#| code-summary: "A <solution>"\nx = 1', stream('one\n')),
            code('g', '#| echo: false\nhidden = 1', display(text_html='<b>bold</b>')),
            code('i', '#| output: false\nsilent = 1', stream('never')), code('j', '#| include: false\ngone = 1', stream('never'))],
        'part/02_curve.ipynb': [md('a', '# A curve'), md('b', 'Again @fig-line of @sec-line. ![A dot](../assets/dot.svg)')],
        'end.ipynb': [md('a', '# The end'), md('b', 'Done.')]}


def write(root, notebooks, **files):
    for name, text in {'settings.ini': SETTINGS, '_quarto.yml': QUARTO, 'nbs/assets/references.bib': BIB,
                       'nbs/_quarto.yml': 'metadata-files: [nbdev.yml, ../_quarto.yml]\n', 'nbs/assets/dot.svg': SVG, **files}.items():
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        (root/name).write_text(text, encoding='utf-8')
    assets = Path(__file__).parents[1]/'nbs/assets'
    for name in ('page.html', 'book.css', 'site.js', 'favicon.svg'): (root/'nbs/assets'/name).write_bytes((assets/name).read_bytes())
    for name, content in notebooks.items():
        (root/'nbs'/name).parent.mkdir(parents=True, exist_ok=True)
        (root/'nbs'/name).write_text(json.dumps(dict(cells=content, metadata={}, nbformat=4, nbformat_minor=5)))
    return root


@pytest.fixture
def book(tmp_path, monkeypatch):
    root = write(tmp_path/'book', cells())
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    root = write(tmp_path_factory.mktemp('built')/'book', cells())
    os.chdir(root)
    build(root, quarto=False)
    yield root/'_docs'
    os.chdir(Path(__file__).parents[1])


def test_intact(book): assert faults(book) == []


def test_numbers(book):
    assert [p.number for p in pages(book)] == [None, 1, 2, None]
    text = {name: label.text for name, label in labels(book).items()}
    assert text['fig-line'] == 'Figure 1.1' and text['eq-line'] == 'Equation (1.1)' and text['sec-line'] == 'Chapter 1'
    assert text['sec-end'] == 'The end' and text['exr-line'] == 'Exercise 1.1' and text['sec-seen'] == 'Section 1.1'


TEXTS = {
    'See @fig-none.': '@fig-none: nothing has this label',
    'See [@nobody2020].': '@nobody2020: not in references.bib',
    '[a](none.ipynb)': 'a link to none.ipynb', '[a](01_line.ipynb#none)': 'no such place',
    '[a](../assets/none.svg)': 'a link to ../assets/none.svg', '[a](#none)': 'no such place',
    '![](../assets/dot.svg)': 'an image without alt',
    '$$a$$ {#eq-line}': 'eq-line is defined more than once',
    '::: {.callout-note}\nOpen.': 'opened with :::',
}
@pytest.mark.parametrize('text, what', TEXTS.items())
def test_text(book, text, what):
    notebooks = cells()
    notebooks['part/02_curve.ipynb'].append(md('z', text))
    found = faults(write(book, notebooks))
    assert found and all(what in f for f in found) and any('nbs/part/02_curve.ipynb cell' in f for f in found)


CODE = {
    'no alt': (code('z', '#| label: fig-z\n#| fig-cap: "C"\nx', PICTURE), 'a figure without fig-alt'),
    'empty alt': (code('z', '#| label: fig-z\n#| fig-cap: "C"\n#| fig-alt: ""\nx', PICTURE), 'a figure without fig-alt'),
    'no caption': (code('z', '#| label: fig-z\n#| fig-alt: "A"\nx'), 'a figure without fig-cap'),
    'no label': (code('z', '#| fig-cap: "C"\n#| fig-alt: "A"\nx', PICTURE), 'a figure without label'),
    'caption': (code('z', '#| label: fig-z\n#| fig-cap: "@fig-none"\n#| fig-alt: "A"\nx'), '@fig-none: nothing'),
    'late': (code('z', 'x = 1\n#| echo: false'), 'not at the top'),
    'yaml': (code('z', '#| fig-cap: "open'), 'not YAML'),
    'magic': (code('z', '#| exports\n%timeit 1'), '%timeit in an exported cell'),
    'error': (code('z', 'x', dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=[])), 'a stored error'),
    'script': (code('z', 'x', display(text_html='<script src="https://a.org/b.js"></script>')), 'another host'),
    'style': (code('z', 'x', display(text_html=['<style>p {background:', ' url(//a.org/b)}</style>'])), 'another host'),
}
@pytest.mark.parametrize('kind', CODE)
def test_code(book, kind):
    notebooks, (cell, what) = cells(), CODE[kind]
    notebooks['part/02_curve.ipynb'].append(cell)
    found = faults(write(book, notebooks))
    assert found and all(what in f and 'nbs/part/02_curve.ipynb cell z' in f for f in found)


@pytest.mark.parametrize('text, what', {
    '# A curve\n\nLost.': 'text that nbdev drops', '# A curve\n\n> One.\n> Two.': 'text that nbdev drops',
    '# A curve {#sec-x}': 'a label on the title', 'No title': 'text that nbdev drops'}.items())
def test_title(book, text, what):
    notebooks = cells()
    notebooks['part/02_curve.ipynb'][0] = md('a', text)
    assert any(what in f for f in faults(write(book, notebooks)))


def test_sidebar(book):
    (book/'nbs/extra.ipynb').write_text((book/'nbs/end.ipynb').read_text())
    assert faults(book) == ['nbs/extra.ipynb: not in the sidebar of _quarto.yml']
    (book/'nbs/extra.ipynb').unlink(), (book/'nbs/end.ipynb').unlink()
    assert 'nbs/end.ipynb: in the sidebar of _quarto.yml, but there is no such notebook' in faults(book)
    with pytest.raises(BookError, match='end.ipynb'): build(book, quarto=False)
    assert not (book/'_docs').exists() and not (book/'_proc').exists()


def test_changes_are_seen(book):
    assert labels(book)['fig-line'].number == '1.1'
    (book/'_quarto.yml').write_text(QUARTO.replace('part/01_line.ipynb, part/02_curve.ipynb', 'part/02_curve.ipynb, part/01_line.ipynb'))
    assert labels(book)['fig-line'].number == '2.1'


def test_no_book(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BookError, match='settings.ini'): site.root()


def test_dot_folder(tmp_path):
    with pytest.raises(BookError, match='.hidden'): build(write(tmp_path/'.hidden/book', cells()), quarto=False)


def test_plain(built):
    assert site_faults(built) == []
    page, home, curve = ((built/p).read_text() for p in ('part/line.html', 'index.html', 'part/curve.html'))
    for text in ('<a href="#fig-line">Figure 1.1</a> draws <a href="#eq-line">Equation (1.1)</a>', '(1.1)</span>',
                 '<strong>Exercise 1.1 (Why?)</strong>', 'Table 1.1: A table', 'href="#tbl-line">Table 1.1</a>', 'id="ref-euclid"',
                 'A &lt;solution&gt;\n</summary>', '<b>bold</b>', '<figcaption>Figure 1.1: A “line”, see',
                 'alt="It &quot;rises&quot; &amp; &lt;ends&gt;"', 'exported to <code>tiny.part.line</code>', '@fig-nothing',
                 'data-number="1.1"', 'data-number="1.1.1"', 'aria-current="page"', 'rel="prev" href="../index.html"', 'rel="next" href="curve.html"'):
        assert text in page, text
    for text in ('never', 'hidden = ', 'gone', 'default_exp', '#|'): assert text not in page, text
    assert 'Version 1.0. Read <a href="part/line.html">Chapter 1</a>' in home and '<a href="end.html">The end</a>' in home
    assert 'href="line.html#fig-line"' in curve and 'src="../assets/dot.svg"' in curve and (built/'assets/dot.svg').is_file()
    assert page.count('rel="next"') == page.count('rel="prev"') == 1 and 'rel="prev"' not in home
    assert 'plain edition' in home and not (built.parent/'_proc').exists()


def test_again(built, capsys):
    times = {f: f.stat().st_mtime_ns for f in built.rglob('*')}
    build(built.parent, quarto=False)
    assert times == {f: f.stat().st_mtime_ns for f in built.rglob('*')} and 'The site is in' in capsys.readouterr().out


PAGES = {
    '?@fig-a': 'the text shows ?@', '<p>:::</p>': 'the text shows :::', '<p>{#a}</p>': 'the text shows {#',
    '<p>\\(x\\)</p>': 'the text shows \\(', '<p>$$</p>': 'the text shows $$', '<pre><code>#| echo: false\n</code></pre>': 'code shows a setting',
    '<img src="assets/dot.svg">': 'an image without alt', '<img alt="" src="none.png">': 'a link to none.png',
    '<a href="end.html#none">': 'a link to end.html#none', '<a href="#none">': 'a link to #none',
    '<script src="https://a.org/b.js"></script>': 'it asks another host', '<link rel="stylesheet" href="//a.org/b.css">': 'it asks another host',
}
@pytest.mark.parametrize('text, what', PAGES.items())
def test_pages(built, text, what):
    (built/'z.html').write_text(text)
    found = site_faults(built)
    (built/'z.html').unlink()
    assert len(found) == 1 and found[0].startswith('z.html: ' + what)


def test_site(built):
    (built/'z.css').write_text('p {background: url(https://a.org/b.png)}')
    (built/'end.html').rename(built/'away')
    found = site_faults(built)
    (built/'away').rename(built/'end.html'), (built/'z.css').unlink()
    assert 'end.html: this page is missing' in found and 'z.css: it asks another host for something' in found
    (built/'z.html').write_text('<a href="https://a.org">a</a> <code>:::</code> <a href="mailto:a@b">b</a>')
    assert site_faults(built) == []
    (built/'z.html').unlink()


FAKE = f'''#!{sys.executable}
import json, sys
from pathlib import Path
here = Path.cwd()
Path(r"LOG").write_text(json.dumps([sys.argv[1:], str(here), sorted(p.relative_to(here).as_posix() for p in here.rglob('*') if p.is_file())]))
(here/'_docs').mkdir()
(here/'_docs/index.html').write_text('by quarto')
sys.exit(STATUS)
'''
@pytest.fixture
def fake(tmp_path, monkeypatch):
    "Put programs on the PATH that only tell how they were called"
    def make(name, status=0):
        program = tmp_path/'bin'/name
        program.parent.mkdir(exist_ok=True)
        program.write_text(FAKE.replace('LOG', str(tmp_path/f'{name}.json')).replace('STATUS', str(status)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return tmp_path/f'{name}.json'
    monkeypatch.setenv('PATH', str(tmp_path/'bin'))
    return make


def test_quarto(book, fake):
    log = fake('quarto')
    build(book)
    arguments, folder, files = json.loads(log.read_text())
    assert arguments == ['render', '--no-cache', '--no-execute'] and folder == str(book/'_proc')
    assert {'_quarto.yml', 'nbdev.yml', 'index.ipynb', 'part/01_line.ipynb', 'assets/book.css'} <= set(files)
    assert (book/'_docs/index.html').read_text() == 'by quarto' and not (book/'_proc').exists()
    assert 'output-dir: _docs' in (book/'nbs/nbdev.yml').read_text()
    log.unlink(), build(book)
    assert not log.exists(), 'nothing has changed, and it was built again'


def test_quarto_fails(book, fake):
    fake('quarto', status=3)
    with pytest.raises(BookError, match='status 3'): build(book)
    assert not (book/'_docs').exists() and not (book/'_proc').exists()


def test_processed_for_quarto(book):
    import yaml
    processed = site.cells_of(site.process(book)/'part/01_line.ipynb')
    front = yaml.safe_load(processed[0]['source'].strip().strip('-'))
    assert front['number-offset'] == [1] and front['crossref'] == {'chapters': True} and front['title'] == '1 A `line`'
    assert front['pagetitle'] == 'A line' and front['output-file'] == 'line.html' and front['number-sections'] is True
    home = site.cells_of(book/'_proc/index.ipynb')
    assert yaml.safe_load(home[0]['source'].strip().strip('-'))['number-sections'] is False


def test_no_download(book, fake):
    logs = [fake(name) for name in ('curl', 'wget', 'sudo', 'dpkg', 'apt-get', 'installer')]
    build(book)
    assert (book/'_docs/part/line.html').is_file() and not any(log.exists() for log in logs)


def test_light():
    code = 'import sys, nnzero.site; assert not {"yaml", "nbdev", "torch", "numpy", "pypandoc"} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)
