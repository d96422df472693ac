// A word at the edge of the screen that goes away by itself.

import { h, shown } from "../dom.js";
import { icon } from "../icons.js";

const SECONDS = 5;
// How many there are at once; the oldest goes first.
const MOST = 2;
let rack = null;

export function toast(text, kind = "done") {
  dismiss(text);
  rack ??= document.body.appendChild(h("div", { class: "toasts", popover: "manual", role: "status", "aria-live": "polite" }));
  const note = h(
    "div",
    { class: `toast ${kind}` },
    icon(kind === "done" ? "check" : "warning"),
    h("span", {}, text),
    h("button", { class: "icon-button", type: "button", "aria-label": "Dismiss", onclick: () => gone(note) }, icon("close")),
  );
  rack.append(note);
  while (rack.childElementCount > MOST) rack.firstElementChild.remove();
  // Again and again, so that it lies above dialogs opened meanwhile.
  if (rack.matches(":popover-open")) rack.hidePopover();
  rack.showPopover();
  setTimeout(() => gone(note), SECONDS * 1000 * (kind === "done" ? 1 : 2));
}

// Takes away those that say `text`, which the page itself says now; without one all of them, since what they were about has gone.
export function dismiss(text) {
  for (const note of [...(rack?.children ?? [])]) {
    if (text === undefined || note.querySelector("span").textContent === shown(text)) gone(note);
  }
}

function gone(note) {
  note.remove();
  if (!rack.childElementCount && rack.matches(":popover-open")) rack.hidePopover();
}
