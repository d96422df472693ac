// Explore: what is in the log. The view, that is query, times and columns, lives in the URL.

import * as api from "../api.js";
import { announce, every, fill, h } from "../dom.js";
import { empty, failed, loading } from "../components/states.js";
import { histogram } from "../components/histogram.js";
import { toast } from "../components/toast.js";
import { queryBar } from "../explore/bar.js";
import { fieldList } from "../explore/fields.js";
import { startTail } from "../explore/live.js";
import { pageOf } from "../explore/logs.js";
import { rangePicker } from "../explore/range.js";
import { rowTable } from "../explore/rows.js";
import { DEFAULT_FROM, during, instant } from "../explore/time.js";
import { toolbar } from "../explore/toolbar.js";
import { narrowed } from "../explore/query.js";
import { clock, whole } from "../format.js";
import { here, href, push, replace } from "../router.js";

const LIMIT = 100;
// How many logs that came while a live tail was broken are fetched.
const MISSED_MAX = 1000;
const LIVE_REFRESH_MS = 5_000;

// With `recipient`, the answer of /v1/share, it is the page behind a sharing link.
export function page(context) {
  const explore = new Explore(context);
  context.onMove(() => explore.moved());
  context.signal.addEventListener("abort", () => explore.stop());
  explore.run();
  return explore.element;
}

