// Manage tokens > Data shipping tokens.

import * as api from "../api.js";
import { announce, every, fill, h } from "../dom.js";
import { copyIcon, secret } from "../components/copy.js";
import { confirm, formDialog, isElsewhere } from "../components/dialog.js";
import { meter } from "../components/drawings.js";
import { field, iconButton, toggle } from "../components/field.js";
import { into, notice, turns } from "../components/states.js";
import { table } from "../components/table.js";
import { toast } from "../components/toast.js";
import { ago, counted, date, exact, short, whole } from "../format.js";
import { icon } from "../icons.js";
import { listenerUrl } from "../listener.js";
import { href } from "../router.js";
import { tokenPage } from "./token_tabs.js";

const TOKENS = "/v1/log-shipping/tokens";
const TOKENS_MAX = 1000;
// Gateways report their use every ten seconds.
const REFRESH_MS = 10_000;

export function page({ path, signal }) {
  const place = h("div", {});
  const view = { place, signal, renaming: null, data: null, turn: turns() };
  into(place, () => load(signal), (data) => begin(view, data));
  every(REFRESH_MS, () => refresh(view, true), signal);
  return tokenPage(path, place);
}

async function load(signal) {
  const everything = { sort: [{ field: "createdAt", descending: false }], pagination: { pageNumber: 1, pageSize: TOKENS_MAX } };
  const [found, limits, used, settings] = await Promise.all([
    api.post(`${TOKENS}/search`, everything, signal),
    api.get(`${TOKENS}/limits`, {}, signal),
    loadUsage(signal),
    api.get("/v1/account-management/settings", {}, signal),
  ]);
  return { tokens: found.results, limits, used, settings };
}

// Who ships with which token, by its id.
async function loadUsage(signal) {
  const { tokens } = await api.get("/v1/log-shipping/usage", { limit: TOKENS_MAX }, signal);
  return new Map(tokens.map((token) => [token.id, token]));
}

// Who ships with `token` now, for a question about it; as it was when it cannot be asked.
function usageNow(view, token) {
  return loadUsage(view.signal).then((used) => used.get(token.id), () => view.data.used.get(token.id));
}

function begin(view, data) {
  view.data = data;
  view.frame = h("div", {});
  draw(view);
  return view.frame;
}

// Whether something is being done here, which what comes by itself must not disturb.
const isBusy = (view) => !view.data || view.renaming || document.hidden || document.querySelector("dialog[open]") || view.frame.querySelector("[aria-busy], .copied");

// What was on its way when this began comes too late, and so does what comes by itself (`quietly`) when something is being done.
async function refresh(view, quietly = false) {
  if (quietly && isBusy(view)) return;
  const isLast = view.turn();
  try {
    const data = await load(view.signal);
    if (!isLast() || (quietly && isBusy(view))) return;
    view.data = data;
    if (!view.renaming) draw(view);
  } catch (error) {
    if (!api.isAbort(error) && !quietly) toast(error.message, "failed");
  }
}

// What is known has changed here: what is on its way was said before that.
function changed(view, token, now) {
  view.turn();
  Object.assign(token, now);
  Object.assign(view.data.tokens.find(({ id }) => id === token.id) ?? {}, now);
}

function draw(view) {
  const { tokens, limits, settings } = view.data;
  const full = limits.numOfEnabledTokens >= limits.maxAllowedTokens;
  const url = listenerUrl(settings);
  const create = h("button", { class: "button primary", type: "button", "data-key": "new", onclick: () => createToken(view) }, icon("plus"), "New log shipping token");
  fill(
    view.frame,
    h(
      "div",
      { class: "listener" },
      h("div", {}, h("span", { class: "label" }, "Listener URL"), h("code", { class: "listener-url" }, url), copyIcon(url, "Copy the listener URL")),
      h("a", { href: href("/send") }, "How to send your data"),
    ),
    h(
      "div",
      { class: "bar" },
      h("p", { class: "meter-text" }, h("strong", {}, `${limits.numOfEnabledTokens} of ${limits.maxAllowedTokens}`), " enabled", limits.numOfRetiringTokens ? `, ${limits.numOfRetiringTokens} retiring` : ""),
      meter(limits.numOfEnabledTokens, limits.maxAllowedTokens, "Enabled tokens"),
      h("span", { class: "spring" }),
      create,
    ),
    full && notice("info", `Your plan lets ${counted(limits.maxAllowedTokens, "token")} be enabled at a time. Disable one before you enable or create another.`),
    table("Data shipping tokens", COLUMNS, tokens.map((token) => row(view, token))),
  );
}

