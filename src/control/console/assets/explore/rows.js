// The logs that were found, a row each; a row opens to show all of its fields.

import { fill, h } from "../dom.js";
import { copyButton } from "../components/copy.js";
import { iconButton } from "../components/field.js";
import { bytes, exact, logTime } from "../format.js";
import { icon } from "../icons.js";
import { textOf } from "./logs.js";
import { words } from "./query.js";

const ROWS_MAX = 2000;
const SUMMARY_FIELDS = 12;
// How much of a value stands in a row, and in the details before one asks for all of it.
const ROW_CHARS_MAX = 500;
const VALUE_CHARS_MAX = 2000;
// Longest value without spaces that is not broken in a column.
const PIECE_CHARS_MAX = 40;
// Not repeated in a row's summary.
const OBVIOUS = new Set(["@timestamp", "type"]);

export function rowTable(view, mayFilter) {
  const head = h("tr", {});
  const body = h("tbody", {});
  const whole = h(
    "div",
    { class: "rows-frame", tabindex: "0", role: "region", "aria-label": "Logs" },
    h("table", { class: "rows" }, h("caption", { class: "unseen" }, "Logs, newest first"), h("thead", {}, head), body),
  );
  const rows = { view, mayFilter, head, body, whole, shown: [] };
  whole.show = (logs) => {
    rows.shown = logs;
    redraw(rows);
  };
  whole.redraw = () => redraw(rows);
  whole.append = (logs) => {
    rows.shown.push(...logs);
    body.append(...logs.map((found) => row(rows, found)).flat());
  };
  whole.prepend = (logs) => {
    rows.shown.unshift(...logs);
    body.prepend(...logs.map((found) => row(rows, found, "fresh")).flat());
    for (const old of rows.shown.splice(ROWS_MAX)) old.row?.remove();
  };
  return whole;
}

function redraw(rows) {
  const { columns } = rows.view.state;
  rows.whole.classList.toggle("has-columns", columns.length > 0);
  fill(
    rows.head,
    h("th", { scope: "col", class: "time-column" }, "Time"),
    columns.map((name) => h("th", { scope: "col" }, h("span", { class: "column-head" }, name, iconButton("close", `Remove the column ${name}`, { onclick: () => rows.view.flipColumn(name) })))),
    columns.length === 0 && h("th", { scope: "col" }, "Log"),
  );
  rows.marked = words(rows.view.state.query);
  fill(rows.body, rows.shown.map((found) => row(rows, found)));
}

function row(rows, log, extra = "") {
  const { columns } = rows.view.state;
  const opener = h(
    "button",
    { class: "opener", type: "button", "aria-expanded": "false", title: exact(log.time) },
    icon("chevron"),
    h("time", {}, logTime(log.time)),
  );
  const element = h(
    "tr",
    { class: `log ${log.kind ?? "plain"} ${extra}` },
    h("td", { class: "time-column" }, opener),
    columns.length > 0
      ? columns.map((name) => cell(name, textOf(log.fields.get(name)), rows.marked))
      : h("td", { class: "summary" }, summary(log, rows.marked)),
  );
  log.row = element;
  element.addEventListener("click", (event) => {
    if (event.target.closest("button") !== opener && (event.target.closest("button, a") || String(getSelection()))) return;
    flip(rows, element, opener, log);
  });
  return element;
}

// Of a column: what is short, such as a number, stays in one piece; of a text there are two lines.
function cell(name, text, wanted) {
  const isShort = text.length <= PIECE_CHARS_MAX && !/\s/.test(text);
  return h("td", { "data-column": name, class: isShort ? "piece" : null }, isShort ? marked(text, wanted) : h("div", { class: "column-text" }, marked(cut(text), wanted)));
}

