// Dialogs: Esc, a click beside them and another page close them, and focus goes back to where it was.

import { freshId, h } from "../dom.js";
import { icon } from "../icons.js";
import { toast } from "./toast.js";

// Whether one went on to something else while a question was prepared: it is not asked then.
export const isElsewhere = (signal) => signal.aborted || document.querySelector("dialog[open]") !== null;

// What a dialog asks belongs to the page it was opened on; what one shows this once stays until it is closed there.
addEventListener("hashchange", () => document.querySelectorAll("dialog[open]:not([data-once])").forEach((dialog) => dialog.close()));
addEventListener("beforeunload", (event) => document.querySelector("dialog[data-once]") && event.preventDefault());

// Opens a dialog. `body(close)` and `foot(close)` give its content; `close(answer)` ends it. The promise holds the answer:
// undefined if it was only closed. With `once`, what is said before it closes by anything but its foot, it must be closed twice.
export function openDialog({ title, body, foot, wide, label, once }) {
  const { promise, resolve } = Promise.withResolvers?.() ?? resolvers();
  const id = freshId("dialog");
  let answer;
  const close = (value) => {
    answer = value;
    dialog.close();
  };
  const warning = h("p", { class: "form-problem", role: "alert" });
  const leave = () => {
    if (!once || warning.textContent) return close();
    warning.textContent = `${once} Close it again to leave without it.`;
  };
  const dialog = h(
    "dialog",
    { class: wide ? "dialog wide" : "dialog", "aria-labelledby": id, "data-once": Boolean(once) },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id }, title),
      h("button", { class: "icon-button", type: "button", "aria-label": label ?? "Close", onclick: () => leave() }, icon("close")),
    ),
    h("div", { class: "dialog-body" }, body(close), warning),
    foot && h("footer", { class: "dialog-foot" }, foot(close)),
  );
  let pressedBeside = false;
  dialog.addEventListener("pointerdown", (event) => (pressedBeside = event.target === dialog));
  dialog.addEventListener("click", (event) => event.target === dialog && pressedBeside && leave());
  dialog.addEventListener("cancel", (event) => {
    if (!once) return;
    event.preventDefault();
    leave();
  });
  // A browser lets Esc be held up once; the key itself always can be, wherever the focus is after the way back.
  const onEscape = (event) => {
    if (!once || event.key !== "Escape") return;
    event.preventDefault();
    leave();
  };
  document.addEventListener("keydown", onEscape, true);
  dialog.addEventListener("close", () => {
    document.removeEventListener("keydown", onEscape, true);
    dialog.remove();
    resolve(answer);
  });
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector("[data-first]") ?? dialog.querySelector("input, select, textarea"))?.focus();
  return promise;
}

function resolvers() {
  let resolve;
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}

// Asks before something that cannot be taken back. `content` says what it leads to; `act` does it, and the dialog stays
// with the reason if it fails. True once it is done.
export async function confirm({ title, content, action, act, danger = true }) {
  const done = await openActing({ title, content, action, danger, act: async () => (await act(), true) });
  return done === true;
}

// A form in a dialog: `fields` are nodes, `submit()` does the work and gives the answer.
export function formDialog({ title, fields, action, submit, wide }) {
  return openActing({ title, wide, content: fields, action, act: submit });
}

// Whoever closes the dialog, or goes back, while the work is under way still gets its answer: it may be shown this once. That it
// failed is said, too.
async function openActing({ title, wide, content, action, danger, act }) {
  let underWay;
  const answer = await openDialog({ title, wide, body: (close) => actingForm({ content, action, danger, close, act: () => (underWay = act()) }) });
  return answer ?? underWay?.catch(() => undefined);
}

function actingForm({ content, action, danger, close, act }) {
  const problem = h("p", { class: "form-problem", role: "alert" });
  const button = h("button", { class: danger ? "button danger" : "button primary", type: "submit" }, action);
  const cancel = h("button", { class: "button", type: "button", onclick: () => close(), "data-first": danger }, "Cancel");
  const form = h(
    "form",
    { class: "form", novalidate: true },
    content,
    problem,
    h("div", { class: "form-buttons" }, cancel, button),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!reportProblems(form)) return;
    problem.textContent = "";
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      close(await act());
    } catch (error) {
      if (error.status === undefined) throw error;
      if (!form.isConnected && error.message) toast(error.message, "failed");
      problem.textContent = error.message;
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
  return form;
}

// Shows beside each field what is wrong with it, and goes to the first. True if all is well.
export function reportProblems(form) {
  let first = null;
  for (const input of form.querySelectorAll("input, select, textarea")) {
    const place = form.querySelector(`#${CSS.escape(`${input.id}-problem`)}`);
    const wrong = !input.checkValidity();
    if (place) place.textContent = wrong ? input.dataset.problem ?? input.validationMessage : "";
    input.setAttribute("aria-invalid", String(wrong));
    if (wrong) first ??= input;
  }
  first?.focus();
  return first === null;
}
