// An unsent message outlives a reload, a change of conversation and an expired login.
const text = document.getElementById("text")
const state = () => document.getElementById("state").dataset
const prefix = "potok.draft."
const POSTED = "potok.posted"
const name = () => `${prefix}${document.body.dataset.user}.${state().conversation ?? "new"}`
let key = name()

/** Storage may be forbidden or full: then a draft lives as long as its page. */
function quietly(action) {
  try {
    return action(localStorage)
  } catch {
    return null
  }
}

function keep() {
  quietly((storage) => (text.value ? storage.setItem(key, text.value) : storage.removeItem(key)))
}

// Without htmx yet a question was posted as any other form: if the page shows it, it is no draft more.
const words = (written) => written?.replace(/\s+/g, " ").trim()
quietly((storage) => {
  const posted = storage.getItem(POSTED)
  const asked = [...document.querySelectorAll("#messages .words")].at(-1)?.textContent
  if (posted && words(storage.getItem(posted)) === words(asked)) storage.removeItem(posted)
  storage.removeItem(POSTED)
})
document.addEventListener("submit", (event) => {
  if (event.target !== text.form || event.defaultPrevented) return
  quietly((storage) => storage.setItem(POSTED, key))
})

// What was typed before this ran stands behind what was there; what the server gave back is newer.
const stored = quietly((storage) => storage.getItem(key)) ?? ""
const isGiven = text.value && text.value === text.defaultValue
if (!isGiven && text.value !== stored) text.value = stored + text.value
text.addEventListener("input", keep)
text.dispatchEvent(new Event("input", { bubbles: true }))

document.addEventListener("potok:sent", () => {
  quietly((storage) => storage.removeItem(key))
  key = name()
  keep()
})

// Whoever logs out leaves nothing behind for the next person at this browser.
document.querySelector("#account form")?.addEventListener("submit", () => {
  quietly((storage) => {
    for (const found of Object.keys(storage)) if (found.startsWith(prefix)) storage.removeItem(found)
  })
})