function summary(log, wanted) {
  const level = log.level && h("span", { class: `level ${log.kind ?? "plain"}` }, cut(log.fields.get(log.level)));
  const telling = [...log.fields].filter(([name]) => name !== log.message && name !== log.level && !OBVIOUS.has(name));
  // Of a log that says nothing, what there is.
  const others = telling.length || log.message || log.level ? telling : [...log.fields];
  return h(
    "div",
    { class: "summary-line" },
    level,
    " ",
    log.message && h("span", { class: "message" }, marked(cut(log.fields.get(log.message)), wanted)),
    others.slice(0, SUMMARY_FIELDS).map(([name, value]) => [" ", h("span", { class: "pair" }, h("b", {}, name), "=", marked(cut(textOf(value)), wanted))]),
  );
}

const cut = (text) => (text.length > ROW_CHARS_MAX ? `${text.slice(0, ROW_CHARS_MAX)}…` : text);

// `text`, in which what was looked for stands out.
function marked(text, wanted) {
  const low = text.toLowerCase();
  const pieces = [];
  let at = 0;
  while (at < text.length && low.length === text.length) {
    const next = wanted.map((word) => [low.indexOf(word, at), word.length]).filter(([index]) => index >= 0);
    if (next.length === 0) break;
    const [index, length] = next.reduce((best, one) => (one[0] < best[0] ? one : best));
    pieces.push(text.slice(at, index), h("mark", {}, text.slice(index, index + length)));
    at = index + length;
  }
  return [...pieces, text.slice(at)];
}

function flip(rows, element, opener, log) {
  const isOpen = opener.getAttribute("aria-expanded") === "true";
  opener.setAttribute("aria-expanded", String(!isOpen));
  element.classList.toggle("open", !isOpen);
  if (isOpen) return element.nextElementSibling.remove();
  const columns = Math.max(rows.view.state.columns.length, 1) + 1;
  element.after(h("tr", { class: "details" }, h("td", { colspan: columns }, details(rows, log))));
}

function details({ view, mayFilter }, log) {
  const around = 60_000;
  const span = { from: new Date(log.time - around).toISOString(), to: new Date(log.time + around).toISOString() };
  return h(
    "div",
    { class: "details-box" },
    h(
      "div",
      { class: "details-bar" },
      h("span", { class: "faint" }, exact(log.time)),
      h("span", { class: "spring" }),
      mayFilter && h("button", { class: "button small", type: "button", onclick: () => view.change({ ...span, query: "" }) }, icon("clock"), "What happened around it"),
      copyButton(() => log.line, "Copy JSON", { class: "button small copy" }),
    ),
    h(
      "table",
      { class: "details-table" },
      h("caption", { class: "unseen" }, "Fields of the log"),
      h("tbody", {}, [...log.fields].map(([name, value]) => detail(view, mayFilter, name, value))),
    ),
  );
}

// A long value begins with what fits.
function whole(text) {
  const place = h("span", { class: "details-value" }, text.slice(0, VALUE_CHARS_MAX));
  if (text.length <= VALUE_CHARS_MAX) return place;
  const all = h("button", { class: "button small", type: "button", onclick: () => fill(place, text) }, `Show all ${bytes(text.length)}`);
  place.append("… ", all);
  return place;
}

function detail(view, mayFilter, name, value) {
  const text = textOf(value);
  // An array matches if an element does.
  const sample = textOf(Array.isArray(value) ? value[0] : value);
  const isColumn = view.state.columns.includes(name);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name),
    h("td", {}, whole(text)),
    h(
      "td",
      { class: "actions" },
      h(
        "span",
        { class: "row-actions" },
        mayFilter && iconButton("plus", `Only ${name}: ${cut(sample)}`, { onclick: () => view.narrow(name, sample, false) }),
        mayFilter && iconButton("minus", `Without ${name}: ${cut(sample)}`, { onclick: () => view.narrow(name, sample, true) }),
        iconButton("columns", isColumn ? `Remove the column ${name}` : `Show ${name} as a column`, { onclick: () => view.flipColumn(name) }),
      ),
    ),
  );
}
