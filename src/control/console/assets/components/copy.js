// Buttons that copy, and say so.

import { announce, h } from "../dom.js";
import { icon } from "../icons.js";
import { toast } from "./toast.js";

const SAID_MS = 1600;

// `text` may be a function, asked when the button is pressed.
export function copyButton(text, label = "Copy", properties = {}) {
  const said = h("span", { class: "copy-label" }, label);
  const button = h("button", { class: "button copy", type: "button", ...properties }, icon("copy"), said);
  button.addEventListener("click", () => copied(button, text, () => (said.textContent = "Copied"), () => (said.textContent = label)));
  return button;
}

// Only the symbol; `what` is its name, such as "Copy the listener address".
export function copyIcon(text, what) {
  const button = h("button", { class: "icon-button copy", type: "button", "aria-label": what, title: what }, icon("copy"));
  button.addEventListener("click", () => copied(button, text, () => (button.title = "Copied"), () => (button.title = what)));
  return button;
}

// A secret of which only the ends are shown, to copy with a click.
export function secret(value, what, key) {
  const shown = value.length > 14 ? `${value.slice(0, 6)}…${value.slice(-4)}` : value;
  const text = h("span", { class: "secret-text" }, shown);
  const button = h(
    "button",
    { class: "secret copy", type: "button", "aria-label": `Copy ${what}`, title: "Click to copy", "data-key": key },
    text,
    icon("copy"),
  );
  button.addEventListener("click", () => copied(button, value, () => (text.textContent = "Copied"), () => (text.textContent = shown)));
  return button;
}

// A text in a box of its own that can be copied as a whole; `name` stands above it, such as the file it belongs in.
export function snippet(text, what, name) {
  return h(
    "div",
    { class: "snippet" },
    h("div", { class: "snippet-head" }, h("span", { class: "mono" }, name), copyButton(text, "Copy", { class: "button small copy", "aria-label": `Copy ${what}` })),
    h("pre", { tabindex: "0", role: "region", "aria-label": what, class: text.includes("\n") ? null : "plain" }, h("code", {}, text)),
  );
}

async function copied(button, text, say, unsay) {
  const value = typeof text === "function" ? text() : text;
  if (!(await toClipboard(value, button))) {
    toast("Your browser does not let this page copy. Select the text and copy it yourself.", "failed");
    return;
  }
  say();
  button.classList.add("copied");
  button.querySelector(".icon").replaceWith(icon("check"));
  announce("Copied");
  clearTimeout(button.saidTimer);
  button.saidTimer = setTimeout(() => {
    unsay();
    button.classList.remove("copied");
    button.querySelector(".icon").replaceWith(icon("copy"));
  }, SAID_MS);
}

async function toClipboard(text, beside) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS browsers have no clipboard to write to, but for the old command.
    const area = h("textarea", { class: "unseen", "aria-hidden": "true", readonly: true, value: text });
    (beside.closest("dialog") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    beside.focus();
    return done;
  }
}
