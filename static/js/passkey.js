// A form that asks the browser for a passkey before it is sent: to make one, or to log in with one.
// It is hidden where the browser knows none. What goes wrong is said in the form's own words.
const SAID = { NotAllowedError: "cancelled", AbortError: "cancelled", InvalidStateError: "known" }

async function options(form) {
  if (form.dataset.options) return JSON.parse(form.dataset.options)
  const answer = await fetch(form.dataset.ask, { method: "POST", body: new FormData(form) })
  if (!answer.ok) throw new Error(`${answer.status}`)
  return answer.json()
}

const asked = {
  create: (json) =>
    navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(json) }),
  get: (json) =>
    navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(json) }),
}

async function ask(form) {
  const said = form.querySelector("[data-said]")
  said.textContent = ""
  try {
    const credential = await asked[form.dataset.passkey](await options(form))
    form.elements.credential.value = JSON.stringify(credential)
  } catch (error) {
    said.textContent = said.dataset[SAID[error.name] ?? "failed"]
    return
  }
  form.requestSubmit()
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = !window.PublicKeyCredential?.parseCreationOptionsFromJSON
  form.addEventListener("submit", (event) => {
    if (form.elements.credential.value) return
    event.preventDefault()
    ask(form)
  })
}
