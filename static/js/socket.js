/* The page's one socket. It owns connecting, and applies what comes down.

   Down: {"n": 1, "hello": {protocol}}, {"n": 2, "beat": true}, {"n": 3, "ops": [...], "cursors": {...}},
   where cursors are what the page then has of running replies, and an op is
     ["block", message, part, index, _, html]   the block `index` of a part ("b" text, "rb" reasoning)
     ["text",  message, part, index, at, html]  text for the end of an open code block, at a length
     ["item",  message, part, index, at, html]  row or list item number `at` of a block
     ["words", message, part, index, at, words] what the last text of a block ends in, from `at` on
     ["trim",  message, part, index]            the part ends before block `index`
     ["shell", message, version, html]          all of a message but its blocks
     ["article", message, version, after, html] a whole message, and which one it follows
     ["thread", version, html]                  all messages of the page anew, and its edges
     ["sidebar", version, html], ["title", version, title], ["total", version, html]
     ["listed", version, html]                  lines of the sidebar that changed (sidebar.js)
     ["limits", html]                           what is nearly used up, once no reply runs
   Each may be applied twice or late and leaves the page the same: an older version is passed over,
   and an `at` that doesn't fit asks for everything anew.
   Up: {"watch": {...}} on every open and change of what the page holds, {"ack": n}. */

const SILENCE_MS = 8000
const CONNECT_MS = 1500
const RETRY_MS = 1000
const DIRECT_MS = 30_000
const ACK_MS = 250
const ACK_CHARS = 64 * 1024

const protocol = Number(document.body.dataset.protocol)
let socket = null
let heard = 0
let opening = 0
let probe = null
let retry = 0
let acked = 0
let last = 0
let unacked = 0
let ackTimer = 0
let watched = null
let threadVersion = 0
const cursors = {}

// --- the connection ------------------------------------------------------------------------------

function show(state) {
  if (document.body.dataset.connection !== state) document.body.dataset.connection = state
}

function connect() {
  clearTimeout(retry)
  if (socket || probe || document.hidden && heard) return
  if (opening && performance.now() - opening < DIRECT_MS) knock()
  else open()
}

/** Whether somebody answers is asked by a small request, and by a socket only now and then: a browser
    holds the sockets of a page back, by seconds, once a dozen of them have come to nothing. */
async function knock() {
  const mine = probe = new AbortController()
  const timer = setTimeout(() => mine.abort(), CONNECT_MS)
  const isThere = await fetch("/healthz", { signal: mine.signal, cache: "no-store" })
    .then((answer) => answer.ok, () => false)
  clearTimeout(timer)
  if (mine !== probe) return
  probe = null
  if (isThere) return open()
  show(navigator.onLine && !mine.signal.aborted ? "connecting" : "offline")
  again()
}

function open() {
  const address = new URL("/ws/", location.href)
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:"
  const mine = socket = new WebSocket(address)
  opening = performance.now()
  mine.onopen = () => { heard = performance.now(); last = acked = unacked = 0 }
  mine.onmessage = (event) => { if (mine === socket) hear(event.data) }
  mine.onclose = (event) => { if (mine === socket) closed(event.code) }
}

/** Jittered, so that a restart isn't met by every page at once. */
function again() {
  retry = setTimeout(connect, RETRY_MS * (0.3 + 0.7 * Math.random()))
}

function closed(code) {
  socket = null
  watched = null
  if (code === 4401) {
    show("offline")
    document.dispatchEvent(new CustomEvent("potok:session-over"))
    return
  }
  if (code === 4404) return location.assign(`/?undo=${state().conversation}`)
  show(navigator.onLine ? "connecting" : "offline")
  again()
}

function drop() {
  probe?.abort()
  const old = socket
  socket = probe = null
  watched = null
  if (old) old.close()
}

