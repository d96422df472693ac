// Manage tokens > Shared tokens, and the filters that limit them.

import * as api from "../api.js";
import { h } from "../dom.js";
import { secret } from "../components/copy.js";
import { confirm, formDialog, isElsewhere } from "../components/dialog.js";
import { busyWith, checks, field, iconButton, segments } from "../components/field.js";
import { empty, into, notice } from "../components/states.js";
import { table } from "../components/table.js";
import { toast } from "../components/toast.js";
import { ago, date, exact, listed, short } from "../format.js";
import { icon } from "../icons.js";
import { tokenPage } from "./token_tabs.js";

const TOKENS = "/v1/shared-tokens";
const FILTERS = `${TOKENS}/filters`;

export function page({ path, signal }) {
  const place = h("div", {});
  const load = async () => {
    const [tokens, filters] = await Promise.all([api.get(TOKENS, {}, signal), api.get(FILTERS, {}, signal)]);
    return { tokens, filters };
  };
  const view = { signal, load };
  view.show = () => into(place, load, (data) => h("div", { class: "stack" }, tokenList(data, view), filterList(data, view)));
  view.show();
  return tokenPage(path, place);
}

// Begins with the tokens and filters that there are now: those that are shown may be out of date.
async function now(view, begin) {
  let data;
  try {
    data = await view.load();
  } catch (error) {
    if (api.isAbort(error)) return;
    if (error.status === undefined) throw error;
    return toast(error.message, "failed");
  }
  if (!isElsewhere(view.signal)) await begin(data);
}

// The same with one of them, unless somebody else has deleted it.
const nowOf = (view, kind, { id }, begin) =>
  now(view, (data) => {
    const current = data[kind].find((each) => each.id === id);
    if (current) return begin(current, data);
    toast("It was deleted meanwhile.", "failed");
    view.show();
  });

const nameOf = (filter) => filter.description || `${filter.field}: ${filter.value}`;
const isOver = (token) => token.expirationDate && token.expirationDate * 1000 <= Date.now();

function tokenList({ tokens, filters }, view) {
  const open = tokens.filter((token) => !token.filters?.length && !token.suspended);
  const add = h("button", { class: "button primary", type: "button", "data-key": "new" }, icon("plus"), "Add shared token");
  add.addEventListener("click", busyWith(add, () => now(view, (data) => editToken(null, data.filters, view.show))));
  return h(
    "section",
    { "aria-labelledby": "shared-tokens" },
    h(
      "div",
      { class: "bar" },
      h("div", { class: "bar-text" }, h("h2", { id: "shared-tokens" }, "Shared tokens"), h("p", {}, "A shared token gives read-only access to this account's logs, limited by its filters. Links in Explore are made with one.")),
      h("span", { class: "spring" }),
      add,
    ),
    open.length > 0 && notice("warning", `${listed(open.map((token) => `“${token.name}”`))} ${open.length === 1 ? "has" : "have"} no filter: whoever holds a link sees all of the account's logs.`),
    tokens.length === 0
      ? empty({ symbol: "share", title: "Nothing is shared yet", text: "Add a shared token to send somebody a link to a view of your logs: without an account, and limited to what its filters let through." })
      : table(
          "Shared tokens",
          [{ name: "Name" }, { name: "Token" }, { name: "Filters" }, { name: "Last used" }, { name: "Views", class: "number" }, { name: "Expires" }, { name: "Actions", hidden: true, class: "actions" }],
          tokens.map((token) => ({ class: isOver(token) ? "over" : null, cells: tokenRow(token, filters, view) })),
        ),
  );
}

function tokenRow(token, filters, view) {
  return [
    h("span", { class: "name-cell" }, h("strong", {}, token.name), isOver(token) && h("span", { class: "badge danger" }, "expired")),
    secret(token.token, `the shared token ${token.name}`, `copy-${token.id}`),
    filterChips(token, filters),
    token.lastUsed ? h("time", { title: exact(token.lastUsed * 1000) }, ago(token.lastUsed)) : h("span", { class: "faint" }, "never"),
    h("span", { class: "number" }, short(token.views ?? 0)),
    token.expirationDate ? h("time", { title: exact(token.expirationDate * 1000) }, date(token.expirationDate)) : h("span", { class: "faint" }, "never"),
    h(
      "span",
      { class: "row-actions" },
      iconButton("filter", `Edit ${token.name} and its filters`, { "data-key": `edit-${token.id}`, onclick: () => nowOf(view, "tokens", token, (current, data) => editToken(current, data.filters, view.show)) }),
      iconButton("trash", `Delete ${token.name}`, { "data-key": `delete-${token.id}`, onclick: () => nowOf(view, "tokens", token, (current) => deleteToken(current, view.show)) }),
    ),
  ];
}

