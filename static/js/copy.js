// Copying a message as Markdown and HTML, and a code block as text; on plain http too.
const messages = document.getElementById("messages")
const tools = document.getElementById("code-tools")
const announcer = document.getElementById("announcer")
const DONE_MS = 1500

async function copy(plain, html) {
  // The event carries both forms, and unlike navigator.clipboard it exists without TLS.
  const fill = (event) => {
    event.preventDefault()
    event.clipboardData.setData("text/plain", plain)
    if (html) event.clipboardData.setData("text/html", html)
  }
  document.addEventListener("copy", fill, { once: true })
  if (document.execCommand("copy")) return
  document.removeEventListener("copy", fill)
  await navigator.clipboard.writeText(plain)
}

async function copyMessage(button) {
  const answer = await fetch(button.formAction)
  if (!answer.ok) throw new Error(`${answer.status}`)
  const body = button.closest("article").querySelector("[data-part=body].prose")?.cloneNode(true)
  body?.querySelectorAll("button").forEach((tool) => tool.remove())
  await copy(await answer.text(), body?.innerHTML)
}

function copyCode(button) {
  return copy(button.closest(".code").querySelector("pre").textContent)
}

messages.addEventListener("click", async (event) => {
  const button = event.target.closest("[name=copy], [name=copy-code]")
  if (!button) return
  event.preventDefault()
  await (button.name === "copy" ? copyMessage(button) : copyCode(button))
  button.dataset.done = ""
  announcer.textContent = announcer.dataset.copied
  setTimeout(() => delete button.dataset.done, DONE_MS)
})

/** What a renderer that knows no page leaves out: the button, and scrolling by keyboard. */
function equip() {
  for (const head of messages.querySelectorAll(".code-head:not(:has(> button))")) {
    head.append(tools.content.cloneNode(true))
  }
  for (const box of messages.querySelectorAll(":is(.table, .code > pre):not([tabindex])")) {
    box.tabIndex = 0
  }
}

new MutationObserver(equip).observe(messages, { childList: true, subtree: true })
equip()
