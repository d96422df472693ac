// What opens below a button: a list of actions, or any content.

import { fill, freshId, h } from "../dom.js";

const GAP = 6;
const EDGE = 8;

// A button (`button`, made by the caller) and what it opens. `content(close)` is built anew each time.
export function dropdown(button, content, { label, kind = "panel" } = {}) {
  const id = freshId("menu");
  const panel = h("div", { id, class: `popover ${kind}`, popover: "auto", role: kind === "panel" ? "dialog" : null, "aria-label": label });
  const close = () => panel.hidePopover();
  button.setAttribute("popovertarget", id);
  button.setAttribute("aria-haspopup", kind === "panel" ? "dialog" : "true");
  panel.addEventListener("beforetoggle", (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState !== "open") return;
    fill(panel, content(close));
  });
  // Once it can be measured, and before it is drawn; again when what it waited for has come.
  new ResizeObserver(() => panel.matches(":popover-open") && place(panel, button)).observe(panel);
  panel.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    panel.querySelector("[data-first], input, button, a")?.focus();
  });
  panel.addEventListener("keydown", (event) => kind === "menu" && walk(panel, event));
  button.setAttribute("aria-expanded", "false");
  return h("span", { class: "dropdown" }, button, panel);
}

function place(panel, button) {
  const from = button.getBoundingClientRect();
  const { width, height } = panel.getBoundingClientRect();
  const left = Math.min(Math.max(EDGE, from.left), innerWidth - width - EDGE);
  const below = from.bottom + GAP;
  const top = below + height > innerHeight - EDGE && from.top > height + GAP ? from.top - GAP - height : below;
  panel.style.left = `${Math.max(EDGE, left)}px`;
  panel.style.top = `${Math.max(EDGE, top)}px`;
}

// Up and down walk through a menu's items.
function walk(panel, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const items = [...panel.querySelectorAll("a, button")];
  const at = items.indexOf(document.activeElement);
  items.at((at + step + items.length) % items.length)?.focus();
}
