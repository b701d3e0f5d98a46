// What the first message does not need is fetched once that can be written: on a slow device a script
// takes the main thread's time several times over, and the field would wait for it.
const later = document.getElementById("later")

document.addEventListener("DOMContentLoaded", () => {
  later.before(document.importNode(later.content, true))
})
