// Operations: whether gateways serve, how much comes, what is refused and why, and who still ships with a token that opens nothing.

import * as api from "../api.js";
import { every, fill, h } from "../dom.js";
import { meter, sparkline } from "../components/drawings.js";
import { confirm } from "../components/dialog.js";
import { iconButton } from "../components/field.js";
import { dropdown } from "../components/menu.js";
import { empty, into, notice, turns } from "../components/states.js";
import { table } from "../components/table.js";
import { card, pageHead, tabs } from "../components/tabs.js";
import { toast } from "../components/toast.js";
import { ago, clock, counted, rate, short, when, whole } from "../format.js";
import { href } from "../router.js";

const REFRESH_MS = 5_000;
const SAMPLES_MAX = 60;
// How many refused tokens, and how many sources of unknown ones, are shown.
const REFUSED_MAX = 20;

export const OPERATIONS_TABS = [["/operations", "Overview"], ["/operations/audit", "Audit trail"]];

const REASONS = {
  token_missing: "No token was sent",
  token_not_valid: "Unknown or disabled token",
  token_revoked_during_upload: "Token disabled during the upload",
  scope_door: "Token not meant for this way in",
  scope_source: "Token not meant for this address",
  over_rate: "Over the account's rate",
  too_large: "Body too large",
  too_many_lines: "Too many lines in a body",
  unknown_encoding: "Unknown Content-Encoding",
  unreadable: "Body that cannot be read",
  body_timeout: "Body came too slowly",
  body_cut: "Connection broke during the upload",
  busy: "Gateway full",
  not_ready: "Gateway without a directory",
  not_found: "No such path",
  method_not_allowed: "Not a POST",
  journal_busy: "Journal busy",
  disk_full: "Disk full",
  journal_full: "Journal full",
  disk_io: "Disk failed",
  disk_sync: "Disk failed to sync",
  batch_too_large: "Batch too large to store",
  closed: "Gateway stopping",
};
// Those that are the operator's affair, not the shipper's.
const OURS = new Set(["busy", "not_ready", "journal_busy", "disk_full", "journal_full", "disk_io", "disk_sync", "closed"]);

export function page({ path, session, signal }) {
  const place = h("div", {});
  const stale = h("div", { role: "status" });
  const samples = [];
  const turn = turns();
  const load = async () => {
    const [gateways, refused] = await Promise.all([api.get("/v1/gateways", {}, signal), api.get("/v1/log-shipping/refused-tokens", { limit: REFUSED_MAX }, signal)]);
    const serving = gateways.filter((gateway) => gateway.state === "serving");
    samples.push({ requests: sum(serving, "requestsPerSecond"), lines: sum(serving, "linesPerSecond") });
    if (samples.length > SAMPLES_MAX) samples.shift();
    return { gateways, serving, refused, samples, own: session.account.accountId };
  };
  // What is being renewed meanwhile comes too late.
  const show = () => (turn(), into(place, load, (data) => content(data, show), 6));
  show();
  let last = Date.now();
  const isInUse = () => document.hidden || document.querySelector("dialog[open], .popover:popover-open") || place.querySelector(".failed, .loading");
  const renew = async () => {
    if (isInUse()) return;
    const isLast = turn();
    try {
      const data = await load();
      last = Date.now();
      if (!isLast() || isInUse()) return;
      fill(stale);
      fill(place, content(data, show));
    } catch (error) {
      if (!signal.aborted) fill(stale, notice("warning", `What follows is of ${clock(last)}: ${error.message} This page goes on trying.`));
    }
  };
  every(REFRESH_MS, renew, signal);
  return h("div", { class: "page" }, pageHead("Operations", "Whether gateways serve, how much comes, and what is refused. Renewed every five seconds."), tabs("Operations", path, OPERATIONS_TABS), stale, place);
}

const sum = (list, name) => list.reduce((total, each) => total + each[name], 0);

function content({ gateways, serving, refused, samples, own }, show) {
  return h(
    "div",
    { class: "stack" },
    figures(gateways, serving, samples),
    card("Gateways", { id: "gateways", text: "A change of a token is enforced where the gateway's revision is the directory's." }, gatewayTable(gateways, show)),
    h(
      "div",
      { class: "halves" },
      card("Refused by reason", { id: "refusals", text: "Requests, since each gateway started." }, reasons(refusalsOf(gateways))),
      card("Refused tokens", { id: "refused", text: "Who goes on with a token that opens nothing." }, refusedTokens(refused, own)),
    ),
  );
}

const revisionOf = (gateways) => Math.max(0, ...gateways.map((gateway) => gateway.revision + gateway.lagRevisions));

function figures(gateways, serving, samples) {
  const silent = gateways.filter((gateway) => gateway.state === "silent").length;
  const lag = Math.max(0, ...serving.map((gateway) => gateway.lagRevisions));
  const now = samples.at(-1);
  const refusals = refusalsOf(gateways);
  const ours = refusals.filter(([reason]) => OURS.has(reason)).reduce((total, [, count]) => total + count, 0);
  return h(
    "dl",
    { class: "figures" },
    figure("Gateways serving", whole(serving.length), silent ? h("span", { class: "bad" }, `${whole(silent)} silent`) : "none silent"),
    figure("Requests a second", rate(now.requests), sparkline(samples.map(({ requests }) => requests))),
    figure("Lines a second", rate(now.lines), sparkline(samples.map(({ lines }) => lines))),
    figure("Directory revision", whole(revisionOf(gateways)), lag ? h("span", { class: "bad" }, `${whole(lag)} behind at most`) : "enforced everywhere"),
    figure("Requests refused", short(refusals.reduce((total, [, count]) => total + count, 0)), ours ? h("span", { class: "bad" }, `${short(ours)} for want of room or disk`) : "all for the shipper to mend"),
  );
}

