// What stands around every page: where one is, where one can go, and who one is.

import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { field } from "./components/field.js";
import { formDialog } from "./components/dialog.js";
import { dropdown } from "./components/menu.js";
import { toast } from "./components/toast.js";
import { icon, logo } from "./icons.js";
import { href } from "./router.js";
import { showShortcuts } from "./shortcuts.js";
import { chooseTheme, chosenTheme } from "./theme.js";

const PLACES = [
  { path: "/explore", name: "Explore", symbol: "search" },
  { path: "/send", name: "Send your data", symbol: "send", needs: "admin" },
  { group: "Settings", needs: "admin" },
  { path: "/settings/tokens/shipping", under: "/settings/tokens", name: "Manage tokens", symbol: "key", needs: "admin" },
  { path: "/settings/general", name: "General", symbol: "settings", needs: "admin" },
  { path: "/settings/users", name: "Users", symbol: "users", needs: "admin" },
  { group: "System", needs: "main" },
  { path: "/operations", name: "Operations", symbol: "pulse", needs: "main" },
];

export function shell({ session, path, may, signOut }, main) {
  const drawer = h("dialog", { class: "drawer", "aria-label": "Menu" });
  drawer.addEventListener("click", (event) => (event.target === drawer || event.target.closest("a")) && drawer.close());
  const open = () => {
    fill(drawer, side({ session, path, may, signOut }));
    drawer.showModal();
  };
  return h(
    "div",
    { class: "shell" },
    h("aside", { class: "side" }, side({ session, path, may, signOut })),
    h(
      "header",
      { class: "top" },
      h("button", { class: "icon-button", type: "button", "aria-label": "Open the menu", onclick: open }, icon("menu")),
      logo(),
      h("strong", {}, session.account.accountName),
    ),
    drawer,
    main,
  );
}

function side({ session, path, may, signOut }) {
  return [
    h(
      "div",
      { class: "side-head" },
      logo(),
      h("div", { class: "side-account" }, h("strong", {}, session.account.accountName), h("span", {}, planName(session.account.plan))),
    ),
    h(
      "nav",
      { class: "nav", "aria-label": "Main" },
      PLACES.filter((place) => may(place.needs)).map((place) =>
        place.group
          ? h("p", { class: "nav-group" }, place.group)
          : h(
              "a",
              { href: href(place.path), "aria-current": path.startsWith(place.under ?? place.path) ? "page" : null },
              icon(place.symbol),
              place.name,
            ),
      ),
    ),
    h("div", { class: "side-foot" }, userMenu(session, signOut), themeButton()),
  ];
}

export const planName = (plan) => ({ community: "Community plan", pro: "Pro plan", enterprise: "Enterprise plan" })[plan] ?? plan;

function userMenu(session, signOut) {
  const button = h(
    "button",
    { class: "user-button", type: "button", title: session.user.email },
    h("span", { class: "avatar", "aria-hidden": "true" }, session.user.email[0].toUpperCase()),
    h("span", { class: "user-name" }, h("strong", {}, session.user.email), h("span", {}, session.user.role === "admin" ? "Admin" : "User")),
  );
  const item = (symbol, text, act) => h("button", { type: "button", onclick: act }, icon(symbol), text);
  return dropdown(
    button,
    (close) => [
      item("key", "Change password", () => (close(), changePassword())),
      item("keyboard", "Keyboard shortcuts", () => (close(), showShortcuts())),
      item("logout", "Sign out", () => (close(), signOut())),
    ],
    { label: "Your account", kind: "menu" },
  );
}

const THEMES = { system: ["screen", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };
const NEXT = { system: "light", light: "dark", dark: "system" };

export function themeButton() {
  const button = h("button", { class: "icon-button", type: "button" });
  const show = () => {
    const [symbol, name] = THEMES[chosenTheme()];
    button.setAttribute("aria-label", `Theme: ${name}. Change it`);
    button.title = `Theme: ${name}`;
    fill(button, icon(symbol));
  };
  button.addEventListener("click", () => {
    chooseTheme(NEXT[chosenTheme()]);
    show();
  });
  show();
  return button;
}

function changePassword() {
  const current = field("Current password", { type: "password", required: true, autocomplete: "current-password" });
  const fresh = newPassword("New password");
  return formDialog({
    title: "Change password",
    fields: [current, fresh],
    action: "Change password",
    submit: async () => {
      await api.put("/v1/session/password", { current: current.input.value, new: fresh.input.value });
      toast("Your password is changed.");
    },
  });
}

const PASSWORD_MIN = 12;

export function newPassword(label) {
  return field(
    label,
    { type: "password", required: true, minlength: PASSWORD_MIN, autocomplete: "new-password" },
    { hint: `At least ${PASSWORD_MIN} characters. A few words are easier to keep in mind than symbols.`, problem: `Use at least ${PASSWORD_MIN} characters.` },
  );
}
