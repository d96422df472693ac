// Operations > Audit trail.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { field } from "../components/field.js";
import { empty, failed, loading } from "../components/states.js";
import { table } from "../components/table.js";
import { pageHead, tabs } from "../components/tabs.js";
import { date, exact, moment } from "../format.js";
import { here, href, replace } from "../router.js";
import { OPERATIONS_TABS } from "./operations.js";

const PAGE = 50;
// Longest part of a value that is shown in a change.
const VALUE_MAX = 200;

export function page({ path, signal, onMove }) {
  const input = (label, name, placeholder) => field(label, { type: "search", placeholder, name, maxlength: 256 });
  const fields = [input("Who", "who", "ada@example.com"), input("What", "what", "token.delete, user:1"), input("Token", "token", "number or name"), input("Since", "since", "2026-01-31, now-7d")];
  const place = h("div", {});
  const trail = { signal, place, entries: [], cursor: null, asked: {} };
  const clear = h("button", { class: "button", type: "button", onclick: () => ask({}) }, "Clear");
  const ask = (asked) => {
    for (const { input } of fields) input.value = asked[input.name] ?? "";
    clear.hidden = !Object.values(asked).some(Boolean);
    replace(path, asked);
    Object.assign(trail, { asked, entries: [], cursor: null });
    fill(place, loading(6));
    more(trail);
  };
  const read = () => ask(Object.fromEntries(fields.map(({ input }) => [input.name, input.value.trim()])));
  const form = h("form", { class: "filters-bar", role: "search", "aria-label": "Filter the audit trail", onsubmit: (event) => (event.preventDefault(), read()) }, fields, h("div", { class: "filters-buttons" }, h("button", { class: "button", type: "submit" }, "Filter"), clear));
  for (const { input } of fields) input.addEventListener("change", read);
  const begin = () => ask(Object.fromEntries(["who", "what", "token", "since"].map((name) => [name, here().params[name] ?? ""])));
  onMove(begin);
  begin();
  return h("div", { class: "page" }, pageHead("Operations", "Who changed what, newest first."), tabs("Operations", path, OPERATIONS_TABS), h("div", { class: "stack" }, form, place));
}

// As the API takes it: a day begins when it begins here. Whatever else there is, the API knows, or says that it is no time.
function instantOf(since) {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(since) ?? [];
  const begin = new Date(year, month - 1, day);
  const isDay = begin.getMonth() === month - 1 && begin.getDate() === Number(day);
  return isDay ? begin.toISOString() : since;
}

async function more(trail) {
  const { asked, cursor, signal } = trail;
  try {
    const { entries, nextCursor } = await api.get("/v1/audit-trail", { ...asked, since: instantOf(asked.since), limit: PAGE, cursor }, signal);
    if (trail.asked !== asked) return;
    trail.entries.push(...entries);
    trail.cursor = nextCursor;
    fill(trail.place, content(trail));
  } catch (error) {
    if (!api.isAbort(error) && trail.asked === asked) fill(trail.place, error.status === 400 ? refused(error) : failed(error, () => more(trail)));
  }
}

// What was asked for cannot be; the same again would not help.
const refused = (error) => empty({ role: "alert", symbol: "search", title: "This cannot be asked for", text: `${error.message}.` });

function content(trail) {
  if (trail.entries.length === 0) {
    const searched = Object.values(trail.asked).some(Boolean);
    return empty({ symbol: "clock", title: searched ? "No entry matches" : "Nothing was changed yet", text: searched ? "Take a filter away, or look further back." : "Whatever is changed, by whom, shows here." });
  }
  const columns = [{ name: "When" }, { name: "Who" }, { name: "What" }, { name: "On" }, { name: "Change" }, { name: "From" }];
  const older = h("button", { class: "button", type: "button", "data-key": "more", onclick: () => ((older.disabled = true), older.setAttribute("aria-busy", "true"), more(trail)) }, "Show older entries");
  return h("div", {}, table("Audit trail", columns, trail.entries.map(row), "audit"), h("div", { class: "more" }, trail.cursor !== null ? older : h("p", { class: "faint" }, "No older entries.")));
}

function row(entry) {
  // Tokens of two kinds may have the same number.
  const [, kind, token] = /^(\w+-token):(\d+)$/.exec(entry.subject) ?? [];
  const subject = h("code", {}, entry.subject);
  return [
    h("time", { class: "mono", title: exact(entry.at * 1000) }, moment(entry.at * 1000)),
    h("span", { class: "who", title: entry.actor }, entry.actor),
    h("code", {}, entry.action),
    h("span", {}, token ? h("a", { href: href("/operations/audit", { what: kind, token }), title: "All that was done to it" }, subject) : subject, h("br"), h("span", { class: "faint" }, called(entry.after ?? entry.before ?? {}))),
    changes(entry),
    h("span", { class: "faint mono" }, entry.sourceAddress ?? ""),
  ];
}

// How people call what was changed.
const called = ({ name, email, field, value }) => name ?? email ?? (field === undefined ? "" : `${field}: ${value}`);

// The fields that differ, as "enabled: true → false"; of what is new or no more, what it has or had.
function changes({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const isNothing = (name) => text(name, before?.[name]) === NONE && text(name, after?.[name]) === NONE;
  const differing = names.filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name]) && !isNothing(name));
  if (differing.length === 0) return h("span", { class: "faint" }, "–");
  return h(
    "ul",
    { class: "changes" },
    differing.map((name) => h("li", {}, h("span", { class: "faint" }, `${name} `), before && h("del", {}, text(name, before[name])), before && after && " → ", after && h("ins", {}, text(name, after[name])))),
  );
}

// Instants, which the trail has in seconds.
const INSTANTS = new Set(["expiresAt", "expirationDate"]);

const NONE = "none";

function text(name, value) {
  if (value === undefined || value === null || value === "" || value.length === 0) return NONE;
  if (INSTANTS.has(name) && typeof value === "number") return date(value);
  const isList = Array.isArray(value) && value.every((each) => typeof each !== "object");
  const whole = isList ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value);
  return whole.length > VALUE_MAX ? `${whole.slice(0, VALUE_MAX)}…` : whole;
}
