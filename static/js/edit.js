// The form over a question that is being edited: it keeps its text until the server has it.
const messages = document.getElementById("messages")

function cancel(form) {
  const article = form.closest("article")
  form.remove()
  article.querySelector("[name=edit]")?.focus()
}

messages.addEventListener("htmx:afterSettle", () => {
  const text = messages.querySelector(".edit textarea:focus")
  text?.setSelectionRange(text.value.length, text.value.length)
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
