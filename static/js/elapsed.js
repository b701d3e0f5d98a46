// Seconds since a moment, or until one, counted beside the page's own DOM so that only the moment is
// part of it.
const now = document.body.dataset.now
// What this machine's clock is ahead of the server's, as of the page's load.
const ahead = now ? performance.timeOrigin - Number(now) * 1000 : 0
const seconds = new Intl.NumberFormat(document.documentElement.lang, {
  style: "unit",
  unit: "second",
  unitDisplay: "narrow",
})

const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" })

class ElapsedTime extends HTMLElement {
  connectedCallback() {
    this.shadow ??= this.attachShadow({ mode: "open" })
    this.tick()
    this.timer = setInterval(() => this.tick(), 1000)
  }

  disconnectedCallback() {
    clearInterval(this.timer)
  }

  tick() {
    const { since, until } = this.dataset
    const passed = Math.round((Date.now() - ahead - Number(since ?? until)) / 1000)
    if (until) this.shadow.textContent = relative.format(Math.max(-passed, 0), "second")
    else this.shadow.textContent = passed > 0 ? seconds.format(passed) : ""
  }
}

customElements.define("elapsed-time", ElapsedTime)
