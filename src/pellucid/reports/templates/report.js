// Two comforts for report.html: tables that sort by a click on a heading, and images that open in full.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  table.querySelectorAll("thead th button").forEach((button) => {
    const heading = button.closest("th");
    const column = heading.cellIndex;
    const words = heading.dataset.sort === "words";
    button.addEventListener("click", () => {
      // Words begin with the smallest, numbers with the largest; a third click restores the order of the classes.
      const order = words ? ["ascending", "descending", "none"] : ["descending", "ascending", "none"];
      const next = order[(order.indexOf(heading.getAttribute("aria-sort") ?? "none") + 1) % 3];
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (one, other) => words
        ? key(one).localeCompare(key(other))
        : (Number(key(one)) - Number(key(other)));
      const missing = (row) => key(row) === "" ? 1 : 0;
      const rows = next === "none" ? original : [...original].sort(
        (one, other) => missing(one) - missing(other) || sign * compare(one, other));
      body.append(...rows);
    });
  });
}

const dialog = document.querySelector("dialog");
const shown = dialog.querySelector("img");
const caption = dialog.querySelector("p");
const thumbnails = [...document.querySelectorAll("button.thumbnail")];
let current = 0;

function open(index) {
  current = (index + thumbnails.length) % thumbnails.length;
  const image = thumbnails[current].querySelector("img");
  const full = dialog.querySelector("figure");
  shown.src = image.src;
  shown.alt = image.alt;
  // A tile of 96 pixels is enlarged so that its pixels show; a photograph is shown as large as the window.
  full.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 160);
  caption.textContent = thumbnails[current].dataset.caption;
  if (!dialog.open) dialog.showModal();
}

thumbnails.forEach((thumbnail, index) => thumbnail.addEventListener("click", () => open(index)));
dialog.querySelector(".earlier").addEventListener("click", () => open(current - 1));
dialog.querySelector(".later").addEventListener("click", () => open(current + 1));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => thumbnails[current].focus());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") open(current - 1);
  if (event.key === "ArrowRight") open(current + 1);
});

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
