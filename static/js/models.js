// The model field as a combobox over the page's datalist: typed or picked, by keyboard or pointer; and
// the star, which keeps its model among the favourites. In a dialog the list is open all the time.
const offered = () => document.getElementById("models")

class ModelPicker extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("[name=model]")
    this.popup = this.querySelector(".models")
    this.list = this.querySelector("[role=listbox]")
    this.star = this.querySelector("[name=keep]")
    this.gateway = this.input.form.elements.namedItem("gateway")
    this.stays = "stays" in this.dataset
    this.input.removeAttribute("list")
    this.input.role = "combobox"
    this.input.ariaAutoComplete = "list"
    this.input.ariaExpanded = "false"
    this.input.setAttribute("aria-controls", this.list.id)

    this.input.addEventListener("focus", () => this.input.select())
    this.input.addEventListener("click", () => this.stays || this.open(""))
    this.input.addEventListener("blur", () => this.close())
    this.input.addEventListener("input", () => {
      this.gateway.value = ""
      this.open(this.input.value)
      this.shine()
    })
    document.addEventListener("htmx:load", this.refresh)
    this.shine()
    this.input.addEventListener("keydown", (event) => this.pressed(event))
    // Not click: the field would lose the focus first, and the list with it.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault())
    this.list.addEventListener("click", (event) => this.pick(event.target.closest("[role=option]")))
    if (this.stays) this.open("")
  }

  disconnectedCallback() {
    document.removeEventListener("htmx:load", this.refresh)
  }

  /** Prices or favourites have come: the list again, with the same one marked. */
  refresh = ({ target }) => {
    if (target.id !== "models") return
    this.shine()
    if (!this.isOpen) return
    const marked = this.marked?.dataset
    this.open(this.words)
    const isSame = ({ dataset }) => dataset.value === marked?.value && dataset.gateway === marked?.gateway
    if (marked) this.mark(this.options.find(isSame))
  }

  get isOpen() {
    return !this.popup.hidden
  }

  get choices() {
    return [...offered().options]
  }

  /** The star stands by a model's name, filled if that is a favourite. */
  shine() {
    if (!this.star) return
    const { value } = this.input
    const gateway = this.gateway.value
    const isSame = (choice) => choice.value === value && [choice.dataset.gateway, ""].includes(gateway)
    const isKept = this.choices.some((choice) => isSame(choice) && "favourite" in choice.dataset)
    this.star.hidden = !value.trim()
    this.star.ariaPressed = String(isKept)
    this.star.value = isKept ? "0" : "1"
  }

  open(words) {
    this.words = words
    // Prices come when somebody looks.
    htmx.trigger(offered(), "potok:open")
    const wanted = words.trim().toLowerCase()
    const found = this.choices.filter((choice) => choice.value.toLowerCase().includes(wanted))
    const groups = new Map()
    for (const [number, choice] of found.entries()) {
      const isKept = "favourite" in choice.dataset
      const label = isKept ? this.list.dataset.favourites : choice.textContent
      const key = isKept ? "" : choice.dataset.gateway
      if (!groups.has(key)) groups.set(key, this.group(label))
      groups.get(key).append(this.option(choice, `${this.input.id}-${number}`))
    }
    this.list.replaceChildren(...groups.values())
    this.list.hidden = !found.length
    this.popup.hidden = false
    this.input.ariaExpanded = "true"
    this.mark(this.options.find((option) => option.dataset.value === this.input.value))
  }

  group(name) {
    const group = document.createElement("div")
    const label = document.createElement("div")
    group.role = "group"
    group.ariaLabel = label.textContent = name
    label.className = "gateway"
    label.ariaHidden = "true"
    group.append(label)
    return group
  }

  option(choice, id) {
    const option = document.createElement("div")
    option.role = "option"
    option.id = id
    option.ariaSelected = "false"
    option.dataset.value = option.textContent = choice.value
    if (choice.dataset.about) {
      const about = document.createElement("span")
      about.textContent = choice.dataset.about
      option.append(about)
    }
    option.dataset.gateway = choice.dataset.gateway
    return option
  }

  get options() {
    return [...this.list.querySelectorAll("[role=option]")]
  }

  get marked() {
    return this.list.querySelector("[aria-selected=true]")
  }

  mark(option) {
    if (this.marked) this.marked.ariaSelected = "false"
    if (option) option.ariaSelected = "true"
    this.input.setAttribute("aria-activedescendant", option?.id ?? "")
    option?.scrollIntoView({ block: "nearest" })
  }

  close() {
    if (this.stays) return
    this.popup.hidden = true
    this.input.ariaExpanded = "false"
    this.input.removeAttribute("aria-activedescendant")
  }

  pick(option) {
    if (!option) return
    if (this.stays) this.mark(option)
    this.input.value = option.dataset.value
    this.gateway.value = option.dataset.gateway
    this.input.dispatchEvent(new Event("change", { bubbles: true }))
    this.shine()
    this.leave()
  }

  leave() {
    if (this.stays) return
    this.close()
    this.input.form.elements.namedItem("text").focus()
  }

  pressed(event) {
    if (event.isComposing) return
    if (event.key === "Enter") {
      event.preventDefault()
      if (this.isOpen && this.marked) this.pick(this.marked)
      else this.leave()
      if (this.stays) this.input.form.requestSubmit()
    } else if (event.key === "Escape" && this.isOpen && !this.stays) {
      event.preventDefault()
      this.close()
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault()
      if (!this.isOpen) return this.open("")
      const options = this.options
      const step = event.key === "ArrowDown" ? 1 : -1
      const place = options.indexOf(this.marked)
      const start = place < 0 && step < 0 ? 0 : place
      this.mark(options.at((start + step) % options.length))
    }
  }
}

customElements.define("model-picker", ModelPicker)
