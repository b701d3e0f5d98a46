// On a narrow page a row of a list is a card: each of its values then says which column it is of.
const nameOf = (cell) => cell.matches(".sheet *") ? cell : cell.querySelector(".text > :not(.visually-hidden)")

for (const list of document.querySelectorAll("#result_list, .sheet > table:has(> thead)")) {
  const names = [...list.tHead.rows[0].cells].map((cell) => nameOf(cell)?.textContent.trim() ?? "")
  for (const row of list.tBodies[0].rows) {
    for (const [place, cell] of [...row.cells].entries()) {
      cell.dataset.column = names[place] ?? ""
      if (cell.textContent.trim() === "—") cell.dataset.nothing = ""
    }
  }
  list.dataset.named = ""
}
