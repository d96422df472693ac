// The head that the pages of Manage tokens share.

import { h } from "../dom.js";
import { pageHead, tabs } from "../components/tabs.js";

const TABS = [
  ["/settings/tokens/shipping", "Data shipping tokens"],
  ["/settings/tokens/shared", "Shared tokens"],
  ["/settings/tokens/api", "API tokens"],
];

export function tokenPage(path, content) {
  return h("div", { class: "page" }, pageHead("Manage tokens", "Who may send logs, who may look at them, and which programs act for you."), tabs("Kinds of tokens", path, TABS), content);
}
