// Fields of forms, with their labels, hints and problems.

import { freshId, h } from "../dom.js";
import { icon } from "../icons.js";

// A labelled input: `input` holds its attributes; its element is in `.input`.
export function field(label, input = {}, { hint, problem, optional } = {}) {
  const id = freshId("field");
  const described = [hint && `${id}-hint`, `${id}-problem`].filter(Boolean).join(" ");
  const element = h(input.tag ?? "input", {
    id,
    class: "input",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": described,
    "data-problem": problem,
    ...input,
    tag: null,
  });
  const whole = h(
    "div",
    { class: "field" },
    h("label", { for: id }, label, optional && h("span", { class: "faint" }, " optional")),
    element,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    h("p", { class: "field-problem", id: `${id}-problem` }),
  );
  element.addEventListener("input", () => {
    element.removeAttribute("aria-invalid");
    whole.querySelector(".field-problem").textContent = "";
  });
  whole.input = element;
  return whole;
}

// One of several, as buttons that lie together. `options` are [value, label]; `chosen()` hears of a choice.
export function segments(legend, options, value, chosen, { hidden = false } = {}) {
  const name = freshId("choice");
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: hidden ? "unseen" : null }, legend),
    h(
      "div",
      { class: "segments-row" },
      options.map(([option, label]) =>
        h(
          "label",
          { class: "segment" },
          h("input", { type: "radio", name, value: option, checked: option === value, onchange: () => chosen(option) }),
          h("span", {}, label),
        ),
      ),
    ),
  );
}

// A dropdown of `options`, each {value, label, detail}, of which any may be chosen. `.values()` are those that are;
// `changed(values)` hears of a change.
export function checks(legend, options, chosen, { none, changed = () => {} } = {}) {
  const boxes = options.map((option) =>
    h("input", { type: "checkbox", value: option.value, checked: chosen.includes(option.value), onchange: () => show() }),
  );
  const summary = h("summary", { class: "input" });
  const values = () => options.filter((_, at) => boxes[at].checked).map((option) => option.value);
  const show = () => {
    const names = options.filter((_, at) => boxes[at].checked).map((option) => option.label);
    summary.replaceChildren(h("span", {}, names.length ? names.join(", ") : none), icon("down"));
    changed(values());
  };
  show();
  const list = options.map((option, at) =>
    h("label", { class: "check" }, boxes[at], h("span", {}, option.label), option.detail && h("small", {}, option.detail)),
  );
  const whole = h("fieldset", { class: "checks" }, h("legend", {}, legend), h("details", {}, summary, h("div", { class: "checks-list" }, list)));
  whole.values = values;
  return whole;
}

// On or off. `flip(on)` does it and may fail; meanwhile it cannot be touched. `locked` says why it never can.
export function toggle({ label, on, flip, locked, key }) {
  const id = freshId("why");
  const button = h(
    "button",
    {
      class: "toggle",
      type: "button",
      role: "switch",
      "aria-checked": String(on),
      "aria-label": label,
      "aria-disabled": locked ? "true" : null,
      "aria-describedby": locked ? id : null,
      title: locked,
      "data-key": key,
    },
    h("span", { class: "toggle-knob" }),
  );
  const press = busyWith(button, async () => {
    button.setAttribute("aria-checked", String(!on));
    try {
      await flip(!on);
    } catch (error) {
      button.setAttribute("aria-checked", String(on));
      if (error.status === undefined) throw error;
    }
  });
  button.addEventListener("click", () => locked || press());
  return locked ? h("span", { class: "locked" }, button, h("span", { class: "unseen", id }, locked)) : button;
}

// `act`, which does not begin again while it is under way; `button` says so.
export const busyWith = (button, act) => async (event) => {
  if (button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  try {
    await act(event);
  } finally {
    button.removeAttribute("aria-busy");
  }
};

// A button that cannot be used says why; one that is at it already does not begin again.
export function iconButton(symbol, label, { locked, onclick, ...properties } = {}) {
  const button = h(
    "button",
    {
      class: "icon-button",
      type: "button",
      "aria-label": locked ? `${label}: ${locked}` : label,
      title: locked ?? label,
      "aria-disabled": locked ? "true" : null,
      ...properties,
    },
    icon(symbol),
  );
  if (locked) button.addEventListener("click", (event) => event.preventDefault());
  else if (onclick) button.addEventListener("click", busyWith(button, onclick));
  return button;
}
