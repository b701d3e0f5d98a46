// What the socket learned that the page as a whole has to tell: a line under the header says it.
document.addEventListener("potok:outdated", () => {
  document.body.dataset.notice = "outdated"
})

document.addEventListener("potok:session-over", () => {
  document.body.dataset.notice = "logged-out"
  const next = new URLSearchParams({ next: location.pathname })
  document.querySelector(".when-logged-out a").search = next
})