const COLUMNS = [
  { name: "Name" },
  { name: "Token" },
  { name: "Created" },
  { name: "Last used" },
  { name: "Lines today", class: "number" },
  { name: "Enabled" },
  { name: "Actions", hidden: true, class: "actions" },
];

function row(view, token) {
  const usage = view.data.used.get(token.id);
  const stop = whyNotStopped(view.data.tokens, token);
  const enable = !token.enabled && view.data.limits.numOfEnabledTokens >= view.data.limits.maxAllowedTokens &&
    `Your plan lets ${counted(view.data.limits.maxAllowedTokens, "token")} be enabled at a time`;
  return [
    view.renaming === token.id ? renameForm(view, token) : nameCell(view, token),
    token.token ? secret(token.token, `the token ${token.name}`, `copy-${token.id}`) : h("span", { class: "faint", title: "It was brought as a digest" }, "only its digest"),
    h("time", { title: `${exact(token.createdAt * 1000)} by ${token.createdBy}` }, date(token.createdAt)),
    lastUsed(usage, token),
    h("span", { class: "number", title: `${whole(usage?.linesToday ?? 0)} since midnight, UTC` }, short(usage?.linesToday ?? 0)),
    toggle({
      label: `${token.name} enabled`,
      on: token.enabled,
      locked: token.enabled ? stop("disabled") : enable || null,
      key: `toggle-${token.id}`,
      flip: (on) => setEnabled(view, token, on),
    }),
    h(
      "span",
      { class: "row-actions" },
      iconButton("pencil", `Rename ${token.name}`, { "data-key": `rename-${token.id}`, onclick: () => startRenaming(view, token) }),
      iconButton("trash", `Delete ${token.name}`, { "data-key": `delete-${token.id}`, locked: stop("deleted"), onclick: () => deleteToken(view, token) }),
    ),
  ];
}

// Why a token can be neither disabled nor deleted, or null.
function whyNotStopped(tokens, token) {
  const lasting = tokens.filter((other) => other.enabled && !other.expiresAt);
  return (what) => {
    if (tokens.length === 1) return `It is the account's only token and cannot be ${what}. Create another one first.`;
    if (token.enabled && !token.expiresAt && lasting.length === 1) {
      return `It is the last enabled token and cannot be ${what}. Enable or create another one first.`;
    }
    return null;
  };
}

function nameCell(view, token) {
  const isDefault = view.data.settings.defaultToken?.id === token.id;
  return h(
    "span",
    { class: "name-cell" },
    h("strong", {}, token.name),
    isDefault && h("span", { class: "badge" }, "default"),
    token.retirement && h("span", { class: "badge warning", title: "A rotation replaces it" }, "retiring"),
    token.expiresAt && h("span", { class: "badge", title: exact(token.expiresAt * 1000) }, `expires ${ago(token.expiresAt)}`),
    token.wouldRefuse && h("span", { class: "badge warning", title: "What its disabling would stop is counted" }, "dry run"),
    token.scope && h("span", { class: "badge", title: JSON.stringify(token.scope) }, "scoped"),
  );
}

function lastUsed(usage, token) {
  const after = usage?.usedAfterEnd;
  if (!token.enabled && after?.lastSeenAt) {
    return h("span", { class: "bad", title: `Still tried by ${sources(after.clients)}` }, icon("warning"), `tried ${ago(after.lastSeenAt)}`);
  }
  if (!usage?.lastUsedAt) return h("span", { class: "faint" }, "never");
  return h("time", { title: exact(usage.lastUsedAt * 1000) }, ago(usage.lastUsedAt));
}

const sources = (clients) => clients.slice(0, 3).map((client) => `${client.sourceAddress} (${client.userAgent || "no user agent"})`).join(", ");

function startRenaming(view, token) {
  view.renaming = token.id;
  draw(view);
}

