// The theme is set before anything is drawn. A browser may refuse to remember it, and that is all right.
(function () {
  var themes = ['auto', 'light', 'dark'], root = document.documentElement, key = 'nnzero-theme'
  function stored() { try { return localStorage.getItem(key) } catch (e) { return null } }
  function store(theme) { try { localStorage.setItem(key, theme) } catch (e) { /* not remembered */ } }
  var theme = themes.indexOf(stored()) > 0 ? stored() : 'auto'
  root.dataset.theme = theme

  function button(b) {
    function show() { b.textContent = 'Theme: ' + theme }
    b.addEventListener('click', function () {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length]
      root.dataset.theme = theme
      store(theme)
      show()
    })
    b.hidden = false
    show()
  }

  // What scrolls sideways must be reachable with the keyboard.
  function scrollable() {
    document.querySelectorAll('main p, main li, main pre, .wide, .cell-output, .equation, math[display=block]').forEach(function (x) {
      if (x.scrollWidth > x.clientWidth) x.tabIndex = 0
      else x.removeAttribute('tabindex')
    })
  }

  document.addEventListener('DOMContentLoaded', function () {
    document.querySelectorAll('button.theme').forEach(button)
    var here = document.querySelector('.chapters [aria-current]'), menu = document.querySelector('.menu')
    if (here && menu) menu.scrollTop = Math.max(0, here.offsetTop - menu.clientHeight / 2)
    scrollable()
  })
  addEventListener('resize', scrollable)
})()
