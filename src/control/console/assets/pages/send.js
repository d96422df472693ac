// Send your data: what to paste into a shipper, and whether it arrives.

import * as api from "../api.js";
import { announce, fill, h } from "../dom.js";
import { copyIcon, snippet } from "../components/copy.js";
import { field } from "../components/field.js";
import { into, notice } from "../components/states.js";
import { card, pageHead } from "../components/tabs.js";
import { ago, logTime } from "../format.js";
import { pageOf } from "../explore/logs.js";
import { icon } from "../icons.js";
import { listenerUrl } from "../listener.js";
import { here, href, replace } from "../router.js";
import { SHIPPERS } from "./snippets.js";

const TOKENS_MAX = 1000;
// When a live check that was refused is tried again.
const RETRY_MS = 5_000;
// Within which a log that was acknowledged can be found.
const FOUND_MS = 2_000;

export function page({ signal, onMove }) {
  const place = h("div", {});
  into(place, () => load(signal), (data) => content(data, signal, onMove));
  return h("div", { class: "page" }, pageHead("Send your data", "Pick what ships your logs, paste, and watch the first log arrive."), place);
}

async function load(signal) {
  const enabled = { filter: { enabled: true }, sort: [{ field: "createdAt", descending: false }], pagination: { pageNumber: 1, pageSize: TOKENS_MAX } };
  const [settings, found, before] = await Promise.all([
    api.get("/v1/account-management/settings", {}, signal),
    api.post("/v1/log-shipping/tokens/search", enabled, signal),
    newest(signal),
  ]);
  return { settings, before, tokens: found.results.filter((token) => token.token) };
}

function content({ settings, tokens, before }, signal, onMove) {
  const to = { url: listenerUrl(settings), token: "", type: "" };
  const chosen = tokens.find((token) => token.id === settings.defaultToken.id) ?? tokens[0];
  if (!chosen) return notice("warning", "No enabled token's value is known here. ", h("a", { href: href("/settings/tokens/shipping") }, "Create one"), " to ship with.");
  const token = field("Token", { tag: "select" }, { hint: "What is pasted ships with it." });
  token.input.append(...tokens.map((each) => h("option", { value: String(each.id), selected: each === chosen }, each.name)));
  const type = field("Type", { value: "app", maxlength: 64, pattern: "[A-Za-z0-9_.\\-]+" }, { hint: "How you find these logs: type:app" });
  const shippers = h("nav", { class: "shippers", "aria-label": "Shippers" });
  const paste = h("div", { class: "paste" });
  const show = () => {
    const shipper = SHIPPERS.find((each) => each.id === here().params.shipper) ?? SHIPPERS[0];
    to.token = tokens.find((each) => String(each.id) === token.input.value).token;
    to.type = encodeURIComponent(type.input.value.trim() || "app");
    fill(
      shippers,
      SHIPPERS.map((each) => h("a", { href: href("/send", { shipper: each.id }), "aria-current": each === shipper ? "true" : null, "data-key": each.id }, each.name)),
    );
    fill(paste, instructions(shipper, to));
    requestAnimationFrame(() => scrollTo(shippers));
  };
  onMove(show);
  token.input.addEventListener("change", show);
  type.input.addEventListener("input", show);
  if (!here().params.shipper) replace("/send", { shipper: SHIPPERS[0].id });
  show();
  return h(
    "div",
    { class: "stack" },
    arrival(before, signal),
    card(
      null,
      { id: "paste" },
      h(
        "div",
        { class: "send-to" },
        h("div", { class: "field" }, h("span", { class: "label" }, "Listener URL"), h("div", { class: "listener-box" }, h("code", {}, to.url), copyIcon(to.url, "Copy the listener URL"))),
        token,
        type,
      ),
      h("div", { class: "send" }, shippers, paste),
    ),
  );
}

// On a phone they stand in a row that is longer than the screen.
function scrollTo(shippers) {
  const current = shippers.querySelector("[aria-current]");
  shippers.scrollLeft = current.offsetLeft - shippers.offsetLeft - (shippers.clientWidth - current.offsetWidth) / 2;
}

function instructions(shipper, to) {
  return [
    h("h2", {}, shipper.name),
    shipper.before && h("p", {}, shipper.before),
    snippet(shipper.text(to), `the configuration for ${shipper.name}`, shipper.file),
    shipper.after && h("p", {}, shipper.after),
    shipper.more && snippet(shipper.more(to), `the second half for ${shipper.name}`, shipper.moreFile),
  ];
}

// Says when the first log arrives while the page is open, and which was the last `before`. What arrives before the connection that
// tells of it is open, or while it is broken, is found by a search.
function arrival(before, signal) {
  const waits = before
    ? [h("strong", {}, "Waiting for a new log"), h("p", {}, `The last one arrived ${ago(before.time / 1000)}. This turns green as soon as the next does.`)]
    : [h("strong", {}, "Waiting for logs"), h("p", {}, "This turns green as soon as a log arrives.")];
  const text = h("div", { class: "arrival-text", "aria-live": "polite" }, waits);
  const box = h("section", { class: "arrival waiting", "aria-label": "Live check" }, h("span", { class: "arrival-light", "aria-hidden": "true" }), text);
  const waiting = new AbortController();
  signal.addEventListener("abort", () => waiting.abort());
  const arrived = (line) => {
    if (waiting.signal.aborted) return;
    waiting.abort();
    box.classList.replace("waiting", "arrived");
    fill(box.querySelector(".arrival-light"), icon("check"));
    announce("First log received");
    fill(
      text,
      h("strong", {}, "First log received"),
      h("p", {}, h("code", {}, `${logTime(Date.now())}  ${line}`)),
      h("a", { href: href("/explore", { from: "now-15m" }) }, "Look at it in Explore"),
    );
  };
  listen(arrived, before, waiting.signal);
  return box;
}

// The newest log, if there is one that can be had.
const newest = (signal) => api.getWritten("/v1/logs", { limit: 1, from: "now-30d" }, signal).then((answer) => pageOf(answer).logs[0], () => undefined);

// Calls `arrived(line)` with what arrives after `before`, until `signal`.
function listen(arrived, before, signal) {
  const tail = api.stream("/v1/logs/tail", {});
  signal.addEventListener("abort", () => tail.close());
  tail.addEventListener("log", (event) => arrived(event.data));
  const look = async () => {
    const now = await newest(signal);
    if (now && (now.time !== before?.time || now.line !== before.line)) arrived(now.line);
  };
  tail.addEventListener("open", () => (look(), setTimeout(look, FOUND_MS)));
  // The browser tries again by itself, unless it was refused.
  tail.addEventListener("error", () => {
    if (tail.readyState === EventSource.CLOSED && !signal.aborted) setTimeout(() => signal.aborted || listen(arrived, before, signal), RETRY_MS);
  });
}
