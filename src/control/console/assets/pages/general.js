// Settings > General.

import * as api from "../api.js";
import { h } from "../dom.js";
import { copyIcon, secret } from "../components/copy.js";
import { into } from "../components/states.js";
import { card, pageHead } from "../components/tabs.js";
import { bytes, counted, date } from "../format.js";
import { listenerUrl } from "../listener.js";
import { href } from "../router.js";
import { planName } from "../shell.js";

export function page({ signal }) {
  const place = h("div", { class: "stack" });
  into(place, () => api.get("/v1/account-management/settings", {}, signal), content);
  return h("div", { class: "page narrow" }, pageHead("General", "Your account, and what shippers need to know of it."), place);
}

function content(settings) {
  const url = listenerUrl(settings);
  const token = settings.defaultToken;
  return h(
    "div",
    { class: "stack" },
    card(
      "Account",
      { id: "account" },
      facts([
        ["Name", settings.accountName],
        ["Account ID", h("span", {}, h("code", {}, String(settings.accountId)), copyIcon(String(settings.accountId), "Copy the account ID"))],
        ["Plan", planName(settings.plan)],
        ["Created", date(settings.createdAt)],
      ]),
    ),
    card(
      "Shipping",
      { id: "shipping", actions: h("a", { class: "button", href: href("/settings/tokens/shipping") }, "Manage tokens") },
      facts([
        ["Listener URL", h("span", {}, h("code", {}, url), copyIcon(url, "Copy the listener URL"))],
        ["Default token", token.token ? h("span", {}, secret(token.token, "the default token"), h("span", { class: "faint" }, token.name)) : h("span", { class: "faint" }, "only its digest is known")],
        ["A 200 means", { written: "the lines survive the end of the process", synced: "the lines survive a power cut" }[settings.durability] ?? "what journal.durability says: unless it was changed, that the lines survive a power cut"],
      ]),
    ),
    card(
      "Keeping",
      { id: "keeping" },
      facts([
        ["Logs are kept for", counted(settings.retentionDays, "day")],
        ["At most", settings.retentionBytesMax ? bytes(settings.retentionBytesMax) : "no bound"],
        ["Ingest rate at most", settings.ingestBytesPerSecondMax ? `${bytes(settings.ingestBytesPerSecondMax)} a second` : "no bound"],
      ]),
    ),
  );
}

function facts(list) {
  return h("dl", { class: "facts" }, list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
