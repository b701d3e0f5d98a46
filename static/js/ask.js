// The one dialog that the server fills: it opens with what came, and closes once its form was taken.
const ask = document.getElementById("ask")
let opener = null

ask.addEventListener("htmx:afterSwap", (event) => {
  if (event.target === ask && !ask.open) ask.showModal()
})

ask.addEventListener("htmx:afterRequest", (event) => {
  const { successful, requestConfig } = event.detail
  if (!successful || requestConfig.verb !== "post") return
  ask.close()
  giveBack()
})

// The browser gives the focus back by itself, but to no button that could not be pressed at that time,
// nor to one that has come in its place.
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.target === ask && !ask.open) opener = document.activeElement
})

function giveBack() {
  const { activeElement } = document
  if (activeElement !== document.body && activeElement.checkVisibility()) return
  const place = opener?.isConnected ? opener : document.getElementById(opener?.id)
  place?.focus()
}
ask.addEventListener("close", giveBack)

// What was set for a chat that hasn't begun is in the dialog until its first question takes it along.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id !== "parameters-link" || !ask.querySelector("[form=composer]")) return
  event.preventDefault()
  ask.showModal()
})
document.addEventListener("potok:sent", () => ask.replaceChildren())

// What `command` does by itself in newer browsers.
if (!("command" in HTMLButtonElement.prototype)) {
  ask.addEventListener("click", (event) => event.target.closest("[command=close]") && ask.close())
}
