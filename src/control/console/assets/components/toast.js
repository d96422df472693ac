// A word at the edge of the screen that goes away by itself.

import { h } from "../dom.js";
import { icon } from "../icons.js";

const SECONDS = 5;
let rack = null;

export function toast(text, kind = "done") {
  rack ??= document.body.appendChild(h("div", { class: "toasts", popover: "manual", role: "status", "aria-live": "polite" }));
  const note = h(
    "div",
    { class: `toast ${kind}` },
    icon(kind === "done" ? "check" : "warning"),
    h("span", {}, text),
    h("button", { class: "icon-button", type: "button", "aria-label": "Dismiss", onclick: () => gone(note) }, icon("close")),
  );
  rack.append(note);
  // Again and again, so that it lies above dialogs opened meanwhile.
  if (rack.matches(":popover-open")) rack.hidePopover();
  rack.showPopover();
  setTimeout(() => gone(note), SECONDS * 1000 * (kind === "done" ? 1 : 2));
}

function gone(note) {
  note.remove();
  if (!rack.childElementCount && rack.matches(":popover-open")) rack.hidePopover();
}
