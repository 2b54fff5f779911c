"Every page of the site in a browser: three widths, two themes, no network, and the accessibility rules of WCAG 2.1 AA"
import os, shutil
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
import pytest
from nnzero.guide import terms, uses
from nnzero.site import build, pages

sync_api = pytest.importorskip('playwright.sync_api')
ROOT = Path(__file__).parents[1]
DOCS, PAGES = ROOT/'_docs', [page.href for page in pages(ROOT)]
NAMES = os.environ.get('CHROMIUM', ''), 'chromium', 'chromium-browser', 'google-chrome'
CHROMIUM = next(filter(None, map(shutil.which, filter(None, NAMES))), None)
FLAGS = ('--no-sandbox --disable-gpu --disable-background-networking --disable-component-update '
         '--disable-sync --no-first-run').split()
AXE = Path(os.environ.get('AXE_CORE', ROOT/'tests/node_modules/axe-core/axe.min.js'))
LEFT = 'net::ERR_ABORTED'       # not a missing file: the page was left or reloaded before it had arrived
WIDTHS = 1440, 768, 360
THEMES, RULES = ('light', 'dark'), ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']
# axe takes seconds for a page, and most of them for contrast. So what depends on theme and width, that is contrast and
# what scrolls, is measured in all six views by the few lines below. axe sees each page once, on a phone, and what is
# around the text once more on a wide screen. NNZERO_AXE=all has it look at everything in all six views, for minutes.
EVERY = os.environ.get('NNZERO_AXE') == 'all'
MEASURE = """() => {
  const style = x => getComputedStyle(x), found = []
  const rgba = c => { const [r, g, b, a = 1] = c.match(/[\\d.]+/g).map(Number); return [r, g, b, a] }
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v/12.92 : ((v + 0.055)/1.055)**2.4)
    return 0.2126*r + 0.7152*g + 0.0722*b }
  const grounds = new Map(), ground = x => {
    if (!grounds.has(x)) { const c = rgba(style(x).backgroundColor)
      grounds.set(x, c[3] === 1 || !x.parentElement ? c : ground(x.parentElement)) }
    return grounds.get(x) }
  for (const x of document.querySelectorAll('body, body *')) {
    const s = style(x)
    if (/auto|scroll/.test(s.overflowX) && x.scrollWidth > x.clientWidth && x.clientWidth && x.tabIndex < 0
        && !x.querySelector('a[href], button, input, [tabindex="0"], summary'))
      found.push('scrolls, and the keyboard does not reach it: ' + x.tagName + '.' + x.className)
    if (![...x.childNodes].some(t => t.nodeType === 3 && t.data.trim()) || !x.checkVisibility()) continue
    const back = ground(x), over = rgba(s.color), front = over.slice(0, 3).map((v, i) => v*over[3] + back[i]*(1 - over[3]))
    const [a, b] = [light(front), light(back.slice(0, 3))].sort((a, b) => b - a), size = parseFloat(s.fontSize)
    const needed = size >= 24 || size >= 18.66 && s.fontWeight >= 700 ? 3 : 4.5
    if ((a + 0.05)/(b + 0.05) < needed) found.push(`contrast ${((a + 0.05)/(b + 0.05)).toFixed(2)}: ${x.tagName}.${x.className} ${x.textContent.slice(0, 30)}`)
  }
  return [...new Set(found)].slice(0, 5)
}"""
# Most of a page's elements are the coloured words of its code, in which axe has nothing to find but contrast.
THIN = "document.querySelectorAll('main pre').forEach(pre => (pre.querySelector('code') || pre).textContent = pre.textContent)"


@pytest.fixture(scope='module')
def browser():
    build(ROOT)
    with sync_api.sync_playwright() as p:
        try: chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except sync_api.Error as e:
            refuse = pytest.fail if os.environ.get('CI') else pytest.skip
            refuse(f'no browser: install Chromium, or run `playwright install chromium`\n{e}')
        yield chromium
        chromium.close()


