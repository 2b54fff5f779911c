// The theme is set before anything is drawn. A browser may refuse to remember it, and that is all right.
(function () {
  var themes = ['auto', 'light', 'dark'], root = document.documentElement, key = 'nnzero-theme'
  function stored() { try { return localStorage.getItem(key) } catch (e) { return null } }
  function store(theme) { try { localStorage.setItem(key, theme) } catch (e) { /* not remembered */ } }
  var theme = themes.indexOf(stored()) > 0 ? stored() : 'auto'
  root.dataset.theme = theme

  function button(b) {
    var name = document.createElement('span')
    name.textContent = 'Theme: '            // too long for a phone, where it is only heard
    function show() { b.replaceChildren(name, theme) }
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

  // The search: its program and its index are fetched when it is first opened.
  function search(opener, box) {
    var input = box.querySelector('input'), list = box.querySelector('ol'), note = box.querySelector('.note')
    var index = document.currentScript || document.querySelector('script[src$="site.js"]'), engine, typed = 0
    var place = new URL('../pagefind/pagefind.js', index.src).href
    function say(text) { note.textContent = text }
    function load() {
      if (engine) return engine
      if (location.protocol === 'file:') {
        say('A search needs a server: run “python -m http.server” in the folder of the site, and open the address that it names.')
        return engine = Promise.resolve(null)
      }
      return engine = import(place).then(
        function (m) { return m.options({ excerptLength: 18 }).then(function () { return m }) },
        function () { say('This copy of the site was built without a search.'); return null })
    }
    function entry(url, title, excerpt) {
      var item = document.createElement('li'), link = document.createElement('a'), text = document.createElement('p')
      link.href = url
      link.textContent = title
      text.innerHTML = excerpt            // made by Pagefind from our own pages: text with <mark>
      item.append(link, text)
      return item
    }
    function part(page) {
      var parts = (page.sub_results || []).slice(0, 3), first = parts[0] || page
      var item = entry(first.url, page.meta.title, first.excerpt), more = document.createElement('ul')
      if (first.title && first.title !== page.meta.title) item.firstChild.textContent += ' › ' + first.title
      parts.slice(1).forEach(function (p) { more.append(entry(p.url, p.title, p.excerpt)) })
      if (more.children.length) item.append(more)
      return item
    }
    function find() {
      var mine = ++typed, words = input.value.trim()
      load().then(function (m) {
        if (!m) return
        if (!words) { list.replaceChildren(); return say('') }
        return m.search(words).then(function (found) {
          var n = found.results.length
          return Promise.all(found.results.slice(0, 8).map(function (r) { return r.data() })).then(function (pages) {
            if (mine !== typed) return
            say(n === 0 ? 'No page has it.' : n === 1 ? 'One page' : n + ' pages')
            list.replaceChildren.apply(list, pages.map(part))
          })
        })
      })
    }
    function open() {
      if (!box.open) box.showModal()
      input.select()
      load()
    }
    function move(event) {
      var links = [input].concat(Array.from(box.querySelectorAll('ol a'))), at = links.indexOf(document.activeElement)
      var way = { ArrowDown: 1, ArrowUp: -1 }[event.key]
      if (way && links[at + way]) { event.preventDefault(); links[at + way].focus() }
      if (event.key === 'Enter' && at === 0) { event.preventDefault(); if (links[1]) links[1].click() }
    }
    opener.hidden = false
    opener.addEventListener('click', open)
    input.addEventListener('input', find)
    box.addEventListener('keydown', move)
    box.addEventListener('click', function (event) {
      if (event.target === box || event.target.closest('ol a')) box.close()
    })
    addEventListener('keydown', function (event) {
      var typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== 'checkbox'
      if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      open()
    })
  }

  document.addEventListener('DOMContentLoaded', function () {
    document.querySelectorAll('button.theme').forEach(button)
    var opener = document.querySelector('button.search'), box = document.querySelector('dialog.finder')
    if (opener && box) search(opener, box)
    var here = document.querySelector('.chapters [aria-current]'), menu = document.querySelector('.menu')
    if (here && menu) [menu, here.closest('.chapters')].forEach(function (x) {
      x.scrollTop = Math.max(0, here.offsetTop - x.clientHeight / 2)
    })
    scrollable()
  })
  addEventListener('resize', scrollable)
})()
