// Operations: whether gateways serve, how much comes, what is refused, and who still ships with a token that is over.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { meter, sparkline } from "../components/drawings.js";
import { confirm } from "../components/dialog.js";
import { iconButton } from "../components/field.js";
import { empty, into } from "../components/states.js";
import { table } from "../components/table.js";
import { card, pageHead, tabs } from "../components/tabs.js";
import { toast } from "../components/toast.js";
import { ago, counted, exact, short, whole } from "../format.js";

const REFRESH_MS = 5_000;
const SAMPLES_MAX = 60;
const USAGE_MAX = 1000;

export const OPERATIONS_TABS = [["/operations", "Overview"], ["/operations/audit", "Audit trail"]];

export function page({ path, signal }) {
  const place = h("div", {});
  const rates = [];
  const load = async () => {
    const [gateways, usage] = await Promise.all([api.get("/v1/gateways", {}, signal), api.get("/v1/log-shipping/usage", { limit: USAGE_MAX }, signal)]);
    rates.push(gateways.reduce((sum, gateway) => sum + (gateway.state === "serving" ? gateway.requestsPerSecond : 0), 0));
    if (rates.length > SAMPLES_MAX) rates.shift();
    return { gateways, tokens: usage.tokens, rates };
  };
  const show = () => into(place, load, (data) => content(data, show), 6);
  show();
  const timer = setInterval(async () => {
    if (document.hidden || document.querySelector("dialog[open]") || place.querySelector(".failed")) return;
    const data = await load().catch(() => null);
    if (data && !signal.aborted) fill(place, content(data, show));
  }, REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return h("div", { class: "page" }, pageHead("Operations", "Every five seconds: whether gateways serve, how much comes, and what is refused."), tabs("Operations", path, OPERATIONS_TABS), place);
}

function content({ gateways, tokens, rates }, show) {
  return h(
    "div",
    { class: "stack" },
    figures(gateways, tokens, rates),
    card("Gateways", { id: "gateways", text: "A change of a token is enforced where the gateway's revision is the directory's." }, gatewayTable(gateways, show)),
    h(
      "div",
      { class: "halves" },
      card("Refused by reason", { id: "refusals", text: "Batches of this account's tokens within 90 days." }, refusals(tokens)),
      card("Refused tokens", { id: "refused", text: "Shippers that go on with a disabled, expired or deleted token." }, refusedTokens(tokens)),
    ),
  );
}

const revisionOf = (gateways) => Math.max(0, ...gateways.map((gateway) => gateway.revision + gateway.lagRevisions));

function figures(gateways, tokens, rates) {
  const serving = gateways.filter((gateway) => gateway.state === "serving");
  const silent = gateways.filter((gateway) => gateway.state === "silent").length;
  const lag = Math.max(0, ...serving.map((gateway) => gateway.lagRevisions));
  const refused = tokens.reduce((sum, token) => sum + total(token.refusals), 0);
  return h(
    "dl",
    { class: "figures" },
    figure("Gateways serving", whole(serving.length), silent ? h("span", { class: "bad" }, `${silent} silent`) : "none silent"),
    figure("Requests a second", short(Math.round(rates.at(-1) * 10) / 10), sparkline(rates)),
    figure("Directory revision", whole(revisionOf(gateways)), lag ? h("span", { class: "bad" }, `${lag} behind at most`) : "enforced everywhere"),
    figure("Batches refused", short(refused), "in 90 days"),
  );
}

const figure = (name, value, beside) => h("div", { class: "figure" }, h("dt", {}, name), h("dd", { class: "figure-value" }, value), h("dd", { class: "figure-beside" }, beside));
const total = (counts) => Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0);