function filterChips(token, filters) {
  if (token.suspended) return h("span", { class: "badge danger", title: "Its last filter was deleted. Save its filters again, so that it shows something." }, icon("pause"), "suspended");
  if (!token.filters?.length) return h("span", { class: "badge warning" }, icon("warning"), "everything");
  const mine = token.filters.map((id) => filters.find((filter) => filter.id === id)).filter(Boolean);
  return h(
    "span",
    { class: "chips" },
    mine.map((filter, at) => [
      at > 0 && h("span", { class: "operator" }, token.filtersOperator === "OR" ? "or" : "and"),
      h("span", { class: "chip", title: filter.description }, h("b", {}, filter.field), `: ${filter.value}`),
    ]),
  );
}

// Adds a shared token, or edits `token`. Of one that is there only what was changed is sent: what a suspended one may show, or
// what somebody else changed meanwhile, is not touched by giving it another name.
async function editToken(token, filters, show) {
  const name = field("Name", { required: true, maxlength: 100, placeholder: "payments partner", value: token?.name ?? "" }, { problem: "Give it a name." });
  const suspended = notice("warning", h("p", {}, "It is suspended: its last filter was deleted, and its links show nothing. They do again once you choose filters and save."));
  const open = notice("warning", h("p", {}, "Without a filter its links show all of the account's logs."), filters.length === 0 && h("p", {}, "There are no filters yet: add one under Filters to limit what is shared."));
  const warn = (values) => {
    open.hidden = values.length > 0 || Boolean(token?.suspended);
    suspended.hidden = values.length > 0 || !token?.suspended;
  };
  const chosen = checks(
    "Filters",
    filters.map((filter) => ({ value: filter.id, label: nameOf(filter), detail: `${filter.field}: ${filter.value}` })),
    token?.filters ?? [],
    { none: filters.length ? "Choose filters" : "No filters yet", changed: warn },
  );
  let operator = token?.filtersOperator ?? "AND";
  let queryBar = token?.queryBar ?? true;
  const combined = segments("A log is shown if it matches", [["AND", "all filters"], ["OR", "any filter"]], operator, (value) => (operator = value));
  const search = segments("The recipient", [[true, "may search"], [false, "sees the view only"]], queryBar, (value) => (queryBar = value));
  const expires = expiration(token);
  const asked = () => ({ tokenName: name.input.value.trim(), filters: chosen.values(), filtersOperator: operator, queryBar, expirationDate: endOfDay(expires.input.value) });
  const before = token ? asked() : {};
  const saved = await formDialog({
    title: token ? `Edit “${token.name}”` : "Add shared token",
    fields: [name, chosen, suspended, open, combined, search, expires],
    action: token ? "Save changes" : "Add shared token",
    submit: async () => {
      const body = changes(before, asked());
      if (!open.hidden && !(await sharesEverything(name.input.value.trim()))) throw new api.ApiError(0, { message: "" });
      return token ? api.put(`${TOKENS}/${token.id}`, body) : api.post(TOKENS, body);
    },
  });
  if (!saved) return;
  toast(token ? `“${saved.name}” is saved. Links already sent show the change at once.` : `“${saved.name}” is added. Share a view with it in Explore.`);
  show();
}

const changes = (before, after) => Object.fromEntries(Object.entries(after).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));

const sharesEverything = (name) =>
  confirm({
    title: `Share everything with “${name}”?`,
    content: h("p", {}, "It has no filter: whoever holds one of its links sees all of the account's logs."),
    action: "Share everything",
    act: async () => {},
  });

// From tomorrow on; a date that stands already may stay.
function expiration(token) {
  const value = token?.expirationDate ? day(token.expirationDate) : "";
  const tomorrow = day(Date.now() / 1000 + 86_400);
  const min = value && value < tomorrow ? value : tomorrow;
  return field("Expires", { type: "date", value, min }, { hint: "At the end of that day. It lasts when empty.", problem: "Choose a day to come.", optional: true });
}

