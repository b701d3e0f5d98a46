// Keeps the end in view while text arrives, until the reader leaves it. Growth of the page never
// counts as leaving, and only the reader's own way back to the end counts as returning. What is
// loaded above leaves the reader where they are. Who is at the end of a conversation that has grown
// holds what a page loaded afresh would: its newest messages.
const NEAR_PX = 8
const BACKWARDS = new Set(["PageUp", "Home", "ArrowUp"])
const AHEAD = "100%"

class FollowScroll extends HTMLElement {
  connectedCallback() {
    this.messages = this.querySelector("#messages")
    this.latest = document.getElementById("latest")
    this.top = 0
    this.hasGrown = false
    this.end = this.messages.lastElementChild?.id
    this.follow(!this.find())
    new MutationObserver(() => this.grown()).observe(this.messages, { childList: true })
    const growth = new ResizeObserver(() => this.follow(this.following))
    growth.observe(this.messages)
    growth.observe(this)
    this.addEventListener("scroll", () => this.scrolled(), { passive: true })
    this.addEventListener("wheel", (event) => event.deltaY < 0 && this.leave(), { passive: true })
    this.addEventListener("touchmove", () => this.leave(), { passive: true })
    this.addEventListener("pointerdown", (event) => event.target === this && this.leave())
    this.addEventListener("keydown", ({ key, shiftKey }) => {
      if (BACKWARDS.has(key) || (key === " " && shiftKey)) this.leave()
    })
    // What is opened under the pointer stays there, and another version stands where this one stood.
    const staying = "summary, [name^=branch], [name=wrap-code]"
    this.addEventListener("click", (event) => event.target.closest(staying) && this.leave(true))
    document.addEventListener("selectionchange", () => this.selecting() && this.leave())
    document.addEventListener("potok:sent", () => this.follow(true))
    this.latest?.addEventListener("click", () => this.toEnd())
    addEventListener("hashchange", () => this.find())
    this.readOn()
  }

  /** Whether the end of what the page holds is the end of the conversation. */
  get hasEnd() {
    return !this.querySelector("#later a")
  }

  follow(following) {
    this.following = following && this.hasEnd
    if (this.following) {
      this.shed()
      this.scrollTop = this.scrollHeight
    }
    this.showLatest()
  }

  grown() {
    const end = this.messages.lastElementChild?.id
    this.hasGrown ||= this.end !== end
    this.end = end
    if (this.following) this.shed()
  }

  /** Lets go of the oldest messages, and of none that is being used. */
  shed() {
    const surplus = [...this.messages.children].slice(0, -Number(this.dataset.newest))
    const isUsed = (article) => article.matches(":has(:focus, .edit)")
    if (!this.hasGrown || !surplus.length || surplus.some(isUsed)) return
    this.hasGrown = false
    surplus.forEach((article) => article.remove())
    const { message } = this.messages.firstElementChild.dataset
    const edge = document.getElementById("edge").innerHTML
    const address = document.getElementById("state").dataset.address
    const html = edge.replaceAll(/"[^"]*\?before=-"/g, `"${address}?before=${message}"`)
      .replace('data-edge="-"', `data-edge="${message}"`)
    htmx.swap("#earlier", html, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0 })
  }

  toEnd() {
    if (this.hasEnd) this.follow(true)
    else location.assign(document.getElementById("state").dataset.address)
  }

  /** Goes to the message that the address names; the page around it, if it isn't on this one. */
  find() {
    const message = /^#m-([\da-f-]{36})$/.exec(location.hash)?.[1]
    const place = message && document.getElementById(`m-${message}`)
    if (place) {
      this.leave(true)
      place.scrollIntoView()
    } else if (message && new URLSearchParams(location.search).get("at") !== message) {
      location.replace(`?at=${message}${location.hash}`)
    }
    return Boolean(place)
  }

  /** Loads what comes before and after, a screen before the reader gets there. */
  readOn() {
    const near = (entries) => {
      // No real click: a link that htmx has not come to yet would lead away from the page.
      for (const { isIntersecting, target } of entries) if (isIntersecting) htmx.trigger(target, "click")
    }
    const observer = new IntersectionObserver(near, { root: this, rootMargin: `${AHEAD} 0px` })
    const observe = () => {
      observer.disconnect()
      this.querySelectorAll(".edge a").forEach((link) => observer.observe(link))
    }
    document.addEventListener("htmx:load", observe)
    document.addEventListener("htmx:beforeSwap", ({ detail: { requestConfig } }) => {
      const isAbove = requestConfig.elt.closest("#earlier")
      this.below = isAbove && !this.following ? this.scrollHeight - this.scrollTop : null
    })
    document.addEventListener("htmx:afterSwap", () => {
      if (this.below) this.scrollTop = this.scrollHeight - this.below
    })
    document.addEventListener("htmx:afterSettle", () => { this.below = null })
  }

  leave(isAlways = false) {
    if (isAlways || this.scrollHeight > this.clientHeight) this.following = false
    this.showLatest()
  }

  scrolled() {
    const isDownwards = this.scrollTop >= this.top
    this.top = this.scrollTop
    const isBack = isDownwards && this.isAtEnd && this.hasEnd && !this.selecting()
    if (isBack && !this.following) this.follow(true)
    this.showLatest()
  }

  selecting() {
    const selection = getSelection()
    return !selection.isCollapsed && this.messages.contains(selection.anchorNode)
  }

  get isAtEnd() {
    return this.scrollHeight - this.clientHeight - this.scrollTop < NEAR_PX
  }

  showLatest() {
    const hides = this.following || (this.isAtEnd && this.hasEnd)
    // To set what is set already has the styles reckoned anew.
    if (this.latest && this.latest.hidden !== hides) this.latest.hidden = hides
  }
}

customElements.define("follow-scroll", FollowScroll)
