// What ticks: seconds since a moment or until one, and tokens that have come. All of it is shown beside
// the page's own DOM, so that only what it is counted from is part of that.
const language = document.documentElement.lang
const now = document.body.dataset.now
// What this machine's clock is ahead of the server's, as of the page's load.
const ahead = now ? performance.timeOrigin - Number(now) * 1000 : 0
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" })
const plural = new Intl.PluralRules(language)
const number = new Intl.NumberFormat(language)
const [minutes, seconds] = ["minute", "second"].map(
  (unit) => new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "narrow" }))

class Ticking extends HTMLElement {
  connectedCallback() {
    this.shadow ??= this.attachShadow({ mode: "open" })
    this.article = this.closest("article")
    this.tick()
    this.timer = setInterval(() => this.tick(), 1000)
  }

  disconnectedCallback() {
    clearInterval(this.timer)
  }
}

function duration(s) {
  if (s < 60) return s > 0 ? seconds.format(s) : ""
  const rest = s % 60
  return minutes.format(Math.floor(s / 60)) + (rest ? ` ${seconds.format(rest)}` : "")
}

class ElapsedTime extends Ticking {
  tick() {
    const { since, until, part } = this.dataset
    // Thinking ends with the first word of the answer.
    if (part && this.article?.querySelector("[data-part=body] > .block")) return
    const from = since ?? until ?? this.article?.querySelector(".foot elapsed-time")?.dataset.since
    if (!from) return
    const passed = Math.round((Date.now() - ahead - Number(from)) / 1000)
    this.shadow.textContent = until
      ? relative.format(Math.max(-passed, 0), "second") : duration(passed)
  }
}

// Nearly what replies/estimates.py counts of one that is cut; the gateway's own figure comes at the end.
const PIECE = /[A-Za-z]+|[\u0400-\u04ff]+|[0-9]+|[^\s\w]/gu

function weight(piece) {
  if (/^[A-Za-z]/.test(piece)) return 1 + 0.19 * Math.max(0, piece.length - 7)
  if (/^[\u0400-\u04ff]/.test(piece)) return 1.5 + 0.2 * Math.max(0, piece.length - 5)
  return /^\d/.test(piece) ? 1.2 + 0.4 * Math.max(0, piece.length - 3) : 0.75
}

class TokenCount extends Ticking {
  tick() {
    const blocks = this.article?.querySelectorAll(".block") ?? []
    const pieces = Array.from(blocks, (block) => block.textContent.match(PIECE) ?? []).flat()
    const tokens = Math.round(pieces.reduce((sum, piece) => sum + weight(piece), 0))
    const words = JSON.parse(this.dataset.words)
    // It ticks with the seconds: in the first of them there may be words and no count yet.
    const told = words[plural.select(tokens)].replace("#", number.format(tokens))
    this.shadow.textContent = tokens ? told : ""
  }
}

customElements.define("elapsed-time", ElapsedTime)
customElements.define("token-count", TokenCount)
