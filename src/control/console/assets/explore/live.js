// The live tail: logs as they come, held back while it is paused.

import * as api from "../api.js";

const HELD_MAX = 2000;
const DRAW_MS = 100;
// For how long after the search a log that it found may still come.
const SETTLED_MS = 2000;
const ENDS = {
  expired: "The live tail ended: access has expired.",
  deleted: "The live tail ended: access was withdrawn.",
  draining: "The live tail ended: the server is stopping. Start it again in a moment.",
  unavailable: "The live tail ended: the server cannot tell what may be read at the moment. Start it again.",
  behind: "The live tail ended: logs came faster than they could be shown. Narrow the query, or start it again.",
};

// `search(signal)` is called once the tail is open, and shows and gives the logs from before. Then `show(logs)` gets what came, newest
// first; `told({ held, paused })` hears of changes; `ended(reason)` hears of the end.
export function startTail(query, { search, show, told, ended }) {
  const tail = { held: [], paused: false };
  const source = api.stream("/v1/logs/tail", { query });
  const controller = new AbortController();
  // How often the search found each log that did not come as well; null until it is done.
  let found = null;
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
  const isNew = ({ log }) => {
    const text = JSON.stringify(log);
    const count = found.get(text) ?? 0;
    if (count > 0) found.set(text, count - 1);
    return count === 0;
  };
  const begin = async () => {
    const logs = await search(controller.signal);
    found = new Map();
    for (const text of logs.map(({ log }) => JSON.stringify(log))) found.set(text, (found.get(text) ?? 0) + 1);
    tail.held = tail.held.filter(isNew);
    setTimeout(() => found.clear(), SETTLED_MS);
  };
  const draw = () => {
    if (!found || tail.paused || tail.held.length === 0) return;
    show(tail.held.splice(0).reverse());
    told(tail);
  };
  const timer = setInterval(draw, DRAW_MS);
  source.addEventListener("open", begin, { once: true });
  source.addEventListener("log", ({ data }) => {
    const log = JSON.parse(data);
    const came = { time: Date.parse(log["@timestamp"]) || Date.now(), log };
    if (found && !isNew(came)) return;
    tail.held.push(came);
    if (tail.held.length > HELD_MAX) tail.held.shift();
    if (tail.paused) told(tail);
  });
  source.addEventListener("end", ({ data }) => end(ENDS[JSON.parse(data).reason] ?? "The live tail ended."));
  // The browser tries again by itself, unless it was refused.
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && end("The live tail was refused."));
  return {
    pause: (paused) => {
      tail.paused = paused;
      told(tail);
      draw();
    },
    stop,
  };
}
