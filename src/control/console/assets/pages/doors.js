// The pages before a session: sign in, set up, accept an invitation.

import * as api from "../api.js";
import { h } from "../dom.js";
import { field } from "../components/field.js";
import { reportProblems } from "../components/dialog.js";
import { notice } from "../components/states.js";
import { logo } from "../icons.js";
import { newPassword, themeButton } from "../shell.js";

export function door(name, params, { setupNeeded, entered }) {
  const content = { login, setup, join }[name](params, entered, setupNeeded);
  return h(
    "div",
    { class: "door" },
    h("header", { class: "door-head" }, themeButton()),
    h("main", { id: "main", class: "door-card", tabindex: "-1" }, h("div", { class: "door-brand" }, logo(), h("span", {}, "Shipgate")), content),
  );
}

function login(params, entered, setupNeeded) {
  const email = field("Email", { type: "email", required: true, autocomplete: "username" }, { problem: "Enter your email address." });
  const password = field("Password", { type: "password", required: true, autocomplete: "current-password" }, { problem: "Enter your password." });
  const hint = setupNeeded &&
    notice("info", "Nobody has set this console up yet. Open the set-up link that the server printed when it started, or run ", h("code", {}, "shipgate setup-link"), " on its machine.");
  return [
    h("h1", { tabindex: "-1" }, "Sign in"),
    hint,
    credentials([email, password], "Sign in", async () =>
      entered(await api.post("/v1/session", { email: email.input.value.trim(), password: password.input.value }), params.next),
    ),
    h("p", { class: "door-note" }, h("span", {}, "Forgot your password?"), " ", h("span", {}, "An admin can send you a new link.")),
  ];
}

function setup(params, entered) {
  const email = field("Email", { type: "email", required: true, autocomplete: "username" }, { problem: "Enter your email address." });
  const password = newPassword("Password");
  return [
    h("h1", { tabindex: "-1" }, "Set up your console"),
    h("p", { class: "door-text" }, "You become the first admin. The link you opened works this once."),
    missing(params.token),
    credentials([email, password], "Create admin", async () =>
      entered(await api.post("/v1/setup", { token: params.token, email: email.input.value.trim(), password: password.input.value })),
    ),
  ];
}

function join(params, entered) {
  const password = newPassword("Password");
  return [
    h("h1", { tabindex: "-1" }, "Choose your password"),
    h("p", { class: "door-text" }, "You were invited to Shipgate. The link you opened works this once."),
    missing(params.token),
    credentials([password], "Set password and sign in", async () =>
      entered(await api.post("/v1/invitations/accept", { token: params.token, password: password.input.value })),
    ),
  ];
}

const missing = (token) => !token && notice("warning", "This link is incomplete: copy the whole of it, with everything after the question mark.");

function credentials(fields, action, submit) {
  const problem = h("p", { class: "form-problem", role: "alert" });
  const button = h("button", { class: "button primary large", type: "submit" }, action);
  const form = h("form", { class: "form", novalidate: true }, fields, problem, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!reportProblems(form) || button.disabled) return;
    problem.textContent = "";
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      await submit();
    } catch (error) {
      if (error.status === undefined) throw error;
      problem.textContent = told(error);
    } finally {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
  return form;
}

function told(error) {
  if (error.status === 403) return "Email and password do not match.";
  if (error.status === 429) return `Too many attempts. Try again in ${error.retryAfter ?? "a few"} seconds.`;
  return error.message;
}