function renameForm(view, token) {
  const input = h("input", { class: "input small", value: token.name, maxlength: 100, required: true, "aria-label": `New name of ${token.name}`, "data-key": "renaming" });
  const problem = h("span", { class: "field-problem", role: "alert" });
  const isOver = () => view.renaming !== token.id;
  const end = () => {
    if (isOver()) return;
    view.renaming = null;
    draw(view);
    view.frame.querySelector(`[data-key="rename-${token.id}"]`)?.focus();
  };
  const form = h(
    "form",
    { class: "rename", novalidate: true },
    input,
    iconButton("check", "Save the name", { type: "submit" }),
    iconButton("close", "Cancel renaming", { onclick: end }),
    problem,
  );
  form.addEventListener("keydown", (event) => event.key === "Escape" && end());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (name === token.name) return end();
    if (input.readOnly) return;
    input.readOnly = true;
    problem.textContent = "";
    try {
      changed(view, token, await api.put(`${TOKENS}/${token.id}`, { name }));
      announce(`Renamed to ${name}`);
      // Somebody who did not wait may be about to rename another one.
      if (view.renaming === null) draw(view);
      end();
    } catch (error) {
      if (isOver()) return toast(error.message, "failed");
      problem.textContent = error.message;
      input.readOnly = false;
      input.focus();
    }
  });
  requestAnimationFrame(() => (input.focus(), input.select()));
  return form;
}

async function setEnabled(view, token, on) {
  const usage = on ? null : await usageNow(view, token);
  if (isElsewhere(view.signal)) throw new api.ApiError(0, { message: "" });
  if (isInUse(usage)) {
    const sure = await confirm({
      title: `Disable “${token.name}”?`,
      content: [stillShipping(usage), h("p", {}, "Whoever ships with it is refused within a moment. Lines that were accepted stay. You can enable it again at any time.")],
      action: "Disable token",
      act: () => api.put(`${TOKENS}/${token.id}`, { enabled: false }),
    });
    if (!sure) throw new api.ApiError(0, { message: "" });
    toast(`“${token.name}” is disabled.`);
  } else {
    try {
      await api.put(`${TOKENS}/${token.id}`, { enabled: on });
      announce(`${token.name} is ${on ? "enabled" : "disabled"}`);
    } catch (error) {
      toast(error.message, "failed");
      throw error;
    }
  }
  changed(view, token, { enabled: on });
  await refresh(view);
}

const DAY_SECONDS = 86_400;
const isInUse = (usage) => Boolean(usage?.lastUsedAt) && Date.now() / 1000 - usage.lastUsedAt < DAY_SECONDS;

// Who ships with a token, for whoever is about to stop it.
function stillShipping(usage) {
  if (!usage?.lastUsedAt) return notice("info", "Not seen in use (as of a few seconds ago).");
  const kind = isInUse(usage) ? "warning" : "info";
  const title = isInUse(usage) ? "Somebody still ships with it." : `It was last used ${ago(usage.lastUsedAt)}.`;
  const today = usage.linesToday ? `${counted(usage.linesToday, "line")} today, the` : "The";
  return notice(
    kind,
    h("strong", {}, title),
    isInUse(usage) && h("p", {}, `${today} last batch came ${ago(usage.lastUsedAt)}. These clients will be refused:`),
    usage.clients.length > 0 &&
      h(
        "ul",
        { class: "clients" },
        usage.clients.slice(0, 5).map((client) => h("li", {}, h("code", {}, client.sourceAddress), h("span", {}, client.userAgent || "no user agent"), h("span", { class: "faint" }, ago(client.lastSeenAt)))),
      ),
  );
}

async function deleteToken(view, token) {
  const usage = await usageNow(view, token);
  if (isElsewhere(view.signal)) return;
  const sure = await confirm({
    title: `Delete “${token.name}”?`,
    content: [stillShipping(usage), h("p", {}, "Whoever ships with it is refused within a moment, and it cannot be brought back. Lines that were accepted stay in your log.")],
    action: "Delete token",
    act: () => api.remove(`${TOKENS}/${token.id}`),
  });
  if (!sure) return;
  toast(`“${token.name}” is deleted.`);
  await refresh(view);
}

async function createToken(view) {
  const name = field("Name", { required: true, maxlength: 100, placeholder: "apac prod" }, { hint: "Name it after what ships with it, so that you know what stops when you disable it.", problem: "Give it a name." });
  const created = await formDialog({
    title: "New log shipping token",
    fields: [name],
    action: "Create token",
    submit: () => api.post(TOKENS, { name: name.input.value.trim() }),
  });
  if (!created) return;
  toast(`“${created.name}” is created and enabled. Click its token to copy it.`);
  await refresh(view);
  // Unless one went on to something else meanwhile.
  if (document.activeElement?.dataset.key === "new") view.frame.querySelector(`[data-key="copy-${created.id}"]`)?.focus();
}
