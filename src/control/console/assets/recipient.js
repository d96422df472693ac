// The page as the recipient of a sharing link sees it: one view, read with the link's token and nothing else.

import * as api from "./api.js";
import { every, fill, h, shown } from "./dom.js";
import { failed, loading } from "./components/states.js";
import { dropdown } from "./components/menu.js";
import { dismiss } from "./components/toast.js";
import { date } from "./format.js";
import { icon, logo } from "./icons.js";
import { go, here } from "./router.js";
import { page } from "./pages/explore.js";
import { themeButton } from "./shell.js";

// How often a page that lies open asks what its link shows, and whether it is still valid.
const CHECK_MS = 3_000;

export async function startRecipient(root, token) {
  api.readAs(token);
  const controller = new AbortController();
  let view = null;
  const gone = () => {
    if (controller.signal.aborted) return;
    controller.abort();
    view?.abort();
    dismiss();
    document.title = "Link no longer valid · Shipgate";
    fill(root, bare(invalid()));
  };
  api.whenOver((error) => error.status === 401 && gone());
  fill(root, bare(loading()));
  let share;
  try {
    share = await api.get("/v1/share");
  } catch (error) {
    if (error.status === 401) return gone();
    fill(root, bare(failed(error, () => startRecipient(root, token))));
    return;
  }
  if (here().path !== "/explore") go("/explore");
  const showNow = (now) => {
    view?.abort();
    view = new AbortController();
    show(root, now, view.signal);
  };
  watch(share, showNow, controller.signal);
  showNow(share);
}

function show(root, share, signal) {
  document.title = shown(`${share.name} · ${share.accountName}`);
  let moved = () => {};
  addEventListener("hashchange", () => moved(), { signal });
  addEventListener("popstate", () => moved(), { signal });
  if (share.suspended) return fill(root, bare(suspended(share)));
  const main = h("main", { id: "main", class: "recipient", tabindex: "-1" });
  fill(root, h("div", { class: "bare-shell" }, head(share), main));
  fill(main, page({ recipient: share, path: "/explore", signal, onMove: (listener) => (moved = listener) }));
}

function head(share) {
  return h(
    "header",
    { class: "recipient-head" },
    logo(),
    h("div", { class: "recipient-name" }, h("strong", {}, share.accountName), h("span", {}, share.name)),
    share.expirationDate && h("span", { class: "badge" }, icon("clock"), `until ${date(share.expirationDate)}`),
    share.filters?.length > 0 && limits(share),
    themeButton(),
  );
}

// What of the account's logs this link shows.
function limits(share) {
  const button = h("button", { class: "button small", type: "button" }, icon("filter"), "Limited view");
  const word = share.filtersOperator === "OR" ? "any" : "all";
  return dropdown(
    button,
    () =>
      h(
        "div",
        { class: "limits" },
        h("p", {}, share.filters.length > 1 ? `You see logs that match ${word} of these:` : "You see logs that match:"),
        h("ul", { class: "chips" }, share.filters.map((filter) => h("li", { class: "chip" }, h("b", {}, filter.field), `: ${filter.value}`))),
      ),
    { label: "What this link shows" },
  );
}

function bare(...content) {
  return h("div", { class: "bare-shell" }, h("header", { class: "recipient-head" }, logo(), h("strong", {}, "Shipgate"), themeButton()), h("main", { id: "main", tabindex: "-1" }, content));
}

function invalid() {
  return h(
    "div",
    { class: "empty" },
    h("span", { class: "empty-symbol" }, icon("link")),
    h("h1", {}, "This link is no longer valid"),
    h("p", {}, "It has expired or was withdrawn. Ask whoever sent it to you for a new one."),
  );
}

function suspended(share) {
  return h(
    "div",
    { class: "empty", role: "status" },
    h("span", { class: "empty-symbol" }, icon("pause")),
    h("h1", {}, "This link shows nothing at the moment"),
    h("p", {}, `Whoever shared “${share.name}” with you has to choose its filters again. This page then shows the logs by itself.`),
  );
}

// Asks now and then what the link shows, which counts as no view of it. Another answer shows the page anew; that the token is over
// ends it.
function watch(share, changed, signal) {
  let known = JSON.stringify(share);
  let isAsking = false;
  const check = async () => {
    // A later answer would be overtaken by an earlier one.
    if (document.hidden || isAsking) return;
    isAsking = true;
    // What cannot be asked now is asked the next time.
    const now = await api.get("/v1/share", { again: true }, signal).catch(() => null);
    isAsking = false;
    if (signal.aborted || !now || JSON.stringify(now) === known) return;
    known = JSON.stringify(now);
    changed(now);
  };
  every(CHECK_MS, check, signal);
  document.addEventListener("visibilitychange", check, { signal });
}
