// An unsent message outlives a reload, a change of conversation and an expired login.
const text = document.getElementById("text")
const state = () => document.getElementById("state").dataset
const prefix = "potok.draft."
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

if (!text.value) {
  text.value = quietly((storage) => storage.getItem(key)) ?? ""
  text.dispatchEvent(new Event("input", { bubbles: true }))
}
text.addEventListener("input", keep)

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