// A frozen connection closes nothing: silence is the only sign of it.
setInterval(() => {
  const now = performance.now()
  if (!socket) return
  if (socket.readyState === WebSocket.CONNECTING) {
    if (now - opening > CONNECT_MS) { drop(); show("offline"); connect() }
  } else if (now - heard > SILENCE_MS) {
    drop(); show("offline"); connect()
  }
}, 500)

function come() {
  if (document.hidden) return
  if (!socket) connect()
  // After a sleep the socket may look open and be long gone.
  else if (performance.now() - heard > SILENCE_MS) { drop(); connect() }
}
// It may be another network: what was open over the old one tells nothing any more.
addEventListener("online", () => { drop(); come() })
addEventListener("pageshow", come)
document.addEventListener("visibilitychange", come)
addEventListener("offline", () => show("offline"))

// --- what goes up --------------------------------------------------------------------------------

function state() { return document.getElementById("state").dataset }

/** The message at an end of what the page holds, where there are more beyond it. */
const edge = (id) => document.querySelector(`#${id} a`)?.dataset.edge ?? null

const held = () => [state().conversation, edge("earlier"), edge("later")].join()

function watch() {
  if (!socket || socket.readyState !== WebSocket.OPEN) return
  const { conversation, version } = state()
  watched = held()
  socket.send(JSON.stringify({ watch: {
    protocol, conversation: conversation || null, version: Number(version || 0),
    first: edge("earlier"), last: edge("later"), sidebar: Number(el("sidebar").dataset.version),
    cursors: running(), language: document.documentElement.lang, zone: zone(),
  } }))
}

function watchWhatIsHeld() {
  if (socket && watched !== null && watched !== held()) watch()
}

/** By whose midnight its days begin. */
function zone() {
  return document.body.dataset.zone || Intl.DateTimeFormat().resolvedOptions().timeZone
}

/** What the page has of the replies that still run: so much needs not be sent again. */
function running() {
  for (const message of Object.keys(cursors)) {
    if (el(`m-${message}`)?.dataset.status !== "streaming") delete cursors[message]
  }
  return cursors
}

function acknowledge() {
  clearTimeout(ackTimer)
  ackTimer = 0
  unacked = 0
  if (socket?.readyState === WebSocket.OPEN && last > acked) {
    acked = last
    socket.send(JSON.stringify({ ack: last }))
  }
}

// --- what comes down -----------------------------------------------------------------------------

function hear(text) {
  heard = performance.now()
  // Also after the browser said 'offline' of a connection that lived on.
  if (watched !== null) show("live")
  const frame = JSON.parse(text)
  if (frame.hello) {
    // What another version says may mean something else here: it is for the page afresh.
    if (frame.hello.protocol === protocol) watch()
    else document.dispatchEvent(new CustomEvent("potok:outdated"))
    show("live")
  }
  let isWhole = true
  for (const op of frame.ops ?? []) isWhole = apply[op[0]](...op.slice(1)) !== false && isWhole
  if (frame.ops) document.dispatchEvent(new CustomEvent("potok:changed"))
  if (!isWhole) return start()
  watchWhatIsHeld()
  Object.assign(cursors, frame.cursors)
  last = frame.n
  unacked += text.length
  if (unacked > ACK_CHARS) acknowledge()
  else ackTimer ||= setTimeout(acknowledge, ACK_MS)
}

/** Something didn't fit: have everything of this page sent anew. */
function start() {
  state().version = threadVersion = 0
  for (const message of Object.keys(cursors)) delete cursors[message]
  watch()
}

const el = (id) => document.getElementById(id)

function parse(html) {
  const template = document.createElement("template")
  template.innerHTML = html
  return template.content
}

function blocks(message, part) {
  const found = el(`m-${message}-${part}`)
  if (found || part === "b") return found
  // Reasoning has its place only once there is some.
  const body = el(`m-${message}-b`)
  if (!body) return null
  const skeleton = document.getElementById("reasoning").innerHTML.trim()
  body.before(parse(skeleton.replaceAll("m--", `m-${message}-`)))
  return el(`m-${message}-${part}`)
}

