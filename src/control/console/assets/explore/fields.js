// The fields of the logs that were found, with their most frequent values.

import { fill, h } from "../dom.js";
import { meter } from "../components/drawings.js";
import { iconButton } from "../components/field.js";
import { loading } from "../components/states.js";
import { short } from "../format.js";
import { icon } from "../icons.js";

// `view` tells and changes what is shown; `mayFilter`: whether a click may narrow the query.
export function fieldList(view, mayFilter) {
  const search = h("input", { class: "input small", type: "search", placeholder: "Find a field", "aria-label": "Find a field" });
  const list = h("div", { class: "field-list" });
  const whole = h("aside", { class: "fields", "aria-label": "Fields" }, h("div", { class: "fields-head" }, h("h2", {}, "Fields"), search), list);
  const sidebar = { view, mayFilter, list, search, open: new Set(), data: null };
  search.addEventListener("input", () => draw(sidebar));
  whole.loading = () => sidebar.data || fill(list, loading(8));
  // Nothing was searched.
  whole.clear = () => {
    sidebar.data = null;
    fill(list);
  };
  whole.show = (data) => {
    sidebar.data = data ?? sidebar.data;
    draw(sidebar);
  };
  return whole;
}

function draw(sidebar) {
  const { data, view, search, list } = sidebar;
  if (!data) return;
  const wanted = search.value.trim().toLowerCase();
  const found = data.fields.filter((field) => field.name.toLowerCase().includes(wanted));
  const isColumn = (field) => view.state.columns.includes(field.name);
  const group = (title, fields) => fields.length > 0 && [h("h3", {}, title), h("ul", {}, fields.map((field) => item(sidebar, field)))];
  fill(
    list,
    group("Columns", found.filter(isColumn).sort((a, b) => view.state.columns.indexOf(a.name) - view.state.columns.indexOf(b.name))),
    group(found.some(isColumn) ? "Other fields" : "All fields", found.filter((field) => !isColumn(field))),
    found.length === 0 && h("p", { class: "faint" }, wanted ? "No field of this name." : "No fields in this time."),
  );
}

function item(sidebar, field) {
  const { view, data, open } = sidebar;
  const isOpen = open.has(field.name);
  const isColumn = view.state.columns.includes(field.name);
  const flip = () => {
    if (isOpen) open.delete(field.name);
    else open.add(field.name);
    draw(sidebar);
  };
  const share = data.total ? `${Math.round((field.count / data.total) * 100)}%` : "";
  return h(
    "li",
    { class: isOpen ? "open" : null },
    h(
      "div",
      { class: "field-row" },
      h("button", { class: "field-name", type: "button", "aria-expanded": String(isOpen), "data-key": `field-${field.name}`, onclick: flip }, icon("chevron"), h("span", {}, field.name), h("small", { title: `In ${short(field.count)} of ${short(data.total)} logs` }, share)),
      iconButton(isColumn ? "minus" : "plus", isColumn ? `Remove the column ${field.name}` : `Add the column ${field.name}`, { "data-key": `column-${field.name}`, onclick: () => view.flipColumn(field.name) }),
    ),
    isOpen && values(sidebar, field),
  );
}

const VALUE_CHARS_MAX = 200;
const cut = (value) => (String(value).length > VALUE_CHARS_MAX ? `${String(value).slice(0, VALUE_CHARS_MAX)}…` : String(value));

function values({ view, mayFilter }, field) {
  if (field.values.length === 0) return h("p", { class: "faint" }, "Too many different values to count.");
  return h(
    "ul",
    { class: "values" },
    field.values.map(({ value, count }) =>
      h(
        "li",
        {},
        h("span", { class: "value-text", title: cut(value) }, cut(value) || "(empty)"),
        h("span", { class: "value-count" }, `${Math.round((count / Math.max(field.count, 1)) * 100)}%`),
        mayFilter && h(
          "span",
          { class: "value-actions" },
          iconButton("plus", `Only ${field.name}: ${cut(value)}`, { onclick: () => view.narrow(field.name, value, false) }),
          iconButton("minus", `Without ${field.name}: ${cut(value)}`, { onclick: () => view.narrow(field.name, value, true) }),
        ),
        meter(count, field.count, `${cut(value)}: ${count} logs`),
      ),
    ),
  );
}
