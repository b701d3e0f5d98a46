// Asks the server about what the question will cost once the writer pauses; again only when the text
// has become a good deal longer or shorter, or the model another one.
const place = document.getElementById("forecast")
const { elements } = document.getElementById("composer")
const PAUSE_MS = 600
const STEPS = 8 // to each e-fold of the text's length
let asked = ""
let timer = 0

function size() {
  const { length } = elements.text.value.trim()
  const { value: model } = elements.model
  return length && [Math.round(Math.log(length) * STEPS), model, elements.gateway.value].join()
}

function ask() {
  const now = size()
  if (now === asked) return
  asked = now
  if (now) htmx.trigger(place, "potok:weigh")
  else place.replaceChildren()
}

function wait() {
  clearTimeout(timer)
  timer = setTimeout(ask, PAUSE_MS)
}

elements.text.addEventListener("input", wait)
elements.model.addEventListener("change", wait)
place.addEventListener("htmx:configRequest", (event) => {
  const { address } = document.getElementById("state").dataset
  event.detail.path = `${address ?? "/"}forecast/`
})
// Of what is sent meanwhile nothing is told. (htmx calls a request that is given up an error.)
place.addEventListener("htmx:beforeSwap", (event) => { if (!asked) event.detail.shouldSwap = false })
document.addEventListener("potok:sent", () => {
  asked = ""
  place.replaceChildren()
  // What was written on while it was sent.
  wait()
})
wait()
