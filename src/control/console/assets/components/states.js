// What stands where content is not there: yet, at all, or because something failed.

import { fill, h } from "../dom.js";
import { icon } from "../icons.js";
import { href } from "../router.js";
import { dismiss } from "./toast.js";

export function loading(lines = 4) {
  return h(
    "div",
    { class: "loading", role: "status" },
    h("span", { class: "unseen" }, "Loading"),
    Array.from({ length: lines }, () => h("div", { class: "bone", "aria-hidden": "true" })),
  );
}

// An empty place says what would be here, and how to bring it about.
export function empty({ symbol, title, text, action, role }) {
  return h(
    "div",
    { class: "empty", role },
    symbol && h("span", { class: "empty-symbol" }, icon(symbol)),
    h("h3", {}, title),
    h("p", {}, text),
    action,
  );
}

// A failure says what happened, and offers to try again.
export function failed(error, again) {
  dismiss(error.message);
  return h(
    "div",
    { class: "empty failed", role: "alert" },
    h("span", { class: "empty-symbol" }, icon("warning")),
    h("h3", {}, error.status === 403 ? "You may not see this" : "This could not be loaded"),
    h("p", {}, error.message),
    error.requestId && h("p", { class: "faint" }, "Request ", h("code", {}, error.requestId)),
    again && h("button", { class: "button", type: "button", onclick: again }, icon("refresh"), "Try again"),
  );
}

// A box beside the content: kind is "info", "warning" or "danger".
export function notice(kind, ...content) {
  const symbol = kind === "info" ? "info" : "warning";
  return h("div", { class: `notice ${kind}` }, icon(symbol), h("div", {}, content));
}

export function nothingHere() {
  return empty({
    symbol: "search",
    title: "There is no such page",
    text: "The address may be mistyped, or you may not be allowed to see it.",
    action: h("a", { class: "button", href: href("/explore") }, "Go to Explore"),
  });
}

// Of several questions about the same thing the last one's answer counts: `const isLast = turn()` before one asks, and when the
// answer is there, `isLast()`.
export function turns() {
  let last;
  return () => {
    const mine = (last = {});
    return () => last === mine;
  };
}

// Whose turn it is, by the place that the answer is for.
const turnsOf = new WeakMap();

// Shows `load()`'s answer with `show`, or what stands in its place. What is there already stays until the answer comes; the answer
// to an earlier question for the same place comes too late.
export async function into(place, load, show, lines) {
  if (!turnsOf.has(place)) turnsOf.set(place, turns());
  const isLast = turnsOf.get(place)();
  if (!place.childElementCount || place.querySelector(".failed")) fill(place, loading(lines));
  try {
    const answer = await load();
    if (!isLast()) return;
    fill(place, show(answer));
  } catch (error) {
    if (error.name === "AbortError" || !isLast()) return;
    if (error.status === undefined) throw error;
    fill(place, failed(error, () => into(place, load, show, lines)));
  }
}