/** Puts an element in the place of another; what is selected there stays on its characters. */
function renew(old, fresh) {
  const selection = getSelection()
  const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = selection
  const ends = [[anchorNode, anchorOffset], [focusNode, focusOffset]]
  const isWithin = ends.map(([node]) => old.contains(node))
  if (isCollapsed || !isWithin.includes(true)) return old.replaceWith(fresh)
  const { startContainer, startOffset } = selection.getRangeAt(0)
  const lengths = ends.map(([node, offset], i) => (isWithin[i] ? lengthBefore(old, node, offset) : 0))
  old.replaceWith(fresh)
  const places = ends.map((end, i) => {
    const isStart = ends[i][0] === startContainer && ends[i][1] === startOffset
    return isWithin[i] ? placeAt(fresh, lengths[i], isStart) : end
  })
  selection.setBaseAndExtent(...places[0], ...places[1])
}

function lengthBefore(root, node, offset) {
  const range = document.createRange()
  range.setStart(root, 0)
  range.setEnd(node, offset)
  const content = range.cloneContents()
  for (const tool of content.querySelectorAll("button")) tool.remove()
  return content.textContent.length
}

/** Between two texts a selection starts in the second and ends in the first. */
function placeAt(root, length, isStart) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const { data } = texts.currentNode
    if (length < data.length || (length === data.length && !isStart)) return [texts.currentNode, length]
    length -= data.length
  }
  return [root, root.childNodes.length]
}

const isOlder = (element, version) => element && Number(element.dataset.version) > version
const isSame = (element, version) => element && Number(element.dataset.version) === version

const apply = {
  block(message, part, index, _at, html) {
    const parent = blocks(message, part)
    if (!parent) return false
    const id = `m-${message}-${part}-${index}`
    const old = el(id)
    if (!old && parent.children.length !== index) return false
    if (old?.innerHTML === html) return
    const block = document.createElement("div")
    block.className = "block"
    block.id = id
    block.append(parse(html))
    if (old) renew(old, block)
    else parent.append(block)
  },

  text(message, part, index, at, html) {
    const code = el(`m-${message}-${part}-${index}`)?.querySelector("pre code")
    if (!code) return false
    const text = parse(html).textContent
    const length = code.textContent.length
    if (length >= at + text.length) return
    if (length < at) return false
    const news = text.slice(length - at)
    if (code.lastChild?.nodeType === Node.TEXT_NODE) code.lastChild.appendData(news)
    else code.append(news)
  },

  item(message, part, index, at, html) {
    const block = el(`m-${message}-${part}-${index}`)
    // The block's own: an item may hold a list or a table as well.
    const list = block?.querySelector(":scope > :is(ul, ol), :scope > .table > table > tbody")
    if (!list || list.children.length < at) return false
    const template = document.createElement("template")
    // A lone row would be thrown out of anything but a table.
    template.innerHTML = list.tagName === "TBODY" ? `<table><tbody>${html}</tbody></table>` : html
    const item = template.content.querySelector("tr, li")
    if (list.children[at]) renew(list.children[at], item)
    else list.append(item)
  },

  words(message, part, index, at, words) {
    const block = el(`m-${message}-${part}-${index}`)
    if (!block) return false
    const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT)
    let last = texts.lastChild()
    while (last && !last.data.trim()) last = texts.previousNode()
    const seen = last?.data.slice(at)
    // It begins with a word that is there, by which a page that shows something else is found out.
    if (!seen || !(words.startsWith(seen) || seen.startsWith(words))) return false
    last.appendData(words.slice(seen.length))
  },

  trim(message, part, index) {
    const parent = el(`m-${message}-${part}`)
    while (parent && parent.children.length > index) parent.lastElementChild.remove()
  },

  shell(message, version, html) {
    const old = el(`m-${message}`)
    if (!old) return false
    if (isOlder(old, version)) return
    const shell = parse(html).firstElementChild
    for (const { name } of [...old.attributes]) if (!shell.hasAttribute(name)) old.removeAttribute(name)
    for (const { name, value } of shell.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value)
    }
    const [summary, news] = [old, shell].map((article) => article.querySelector("summary"))
    if (summary && news && summary.innerHTML !== news.innerHTML) {
      summary.replaceChildren(...news.childNodes)
    }
    swap(el(`m-${message}-f`), shell.querySelector(`[id="m-${message}-f"]`).outerHTML, "outerHTML")
  },

  article(message, version, after, html) {
    const old = el(`m-${message}`)
    if (isOlder(old, version) || isSame(old, version)) return
    if (old) return swap(old, html, "outerHTML")
    const before = after && el(`m-${after}`)
    if (after && !before) return false
    if (before) swap(before, html, "afterend")
    else swap(el("messages"), html, "afterbegin")
  },

  thread(version, html) {
    if (Math.max(Number(state().version), threadVersion) >= version) return
    state().version = version
    swap(el("messages"), html, "innerHTML")
  },

  sidebar(version, html) {
    const list = el("sidebar")
    if (Number(list.dataset.version) >= version) return
    // Not under somebody's fingers: a title that is being written stays.
    if (list.querySelector("form")) return
    list.dataset.version = version
    swap(list, html, "innerHTML")
  },

  listed(version, html) {
    el("sidebar").dataset.version = Math.max(version, Number(el("sidebar").dataset.version))
    document.dispatchEvent(new CustomEvent("potok:listed", { detail: html }))
  },

  total(version, html) {
    if (Number(state().version) <= version) swap(el("total"), html, "outerHTML")
  },

  limits(html) {
    if (el("limits").outerHTML !== html) swap(el("limits"), html, "outerHTML")
  },

  title(version, title) {
    if (Number(state().version) < version) state().version = version
    el("title").textContent = title
    document.title = `${title} · Potok`
  },
}

