// Tabs that are places of their own: each is a link.

import { h } from "../dom.js";
import { href } from "../router.js";

// `tabs` are [path, name]; the one at `path` is shown.
export function tabs(label, path, list) {
  return h(
    "nav",
    { class: "tabs", "aria-label": label },
    list.map(([to, name]) => h("a", { href: href(to), "aria-current": to === path ? "page" : null }, name)),
  );
}

// The head of a page: what it is, what it is for, and what can be done.
export function pageHead(title, text, ...actions) {
  return h(
    "header",
    { class: "page-head" },
    h("div", {}, h("h1", { tabindex: "-1" }, title), text && h("p", {}, text)),
    actions.length > 0 && h("div", { class: "page-actions" }, actions),
  );
}

// A part of a page in a frame.
export function card(title, { text, actions, id } = {}, ...content) {
  return h(
    "section",
    { class: "card", "aria-labelledby": id },
    title && h("header", { class: "card-head" }, h("div", {}, h("h2", { id }, title), text && h("p", {}, text)), actions && h("div", { class: "card-actions" }, actions)),
    content,
  );
}
