// Sharing the view: which shared token, and whether its times stand still.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { copyButton } from "../components/copy.js";
import { openDialog } from "../components/dialog.js";
import { segments } from "../components/field.js";
import { empty, into, notice } from "../components/states.js";
import { date, listed } from "../format.js";
import { icon } from "../icons.js";
import { href } from "../router.js";
import { described, fixed, isRelative } from "./time.js";

export function shareView(view, isAdmin) {
  return openDialog({
    title: "Share this view",
    wide: true,
    body: (close) => {
      const place = h("div", {});
      const load = async () => {
        const [tokens, filters] = await Promise.all([api.get("/v1/shared-tokens"), api.get("/v1/shared-tokens/filters")]);
        return { tokens: tokens.filter((token) => !(token.expirationDate && token.expirationDate * 1000 <= Date.now())), filters };
      };
      into(place, load, (data) => content(view, data, isAdmin, close));
      return place;
    },
  });
}

function content(view, { tokens, filters }, isAdmin, close) {
  if (tokens.length === 0) {
    return empty({
      symbol: "key",
      title: "There is no shared token to make a link with",
      text: isAdmin ? "Add one first: it says what the recipient may see, and deleting it ends the link." : "Ask an admin to add one: it says what the recipient may see.",
      action: isAdmin && h("a", { class: "button primary", href: href("/settings/tokens/shared"), onclick: () => close() }, "Add a shared token"),
    });
  }
  const chosen = { token: tokens.find((token) => token.filters?.length) ?? tokens[0], kind: "view" };
  const result = h("div", {});
  const show = () => fill(result, outcome(view, chosen, filters));
  const kind = isRelative(view.state)
    ? segments("Times", [["view", "View: moves with time"], ["snapshot", "Snapshot: stands still"]], chosen.kind, (value) => ((chosen.kind = value), show()))
    : null;
  show();
  return h("div", { class: "form" }, tokenChoice(tokens, filters, chosen, show), kind, result);
}

function tokenChoice(tokens, filters, chosen, show) {
  return h(
    "fieldset",
    { class: "choices" },
    h("legend", {}, "Shared token"),
    tokens.map((token) =>
      h(
        "label",
        { class: "choice" },
        h("input", { type: "radio", name: "share-token", value: token.id, checked: token === chosen.token, onchange: () => ((chosen.token = token), show()) }),
        h(
          "span",
          {},
          h("strong", {}, token.name),
          h("small", {}, sees(token, filters), token.expirationDate ? ` · until ${date(token.expirationDate)}` : ""),
        ),
      ),
    ),
  );
}

function sees(token, filters) {
  if (token.suspended) return "suspended: shows nothing";
  if (!token.filters?.length) return "shows all of the account's logs";
  const mine = filters.filter((filter) => token.filters.includes(filter.id)).map((filter) => `${filter.field}: ${filter.value}`);
  return `shows logs with ${listed(mine, token.filtersOperator === "OR" ? "or" : "and")}`;
}

function outcome(view, { token, kind }, filters) {
  const range = kind === "snapshot" ? fixed(view.state) : view.state;
  const params = { ...view.params(), from: range.from, to: range.to, ...(kind === "snapshot" ? { live: "" } : {}) };
  const link = `${location.origin}/?${new URLSearchParams({ embed: "true", shareToken: token.token })}${href("/explore", params)}`;
  const input = h("input", { class: "input", readonly: true, value: link, "aria-label": "Link", "data-link": true, onfocus: (event) => event.target.select() });
  return h(
    "div",
    { class: "form" },
    token.suspended && notice("warning", "This token's last filter was deleted. Its links show nothing until an admin saves its filters again."),
    !token.suspended && !token.filters?.length && notice("warning", "This token has no filter: whoever holds the link sees all of the account's logs, not only this view."),
    h("p", { class: "hint" }, `“${token.name}” ${sees(token, filters)}. Whoever has the link first sees this view, `, h("strong", {}, described(range)), token.queryBar === false ? ", and cannot search." : ", and may then search.", " Deleting the token ends the link."),
    h("div", { class: "link-row" }, input, copyButton(link, "Copy link", { class: "button primary copy" })),
    h("p", {}, h("a", { href: link, target: "_blank", rel: "noopener" }, icon("eye"), "See what they will see")),
  );
}
