// What all htmx requests of the page share: the token, the key, and where a refusal is shown.
const alertPlace = document.getElementById("composer-alert")
const commands = document.getElementById("act")

function cookie(name) {
  const pair = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))
  return pair?.slice(name.length + 1) ?? ""
}

/** A key that no other send has; crypto.randomUUID is missing on plain http. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

function show(id, { target }) {
  alertPlace.replaceChildren(document.getElementById(id).content.cloneNode(true))
  bring(target)
}

/** A dialog hides the place, so what came of its own command is said in it. */
function bring(asking) {
  const buttons = asking.closest("dialog[open]")?.querySelector(".dialog-buttons")
  if (buttons) clear(asking), buttons.before(...alertPlace.children)
}

function clear(asking) {
  for (const each of asking.closest("dialog").querySelectorAll(".alert")) each.remove()
}
document.addEventListener("close", (event) => clear(event.target), true)
document.addEventListener("htmx:afterSwap", ({ target, detail }) => {
  if (target === alertPlace) bring(detail.requestConfig.elt)
})

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRFToken"] = cookie(document.body.dataset.csrfCookie)
  const edges = ["earlier", "later"].map((id) => document.querySelector(`#${id} a`)?.dataset.edge)
  event.detail.headers["Potok-Span"] = edges.join()
  // A form's address may have changed since htmx read it: the first send gives it a conversation.
  if (event.target.matches("form")) event.detail.path = event.target.getAttribute("action")
})

document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event
  // White space between messages would be a text node that a fresh page doesn't have.
  detail.serverResponse = detail.serverResponse.trim()
  if (detail.isError && detail.xhr.getResponseHeader("HX-Retarget")) detail.shouldSwap = true
})

// Not htmx:afterRequest: nobody hears it where the socket has replaced the element before the answer.
document.addEventListener("htmx:beforeSend", (event) => {
  const { xhr, requestConfig } = event.detail
  if (requestConfig.verb === "get" || isReading(event)) return
  const form = event.target.form ?? event.target.closest("form") ?? commands
  xhr.addEventListener("load", () => {
    // The same key goes with each try of the same command, so that the server does it once.
    if (xhr.status >= 400) return
    alertPlace.replaceChildren()
    const key = form.elements.namedItem("client_key")
    if (key) key.value = newKey()
    document.dispatchEvent(new CustomEvent("potok:done"))
  })
})

// Reading on is tried again by scrolling on, a forecast by writing on, a list by looking; nothing is lost.
const isReading = (event) => event.target.closest?.(".edge, #forecast") || event.target.matches("#models, #sidebar")
const isWritten = (event) => event.target.matches("#composer, .edit")

// Nor does what nobody asked for lead away from what is being written, where the login is over.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (isReading(event) && event.detail.xhr.status === 401) event.preventDefault()
})

function unheard(event) {
  if (!isReading(event)) show(isWritten(event) ? "alert-network" : "alert-unheard", event)
}
document.addEventListener("htmx:sendError", unheard)
document.addEventListener("htmx:timeout", unheard)
document.addEventListener("htmx:responseError", (event) => {
  if (isReading(event)) return
  const { xhr } = event.detail
  // What is far too long is refused before any view could say so.
  if (!xhr.getResponseHeader("HX-Retarget")) show(xhr.status === 413 ? "alert-size" : "alert-server", event)
})

// A button loses the focus while it can't be pressed twice, and has it again where nothing came of it.
let pressed = null
document.addEventListener("htmx:beforeRequest", () => { pressed = document.activeElement })
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful && document.activeElement === document.body) pressed?.focus()
})
