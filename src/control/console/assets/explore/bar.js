// The query bar: what is looked for, and what is wrong with it.

import { fill, h } from "../dom.js";
import { openDialog } from "../components/dialog.js";
import { iconButton } from "../components/field.js";
import { icon } from "../icons.js";

const EXAMPLES = [
  ["timeout", "a word, in any field"],
  ['"connection refused"', "words one right after the other"],
  ["level:error", "a field's value"],
  ["user.plan:pro*", "a field within another; values that begin so"],
  ["status:[500 TO 599]", "a range; { and } leave the end out"],
  ["latency_ms:>250", "more than"],
  ["level:error AND NOT service:batch", "AND, OR, NOT and brackets"],
  ["trace_id:*", "logs that have the field"],
];

export function queryBar(view) {
  const input = h("input", {
    class: "query-input",
    type: "search",
    placeholder: "Search: timeout, level:error, status:>=500 AND NOT service:batch",
    "aria-label": "Search logs",
    "aria-describedby": "query-problem",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    enterkeyhint: "search",
    "data-search": true,
  });
  const problem = h("div", { class: "query-problem", id: "query-problem", role: "alert" });
  const form = h(
    "form",
    { class: "query", role: "search", "aria-label": "Logs" },
    icon("search"),
    input,
    h("kbd", { "aria-hidden": "true" }, "/"),
    iconButton("info", "How to search", { onclick: showSyntax }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    view.change({ query: input.value.trim() }, { again: true });
  });
  input.addEventListener("keydown", (event) => event.key === "Escape" && input.blur());
  const bar = h("div", { class: "query-bar" }, form, problem);
  bar.show = (query) => {
    if (input.value.trim() !== query) input.value = query;
  };
  // The text again, with a mark below the column where it went wrong.
  bar.problem = (error) => {
    input.setAttribute("aria-invalid", String(Boolean(error)));
    if (!error) return fill(problem);
    const column = Number(error.parameters.column);
    const context = 40;
    const text = [...view.state.query];
    const from = Math.max(0, column - 1 - context);
    fill(
      problem,
      h("p", {}, icon("warning"), error.message),
      column > 0 && h("pre", { "aria-hidden": "true" }, `${text.slice(from, column - 1 + context).join("")}\n${" ".repeat(column - 1 - from)}^`),
    );
  };
  return bar;
}

function showSyntax() {
  return openDialog({
    title: "How to search",
    body: () => [
      h("dl", { class: "syntax" }, EXAMPLES.map(([text, meaning]) => h("div", {}, h("dt", {}, h("code", {}, text)), h("dd", {}, meaning)))),
      h("p", { class: "hint" }, "Words are found whatever their case. Words side by side must all match."),
    ],
  });
}