function gatewayTable(gateways, show) {
  if (gateways.length === 0) return empty({ symbol: "pulse", title: "No gateway was heard of", text: "A gateway shows here as soon as it asks this control plane for its directory." });
  const columns = [{ name: "Gateway" }, { name: "State" }, { name: "Address" }, { name: "Revision", class: "number" }, { name: "Requests/s", class: "number" }, { name: "Requests", class: "number" }, { name: "Last heard" }, { name: "Version" }, { name: "Actions", hidden: true, class: "actions" }];
  return table("Gateways", columns, gateways.map((gateway) => [
    h("strong", { class: "mono" }, gateway.id),
    h("span", { class: `badge ${{ serving: "good", silent: "danger", stopped: "" }[gateway.state]}` }, gateway.state),
    h("code", {}, gateway.address),
    h("span", { class: "number" }, whole(gateway.revision), gateway.lagRevisions > 0 && h("span", { class: "bad" }, ` −${gateway.lagRevisions}`)),
    h("span", { class: "number" }, short(Math.round(gateway.requestsPerSecond * 10) / 10)),
    h("span", { class: "number" }, short(gateway.requests)),
    h("time", { title: exact(gateway.lastSeenAt * 1000) }, ago(gateway.lastSeenAt)),
    h("span", { class: "faint" }, gateway.version),
    gateway.state === "serving"
      ? h("span", {})
      : h("span", { class: "row-actions" }, iconButton("trash", `Forget ${gateway.id}`, { onclick: () => forget(gateway, show) })),
  ]));
}

async function forget(gateway, show) {
  const silent = gateway.state === "silent";
  const sure = await confirm({
    title: `Forget ${gateway.id}?`,
    content: h("p", {}, silent ? "It has not said that it stopped: if it is only cut off it still serves its last directory, and changes of tokens will no longer wait for it. Forget it if it will not come back." : "It said that it stopped. It shows again if it comes back."),
    action: "Forget gateway",
    act: () => api.remove(`/v1/gateways/${encodeURIComponent(gateway.id)}`),
  });
  if (!sure) return;
  toast(`${gateway.id} is forgotten.`);
  show();
}

function refusals(tokens) {
  const sums = new Map();
  for (const token of tokens) {
    for (const [reason, count] of Object.entries(token.refusals ?? {})) sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  const rows = [...sums].filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  if (rows.length === 0) return empty({ symbol: "check", title: "Nothing was refused", text: "Reasons show here with their counts, such as a disabled token or a rate limit." });
  const most = rows[0][1];
  return h(
    "ul",
    { class: "bars" },
    rows.map(([reason, count]) =>
      h("li", {}, h("span", { class: "bars-name" }, reason.replaceAll("_", " ")), meter(count, most, `${reason}: ${count}`), h("span", { class: "number" }, short(count))),
    ),
  );
}

function refusedTokens(tokens) {
  const over = tokens.filter((token) => token.usedAfterEnd).sort((a, b) => (b.usedAfterEnd.lastSeenAt ?? 0) - (a.usedAfterEnd.lastSeenAt ?? 0));
  if (over.length === 0) return empty({ symbol: "check", title: "Nobody ships with an old token", text: "Once you disable or delete a token, whoever goes on using it shows here with their address." });
  return h("ul", { class: "offenders" }, over.slice(0, 20).map(offender));
}

function offender(token) {
  const after = token.usedAfterEnd;
  const kind = token.state === "deleted" ? "a deleted token" : token.state === "disabled" ? "a disabled token" : "a token that was off";
  const first = after.clients[0];
  return h(
    "li",
    {},
    h("p", {}, first ? ["A shipper at ", h("code", {}, first.sourceAddress), ` still uses ${kind}`] : `Somebody still uses ${kind}`, ", ", h("strong", {}, token.name), "."),
    h("p", { class: "faint" }, `${counted(after.requests, "batch", "batches")} refused`, after.lastSeenAt && `, last ${ago(after.lastSeenAt)}`, first?.userAgent && ` · ${first.userAgent}`, after.clients.length > 1 && ` · and ${after.clients.length - 1} more`),
  );
}