function swap(target, html, swapStyle) {
  htmx.swap(target, html, { swapStyle, swapDelay: 0, settleDelay: 0 })
}

// --- answers of htmx -----------------------------------------------------------------------------

// The socket may have brought a message before the answer to the POST that made it, or a newer state.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr, requestConfig: { elt } } = event.detail
  if (xhr.status >= 400) return
  if (elt.closest(".edge")) {
    // Another thread has taken the place of the one whose edge this was.
    if (!elt.isConnected) event.detail.shouldSwap = false
  } else if (target.id === "messages" && elt.id !== "composer") {
    const version = Number(xhr.getResponseHeader("Potok-Version"))
    if (Number(state().version) > version) event.detail.shouldSwap = false
    else threadVersion = version
  } else if (target.id === "messages") {
    // What is sent from the middle of a conversation is seen at its end.
    if (edge("later")) {
      event.detail.shouldSwap = false
      return location.assign(state().address)
    }
    const answer = parse(event.detail.serverResponse)
    for (const article of answer.querySelectorAll("article")) {
      if (el(article.id)) article.remove()
    }
    // Space around the messages would be the one difference from a page loaded afresh.
    const holder = document.createElement("div")
    holder.append(...answer.children)
    event.detail.serverResponse = holder.innerHTML
  } else if (target.matches("article")) {
    const version = Number(parse(event.detail.serverResponse).firstElementChild?.dataset.version)
    if (Number(target.dataset.version) >= version) event.detail.shouldSwap = false
  }
})

// A first send gives the page its conversation, before it gives it the messages: the server looks up
// what is new meanwhile. Going back takes it away again.
document.addEventListener("htmx:oobAfterSwap", ({ target }) => target.id === "state" && watchWhatIsHeld())
document.addEventListener("htmx:afterSettle", watchWhatIsHeld)

// Older messages came as of a version that the page may have left behind.
document.addEventListener("htmx:afterSwap", ({ detail: { xhr } }) => {
  const loaded = Number(xhr?.getResponseHeader("Potok-Version"))
  if (loaded && loaded < Number(state().version)) state().version = loaded
})

connect()
