// What Enter does in a field whose form sends: it sends and Shift+Enter breaks the line, or the other
// way round. Return on a touch keyboard breaks it, one that ends composing a character does neither.
const { dataset } = document.getElementById("composer")
const isTouch = matchMedia("(pointer: coarse)")

function sends(event) {
  if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return false
  if (event.ctrlKey || event.metaKey) return true
  return !isTouch.matches && event.shiftKey === (dataset.enter === "breaks")
}

document.addEventListener("keydown", (event) => {
  if (!event.target.matches("#text, .edit textarea") || !sends(event)) return
  event.preventDefault()
  event.target.form.requestSubmit()
})
