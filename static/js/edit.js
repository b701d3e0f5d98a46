// The form over a message that is being changed. Its words outlive a cancel: they are there again when
// the form is, until the server has them.
const messages = document.getElementById("messages")
const composer = document.getElementById("text")
const kept = new Map()
let opener = null

function cancel(form) {
  const article = form.closest("article")
  const text = form.querySelector("textarea")
  if (text.value === text.defaultValue) kept.delete(text.id)
  else kept.set(text.id, text.value)
  form.remove()
  const button = article.querySelector(form.matches(".feedback") ? "[name=comment]" : "[name=edit]")
  const place = opener === composer ? composer : button
  place?.focus()
}

// The arrow key opens it from the composer, which is where whoever gives it up was writing.
messages.addEventListener("htmx:beforeRequest", () => { opener = document.activeElement })

messages.addEventListener("htmx:afterSettle", () => {
  const text = messages.querySelector(".edit textarea:focus")
  if (!text) return
  text.value = kept.get(text.id) ?? text.value
  text.setSelectionRange(text.value.length, text.value.length)
})

messages.addEventListener("htmx:beforeOnLoad", ({ target, detail }) => {
  if (target.matches(".edit") && detail.xhr.status < 400) kept.delete(target.querySelector("textarea").id)
})

messages.addEventListener("click", (event) => {
  if (!event.target.closest(".edit [name=cancel]")) return
  event.preventDefault()
  cancel(event.target.closest(".edit"))
})

messages.addEventListener("keydown", (event) => {
  const form = event.target.closest(".edit")
  if (!form || event.isComposing || event.keyCode === 229) return
  if (event.key !== "Escape") return
  event.preventDefault()
  cancel(form)
})
