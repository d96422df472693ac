// Settings > Users.

import * as api from "../api.js";
import { h } from "../dom.js";
import { snippet } from "../components/copy.js";
import { confirm, formDialog, openDialog } from "../components/dialog.js";
import { busyWith, field, segments } from "../components/field.js";
import { dropdown } from "../components/menu.js";
import { into } from "../components/states.js";
import { table } from "../components/table.js";
import { pageHead } from "../components/tabs.js";
import { toast } from "../components/toast.js";
import { ago, date, exact } from "../format.js";
import { icon } from "../icons.js";

const USERS = "/v1/users";
const ROLES = { admin: "Admin", user: "User" };

export function page({ session, signal }) {
  const place = h("div", {});
  const show = () => into(place, () => api.get(USERS, {}, signal), (users) => list(users.users ?? users, session.user, show));
  show();
  const invite = h("button", { class: "button primary", type: "button", "data-key": "new", onclick: () => inviteUser(show) }, icon("plus"), "Invite user");
  return h(
    "div",
    { class: "page" },
    pageHead("Users", "Admins manage everything. Users search logs and share views; they see no shipping tokens.", invite),
    place,
  );
}

function list(users, me, show) {
  const columns = [{ name: "Email" }, { name: "Role" }, { name: "State" }, { name: "Added" }, { name: "Last seen" }, { name: "Actions", hidden: true, class: "actions" }];
  return table("Users", columns, users.map((user) => row(user, me, users, show)));
}

function row(user, me, users, show) {
  const admins = users.filter((other) => other.role === "admin" && !other.suspended && other.state === "active");
  const last = admins.length === 1 && admins[0].id === user.id;
  return [
    h("span", { class: "name-cell" }, h("strong", {}, user.email), user.id === me.id && h("span", { class: "badge" }, "you")),
    ROLES[user.role],
    state(user),
    h("time", { title: exact(user.createdAt * 1000) }, date(user.createdAt)),
    user.lastSeen ? h("time", { title: exact(user.lastSeen * 1000) }, ago(user.lastSeen)) : h("span", { class: "faint" }, "never"),
    h("span", { class: "row-actions" }, actions(user, last, show)),
  ];
}

function state(user) {
  if (user.suspended) return h("span", { class: "badge danger" }, "suspended");
  if (user.state === "invited") return h("span", { class: "badge warning" }, "invited");
  return h("span", { class: "badge good" }, "active");
}

function actions(user, last, show) {
  const button = h("button", { class: "icon-button", type: "button", "aria-label": `Actions for ${user.email}`, title: "Actions", "data-key": `actions-${user.id}` }, icon("more"));
  const why = last ? "The account keeps at least one active admin" : null;
  const item = (symbol, text, act, { locked, danger } = {}) =>
    h("button", { type: "button", class: danger ? "danger" : null, "aria-disabled": locked ? "true" : null, title: locked, onclick: locked ? null : act }, icon(symbol), h("span", {}, text, locked && h("small", {}, locked)));
  return dropdown(
    button,
    (close) => {
      const then = (act) => () => (close(), busyWith(button, act)());
      return h(
        "div",
        {},
        item("user", user.role === "admin" ? "Make a user" : "Make an admin", then(() => changeRole(user, show)), { locked: user.role === "admin" ? why : null }),
        item("link", user.state === "invited" ? "New invitation link" : "Link to reset the password", then(() => newLink(user, show))),
        user.suspended
          ? item("play", "Let in again", then(() => change(user, { suspended: false }, `${user.email} may sign in again.`, show)))
          : item("pause", "Suspend", then(() => suspend(user, show)), { locked: why }),
        item("trash", "Delete", then(() => deleteUser(user, show)), { locked: why, danger: true }),
      );
    },
    { label: `Actions for ${user.email}`, kind: "menu" },
  );
}

async function change(user, body, done, show) {
  try {
    await api.put(`${USERS}/${user.id}`, body);
    toast(done);
  } catch (error) {
    toast(error.message, "failed");
  }
  show();
}

function changeRole(user, show) {
  const role = user.role === "admin" ? "user" : "admin";
  return change(user, { role }, `${user.email} is ${role === "admin" ? "an admin" : "a user"} now.`, show);
}

async function suspend(user, show) {
  const sure = await confirm({
    title: `Suspend ${user.email}?`,
    content: h("p", {}, "They are signed out everywhere at once and cannot sign in until you let them in again. What they made stays."),
    action: "Suspend",
    act: () => api.put(`${USERS}/${user.id}`, { suspended: true }),
  });
  if (!sure) return;
  toast(`${user.email} is suspended.`);
  show();
}

async function deleteUser(user, show) {
  const sure = await confirm({
    title: `Delete ${user.email}?`,
    content: h("p", {}, "They are signed out everywhere at once, and this cannot be taken back: you would have to invite them again. Tokens and filters they made stay."),
    action: "Delete user",
    act: () => api.remove(`${USERS}/${user.id}`),
  });
  if (!sure) return;
  toast(`${user.email} is deleted.`);
  show();
}

async function inviteUser(show) {
  const email = field("Email", { type: "email", required: true, placeholder: "ada@example.com" }, { problem: "Enter an email address." });
  let role = "user";
  const roles = segments("Role", [["user", "User"], ["admin", "Admin"]], role, (value) => (role = value));
  const hint = h("p", { class: "hint" }, "Users search logs and share views. Admins also manage tokens, filters and users.");
  const made = await formDialog({ title: "Invite user", fields: [email, roles, hint], action: "Make invitation", submit: () => api.post(USERS, { email: email.input.value.trim(), role }) });
  if (!made) return;
  await showLink(made);
  show();
}

async function newLink(user, show) {
  try {
    await showLink(await api.post(`${USERS}/${user.id}/invitation`, {}));
  } catch (error) {
    toast(error.message, "failed");
  }
  show();
}

function showLink({ user, invitation }) {
  const link = new URL(invitation.path, location.origin).href;
  return openDialog({
    once: "This link is not shown again.",
    title: user ? `Link for ${user.email}` : "Link",
    body: () => [
      h("p", {}, `Send them this link. It lets them choose a password, works once, and is valid until ${exact(invitation.expiresAt * 1000)}. It is shown this once.`),
      snippet(link, "the link"),
    ],
    foot: (close) => h("button", { class: "button primary", type: "button", onclick: () => close() }, "Done"),
  });
}
