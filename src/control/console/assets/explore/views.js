// Saved views: names for what is looked at again and again.

import * as api from "../api.js";
import { h } from "../dom.js";
import { confirm, formDialog } from "../components/dialog.js";
import { field, iconButton } from "../components/field.js";
import { dropdown } from "../components/menu.js";
import { into } from "../components/states.js";
import { toast } from "../components/toast.js";
import { icon } from "../icons.js";
import { href } from "../router.js";

const VIEWS = "/v1/views";

export function viewsMenu(view) {
  const button = h("button", { class: "button", type: "button" }, icon("bookmark"), h("span", { class: "button-text may-hide" }, "Views"));
  return dropdown(
    button,
    (close) => {
      const place = h("div", { class: "views" });
      into(place, () => api.get(VIEWS), (views) => list(view, views.views ?? views, close), 2);
      return place;
    },
    { label: "Saved views" },
  );
}

function list(view, views, close) {
  return h(
    "div",
    {},
    views.length === 0
      ? h("p", { class: "faint" }, "Save a search with its time range and columns, to come back to it with a click.")
      : h(
          "ul",
          { class: "views-list" },
          views.map((saved) =>
            h(
              "li",
              {},
              h("a", { href: `#/${saved.view}`, onclick: close, title: saved.createdBy && `Saved by ${saved.createdBy}` }, saved.name),
              iconButton("trash", `Delete the view ${saved.name}`, { onclick: () => (close(), deleteView(saved)) }),
            ),
          ),
        ),
    h("button", { class: "button", type: "button", onclick: () => (close(), saveView(view)) }, icon("plus"), "Save this view"),
  );
}

async function saveView(view) {
  const name = field("Name", { required: true, maxlength: 100, placeholder: "Failed payments" }, { problem: "Give it a name." });
  const saved = await formDialog({
    title: "Save this view",
    fields: [name, h("p", { class: "hint" }, "Everybody in this account finds it under Views.")],
    action: "Save view",
    submit: () => api.post(VIEWS, { name: name.input.value.trim(), view: href("/explore", view.params()).replace(/^#\//, "") }),
  });
  if (saved) toast(`“${saved.name}” is saved.`);
}

async function deleteView(saved) {
  const sure = await confirm({
    title: `Delete the view “${saved.name}”?`,
    content: h("p", {}, "It goes for everybody in this account. The logs it shows stay."),
    action: "Delete view",
    act: () => api.remove(`${VIEWS}/${saved.id}`),
  });
  if (sure) toast(`“${saved.name}” is deleted.`);
}