@contextmanager
def watched(browser, own=('file:', 'data:'), **options):
    "A new window; in the end, nobody else was asked for anything, and nothing has gone wrong"
    context = browser.new_context(reduced_motion='reduce', **options)
    page, asked, errors = context.new_page(), [], []
    page.on('request', lambda r: asked.append(r.url))
    page.on('console', lambda m: errors.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.on('requestfailed', lambda r: errors.append(f'{r.failure}: {r.url}') if r.failure != LEFT else None)
    page.on('response', lambda r: errors.append(f'{r.status}: {r.url}') if r.status >= 400 else None)
    page.bad, page.errors = (lambda: [url for url in asked if not url.startswith(own)] + errors), errors
    yield page
    context.close()


@pytest.fixture(scope='module')
def shared(browser):
    with watched(browser) as page: yield page


@pytest.fixture
def window(shared):
    before = len(shared.bad())
    yield shared
    assert not shared.bad()[before:]


@pytest.fixture(scope='module')
def server(browser):
    "The site over http, in the folder that the settings name"
    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path): return super().translate_path(path.removeprefix('/nnzero'))
        def send_error(self, code, *args, **kwargs):            # as the host does it
            page = (DOCS/'404.html').read_bytes()
            self.send_response(code), self.send_header('Content-Type', 'text/html'), self.end_headers()
            self.wfile.write(page)
        def log_message(self, *args): pass
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(DOCS))) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{http.server_port}/nnzero/'
        http.shutdown()


def visit(window, href, width=1440):
    window.emulate_media(color_scheme='light', reduced_motion='reduce')
    window.set_viewport_size({'width': width, 'height': 900})
    window.goto((DOCS/href).as_uri())


def views(window):
    for width in WIDTHS:
        window.set_viewport_size({'width': width, 'height': 900})
        for theme in THEMES:
            window.emulate_media(color_scheme=theme, reduced_motion='reduce')
            yield theme, width


@pytest.mark.parametrize('href', PAGES)
def test_page(window, href):
    visit(window, href)
    text = window.locator('main').evaluate("""main => {
        const copy = main.cloneNode(true)
        copy.querySelectorAll('pre, code, annotation, script').forEach(x => x.remove())
        return copy.textContent }""")
    assert not [mark for mark in (':::', '\\(', '{#', '?@', '$$') if mark in text]
    pictures = "all => all.filter(x => !x.hasAttribute('alt') || !x.naturalWidth).map(x => x.src)"
    assert not window.eval_on_selector_all('img', pictures), 'no description, or broken'
    assert not window.eval_on_selector_all('figure img', "all => all.filter(x => !x.alt).map(x => x.src)")
    levels = window.eval_on_selector_all('main :is(h1, h2, h3, h4)', 'all => all.map(x => +x.tagName[1])')
    assert levels.count(1) == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels
    accessible(window)


def axe(window):
    options = {'runOnly': {'type': 'tag', 'values': RULES}, 'preload': False, 'resultTypes': ['violations'], 'rules': {'color-contrast': {'enabled': EVERY}}}
    found = window.evaluate('options => axe.run(options).then(r => r.violations)', options)
    return [(v['id'], n['target'], n['failureSummary']) for v in found for n in v['nodes'][:3]]


def accessible(window):
    for theme, width in views(window):
        wide = window.evaluate('document.documentElement.scrollWidth')
        assert wide <= width, f'at a width of {width} the page is {wide} wide'
        assert not window.evaluate(MEASURE), f'{theme}, {width} wide'
    if not AXE.is_file(): return
    if not EVERY: window.evaluate(THIN)
    window.evaluate(AXE.read_text(encoding='utf-8'))
    for theme, width in views(window) if EVERY else ():
        assert not axe(window), f'{theme}, {width} wide'
    window.set_viewport_size({'width': 360, 'height': 900})
    assert not axe(window)
    window.evaluate("document.querySelector('main').replaceChildren()")
    window.set_viewport_size({'width': 1440, 'height': 900})
    assert not axe(window), 'around the text, on a wide screen'


def test_axe_is_there():
    reason = f'no axe-core at {AXE}: run `npm install` in tests/, or set AXE_CORE'
    if not AXE.is_file(): pytest.fail(reason) if os.environ.get('CI') else pytest.skip(reason)


@pytest.mark.parametrize('script, what', {
    "document.querySelector('main pre span[class]').style.color = '#8a8a8a8a'": 'contrast',
    "document.querySelector('main p').style = 'width: 90vw; white-space: nowrap; overflow: visible'": 'wide',
    "document.querySelector('main').innerHTML += '<div style=\"overflow: auto; width: 9px; white-space: nowrap\">unreachable</div>'": 'keyboard',
    "document.querySelector('main').innerHTML += '<img src=\"../assets/favicon.svg\">'": 'image-alt',
    "document.querySelector('.chapters').innerHTML += '<input>'": 'label'}.items())
