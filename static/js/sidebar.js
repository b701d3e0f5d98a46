// The list of conversations: each line is put where it belongs, however it comes: by the socket, in
// the answer to a command, as the next page. Lines and days carry their place, which sorts as they do.
const sidebar = document.getElementById("sidebar")
const list = () => document.getElementById("listed")
const state = () => document.getElementById("state").dataset
const held = new Map() // lines that came while their title was being written

/** Puts in what an answer holds: lines, and whatever else replaces what has its id. */
function put(html) {
  const template = document.createElement("template")
  template.innerHTML = html
  for (const element of template.content.querySelectorAll("[id]")) {
    if (element.parentNode !== template.content) continue
    const old = document.getElementById(element.id)
    if (element.matches("li")) putLine(old, element)
    else old?.replaceWith(element)
    if (element.isConnected) htmx.process(element)
  }
  markCurrent()
}

function putLine(old, line) {
  const version = Number(line.dataset.version)
  if (old && !(version > Number(old.dataset.version))) return
  if (old?.querySelector("form")) return held.set(old.id, line)
  if ("gone" in line.dataset) return remove(old)
  const { place } = line.dataset
  const next = [...list().children].find((other) => other.dataset.place < place)
  // Beyond the last that is loaded it comes with those that follow.
  const isUnseen = !next && document.getElementById("older") && line.id !== "older"
  const focused = old?.contains(document.activeElement) && document.activeElement.localName
  old?.remove()
  if (isUnseen) return
  if (next && next !== old) next.before(line)
  else list().append(line)
  if (focused) line.querySelector(focused)?.focus()
}

function remove(line) {
  if (line?.contains(document.activeElement)) {
    const others = [...list().querySelectorAll(":scope > [data-version] > a")]
    const place = others.indexOf(line.querySelector("a"))
    const other = others[place + 1] ?? others[place - 1]
    other?.focus()
  }
  line?.remove()
}

/** The page knows better than the list which conversation it shows: a first send gives it one. */
function markCurrent() {
  for (const link of list().querySelectorAll("[aria-current]")) link.removeAttribute("aria-current")
  current()?.querySelector("a")?.setAttribute("aria-current", "page")
}

const current = () => document.getElementById(`c-${state().conversation}`)
let seen = ""

/** What ended before a reader's eyes is read, in all tabs. */
function look() {
  const { address, version } = state()
  const line = current()
  if (document.hidden || !line || !("unread" in line.dataset) || seen === version) return
  seen = version
  ask("POST", `${address}read/`, { source: sidebar, target: "#listed", values: { version } })
}

/** htmx's promise is rejected with nothing where there is no network, which is no defect of the page. */
async function ask(...what) {
  try {
    await htmx.ajax(...what)
    return true
  } catch {
    return false
  }
}

// What did not arrive is said again when the reader looks next.
document.addEventListener("htmx:afterRequest", (event) => {
  const { successful, pathInfo } = event.detail
  if (!successful && pathInfo.requestPath.endsWith("/read/")) seen = ""
})

document.addEventListener("potok:listed", (event) => put(event.detail))
document.addEventListener("potok:renamed", (event) => {
  const line = held.get(event.detail)
  held.delete(event.detail)
  if (line) putLine(document.getElementById(event.detail), line)
})
document.addEventListener("potok:changed", look)
document.addEventListener("visibilitychange", look)
document.addEventListener("htmx:afterSettle", markCurrent)

document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr, serverResponse, requestConfig } = event.detail
  if (target.id !== "listed" || xhr.status >= 400) return
  event.detail.shouldSwap = false
  requestConfig.elt.closest("#older")?.remove()
  put(serverResponse)
})

// --- by keyboard ---------------------------------------------------------------------------------

const STEPS = { ArrowDown: 1, ArrowUp: -1 }

sidebar.addEventListener("keydown", (event) => {
  const step = STEPS[event.key]
  if (!step || event.target.matches("input")) return
  const links = [...list().querySelectorAll("li > a")]
  const place = links.indexOf(event.target.closest("li")?.querySelector("a"))
  event.preventDefault()
  links[Math.max(place + step, 0)]?.focus()
})

// --- the reader's days ---------------------------------------------------------------------------

async function relist() {
  const where = { source: sidebar, target: sidebar, swap: "innerHTML" }
  if (!(await ask("GET", "/conversations/", where))) return
  // It may have been written before what the socket has brought meanwhile.
  if (Number(list().dataset.asOf) < Number(sidebar.dataset.version)) relist()
}

/** The server can't know a browser's time zone until the browser has said it. */
function tellZone() {
  const told = `zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}`
  if (document.cookie.split("; ").includes(told)) return
  document.cookie = `${told}; path=/; max-age=31536000; samesite=lax`
  if (!document.body.dataset.zone && document.cookie.includes(told)) relist()
}

// Today becomes yesterday while a page is open.
let day = new Date().toDateString()
setInterval(() => {
  if (document.hidden || day === new Date().toDateString()) return
  day = new Date().toDateString()
  relist()
}, 60_000)

tellZone()
sidebar.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" })
