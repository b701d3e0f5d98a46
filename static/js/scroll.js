// Keeps the end in view while text arrives, until the reader leaves it. Growth of the page never
// counts as leaving, and only the reader's own way back to the end counts as returning.
const NEAR_PX = 8
const BACKWARDS = new Set(["PageUp", "Home", "ArrowUp"])

class FollowScroll extends HTMLElement {
  connectedCallback() {
    this.messages = this.querySelector("#messages")
    this.latest = document.getElementById("latest")
    this.top = 0
    this.follow(!location.hash)
    const growth = new ResizeObserver(() => this.follow(this.following))
    growth.observe(this.messages)
    growth.observe(this)
    this.addEventListener("scroll", () => this.scrolled(), { passive: true })
    this.addEventListener("wheel", (event) => event.deltaY < 0 && this.leave(), { passive: true })
    this.addEventListener("touchmove", () => this.leave(), { passive: true })
    this.addEventListener("pointerdown", (event) => event.target === this && this.leave())
    this.addEventListener("keydown", (event) => BACKWARDS.has(event.key) && this.leave())
    // What is opened under the pointer stays there.
    this.addEventListener("click", (event) => event.target.closest("summary") && this.leave(true))
    document.addEventListener("selectionchange", () => this.selecting() && this.leave())
    document.addEventListener("potok:sent", () => this.follow(true))
    this.latest?.addEventListener("click", () => this.follow(true))
  }

  follow(following) {
    this.following = following
    if (following) this.scrollTop = this.scrollHeight
    this.showLatest()
  }

  leave(isAlways = false) {
    if (isAlways || this.scrollHeight > this.clientHeight) this.following = false
    this.showLatest()
  }

  scrolled() {
    const isDownwards = this.scrollTop >= this.top
    this.top = this.scrollTop
    if (isDownwards && this.isAtEnd && !this.selecting()) this.following = true
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
    if (this.latest) this.latest.hidden = this.following || this.isAtEnd
  }
}

customElements.define("follow-scroll", FollowScroll)
