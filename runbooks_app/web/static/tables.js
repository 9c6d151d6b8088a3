/* Tables that cells made, sorted by the button in a column's head: up, down, and as the cell had them. Without script
   the buttons are not there, and the rows stand as the cell had them. */
"use strict";

(() => {
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const asMade = new WeakMap();
  const words = new Intl.Collator(undefined, { numeric: true });

  const number = (text) => Number(text.replace(/[,_\s%]/g, "").replace("\u2212", "-") || NaN);
  const compare = (numbers) => (one, other) => {
    if (!numbers) return words.compare(one, other);
    const [a, b] = [number(one), number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? 0 : a - b;
  };
  /* What is no number in a column of numbers stays below, whichever way they go. */
  const lacks = (numbers, text) => text === "" || (numbers && Number.isNaN(number(text)));

  const sort = (button) => {
    const head = button.closest("th");
    const body = button.closest("table").tBodies[0];
    const rows = [...body.rows];
    rows.forEach((row, place) => { if (!asMade.has(row)) asMade.set(row, place); });
    const way = NEXT[head.getAttribute("aria-sort") || "none"];
    const numbers = head.classList.contains("num");
    const said = (row) => row.cells[head.cellIndex].textContent.trim();
    const ordered = compare(numbers);
    rows.sort((one, other) => {
      if (way === "none") return asMade.get(one) - asMade.get(other);
      const [a, b] = [said(one), said(other)];
      const below = lacks(numbers, a) - lacks(numbers, b);
      return below || (way === "descending" ? -1 : 1) * ordered(a, b) || asMade.get(one) - asMade.get(other);
    });
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    if (way !== "none") head.setAttribute("aria-sort", way);
    body.append(...rows);
    const column = head.textContent.trim() || "row label";
    document.getElementById("said").textContent = way === "none" ? "As the cell had it" : `Sorted by ${column}, ${way}`;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-sorts] button.sort");
    if (button) sort(button);
  });
})();
