// Tables: on a phone each row becomes a card, its cells labelled by their column.

import { h } from "../dom.js";

// `columns` are { name, label?, class?, hidden? }; `rows` are arrays of cells (a node, a text, or a list of them), or
// { cells, class }. `kind` is a class of the whole.
export function table(caption, columns, rows, kind = "") {
  return h(
    "div",
    { class: "table-frame" },
    h(
      "table",
      { class: `table ${kind}` },
      h("caption", { class: "unseen" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) =>
            h("th", { scope: "col", class: column.class }, column.hidden ? h("span", { class: "unseen" }, column.name) : column.name),
          ),
        ),
      ),
      h("tbody", {}, rows.map((row) => tableRow(columns, row))),
    ),
  );
}

function tableRow(columns, row) {
  const cells = row.cells ?? row;
  return h(
    "tr",
    { class: row.class },
    cells.map((cell, at) =>
      h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: columns[at].class, "data-column": columns[at].hidden ? null : columns[at].name }, cell),
    ),
  );
}
