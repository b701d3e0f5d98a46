// Plays a reply back as it came. Each step is a template with the blocks that it changes, rendered by
// the server under the ids that they have in the message; here they are only put in their places.
class ReplyReplay extends HTMLElement {
  connectedCallback() {
    const player = this.querySelector(".player")
    if (!player) return
    player.hidden = false
    this.steps = Array.from(this.querySelectorAll("template"))
    this.length = Number(this.dataset.length)
    this.at = this.length
    this.shown = this.steps.length - 1
    this.play = player.querySelector("[name=play]")
    this.range = player.querySelector("[name=at]")
    this.speed = player.querySelector("[name=speed]")
    this.time = player.querySelector("output")
    this.cursor = this.querySelector(".cursor")
    const article = this.querySelector("article")
    this.parts = {
      reasoning: article.querySelector("[data-part=reasoning] > .prose"),
      body: article.querySelector("[data-part=body]"),
    }
    const number = new Intl.NumberFormat(document.documentElement.lang, {
      minimumFractionDigits: 1, maximumFractionDigits: 1,
    })
    this.told = (ms) => this.time.dataset.told.replace("#", number.format(ms / 1000))
    this.play.addEventListener("click", () => (this.isPlaying ? this.pause() : this.start()))
    this.range.addEventListener("input", () => this.seek(Number(this.range.value)))
    this.addEventListener("click", (event) => {
      const mark = event.target.closest(".marks [data-at]")
      if (!mark) return
      event.preventDefault()
      this.seek(Number(mark.dataset.at))
    })
    article.querySelector("[data-part=reasoning]")?.setAttribute("open", "")
    this.seek(this.length)
  }

  disconnectedCallback() {
    this.pause?.()
  }

  get isPlaying() {
    return this.frame !== undefined
  }

  start() {
    if (this.at >= this.length) this.seek(0)
    this.play.textContent = this.play.dataset.pause
    let before = performance.now()
    const tick = (now) => {
      this.seek(Math.min(this.at + (now - before) * Number(this.speed.value), this.length))
      before = now
      if (this.at >= this.length) this.pause()
      else this.frame = requestAnimationFrame(tick)
    }
    this.frame = requestAnimationFrame(tick)
  }

  pause() {
    cancelAnimationFrame(this.frame)
    this.frame = undefined
    if (this.play) this.play.textContent = this.play.dataset.play
  }

  seek(ms) {
    this.at = ms
    this.range.value = ms
    this.time.textContent = this.told(ms)
    const x = this.length ? (1000 * ms) / this.length : 0
    this.cursor.setAttribute("x1", x)
    this.cursor.setAttribute("x2", x)
    let wanted = this.steps.findLastIndex((step) => Number(step.dataset.at) <= ms)
    // Backwards there is only anew from the beginning: a step tells what it changed, not what was there.
    if (wanted < this.shown) this.clear()
    while (this.shown < wanted) this.apply(this.steps[++this.shown])
  }

  clear() {
    for (const part of Object.values(this.parts)) part?.replaceChildren()
    this.shown = -1
  }

  apply(step) {
    for (const block of [...document.importNode(step.content, true).children]) this.put(block)
    for (const [name, part] of Object.entries(this.parts)) {
      while (part && part.children.length > Number(step.dataset[name])) part.lastElementChild.remove()
    }
  }

  put(block) {
    const there = document.getElementById(block.id)
    if (there) there.replaceWith(block)
    else (block.id.match(/-rb-\d+$/) ? this.parts.reasoning : this.parts.body)?.append(block)
  }
}

customElements.define("reply-replay", ReplyReplay)
