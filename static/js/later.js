// What the first message does not need is fetched once that can be written: on a slow device each
// script takes the main thread's time several times over, and the field would wait for all of them.
const later = document.getElementById("later")

document.addEventListener("DOMContentLoaded", () => {
  for (const script of later.content.children) {
    const copy = document.importNode(script)
    copy.async = false // they run in their order
    later.before(copy)
  }
})
