// Tables that sort: a click on the button in a heading sorts by its column, another click turns it.
"use strict";

(() => {
  const readCell = (row, column) => {
    const text = row.cells[column].textContent.trim();
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };

  function sortBy(heading) {
    const body = heading.closest("table").tBodies[0];
    const column = Number(heading.dataset.column);
    const isUp = heading.getAttribute("aria-sort") !== "ascending";
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [readCell(a, column), readCell(b, column)];
      return (x < y ? -1 : x > y ? 1 : 0) * (isUp ? 1 : -1);
    });
    for (const other of heading.closest("table").querySelectorAll("th[aria-sort]")) {
      other.removeAttribute("aria-sort");
    }
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    body.append(...rows);
  }

  for (const button of document.querySelectorAll("table.sortable thead th button")) {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  }
})();
