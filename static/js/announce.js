// Says once, politely, how a reply ended; its words are read when the listener wants them.
const messages = document.getElementById("messages")
const announcer = document.getElementById("announcer")
const open = new Set()

function look() {
  for (const { id, dataset } of messages.children) {
    if (dataset.status === "queued" || dataset.status === "streaming") open.add(id)
    else if (open.delete(id)) announcer.textContent = announcer.dataset[dataset.status] ?? ""
  }
}

new MutationObserver(look).observe(messages, {
  childList: true,
  subtree: true,
  attributeFilter: ["data-status"],
})
look()
