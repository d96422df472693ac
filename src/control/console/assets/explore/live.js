// The live tail: logs as they come, held back while it is paused. When its connection breaks, what came meanwhile is searched for.

import * as api from "../api.js";
import { logOfLine } from "./logs.js";

const HELD_MAX = 2000;
const DRAW_MS = 100;
// For how long after a search a log that it found may still come.
const SETTLED_MS = 2000;
// How much earlier than the break a log may be that was not sent before it.
const BEFORE_BREAK_MS = 10_000;
const ENDS = {
  expired: "The live tail ended: access has expired.",
  deleted: "The live tail ended: access was withdrawn.",
  draining: "The live tail ended: the server is stopping. Start it again in a moment.",
  unavailable: "The live tail ended: the server cannot tell what may be read at the moment. Start it again.",
  behind: "The live tail ended: logs came faster than they could be shown. Narrow the query, or start it again.",
};

// How often each of them is there.
function countsOf(logs) {
  const counts = new Map();
  for (const { line } of logs) counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}

// Whether a log is none of those counted; a counted one is taken off.
function isNew(counts, { line }) {
  const count = counts.get(line) ?? 0;
  if (count > 0) counts.set(line, count - 1);
  return count === 0;
}

// `search(signal)` is called once the tail is open, and shows and gives the logs from before. Then `show(logs)` gets what came, newest
// first; `told({ held, paused, isBroken })` hears of changes; `ended(reason)` hears of the end. After a break `missed(since, signal)`
// gives the logs from that instant on, and `mended(began, ended)` hears that they are in.
export function startTail(query, { search, missed, show, told, mended, ended }) {
  const tail = { held: [], paused: false, brokenAt: null, isBroken: false };
  const source = api.stream("/v1/logs/tail", { query });
  const controller = new AbortController();
  // Those that a search found and that did not come as well; null while it searches.
  let found = null;
  // What came last, whether it is shown yet or not.
  let recent = [];
  const stop = () => {
    source.close();
    clearInterval(timer);
    controller.abort();
  };
  const end = (reason) => {
    if (controller.signal.aborted) return;
    stop();
    ended(reason);
  };
  // Those of `counts` may still come, for a while.
  const expect = (counts) => {
    found = counts;
    setTimeout(() => counts.clear(), SETTLED_MS);
  };
  const remember = (logs) => {
    recent.push(...logs);
    if (recent.length > 2 * HELD_MAX) recent = recent.slice(-HELD_MAX);
  };
  // What was found and came as well, while it was searched for, is shown once.
  const begin = async () => {
    const logs = await search(controller.signal);
    const counts = countsOf(logs);
    tail.held = tail.held.filter((log) => isNew(counts, log));
    recent = [...logs, ...tail.held];
    expect(counts);
  };
  // What came while nobody heard: searched for, and added to what was held before the break. What comes while it is searched for is
  // held already.
  const mend = async (since) => {
    const heldBefore = tail.held.splice(0);
    found = null;
    const logs = await missed(since - BEFORE_BREAK_MS, controller.signal);
    if (controller.signal.aborted) return;
    const known = countsOf(recent);
    const fresh = logs.filter((log) => isNew(known, log)).reverse();
    remember(fresh);
    expect(countsOf(fresh));
    tail.held = [...heldBefore, ...fresh, ...tail.held].slice(-HELD_MAX);
    mended(since, Date.now());
  };
  // One search after the other, whenever the connection breaks.
  let searched = null;
  const draw = () => {
    if (!found || tail.paused || tail.held.length === 0) return;
    show(tail.held.splice(0).reverse());
    told(tail);
  };
  const timer = setInterval(draw, DRAW_MS);
  source.addEventListener("open", () => {
    const since = tail.brokenAt;
    Object.assign(tail, { brokenAt: null, isBroken: false });
    told(tail);
    searched = searched === null ? begin() : searched.then(() => since === null || mend(since));
  });
  source.addEventListener("log", ({ data }) => {
    const came = logOfLine(data);
    if (found && !isNew(found, came)) return;
    remember([came]);
    tail.held.push(came);
    if (tail.held.length > HELD_MAX) tail.held.shift();
    if (tail.paused) told(tail);
  });
  source.addEventListener("end", ({ data }) => end(ENDS[JSON.parse(data).reason] ?? "The live tail ended."));
  // The browser tries again by itself, unless it was refused.
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) return end("The live tail was refused.");
    tail.brokenAt ??= Date.now();
    tail.isBroken = true;
    told(tail);
  });
  return {
    pause: (paused) => {
      tail.paused = paused;
      told(tail);
      draw();
    },
    stop,
  };
}
