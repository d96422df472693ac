// Keys that work on every page.

import { h } from "./dom.js";
import { openDialog } from "./components/dialog.js";
import { go } from "./router.js";

const KEYS = [
  ["/", "Search"],
  ["g e", "Explore"],
  ["g t", "Manage tokens"],
  ["g s", "Send your data"],
  ["g o", "Operations"],
  ["l", "Live tail on or off, in Explore"],
  ["?", "These shortcuts"],
  ["Esc", "Close what is open"],
];
const PLACES = { e: "/explore", t: "/settings/tokens/shipping", s: "/send", o: "/operations" };
const PREFIX_MS = 1000;

let prefixed = 0;

export function keepShortcuts() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, textarea, select, dialog, [popover]:popover-open")) return;
    if (pressed(event.key)) event.preventDefault();
  });
}

function pressed(key) {
  const place = Date.now() - prefixed < PREFIX_MS && PLACES[key];
  prefixed = key === "g" ? Date.now() : 0;
  // A recipient of a link has only the one page.
  if (place && document.querySelector(".nav")) return go(place), true;
  if (key === "?") return showShortcuts(), true;
  if (key === "/") return focusOn("[data-search]");
  if (key === "l") return document.querySelector("[data-live]")?.click(), true;
  return false;
}

function focusOn(selector) {
  const found = document.querySelector(selector);
  found?.focus();
  found?.select?.();
  return Boolean(found);
}

export function showShortcuts() {
  return openDialog({
    title: "Keyboard shortcuts",
    body: () =>
      h(
        "dl",
        { class: "shortcuts" },
        KEYS.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, text))),
      ),
  });
}
