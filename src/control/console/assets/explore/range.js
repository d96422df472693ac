// Which stretch of time is looked at.

import { h } from "../dom.js";
import { field } from "../components/field.js";
import { dropdown } from "../components/menu.js";
import { icon } from "../icons.js";
import { PRESETS, asField, described, instant } from "./time.js";

// `current()` gives { from, to }; `chosen({ from, to })` hears of another.
export function rangePicker(current, chosen) {
  const text = h("span", {}, described(current()));
  const button = h("button", { class: "button range", type: "button", "aria-label": "Time range" }, icon("clock"), text, icon("down"));
  const picker = dropdown(
    button,
    (close) => {
      const choose = (range) => (close(), chosen(range));
      return h("div", { class: "range-panel" }, presets(current(), choose), absolute(current(), choose));
    },
    { label: "Time range" },
  );
  picker.show = () => {
    text.textContent = described(current());
    button.setAttribute("aria-label", `Time range: ${described(current())}`);
  };
  picker.show();
  return picker;
}

function presets(range, choose) {
  return h(
    "div",
    { class: "presets" },
    PRESETS.map((from) => {
      const isCurrent = range.from === from && range.to === "now";
      return h(
        "button",
        { type: "button", "aria-pressed": String(isCurrent), "data-first": isCurrent, onclick: () => choose({ from, to: "now" }) },
        described({ from, to: "now" }),
      );
    }),
  );
}

function absolute(range, choose) {
  const end = (label, text) => field(label, { type: "datetime-local", step: 1, value: Number.isNaN(instant(text)) ? "" : asField(instant(text)), required: true });
  const from = end("From", range.from);
  const to = end("To", range.to);
  const form = h("form", { class: "form", novalidate: true }, from, to, h("button", { class: "button primary", type: "submit" }, "Apply"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [begin, finish] = [from, to].map(({ input }) => new Date(input.value));
    const problem = to.querySelector(".field-problem");
    if (!(begin < finish)) return (problem.textContent = "The end is after the beginning.");
    choose({ from: begin.toISOString(), to: finish.toISOString() });
  });
  return form;
}
