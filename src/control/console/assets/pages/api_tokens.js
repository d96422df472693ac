// Manage tokens > API tokens.

import * as api from "../api.js";
import { h } from "../dom.js";
import { snippet } from "../components/copy.js";
import { confirm, formDialog, openDialog } from "../components/dialog.js";
import { field, iconButton } from "../components/field.js";
import { empty, into, notice } from "../components/states.js";
import { table } from "../components/table.js";
import { toast } from "../components/toast.js";
import { date, exact } from "../format.js";
import { icon } from "../icons.js";
import { tokenPage } from "./token_tabs.js";

const TOKENS = "/v1/api-tokens";

export function page({ path, signal }) {
  const place = h("div", {});
  const show = () => into(place, () => api.get(TOKENS, {}, signal), (tokens) => content(tokens, show));
  show();
  return tokenPage(path, place);
}

function content(tokens, show) {
  const create = h("button", { class: "button primary", type: "button", "data-key": "new", onclick: () => createToken(show) }, icon("plus"), "New API token");
  return h(
    "div",
    {},
    h("div", { class: "bar" }, h("p", { class: "bar-text" }, "With an API token a program can do all that an admin of this account can. Send it in the header ", h("code", {}, "X-API-TOKEN"), "."), h("span", { class: "spring" }), create),
    tokens.length === 0
      ? empty({ symbol: "key", title: "No API tokens", text: "Create one for each program that is to manage tokens or read logs for you." })
      : table(
          "API tokens",
          [{ name: "Name" }, { name: "Created" }, { name: "Actions", hidden: true, class: "actions" }],
          tokens.map((token) => [
            h("span", { class: "name-cell" }, h("strong", {}, token.name)),
            h("time", { title: exact(token.createdAt * 1000) }, date(token.createdAt)),
            h("span", { class: "row-actions" }, iconButton("trash", `Delete ${token.name}`, { "data-key": `delete-${token.id}`, onclick: () => deleteToken(token, show) })),
          ]),
        ),
  );
}

async function createToken(show) {
  const name = field("Name", { required: true, maxlength: 100, placeholder: "terraform" }, { hint: "The audit trail names it beside all that it does.", problem: "Give it a name." });
  const created = await formDialog({ title: "New API token", fields: [name], action: "Create token", submit: () => api.post(TOKENS, { name: name.input.value.trim() }) });
  if (!created) return;
  await openDialog({
    once: "This token is not shown again.",
    title: `API token “${created.name}”`,
    body: () => [notice("warning", "Copy it now and keep it where you keep passwords: it is shown this once."), snippet(created.token, "the API token", "X-API-TOKEN")],
    foot: (close) => h("button", { class: "button primary", type: "button", onclick: () => close() }, "I have copied it"),
  });
  show();
}

async function deleteToken(token, show) {
  const sure = await confirm({
    title: `Delete “${token.name}”?`,
    content: h("p", {}, "Programs that use it are refused from now on, and it cannot be brought back. What they did stays in the audit trail."),
    action: "Delete API token",
    act: () => api.remove(`${TOKENS}/${token.id}`),
  });
  if (!sure) return;
  toast(`“${token.name}” is deleted.`);
  show();
}