class Explore {
  constructor({ session, recipient, signal }) {
    const mayFilter = !recipient || recipient.queryBar !== false;
    this.signal = signal;
    this.state = fromUrl();
    this.bar = mayFilter && queryBar(this);
    this.range = mayFilter ? rangePicker(() => this.state, (range) => this.change(range, { again: true })) : h("p", { class: "view-said" });
    this.chart = histogram(mayFilter && ((from, to) => this.change({ from: new Date(from).toISOString(), to: new Date(to).toISOString() })));
    this.chartPlace = h("section", { class: "chart-place", "aria-label": "Logs over time" }, this.chart);
    this.fields = fieldList(this, mayFilter);
    this.rows = rowTable(this, mayFilter);
    this.tools = toolbar(this, { isAdmin: session?.user.role === "admin", isRecipient: Boolean(recipient) });
    this.results = h("div", { class: "results" });
    this.more = h("div", { class: "more" });
    this.element = h(
      "div",
      { class: "explore" },
      h("h1", { class: "unseen", tabindex: "-1" }, "Explore"),
      h("div", { class: "explore-bar" }, this.bar, this.range),
      this.chartPlace,
      h("div", { class: "explore-body" }, this.fields, h("section", { class: "results-side", "aria-label": "Results" }, this.tools, this.results)),
    );
    new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && this.loadMore()).observe(this.more);
  }

  // The view as the URL holds it; what is usual is left out.
  params() {
    const { query, from, to, columns, live } = this.state;
    return { query, from, to, columns: columns.join(","), live: live ? "true" : "" };
  }

  // Changes the view, and with it the URL. `again` searches even if nothing changed.
  change(changes, { again = false } = {}) {
    const before = href("/explore", this.params());
    Object.assign(this.state, changes);
    if (href("/explore", this.params()) === before && !again) return;
    push("/explore", this.params());
    this.run();
  }

  // The URL changed: somebody went back, or followed a link.
  moved() {
    if (here().path !== "/explore") return;
    const state = fromUrl();
    // Of one move a browser may tell twice.
    if (JSON.stringify(state) === JSON.stringify(this.state)) return;
    this.state = state;
    this.run();
  }

  narrow(field, value, isNot) {
    this.change({ query: narrowed(this.state.query, field, value, isNot) });
  }

  flipColumn(name) {
    const { columns } = this.state;
    this.state.columns = columns.includes(name) ? columns.filter((column) => column !== name) : [...columns, name];
    push("/explore", this.params());
    this.rows.redraw();
    this.fields.show();
    announce(this.state.columns.includes(name) ? `Column ${name} added` : `Column ${name} removed`);
  }

  // Of somebody who cannot search: what is shown instead.
  said() {
    const { query } = this.state;
    fill(this.range, query ? ["Logs that match ", h("code", {}, query)] : "All logs that this link shows", " ", h("strong", {}, during(this.state)), ".");
  }

  asked() {
    const { query, from, to } = this.state;
    return { query, from, to };
  }

  stop() {
    this.running?.abort();
    this.stopTail();
  }

  // Asks everything anew.
  async run() {
    this.running?.abort();
    const running = (this.running = new AbortController());
    this.stopTail();
    // It goes on from where the question before stood.
    this.cursor = null;
    this.bar?.show?.(this.state.query);
    if (this.bar) this.range.show();
    else this.said();
    // Until there is another, the answer to the question before is dimmed.
    for (const answer of [this.results, this.chart]) answer.classList.add("stale");
    this.fields.loading();
    if (!this.results.childElementCount || this.results.querySelector(".empty")) fill(this.results, loading(10));
    const statistics = [this.drawChart(running.signal), this.drawFields(running.signal)];
    try {
      const found = await this.page({}, running.signal);
      this.bar?.problem?.(null);
      this.showFound(found);
      if (this.state.live) this.startTail();
    } catch (error) {
      this.showFailure(error);
    }
    await Promise.all(statistics);
  }

  async page(more, signal) {
    return pageOf(await api.getWritten("/v1/logs", { ...this.asked(), limit: LIMIT, ...more }, signal));
  }

  showFound({ logs, cursor, partial, tookMs }) {
    this.results.classList.remove("stale");
    this.cursor = cursor;
    this.tools.took(tookMs, partial);
    // How many there were is no answer to this question.
    if (this.chart.classList.contains("stale")) this.tools.counted(null);
    if (logs.length === 0) {
      fill(this.results, this.nothing());
      announce("No logs found");
      return;
    }
    this.rows.show(logs);
    this.showMore();
    fill(this.results, this.rows, this.more);
    announce(`${logs.length} logs shown`);
  }

  showFailure(error) {
    if (api.isAbort(error)) return;
    if (error.status === undefined) throw error;
    this.results.classList.remove("stale");
    this.setLive(false);
    this.stopTail();
    this.tools.counted(null);
    if (error.status === 400 && this.bar) {
      // Without a column the query is not what is wrong: a time is, most likely.
      const isOfQuery = error.parameters.column > 0;
      this.bar.problem(isOfQuery ? error : null);
      const text = isOfQuery ? "See below the search box where it goes wrong." : `${error.message}.`;
      fill(this.results, empty({ role: isOfQuery ? null : "alert", symbol: "search", title: "This cannot be searched for", text }));
    } else {
      fill(this.results, failed(error, () => this.run()));
    }
  }

  nothing() {
    const { query } = this.state;
    const wider = h("button", { class: "button", type: "button", onclick: () => this.change({ from: "now-7d", to: "now" }) }, "Look at the last 7 days");
    return empty({
      symbol: "search",
      title: "No logs found",
      text: `${query ? "Nothing matches" : "Nothing was logged"} ${during(this.state)}.${query ? " Look further back, or take a part of the query away." : ""}`,
      action: this.bar && wider,
    });
  }

  async drawChart(signal) {
    try {
      const found = await api.get("/v1/logs/histogram", this.asked(), signal);
      const now = Date.now();
      this.chart.show({ ...found, from: instant(this.state.from, now), to: instant(this.state.to, now) });
      this.tools.counted(found.total, found.partial);
    } catch (error) {
      // What a live view shows already stays until it can be asked again.
      if (api.isAbort(error) || !this.chart.classList.contains("stale")) return;
      this.chart.show({ from: 0, to: 0, intervalMs: 1, buckets: [] });
      this.tools.counted(null);
    }
  }

  async drawFields(signal) {
    try {
      this.fields.show(await api.get("/v1/logs/fields", { ...this.asked(), values: 10 }, signal));
    } catch (error) {
      if (!api.isAbort(error)) this.fields.clear();
    }
  }

  showMore() {
    const button = h("button", { class: "button", type: "button", onclick: () => this.loadMore() }, "Show older logs");
    fill(this.more, this.cursor ? button : h("p", { class: "faint" }, "No older logs in this time."));
  }

  async loadMore() {
    const { cursor } = this;
    if (!cursor || this.loadingMore || this.tail) return;
    this.loadingMore = true;
    const button = this.more.querySelector("button");
    button?.setAttribute("aria-busy", "true");
    try {
      const found = await this.page({ cursor }, this.running.signal);
      if (this.cursor !== cursor) return;
      this.cursor = found.cursor;
      this.rows.append(found.logs);
      this.showMore();
    } catch (error) {
      if (!api.isAbort(error)) this.say(error.message);
    } finally {
      this.loadingMore = false;
      button?.removeAttribute("aria-busy");
    }
  }

  // Says what failed, unless the page has gone: another one says why.
  say(failure) {
    if (!this.signal.aborted) toast(failure, "failed");
  }

  // The logs from before the tail; what came since the last search is among them.
  async showBefore(signal) {
    try {
      const { logs } = await this.page({}, signal);
      if (logs.length > 0) {
        this.results.querySelector(".waiting-text")?.remove();
        this.rows.show(logs);
      }
      return logs;
    } catch (error) {
      if (!api.isAbort(error)) this.say(error.message);
      return [];
    }
  }

  // The logs since the live tail broke, newest first. What cannot be had is said.
  async missed(since, signal) {
    try {
      const { logs, cursor, partial } = await this.page({ from: new Date(since).toISOString(), to: "now", limit: MISSED_MAX }, signal);
      this.isMissing = partial || cursor !== null;
      return logs;
    } catch (error) {
      this.isMissing = !api.isAbort(error);
      return [];
    }
  }

  goLive(on) {
    this.setLive(on);
    if (on) return this.startTail();
    this.stopTail();
    // Nothing is waited for any more.
    if (this.results.querySelector(".waiting-text")) this.run();
  }

  // Whether the view is live, as its URL says.
  setLive(on) {
    if (this.state.live === on) return;
    this.state.live = on;
    replace("/explore", this.params());
  }

  stopTail() {
    this.live?.abort();
    this.tail?.stop();
    this.tail = null;
    this.tools.live(false);
  }

  startTail() {
    this.stopTail();
    this.tools.live(true);
    this.cursor = null;
    fill(this.more);
    if (!this.rows.isConnected) {
      this.rows.show([]);
      fill(this.results, h("p", { class: "waiting-text" }, "Waiting for logs…"), this.rows);
    }
    this.tail = startTail(this.state.query, {
      search: (signal) => this.showBefore(signal),
      missed: (since, signal) => this.missed(since, signal),
      show: (logs) => {
        this.results.querySelector(".waiting-text")?.remove();
        this.rows.prepend(logs);
      },
      told: ({ held, paused, isBroken }) => this.tools.held(held.length, paused, isBroken),
      mended: (began, ended) => {
        const text = `The live tail was interrupted from ${clock(began)} to ${clock(ended)}.`;
        if (this.isMissing) toast(`${text} Not all logs of that time could be added: search for them.`, "failed");
        else toast(`${text} The logs of that time are added.`);
      },
      ended: (why) => {
        this.goLive(false);
        // If it was refused because access is over, the answer to this says so, and then the page does.
        api.get("/v1/logs", { limit: 1, from: "now-1s" }, this.signal).catch(() => {}).then(() => this.say(why));
      },
    });
    const { signal } = (this.live = new AbortController());
    every(LIVE_REFRESH_MS, () => document.hidden || this.chart.classList.contains("stale") || this.drawChart(signal), signal);
    announce(`Live tail on. ${whole(LIMIT)} newest logs above.`);
  }
}

function fromUrl() {
  const { params } = here();
  return {
    query: params.query ?? "",
    from: params.from || DEFAULT_FROM,
    to: params.to || "now",
    columns: (params.columns ?? "").split(",").filter(Boolean),
    live: params.live === "true",
  };
}
