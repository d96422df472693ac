// A word at the edge of the screen that goes away by itself, or with Esc.

import { h, shown } from "../dom.js";
import { icon } from "../icons.js";

const SECONDS = 5;
// How many there are at once; the oldest goes first.
const MOST = 2;
// It is there from the start: a screen reader reads what is added to a place that it knows, no more.
const rack = document.body.appendChild(h("div", { class: "toasts", popover: "manual", role: "status", "aria-live": "polite", "aria-atomic": "false" }));
// Where there are no popovers it lies below dialogs, and all else works.
rack.showPopover?.();
addEventListener("keydown", (event) => event.key === "Escape" && dismiss());

export function toast(text, kind = "done") {
  dismiss(text);
  const note = h(
    "div",
    { class: `toast ${kind}` },
    icon(kind === "done" ? "check" : "warning"),
    h("span", {}, text),
    h("button", { class: "icon-button", type: "button", "aria-label": "Dismiss", onclick: () => gone(note) }, icon("close")),
  );
  if (document.querySelector("dialog[open]")) raise();
  rack.append(note);
  while (rack.childElementCount > MOST) rack.firstElementChild.remove();
  const later = () => setTimeout(() => (isInUse(note) ? later() : gone(note)), SECONDS * 1000 * (kind === "done" ? 1 : 2));
  later();
}

// Above a dialog that was opened meanwhile.
function raise() {
  rack.hidePopover?.();
  rack.showPopover?.();
}

// Nobody loses what they are about to read or to press.
const isInUse = (note) => note.matches(":hover, :focus-within");

// Takes away those that say `text`, which the page itself says now; without one all of them, since what they were about has gone.
export function dismiss(text) {
  for (const note of [...rack.children]) {
    if (text === undefined || note.querySelector("span").textContent === shown(text)) gone(note);
  }
}

function gone(note) {
  const held = note.contains(document.activeElement);
  note.remove();
  if (held) (rack.querySelector("button") ?? document.getElementById("main"))?.focus();
}