const figure = (name, value, beside) => h("div", { class: "figure" }, h("dt", {}, name), h("dd", { class: "figure-value" }, value), h("dd", { class: "figure-beside" }, beside));

// [reason, count] of all `gateways`, the most frequent first.
function refusalsOf(gateways) {
  const sums = new Map();
  for (const { refusals } of gateways) {
    for (const [reason, count] of Object.entries(refusals)) sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  return [...sums].filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
}

function gatewayTable(gateways, show) {
  if (gateways.length === 0) return empty({ symbol: "pulse", title: "No gateway was heard of", text: "A gateway shows here as soon as it asks this control plane for its directory." });
  const columns = [{ name: "Gateway" }, { name: "State" }, { name: "Revision", class: "number" }, { name: "Requests/s", class: "number" }, { name: "Lines/s", class: "number" }, { name: "Refused", class: "number" }, { name: "Last heard" }, { name: "Version" }, { name: "Actions", hidden: true, class: "actions" }];
  return table("Gateways", columns, gateways.map((gateway) => [
    h("span", { class: "gateway" }, h("strong", { class: "mono", title: gateway.id }, gateway.id), h("code", { class: "faint" }, gateway.address)),
    h("span", { class: `badge ${{ serving: "good", silent: "danger", stopped: "" }[gateway.state]}`, title: `Started ${new Date(gateway.startedAt * 1000).toLocaleString("en")}` }, gateway.state),
    h("span", { class: "number" }, whole(gateway.revision), gateway.lagRevisions > 0 && h("span", { class: "bad", title: `Behind for ${counted(Math.ceil(gateway.lagMs / 1000), "second")}` }, `−${whole(gateway.lagRevisions)}`)),
    h("span", { class: "number", title: `${whole(gateway.requests)} since it started` }, rate(gateway.requestsPerSecond)),
    h("span", { class: "number", title: `${whole(gateway.lines)} since it started` }, rate(gateway.linesPerSecond)),
    refusedBy(gateway),
    when(gateway.lastSeenAt),
    h("span", { class: "faint" }, gateway.version),
    gateway.state === "serving"
      ? h("span", {})
      : h("span", { class: "row-actions" }, iconButton("trash", `Forget ${gateway.id}`, { "data-key": `forget-${gateway.id}`, onclick: () => forget(gateway, show) })),
  ]));
}

// How many requests, and on a click why.
function refusedBy(gateway) {
  const refusals = refusalsOf([gateway]);
  if (refusals.length === 0) return h("span", { class: "number faint" }, "0");
  const total = refusals.reduce((all, [, count]) => all + count, 0);
  const button = h("button", { class: "number link", type: "button", "aria-label": `${whole(total)} refused by ${gateway.id}: show why`, "data-key": `refused-${gateway.id}` }, short(total));
  return dropdown(button, () => h("div", { class: "reasons" }, h("h3", {}, "Refused since it started"), reasons(refusals)), { label: `What ${gateway.id} refused` });
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

function reasons(refusals) {
  if (refusals.length === 0) return empty({ symbol: "check", title: "Nothing was refused", text: "Reasons show here with their counts, such as a disabled token or a rate limit." });
  const most = refusals[0][1];
  return h(
    "ul",
    { class: "bars" },
    refusals.map(([reason, count]) => {
      const name = REASONS[reason] ?? reason;
      return h("li", {}, h("span", { class: OURS.has(reason) ? "bars-name bad" : "bars-name", title: reason }, name), meter(count, most, `${name}: ${whole(count)}`), h("span", { class: "number", title: whole(count) }, short(count)));
    }),
  );
}

function refusedTokens({ tokens, unknown }, own) {
  if (tokens.length + unknown.length === 0) return empty({ symbol: "check", title: "Nobody ships with a wrong token", text: "Whoever goes on with a token that you disabled or deleted, or sends one that never was, shows here with their address." });
  return h("ul", { class: "offenders" }, tokens.map((token) => offender(token, own)), unknown.map(stranger));
}

const STATES = { deleted: "a deleted token", disabled: "a disabled token", enabled: "a token that was off" };

function offender(token, own) {
  const after = token.usedAfterEnd;
  const first = after?.clients[0];
  const others = (after?.clients.length ?? 0) - 1;
  return h(
    "li",
    {},
    h("p", {}, first ? ["A shipper at ", h("code", {}, first.sourceAddress)] : "Somebody", ` still uses ${STATES[token.state]}, `, h("a", { href: href("/operations/audit", { what: "shipping-token", token: token.id }), title: "What was done to it", "data-key": `audit-${token.id}` }, token.name), token.accountId !== own && h("span", { class: "faint" }, ` of account ${token.accountId}`), "."),
    told([counted(after?.requests ?? 0, "batch", "batches"), after?.lastSeenAt && when(after.lastSeenAt), first?.userAgent, others > 0 && `and ${counted(others, "more source")}`]),
  );
}

// Which token it sends is not known, and would not be shown if it were.
function stranger(client) {
  return h(
    "li",
    {},
    h("p", {}, "A shipper at ", h("code", {}, client.sourceAddress), " sends a token that nobody made."),
    told([counted(client.requests, "batch", "batches"), when(client.lastSeenAt), client.userAgent || "no user agent"]),
  );
}

const told = (parts) => h("p", { class: "faint" }, parts.filter(Boolean).map((part, at) => [at > 0 && " · ", part]));
