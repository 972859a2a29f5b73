"use strict";
const ends = [...document.querySelectorAll("details.end")];
for (const button of document.querySelectorAll("[data-all]"))
  button.addEventListener("click", () => ends.forEach((end) => { end.open = Boolean(button.dataset.all); }));

document.getElementById("search").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const end of ends) {
    const found = !wanted || end.dataset.words.toLowerCase().includes(wanted);
    end.hidden = !found;
    if (wanted) end.open = found;
    for (const box of end.querySelectorAll(".box"))
      box.classList.toggle("found", Boolean(wanted) && box.textContent.toLowerCase().includes(wanted));
  }
});

const lens = document.getElementById("lens");
if (lens) {
  const side = lens.querySelector("image").width.baseVal.value;
  const seen = document.getElementById("seen");
  const said = document.getElementById("said");
  const show = (event) => {
    const box = event.target.closest(".box[data-field]");
    lens.hidden = !box;
    if (!box) return;
    const [height, width] = box.dataset.field.split(" ").map(Number);
    const set = (name, value) => seen.setAttribute(name, value);
    set("x", (side - width) / 2); set("y", (side - height) / 2); set("width", width); set("height", height);
    said.textContent = `a cell in the middle has seen ${width} x ${height} of ${side} x ${side} pixels`;
  };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
}
