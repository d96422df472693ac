// What can be done with the logs found: count, live tail, export, saved views, sharing.

import { download } from "../api.js";
import { fill, h } from "../dom.js";
import { dropdown } from "../components/menu.js";
import { short, whole } from "../format.js";
import { icon } from "../icons.js";
import { shareView } from "./share.js";
import { viewsMenu } from "./views.js";

export function toolbar(view, { isAdmin, isRecipient }) {
  const count = h("span", { class: "count" }, "");
  const took = h("span", { class: "faint took" });
  const fieldsButton = h("button", { class: "button fields-button", type: "button", "aria-expanded": "false" }, icon("columns"), h("span", { class: "button-text" }, "Fields"));
  fieldsButton.addEventListener("click", () => {
    const open = view.element.classList.toggle("fields-open");
    fieldsButton.setAttribute("aria-expanded", String(open));
  });
  const liveText = h("span", { class: "button-text" }, "Live tail");
  const live = h("button", { class: "button live-button", type: "button", "aria-pressed": "false", "data-live": true, onclick: () => view.goLive(!view.tail) }, h("span", { class: "live-light", "aria-hidden": "true" }), liveText);
  const pause = h("button", { class: "button", type: "button", hidden: true });
  const bar = h(
    "div",
    { class: "tools" },
    fieldsButton,
    h("div", { class: "tools-count", "aria-live": "polite" }, count, took),
    h("span", { class: "spring" }),
    pause,
    live,
    exportMenu(view),
    !isRecipient && viewsMenu(view),
    !isRecipient && h("button", { class: "button primary", type: "button", onclick: () => shareView(view, isAdmin) }, icon("share"), h("span", { class: "button-text" }, "Share")),
  );
  let paused = false;
  const showPause = (held) => fill(pause, icon(paused ? "play" : "pause"), paused ? `Resume${held ? ` (${whole(held)} new)` : ""}` : "Pause");
  pause.addEventListener("click", () => view.tail?.pause(!paused));
  bar.live = (on) => {
    paused = false;
    live.setAttribute("aria-pressed", String(on));
    liveText.textContent = "Live tail";
    pause.hidden = !on;
    showPause(0);
  };
  bar.held = (held, isPaused, isBroken) => {
    paused = isPaused;
    liveText.textContent = isBroken ? "Reconnecting…" : "Live tail";
    showPause(held);
  };
  bar.counted = (total, partial) => {
    count.textContent = total === null ? "" : `${partial ? "at least " : ""}${short(total)} ${total === 1 ? "log" : "logs"}`;
    count.title = total === null ? "" : whole(total);
  };
  bar.took = (milliseconds, partial) => (took.textContent = [partial && "partial", milliseconds != null && `${whole(Math.round(milliseconds))} ms`].filter(Boolean).join(", "));
  return bar;
}

function exportMenu(view) {
  const button = h("button", { class: "button", type: "button" }, icon("download"), h("span", { class: "button-text may-hide" }, "Export"));
  return dropdown(
    button,
    (close) => {
      const link = (format, name) => h("a", { href: download("/v1/logs/export", { ...view.asked(), format }), download: `logs.${format}`, onclick: close }, icon("download"), h("span", {}, name[0], h("small", {}, name[1])));
      return h("div", {}, link("ndjson", ["Newline-separated JSON", ".ndjson"]), link("ndjson.zst", ["The same, compressed", ".ndjson.zst"]));
    },
    { label: "Export all logs found", kind: "menu" },
  );
}
