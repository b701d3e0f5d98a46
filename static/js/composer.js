// The message field: what goes with a send, and what a send leaves behind.
const form = document.getElementById("composer")
const text = form.elements.namedItem("text")
const messages = document.getElementById("messages")
const isTouch = matchMedia("(pointer: coarse)")
let sent = ""

function fit() {
  if (CSS.supports("field-sizing", "content")) return
  text.style.blockSize = "auto"
  text.style.blockSize = `${text.scrollHeight}px`
}

text.addEventListener("input", fit)
text.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowUp" || text.value) return
  const edits = [...messages.querySelectorAll("[data-role=user] [name=edit]")]
  edits.at(-1)?.click()
})

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return
  if (document.querySelector("dialog[open], :popover-open:not(#undo)")) return
  messages.querySelector("[name=stop]")?.click()
})

// In the capture phase, so that it comes before htmx.
document.addEventListener("submit", (event) => {
  if (event.target !== form) return
  if (!text.value.trim()) {
    event.preventDefault()
    event.stopPropagation()
    text.focus()
    return
  }
  form.elements.namedItem("parent").value = messages.lastElementChild?.dataset.message ?? ""
}, true)

// Not when it is submitted: of two the second goes nowhere while the first is on its way.
form.addEventListener("htmx:configRequest", (event) => {
  if (event.target === form) sent = text.value
})

form.addEventListener("htmx:afterRequest", (event) => {
  if (event.target !== form || !event.detail.successful) return
  // What was typed on meanwhile belongs to the next message.
  if (text.value.startsWith(sent)) text.value = text.value.slice(sent.length).trimStart()
  fit()
  const { send } = document.getElementById("state").dataset
  if (send) form.action = send
  document.dispatchEvent(new CustomEvent("potok:sent"))
  if (!isTouch.matches) text.focus()
})

// A command takes its button away, or hides it; the focus goes to where the next thing is written.
document.addEventListener("potok:done", () => {
  const { activeElement } = document
  const isLost = activeElement === document.body || !activeElement.checkVisibility()
  if (isLost && !isTouch.matches) text.focus()
})

// Stop stands where Send stands. Anchor positioning would lay it out anew with each word that arrives,
// which costs as much as the word.
const send = form.elements.namedItem("send")
const stand = new ResizeObserver(() => {
  const { clientWidth, clientHeight, style } = document.documentElement
  const { right, bottom } = send.getBoundingClientRect()
  style.setProperty("--send-right", `${clientWidth - right}px`)
  style.setProperty("--send-bottom", `${clientHeight - bottom}px`)
})
for (const place of [document.documentElement, form.closest(".dock"), form]) stand.observe(place)

fit()
performance.mark("usable")
