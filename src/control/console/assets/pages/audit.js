// Operations > Audit trail.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { field } from "../components/field.js";
import { empty, failed, loading } from "../components/states.js";
import { table } from "../components/table.js";
import { pageHead, tabs } from "../components/tabs.js";
import { exact, moment } from "../format.js";
import { here, replace } from "../router.js";
import { OPERATIONS_TABS } from "./operations.js";

const PAGE = 200;
// How many entries are shown before one asks for more.
const ENOUGH = 50;
// Pages read for one answer: filters are applied here.
const PAGES_MAX = 10;

export function page({ path, signal }) {
  const { params } = here();
  const input = (label, name, placeholder) => field(label, { type: "search", value: params[name] ?? "", placeholder, name });
  const fields = [input("Who", "actor", "ada@example.com"), input("What", "action", "shipping-token"), input("On", "subject", "shipping-token:1000000"), field("Since", { type: "date", name: "since", value: params.since ?? "" })];
  const place = h("div", {});
  const trail = { signal, place, entries: [], cursor: null, ended: false, wanted: ENOUGH };
  const begin = () => {
    const asked = Object.fromEntries(fields.map(({ input }) => [input.name, input.value.trim()]));
    replace(path, asked);
    Object.assign(trail, { asked, entries: [], cursor: null, ended: false, wanted: ENOUGH });
    more(trail);
  };
  const form = h("form", { class: "filters-bar", role: "search", "aria-label": "Filter the audit trail", onsubmit: (event) => (event.preventDefault(), begin()) }, fields, h("button", { class: "button", type: "submit" }, "Filter"));
  for (const { input } of fields) input.addEventListener("change", begin);
  begin();
  return h("div", { class: "page" }, pageHead("Operations", "Who changed what, newest first."), tabs("Operations", path, OPERATIONS_TABS), h("div", { class: "stack" }, form, place));
}

function passes(entry, { actor, action, subject, since }) {
  const has = (text, part) => !part || text.toLowerCase().includes(part.toLowerCase());
  const late = !since || entry.at * 1000 >= new Date(`${since}T00:00:00`).getTime();
  return has(entry.actor, actor) && has(entry.action, action) && has(entry.subject, subject) && late;
}

// Reads until there is enough to show.
async function more(trail) {
  const asked = trail.asked;
  if (trail.entries.length === 0) fill(trail.place, loading(6));
  try {
    for (let pages = 0; pages < PAGES_MAX && !trail.ended && trail.entries.length < trail.wanted; pages += 1) {
      const { entries, nextCursor } = await api.get("/v1/audit-trail", { limit: PAGE, cursor: trail.cursor }, trail.signal);
      if (trail.asked !== asked) return;
      trail.entries.push(...entries.filter((entry) => passes(entry, asked)));
      trail.cursor = nextCursor;
      trail.ended = nextCursor === null || (asked.since && !passes(entries.at(-1), { since: asked.since }));
    }
    fill(trail.place, content(trail));
  } catch (error) {
    if (!api.isAbort(error)) fill(trail.place, failed(error, () => more(trail)));
  }
}

function content(trail) {
  if (trail.entries.length === 0) {
    const searched = Object.values(trail.asked).some(Boolean);
    return empty({ symbol: "clock", title: searched ? "No entry matches" : "Nothing was changed yet", text: searched ? "Take a filter away, or look further back." : "Whatever is changed, by whom, shows here." });
  }
  const columns = [{ name: "When" }, { name: "Who" }, { name: "What" }, { name: "On" }, { name: "Change" }, { name: "From" }];
  const shown = trail.entries.slice(0, trail.wanted);
  const left = trail.entries.length > trail.wanted || !trail.ended;
  const next = () => {
    trail.wanted += ENOUGH;
    more(trail);
  };
  return h(
    "div",
    {},
    table("Audit trail", columns, shown.map(row)),
    left && h("div", { class: "more" }, h("button", { class: "button", type: "button", onclick: next, "data-key": "more" }, "Show more")),
  );
}

function row(entry) {
  return [
    h("time", { class: "mono", title: exact(entry.at * 1000) }, moment(entry.at * 1000)),
    h("span", { class: "who", title: entry.actor }, entry.actor),
    h("code", {}, entry.action),
    h("code", {}, entry.subject),
    changes(entry),
    h("span", { class: "faint mono" }, entry.sourceAddress ?? ""),
  ];
}

// The fields that differ, as "enabled: true → false".
function changes({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const differing = names.filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name]));
  const text = (value) => (value === undefined || value === null ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value));
  return h(
    "ul",
    { class: "changes" },
    differing.map((name) => h("li", {}, h("span", { class: "faint" }, `${name} `), before && after && [h("del", {}, text(before[name])), " → "], h("ins", {}, text((after ?? before)[name])))),
  );
}