def test_faults_are_found(window, script, what):
    if what in ('image-alt', 'label') and not AXE.is_file(): pytest.skip('no axe-core')
    visit(window, 'micrograd/graph.html')
    window.evaluate(script)
    with pytest.raises(AssertionError, match=what): accessible(window)


def test_weight(browser):
    sizes = {file.relative_to(DOCS).as_posix(): file.stat().st_size for file in DOCS.rglob('*.html')}
    assert max(sizes.values()) < 2_000_000 and sizes['index.html'] < 300_000
    assert sizes['index.html'] + sum(f.stat().st_size for f in (DOCS/'assets').glob('*.[cj]s*')) < 300_000
    assert all(sum(f.stat().st_size for f in (DOCS/href).with_name(Path(href).stem + '_files').glob('*')) < 2_000_000
               for href in PAGES)


def test_map(window):
    "Each chapter is a link, and each import an arc from its own line to the other's"
    for width in 360, 1440:
        visit(window, PAGES[0], width)
        rows = window.eval_on_selector_all('.map li:not(.part)', """all => all.map(li => {
            const y = x => x.getBoundingClientRect(), middle = r => (r.top + r.bottom)/2
            return [middle(y(li)), [...li.querySelectorAll('path')].map(p => [y(p).bottom, y(p).top, y(p).left])] })""")
        chapters = [page for page in pages(ROOT) if page.number]
        line = dict(zip(chapters, (middle for middle, _ in rows)))
        assert len(rows) == len(chapters)
        for page, (middle, arcs) in zip(chapters, rows):
            ends = sorted(line[other] for other in uses(ROOT)[page])
            assert sorted(top for _, top, _ in arcs) == pytest.approx(ends, abs=2.5)
            assert all(bottom == pytest.approx(middle, abs=2.5) and left >= 0 for bottom, _, left in arcs)
        links = window.eval_on_selector_all('.map a', 'all => all.map(a => a.getAttribute("href"))')
        assert links == [page.href for page in chapters]


def test_facts(window):
    "The line under a title leads to the definitions, to the source and to the notebook"
    visit(window, 'micrograd/engine.html')
    about = window.locator('.about')
    assert 'min to read' in about.text_content() and 'to run' in about.text_content()
    links = about.locator('a').evaluate_all('all => all.map(a => a.getAttribute("href"))')
    assert '#def-Value' in links and any(link.endswith('/nnzero/micrograd/engine.py') for link in links)
    assert any(link.startswith('https://colab.') and link.endswith('/nbs/micrograd/02_engine.ipynb') for link in links)
    inside = "[...document.querySelectorAll('.exported:has(#def-Value) pre')].some(p => p.textContent.includes('class Value'))"
    assert window.evaluate(inside)


def test_glossary(window):
    "A chapter links a word once, in its prose, and the place is there"
    visit(window, 'micrograd/engine.html')
    links = window.eval_on_selector_all('a.term', 'all => all.map(a => a.getAttribute("href"))')
    assert len(links) == len(set(links)) > 5 and '../appendix/glossary.html#term-topological-order' in links
    assert not window.locator(':is(h1, h2, h3, h4, pre, code, figcaption, math, .about) a.term').count()
    visit(window, 'appendix/glossary.html')
    places = set(window.eval_on_selector_all('[id^=term-]', 'all => all.map(x => x.id)'))
    assert places == {term.name for term in terms(ROOT)} and len(places) >= 120
    assert not window.locator('a.term').count()


def test_bibliography(window):
    "From a chapter's citation to its list, and from the bibliography back to it"
    visit(window, 'appendix/bibliography.html')
    window.locator('#work-micrograd a[href="../micrograd/engine.html#ref-micrograd"]').click()
    window.locator('#ref-micrograd').wait_for()
    assert window.url.endswith('engine.html#ref-micrograd')


def test_search(browser, server):
    pytest.importorskip('pagefind_bin')
    with watched(browser, own=(server, 'data:')) as page:
        page.goto(server + 'micrograd/engine.html')
        assert not page.locator('dialog.finder').is_visible()
        page.keyboard.press('/')
        assert page.locator('dialog.finder input').evaluate('x => x === document.activeElement')
        page.keyboard.type('Kneser')
        page.locator('dialog.finder ol a[href*="/nnzero/makemore/ngram.html"]').first.wait_for()
        if AXE.is_file():
            page.evaluate(AXE.read_text(encoding='utf-8'))
            assert not page.evaluate("axe.run('dialog').then(r => r.violations.map(v => v.id))")
        page.keyboard.press('ArrowDown'), page.keyboard.press('Enter')
        page.wait_for_url(lambda url: not url.endswith('micrograd/engine.html'))
        assert not page.bad()


