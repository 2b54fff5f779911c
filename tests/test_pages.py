"Every page of the site in a browser: three widths, two themes, no network, and the accessibility rules of WCAG 2.1 AA"
import os, shutil
from pathlib import Path
import pytest
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
# Only contrast depends on the theme, so the dark pages are asked for that alone.
RULES = {'light': ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], 'dark': ['color-contrast']}


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


@pytest.fixture(params=['light', 'dark'], scope='module')
def theme(request, browser):
    "A browser window in a theme, with lists of what its pages asked for and of what went wrong in them"
    context = browser.new_context(color_scheme=request.param, reduced_motion='reduce')
    page = context.new_page()
    page.theme, page.asked, page.errors = request.param, [], []
    page.on('request', lambda r: page.asked.append(r.url))
    page.on('console', lambda m: page.errors.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: page.errors.append(str(e)))
    page.on('requestfailed', lambda r: page.errors.append(f'{r.failure}: {r.url}') if r.failure != LEFT else None)
    yield page
    context.close()


@pytest.fixture
def window(theme):
    theme.asked.clear(), theme.errors.clear()
    yield theme
    elsewhere = [url for url in theme.asked if not url.startswith(('file:', 'data:'))]
    assert not elsewhere and not theme.errors


def visit(window, href, width=1440):
    window.set_viewport_size({'width': width, 'height': 900})
    window.goto((DOCS/href).as_uri())


@pytest.mark.parametrize('href', PAGES)
def test_page(window, href):
    visit(window, href)
    text = window.locator('main').evaluate("""main => {
        const copy = main.cloneNode(true)
        copy.querySelectorAll('pre, code, annotation, script').forEach(x => x.remove())
        return copy.textContent }""")
    assert not [mark for mark in (':::', '\\(', '{#', '?@', '$$') if mark in text]
    assert not window.eval_on_selector_all('img', "all => all.filter(x => !x.hasAttribute('alt')).map(x => x.src)")
    assert not window.eval_on_selector_all('img', "all => all.filter(x => !x.naturalWidth).map(x => x.src)"), 'broken images'
    for width in (1440, 768, 360):
        window.set_viewport_size({'width': width, 'height': 900})
        wide = window.evaluate('document.documentElement.scrollWidth')
        assert wide <= width, f'at a width of {width} the page is {wide} wide'


@pytest.mark.parametrize('href', PAGES)
def test_accessible(window, href):
    if not AXE.is_file():
        reason = f'no axe-core at {AXE}: run `npm install` in tests/, or set AXE_CORE'
        pytest.fail(reason) if os.environ.get('CI') else pytest.skip(reason)
    visit(window, href, 360 if window.theme == 'light' else 1440)
    window.evaluate(AXE.read_text(encoding='utf-8'))
    options = {'runOnly': RULES[window.theme], 'preload': False, 'resultTypes': ['violations']}
    found = window.evaluate('options => axe.run(options).then(r => r.violations)', options)
    assert not [(v['id'], n['target'], n['failureSummary']) for v in found for n in v['nodes'][:3]]


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