// The day in the browser's time zone, as a date field has it.
function day(seconds) {
  const at = new Date(seconds * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}

const endOfDay = (text) => (text ? Math.floor(new Date(`${text}T23:59:59`).getTime() / 1000) : null);

async function deleteToken(token, show) {
  const seen = token.lastUsed ? `It was last used ${ago(token.lastUsed)}, and its links were opened ${short(token.views ?? 0)} times.` : "It was never used.";
  const sure = await confirm({
    title: `Delete “${token.name}”?`,
    content: [notice(token.lastUsed ? "warning" : "info", seen), h("p", {}, "Every link made with it ends at once, open pages too, and it cannot be brought back.")],
    action: "Delete shared token",
    act: () => api.remove(`${TOKENS}/${token.id}`),
  });
  if (!sure) return;
  toast(`“${token.name}” is deleted, and its links with it.`);
  show();
}

function filterList({ tokens, filters }, view) {
  const add = h("button", { class: "button", type: "button", "data-key": "new-filter", onclick: () => addFilter(view.show) }, icon("plus"), "Add filter");
  return h(
    "section",
    { "aria-labelledby": "filters" },
    h(
      "div",
      { class: "bar" },
      h("div", { class: "bar-text" }, h("h2", { id: "filters" }, "Filters"), h("p", {}, "A filter lets through the logs in which a field has exactly this value.")),
      h("span", { class: "spring" }),
      add,
    ),
    filters.length === 0
      ? empty({ symbol: "filter", title: "No filters yet", text: "A filter such as env: test lets through only logs whose field env is exactly test. Add one, then choose it for a shared token." })
      : table(
          "Filters",
          [{ name: "Description" }, { name: "Field" }, { name: "Value" }, { name: "Used by" }, { name: "Actions", hidden: true, class: "actions" }],
          filters.map((filter) => [
            h("span", { class: "name-cell" }, filter.description ? h("strong", {}, filter.description) : h("span", { class: "faint" }, "no description")),
            h("code", {}, filter.field),
            h("code", {}, filter.value),
            usedBy(usersOf(filter, tokens)),
            h("span", { class: "row-actions" }, iconButton("trash", `Delete the filter ${nameOf(filter)}`, { "data-key": `delete-filter-${filter.id}`, onclick: () => nowOf(view, "filters", filter, (current, data) => deleteFilter(current, data.tokens, view.show)) })),
          ]),
        ),
  );
}

const usersOf = (filter, tokens) => tokens.filter((token) => token.filters?.includes(filter.id));
const usedBy = (users) => (users.length ? listed(users.map((token) => token.name)) : h("span", { class: "faint" }, "nothing"));

async function addFilter(show) {
  const description = field("Description", { maxlength: 200, placeholder: "Only the test environment" }, { optional: true });
  const name = field("Field", { required: true, placeholder: "env" }, { hint: "A log's field; one within another with a dot, such as kubernetes.namespace.", problem: "Name a field." });
  const value = field("Value", { required: true, placeholder: "test" }, { hint: "Compared exactly. A * is a star, no wildcard.", problem: "Give a value." });
  const saved = await formDialog({
    title: "Add filter",
    fields: [description, name, value],
    action: "Add filter",
    submit: () => api.post(FILTERS, { field: name.input.value.trim(), value: value.input.value, description: description.input.value.trim() }),
  });
  if (!saved) return;
  toast(`“${nameOf(saved)}” is added. Choose it for a shared token.`);
  show();
}

async function deleteFilter(filter, tokens, show) {
  const users = usersOf(filter, tokens);
  const last = users.filter((token) => token.filters.length === 1);
  const widened = users.filter((token) => token.filters.length > 1 && token.filtersOperator !== "OR");
  const names = (list) => listed(list.map((token) => `“${token.name}”`));
  const sure = await confirm({
    title: `Delete the filter “${nameOf(filter)}”?`,
    content: [
      users.length === 0 && h("p", {}, "No shared token uses it."),
      users.length > 0 && notice("warning", h("strong", {}, `${names(users)} ${users.length === 1 ? "uses" : "use"} it.`), h("p", {}, "Links already sent change at once.")),
      last.length > 0 && h("p", {}, `${names(last)} would have no filter left and ${last.length === 1 ? "is" : "are"} suspended: links show nothing until you save filters again.`),
      widened.length > 0 && h("p", {}, `${names(widened)} would show more logs than now: those that match the filters that remain.`),
    ],
    action: "Delete filter",
    act: () => api.remove(`${FILTERS}/${filter.id}`),
  });
  if (!sure) return;
  toast(`The filter “${nameOf(filter)}” is deleted.`);
  show();
}