def test_search_on_a_disk(window):
    visit(window, PAGES[1], 360)
    window.locator('button.search').click()
    assert 'needs a server' in window.locator('dialog.finder .note').text_content()
    window.keyboard.press('Escape')
    assert not window.locator('dialog.finder').is_visible()


def test_lost(browser, server):
    with watched(browser, own=(server, 'data:')) as page:
        page.goto(server + 'gone/there.html')
        assert page.locator('h1').text_content() == 'Not here'
        assert page.evaluate("getComputedStyle(document.querySelector('.bar')).position") == 'sticky', 'no stylesheet'
        assert page.errors == [] or all('404' in error for error in page.errors)
        page.locator('main a', has_text='first page').click()
        page.locator('.map').wait_for()
        assert page.locator('h1').text_content() == 'nnzero'
        page.goto(server + 'gone/there.html'), accessible(page)


def test_beside_the_pages(browser):
    from xml.etree import ElementTree
    index = (DOCS/'llms.txt').read_text(encoding='utf-8')
    assert all(f'/{href}.md)' in index and (DOCS/f'{href}.md').is_file() for href in PAGES)
    assert '# 2 Backpropagation' in (DOCS/'micrograd/engine.html.md').read_text(encoding='utf-8')
    assert len(ElementTree.parse(DOCS/'sitemap.xml').getroot()) == len(PAGES)
    card = (DOCS/'assets/card.png').read_bytes()
    assert card[16:24] == b'\0\0\x04\xb0\0\0\x02\x76' and len(card) < 300_000       # 1200 x 630
    page = (DOCS/'micrograd/engine.html').read_text(encoding='utf-8')
    assert '<meta property="og:title" content="2 Backpropagation">' in page and '/assets/card.png">' in page


def test_print(window):
    visit(window, 'micrograd/engine.html')
    window.emulate_media(media='print')
    hidden = window.eval_on_selector_all('.bar, .menu, .near, .colophon', 'all => all.every(x => getComputedStyle(x).display === "none")')
    assert hidden and window.evaluate("getComputedStyle(document.querySelector('main pre')).whiteSpace") == 'pre-wrap'
    window.emulate_media(media='screen')


@pytest.mark.parametrize('width', [360, 1440])
def test_theme_with_the_keyboard(window, width):
    visit(window, PAGES[0], width)
    window.evaluate('localStorage.clear()')
    window.reload()
    button, seen = window.locator('button.theme'), []
    for _ in range(6):
        window.keyboard.press('Tab')
        if button.evaluate('b => b === document.activeElement'): break
    assert button.evaluate('b => b === document.activeElement'), 'the keyboard does not reach the theme'
    for _ in range(3):
        window.keyboard.press('Enter')
        seen.append((button.text_content(), window.evaluate('getComputedStyle(document.body).backgroundColor')))
    assert seen[0] == ('Theme: light', 'rgb(255, 255, 255)') and seen[1] == ('Theme: dark', 'rgb(26, 26, 26)')
    window.keyboard.press('Enter')
    window.reload()
    assert button.text_content() == 'Theme: light', 'the choice is not remembered'
    window.evaluate('localStorage.clear()')


def test_menu_without_scripts(browser):
    context = browser.new_context(java_script_enabled=False, viewport={'width': 360, 'height': 740})
    page = context.new_page()
    page.goto((DOCS/PAGES[0]).as_uri())
    chapters = page.locator('nav.chapters')
    assert not chapters.is_visible() and not page.locator('button.theme').is_visible()
    page.keyboard.press('Tab'), page.keyboard.press('Tab'), page.keyboard.press('Space')
    assert chapters.is_visible()
    page.locator('label.menu-button').click()
    assert not chapters.is_visible()
    context.close()


def test_theme_without_storage(browser):
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied') }})")
    page, errors = context.new_page(), []
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto((DOCS/PAGES[0]).as_uri())
    page.locator('button.theme').click()
    assert page.locator('button.theme').text_content() == 'Theme: light' and not errors
    context.close()
