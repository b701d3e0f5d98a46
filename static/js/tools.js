// What a reader does with a code block or a table: wrap, copy, save. The tools are added to what the
// renderer made, alike in a page that streamed and in one loaded afresh.
const messages = document.getElementById("messages")
const scroller = document.getElementById("scroll") ?? document.scrollingElement
const codeTools = document.getElementById("code-tools").content
const tableTools = document.getElementById("table-tools").content
const WRAP = "potok.wrap"
const SAVED_MS = 10_000
// A spreadsheet would run such a cell, and a model wrote it; a number with a sign is none.
const FORMULA = /^(?:[=@\t\r\uff1d\uff20]|[+\-\uff0b\uff0d](?![\d\s.,%()]*$))/

function equip() {
  for (const head of messages.querySelectorAll(".code-head:not(:has(> .code-tools))")) {
    head.append(codeTools.cloneNode(true))
    showWrap(head)
  }
  for (const table of messages.querySelectorAll(".table:not(:has(+ .table-tools))")) {
    table.after(tableTools.cloneNode(true))
  }
  // Scrolling by keyboard.
  for (const box of messages.querySelectorAll(":is(.table, .code > pre):not([tabindex])")) {
    box.tabIndex = 0
  }
  // A task's box has no label, and is ticked or not without saying of what.
  for (const box of messages.querySelectorAll("li [type=checkbox]:not([aria-label])")) {
    box.setAttribute("aria-label", lineOf(box))
  }
}

/** Without the blocks under it, which may still grow. */
function lineOf(box) {
  let line = ""
  for (let next = box.nextSibling; next; next = next.nextSibling) {
    if (next.matches?.("ul, ol, div, p, blockquote")) break
    line += next.textContent
  }
  return line.trim()
}

// --- code ----------------------------------------------------------------------------------------

/** Storage may be forbidden: then a choice lives as long as its page. */
function stored(action) {
  try {
    return action(localStorage)
  } catch {
    return null
  }
}

function showWrap(place) {
  const isWrapped = "wrap" in document.body.dataset
  for (const each of place.querySelectorAll("[name=wrap-code]")) each.ariaPressed = isWrapped
}

function wrap(button) {
  const before = button.getBoundingClientRect().top
  const isWrapped = document.body.toggleAttribute("data-wrap")
  stored((storage) => isWrapped ? storage.setItem(WRAP, "1") : storage.removeItem(WRAP))
  showWrap(messages)
  // All blocks change, and the one under the pointer stays there.
  scroller.scrollTop += button.getBoundingClientRect().top - before
}

const codeOf = (button) => button.closest(".code").querySelector("pre").textContent

// --- tables --------------------------------------------------------------------------------------

function cell(element) {
  const copy = element.cloneNode(true)
  for (const each of copy.querySelectorAll(".link-host")) each.remove()
  const text = copy.textContent.replace(/\s+/g, " ").trim()
  return FORMULA.test(text) ? `'${text}` : text
}

function rows(button) {
  const table = button.closest(".table-tools").previousElementSibling.querySelector("table")
  return Array.from(table.rows, (row) => Array.from(row.cells, cell))
}

function tsv(button) {
  return rows(button).map((row) => row.join("\t")).join("\n")
}

/** As Excel reads it where it says a decimal comma: by semicolons, and UTF-8 by its mark. */
function csv(button) {
  const hasComma = new Intl.NumberFormat(navigator.language).format(1.5).includes(",")
  const separator = hasComma ? ";" : ","
  const quoted = (text) => /[",;\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  const lines = rows(button).map((row) => row.map(quoted).join(separator))
  return `\ufeff${lines.join("\r\n")}\r\n`
}

// --- what the buttons do -------------------------------------------------------------------------

function save(text, ending, type) {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }))
  link.download = `${(document.getElementById("title")?.textContent ?? document.title).trim()}.${ending}`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), SAVED_MS)
}

function copy(button, text) {
  button.dispatchEvent(new CustomEvent("potok:copy", { bubbles: true, detail: { text } }))
}

const actions = {
  "wrap-code": wrap,
  "save-code": (button) =>
    save(codeOf(button), button.closest(".code").dataset.ext ?? "txt", "text/plain"),
  "copy-code": (button) => copy(button, codeOf(button)),
  "copy-table": (button) => copy(button, tsv(button)),
  "save-table": (button) => save(csv(button), "csv", "text/csv"),
}

messages.addEventListener("click", (event) => {
  const button = event.target.closest("button")
  actions[button?.name]?.(button)
})

if (stored((storage) => storage.getItem(WRAP))) document.body.dataset.wrap = ""
new MutationObserver(equip).observe(messages, { childList: true, subtree: true })
equip()
