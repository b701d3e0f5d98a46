// The clipboard, on plain http too: a message as Markdown and HTML, and what other modules ask for
// by `potok:copy` from the button that was pressed, {text, html}.
const messages = document.getElementById("messages")
const announcer = document.getElementById("announcer")
const DONE_MS = 1500
const RETRY_MS = 1000
// What belongs to this page, and what only groups.
const OURS = "button, .code-head, .table-tools, .link-host"
const GROUPS = ".block, .code, .table"

async function write({ text, html }) {
  // The event carries both forms, and unlike navigator.clipboard it exists without TLS.
  const fill = (event) => {
    event.preventDefault()
    event.clipboardData.setData("text/plain", text)
    if (html) event.clipboardData.setData("text/html", html)
  }
  document.addEventListener("copy", fill, { once: true })
  const isCopied = document.execCommand("copy")
  document.removeEventListener("copy", fill)
  if (!isCopied) await navigator.clipboard.writeText(text)
}

/** The reply's HTML as other programs can use it. */
function plainHtml(body) {
  if (!body) return ""
  const copy = body.cloneNode(true)
  for (const each of copy.querySelectorAll(OURS)) each.remove()
  for (const each of copy.querySelectorAll(GROUPS)) each.replaceWith(...each.childNodes)
  for (const each of copy.querySelectorAll("[class], [tabindex], code span")) {
    if (each.matches("code span")) each.replaceWith(...each.childNodes)
    else for (const name of ["class", "tabindex"]) each.removeAttribute(name)
  }
  return copy.innerHTML
}

async function message(button) {
  const answer = await fetch(button.formAction)
  if (!answer.ok) throw new Error(`${answer.status}`)
  const body = button.closest("article").querySelector("[data-part=body].prose")
  return { text: await answer.text(), html: plainHtml(body) }
}

/** Said aloud, and by the button's colour for a moment. */
function tell(button, mark, said) {
  button.dataset[mark] = ""
  announcer.textContent = announcer.dataset[said]
  setTimeout(() => delete button.dataset[mark], DONE_MS)
}

async function copy(button, asked) {
  let content
  try {
    content = await asked
  } catch {
    return tell(button, "failed", "unfetched")
  }
  await write(content).then(
    () => tell(button, "done", "copied"),
    () => tell(button, "failed", "uncopied"),
  )
}

messages.addEventListener("click", (event) => {
  const button = event.target.closest("[name=copy]")
  if (!button) return
  event.preventDefault()
  copy(button, message(button))
})

// The tools of code and tables come with the first of these, however often the way to them is cut.
function watchForTools() {
  if (!messages.querySelector(".code, .table")) return
  watching.disconnect()
  bringTools(document.getElementById("code-tools").dataset.script)
}

function bringTools(address, failures = 0) {
  const script = document.createElement("script")
  script.type = "module"
  // A browser asks for a module that did not come never again, unless its address is another one.
  script.src = failures ? `${address}?${failures}` : address
  script.onerror = () => {
    script.remove()
    setTimeout(bringTools, RETRY_MS, address, failures + 1)
  }
  document.head.append(script)
}

const watching = new MutationObserver(watchForTools)
watching.observe(messages, { childList: true, subtree: true })
watchForTools()

document.addEventListener("potok:copy", ({ target, detail }) => copy(target, detail))
