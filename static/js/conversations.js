// What is done with a conversation as a whole: the one menu that serves all of them, its dialog, a
// title that is written in its place, and a deletion that can be undone for a while.
const sidebar = document.getElementById("sidebar")
const UNDO_MS = 15_000

class ConversationMenu extends HTMLElement {
  connectedCallback() {
    this.menu = this.querySelector("#conversation-menu")
    this.dialog = this.querySelector("#rename")
    document.addEventListener("click", (event) => this.choose(event.target), true)
    this.addEventListener("click", (event) => this.begin(event), true)
    this.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) event.target.closest("dialog")?.close()
      if (this.menu.matches(":popover-open")) this.menu.hidePopover()
      const isGone = event.target.dataset.action === "delete/"
      queueMicrotask(() => catchFocus(isGone ? toast.querySelector("[name=undo]") : this.opener))
    })
    this.dialog.addEventListener("close", () => catchFocus(this.opener))
    if (!("command" in HTMLButtonElement.prototype)) this.obey()
  }

  /** The conversation whose menu button was pressed becomes the one that the commands are about. */
  choose(target) {
    const button = target.closest("[popovertarget=conversation-menu]")
    if (!button) return
    const { conversation, address } = document.getElementById("state").dataset
    this.button = button
    this.line = button.closest("li")
    const line = this.line ?? document.getElementById(`c-${conversation}`)
    const goal = this.line?.querySelector("a").getAttribute("href") ?? address
    for (const each of this.querySelectorAll("[data-action]")) {
      each.setAttribute(each.localName === "a" ? "href" : "action", goal + each.dataset.action)
    }
    this.dialog.querySelector("[name=title]").value = document.getElementById("title").textContent
    this.menu.toggleAttribute("data-pinned", line !== null && "pinned" in line.dataset)
  }

  /** The button that was pressed, or the one that has come in its place. */
  get opener() {
    if (!this.line) return this.button
    return document.getElementById(this.line.id)?.querySelector("[popovertarget]")
  }

  /** In the sidebar a title is written where it stands. */
  begin(event) {
    if (!this.line || !event.target.closest("[name=rename]")) return
    event.preventDefault()
    event.stopPropagation()
    this.menu.hidePopover()
    rename(this.line)
  }

  /** What `command` does by itself in newer browsers. */
  obey() {
    this.addEventListener("click", (event) => {
      const button = event.target.closest("[commandfor]")
      if (!button) return
      this.menu.hidePopover()
      if (button.getAttribute("command") === "close") this.dialog.close()
      else this.dialog.showModal()
    })
  }
}

customElements.define("conversation-menu", ConversationMenu)

// --- a title in its place ------------------------------------------------------------------------

function rename(line) {
  const link = line.querySelector("a")
  const form = document.getElementById("rename-inline").content.firstElementChild.cloneNode(true)
  const input = form.elements.namedItem("title")
  let isOver = false
  const end = () => {
    if (isOver) return
    isOver = true
    const hadFocus = form.contains(document.activeElement)
    form.remove()
    if (hadFocus) link.focus()
    document.dispatchEvent(new CustomEvent("potok:renamed", { detail: line.id }))
  }
  form.addEventListener("keydown", (event) => {
    event.stopPropagation()
    if (event.key !== "Escape" || event.isComposing) return
    event.preventDefault()
    end()
  })
  input.addEventListener("blur", () => {
    if (isOver) return
    if (input.value.trim() && input.value !== link.textContent) form.requestSubmit()
    else end()
  })
  // Only now: a title that can't be sent stays in its field.
  form.addEventListener("htmx:beforeOnLoad", (event) => event.detail.xhr.status < 400 && end())
  form.action = `${link.getAttribute("href")}rename/`
  input.value = link.textContent
  line.append(form)
  htmx.process(form)
  input.select()
  input.focus()
}

sidebar.addEventListener("keydown", (event) => {
  const line = event.target.closest("#listed > [data-version]")
  if (event.code === "F2" && line && !line.querySelector("form")) rename(line)
})

// --- undo ----------------------------------------------------------------------------------------

let toast = null
let leaving = 0

/** Above all else, the drawer too; it goes when nobody is at it. */
function offerUndo() {
  if (toast === document.getElementById("undo")) return
  toast = document.getElementById("undo")
  clearTimeout(leaving)
  if (!toast.querySelector("form")) return
  toast.popover = "manual"
  toast.showPopover()
  leaving = setTimeout(leave, UNDO_MS)
}

/** What had the focus is gone. */
function catchFocus(place) {
  const { activeElement } = document
  if (activeElement === document.body || !activeElement.checkVisibility()) place?.focus()
}

function leave() {
  if (toast.matches(":hover, :has(:focus-visible)")) leaving = setTimeout(leave, UNDO_MS)
  else toast.hidePopover()
}

new MutationObserver(offerUndo).observe(document.getElementById("conversation"), { childList: true })
offerUndo()
