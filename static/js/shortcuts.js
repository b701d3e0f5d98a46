// Keys that work anywhere on the page, by their place on the keyboard (event.code): on a Russian
// layout they lie where they lie on a Latin one. The sheet lists them, and `?` opens it.
const sheet = document.getElementById("shortcuts")
const drawer = document.getElementById("drawer")
const isApple = /Mac|iP(hone|ad|od)/.test(navigator.platform)
const last = (selector) => [...document.querySelectorAll(selector)].at(-1)

/** The list of conversations, which on a narrow page is a drawer. */
function toList() {
  if (drawer.checkVisibility()) drawer.matches(":popover-open") && drawer.hidePopover()
  else drawer.showPopover()
  const line = drawer.querySelector("[aria-current]") ?? drawer.querySelector("#listed a")
  if (drawer.checkVisibility()) line?.focus()
}

/** Its first command is under Enter; Escape gives the focus back to its button. */
function toMenu() {
  const button = document.getElementById("conversation-menu-button")
  button.focus()
  button.click()
  document.querySelector("#conversation-menu:popover-open [name=rename]")?.focus()
}

// With Ctrl and Shift, or ⌘ and Shift.
const COMMANDS = {
  KeyO: () => drawer.querySelector(".new-chat").click(),
  KeyS: toList,
  KeyM: () => document.getElementById("model").focus(),
  KeyC: () => last("#messages [name=copy]")?.click(),
  Semicolon: () => last("#messages [name=copy-code]")?.click(),
  KeyU: toMenu,
}

function commandOf(event) {
  const isCommand = isApple ? event.metaKey : event.ctrlKey
  if (event.altKey || event.isComposing) return null
  if (isCommand && event.shiftKey) return COMMANDS[event.code]
  if (isCommand && event.code === "Slash") return () => sheet.showModal()
  if (isCommand && event.code === "KeyK") return () => document.getElementById("search-link").click()
  if (event.shiftKey && event.code === "Escape") return () => document.getElementById("text").focus()
  const isTyping = event.target.matches("input, textarea, select, [contenteditable]")
  const isMark = event.key === "?" || (event.code === "Slash" && event.shiftKey)
  return isMark && !isCommand && !isTyping ? () => sheet.showModal() : null
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return
  const command = commandOf(event)
  if (!command) return
  event.preventDefault()
  command()
})

if (isApple) for (const key of sheet.querySelectorAll("[data-command]")) key.textContent = "⌘"
if (!("command" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[commandfor=shortcuts]")
    if (button) button.value === "close" ? sheet.close() : sheet.showModal()
  })
}
