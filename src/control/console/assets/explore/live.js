// The live tail: logs as they come, held back while it is paused.

import * as api from "../api.js";

const HELD_MAX = 2000;
const DRAW_MS = 100;
const ENDS = {
  expired: "The live tail ended: access has expired.",
  deleted: "The live tail ended: access was withdrawn.",
  draining: "The live tail ended: the server is stopping. Start it again in a moment.",
  unavailable: "The live tail ended: the server cannot tell what may be read at the moment. Start it again.",
  behind: "The live tail ended: logs came faster than they could be shown. Narrow the query, or start it again.",
};

// `show(logs)` gets what came, newest first; `told({ held, paused })` hears of changes; `ended(reason)` hears of the end.
export function startTail(query, { show, told, ended }) {
  const tail = { held: [], paused: false };
  const source = api.stream("/v1/logs/tail", { query });
  let over = false;
  const end = (reason) => {
    if (over) return;
    over = true;
    source.close();
    clearInterval(timer);
    ended(reason);
  };
  const draw = () => {
    if (tail.paused || tail.held.length === 0) return;
    show(tail.held.splice(0).reverse());
    told(tail);
  };
  const timer = setInterval(draw, DRAW_MS);
  source.addEventListener("log", ({ data }) => {
    const log = JSON.parse(data);
    tail.held.push({ time: Date.parse(log["@timestamp"]) || Date.now(), log });
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
    stop: () => {
      over = true;
      source.close();
      clearInterval(timer);
    },
  };
}
