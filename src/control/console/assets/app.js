// The console begins here: who is looking decides what there is to see.

import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { failed, loading, nothingHere } from "./components/states.js";
import { dismiss, toast } from "./components/toast.js";
import { keepShortcuts } from "./shortcuts.js";
import { applyTheme } from "./theme.js";
import { go, here, href } from "./router.js";
import { shell } from "./shell.js";

// `needs`: who may see it. `load` is asked for its `page(context)`, which gives an element at once.
const PAGES = {
  "/explore": { title: "Explore", load: () => import("./pages/explore.js") },
  "/send": { title: "Send your data", needs: "admin", load: () => import("./pages/send.js") },
  "/settings/tokens": { to: "/settings/tokens/shipping" },
  "/settings/tokens/shipping": { title: "Data shipping tokens", needs: "admin", load: () => import("./pages/shipping_tokens.js") },
  "/settings/tokens/shared": { title: "Shared tokens", needs: "admin", load: () => import("./pages/shared_tokens.js") },
  "/settings/tokens/api": { title: "API tokens", needs: "admin", load: () => import("./pages/api_tokens.js") },
  "/settings/general": { title: "General", needs: "admin", load: () => import("./pages/general.js") },
  "/settings/users": { title: "Users", needs: "admin", load: () => import("./pages/users.js") },
  "/operations": { title: "Operations", needs: "main", load: () => import("./pages/operations.js") },
  "/operations/audit": { title: "Audit trail", needs: "main", load: () => import("./pages/audit.js") },
};
// Those that need no session.
const DOORS = { "/login": "login", "/setup": "setup", "/join": "join" };

const root = document.getElementById("root");
let session = null;
// Whether it is known who is looking; until then the address may change, and nothing is shown for it.
let isKnown = false;
// The page that is shown: its path, its context, and what it does when only the view's parameters change.
let shown = null;

function may(needs) {
  const admin = session.user.role === "admin";
  return !needs || (needs === "admin" && admin) || (needs === "main" && admin && session.account.main);
}

async function start() {
  applyTheme();
  keepShortcuts();
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  });
  const shareToken = new URLSearchParams(location.search).get("shareToken");
  if (shareToken) {
    const { startRecipient } = await import("./recipient.js");
    return startRecipient(root, shareToken);
  }
  api.whenOver(checkSession);
  addEventListener("hashchange", () => isKnown && show());
  // A link to another page tells of itself here, too, before the hash is said to have changed.
  addEventListener("popstate", () => shown?.path === here().path && shown.moved?.());
  root.replaceChildren(h("div", { class: "start" }, loading(3)));
  await openSession();
}

// Asks who we are, and shows what that person came for.
async function openSession() {
  try {
    session = await api.get("/v1/session");
  } catch (error) {
    if (error.status !== 401) {
      root.replaceChildren(h("main", { id: "main", class: "start" }, failed(error, openSession)));
      return;
    }
    session = null;
    root.dataset.setupNeeded = String(error.parameters.setupNeeded === true);
  }
  isKnown = true;
  await show();
}

let checking = false;

// A call was refused: perhaps the session is over.
async function checkSession() {
  if (checking || !session) return;
  checking = true;
  const { role } = session.user;
  try {
    session = await api.get("/v1/session");
    if (session.user.role !== role) await showAnew();
  } catch (error) {
    if (error.status === 401) {
      session = null;
      await show();
    }
  } finally {
    checking = false;
  }
}

async function show() {
  const { path, params } = here();
  if (path === "/login" && session) return entered(session, params.next);
  if (DOORS[path]) return showDoor(DOORS[path], params);
  if (!session) return go("/login", { next: path === "/" ? "" : location.hash.slice(1) });
  if (path === "/") return go("/explore");
  const page = PAGES[path];
  if (page?.to) return location.replace(href(page.to, params));
  if (shown?.path === path && shown.moved) return shown.moved();
  await showPage(path, page && may(page.needs) ? page : null);
}

// What may be seen has changed.
function showAnew() {
  leave();
  return show();
}

async function showDoor(name, params) {
  leave();
  root.removeAttribute("class");
  const { path } = here();
  const { door } = await import("./pages/doors.js");
  if (here().path !== path) return;
  const setupNeeded = root.dataset.setupNeeded === "true";
  fill(root, door(name, params, { setupNeeded, entered }));
  document.title = "Shipgate";
  root.querySelector("input")?.focus();
}

// Somebody signed in.
function entered(opened, next) {
  session = opened;
  go(next?.startsWith("/") ? next : "/explore");
}

async function signOut() {
  try {
    await api.remove("/v1/session");
  } catch (error) {
    // Whoever is out already is.
    if (error.status !== 401) return toast(error.message, "failed");
  }
  session = null;
  leave();
  go("/login");
}

function leave() {
  shown?.controller.abort();
  shown = null;
  dismiss();
}

async function showPage(path, page) {
  leave();
  const controller = new AbortController();
  const mine = { path, controller, moved: null };
  shown = mine;
  const context = { session, path, signal: controller.signal, onMove: (moved) => (mine.moved = moved) };
  document.title = `${page?.title ?? "Not found"} · Shipgate`;
  const main = h("main", { id: "main", tabindex: "-1" }, loading());
  fill(root, shell({ session, path, may, signOut }, main));
  const code = await page?.load();
  // Whoever went on meanwhile has left it before it began.
  if (shown !== mine) return;
  fill(main, code ? code.page(context) : nothingHere());
  if (document.activeElement === document.body) (main.querySelector("h1") ?? main).focus({ preventScroll: true });
}

start();
