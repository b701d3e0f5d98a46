// Seconds since a moment, counted beside the page's own DOM so that only the moment is part of it.
const now = document.body.dataset.now
// What this machine's clock is ahead of the server's, as of the page's load.
const ahead = now ? performance.timeOrigin - Number(now) * 1000 : 0
const seconds = new Intl.NumberFormat(document.documentElement.lang, {
  style: "unit",
  unit: "second",
  unitDisplay: "narrow",
})

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
    const passed = Math.round((Date.now() - ahead - Number(this.dataset.since)) / 1000)
    this.shadow.textContent = passed > 0 ? seconds.format(passed) : ""
  }
}

customElements.define("elapsed-time", ElapsedTime)
