// The sidebar, and the one menu with its dialogs that serves every conversation in it.
const sidebar = document.getElementById("sidebar")

class ConversationMenu extends HTMLElement {
  connectedCallback() {
    this.rename = this.querySelector("#rename")
    this.remove = this.querySelector("#remove")
    document.addEventListener("click", (event) => this.choose(event.target), true)
    this.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) event.target.closest("dialog")?.close()
    })
    if (!("command" in HTMLButtonElement.prototype)) this.obey()
  }

  /** The conversation whose menu button was pressed becomes the one that the dialogs are about. */
  choose(target) {
    const button = target.closest("[popovertarget=conversation-menu]")
    if (!button) return
    const link = button.closest("li")?.querySelector("a")
    const address = link?.getAttribute("href") ?? document.getElementById("state").dataset.address
    const title = (link ?? document.getElementById("title")).textContent
    this.rename.querySelector("form").action = `${address}rename/`
    this.rename.querySelector("[name=title]").value = title
    this.remove.querySelector("form").action = `${address}delete/`
    this.remove.querySelector("[data-title]").textContent = title
    this.querySelector("[data-export]").href = `${address}export.json`
  }

  /** What `command` does by itself in newer browsers. */
  obey() {
    this.addEventListener("click", (event) => {
      const button = event.target.closest("[commandfor]")
      const dialog = button && document.getElementById(button.getAttribute("commandfor"))
      if (!dialog) return
      this.querySelector("#conversation-menu").hidePopover()
      if (button.getAttribute("command") === "close") dialog.close()
      else dialog.showModal()
    })
  }
}

customElements.define("conversation-menu", ConversationMenu)
sidebar.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" })
