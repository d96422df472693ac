// How many logs there were when: bars that can be hovered, dragged over to zoom in, and walked with the arrow keys.

import { fill, h, svg } from "../dom.js";
import { ticks } from "../explore/time.js";
import { counted, moment, short } from "../format.js";

const HEIGHT = 92;
const TOP = 8;
const BOTTOM = 18;
const TICK_WIDTH = 72;
const DRAG_MIN = 4;

// `zoom(from, to)` hears of a stretch, in milliseconds; without it the chart only shows.
export function histogram(zoom) {
  const tip = h("div", { class: "chart-tip", hidden: true });
  const drawing = h("div", { class: "chart-drawing" });
  const whole = h("div", { class: "chart" }, drawing, tip);
  const chart = { whole, drawing, tip, zoom, data: null, at: null, dragging: null };
  new ResizeObserver(() => chart.data && draw(chart)).observe(drawing);
  whole.show = (data) => {
    chart.data = data && { ...data, buckets: withoutGaps(data) };
    chart.at = null;
    // What was dragged over is no longer there.
    chart.dragging = null;
    tip.hidden = true;
    whole.classList.remove("stale");
    draw(chart);
  };
  return whole;
}

// Buckets without a log, too.
function withoutGaps({ from, to, intervalMs, buckets }) {
  const counts = new Map(buckets.map(({ time, count }) => [time, count]));
  const first = buckets.length ? buckets[0].time : Math.floor(from / intervalMs) * intervalMs;
  const begin = first - Math.floor(Math.max(first - from, 0) / intervalMs + 0.999) * intervalMs;
  const filled = [];
  for (let time = begin; time < to && filled.length < 500; time += intervalMs) filled.push({ time, count: counts.get(time) ?? 0 });
  return filled;
}

function draw(chart) {
  const width = chart.drawing.clientWidth;
  if (!width || !chart.data) return;
  const { buckets, intervalMs } = chart.data;
  const most = Math.max(1, ...buckets.map(({ count }) => count));
  const step = width / Math.max(buckets.length, 1);
  const scale = (HEIGHT - TOP - BOTTOM) / most;
  const from = buckets[0]?.time ?? 0;
  const span = Math.max(buckets.length * intervalMs, 1);
  const bars = buckets.map(({ count }, at) => {
    const height = count === 0 ? 0 : Math.max(2, count * scale);
    return svg("rect", { class: "bar", x: (at * step + 0.5).toFixed(1), y: (HEIGHT - BOTTOM - height).toFixed(1), width: Math.max(1, step - 1.5).toFixed(1), height: height.toFixed(1), rx: Math.min(1.5, step / 4) });
  });
  const names = ticks(from, from + span, width / TICK_WIDTH).map(({ time, text }) => {
    const x = ((time - from) / span) * width;
    return x > 20 && x < width - 30 && svg("g", {}, svg("line", { class: "chart-tick", x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }), svg("text", { x: x.toFixed(1), y: HEIGHT - 3 }, text));
  });
  const mark = svg("rect", { class: "chart-mark", y: 0, height: HEIGHT - BOTTOM, width: 0 });
  const picture = svg(
    "svg",
    { class: chart.zoom ? "chart-svg zooms" : "chart-svg", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, ...role(chart) },
    svg("line", { class: "chart-base", x1: 0, x2: width, y1: HEIGHT - BOTTOM + 0.5, y2: HEIGHT - BOTTOM + 0.5 }),
    mark,
    bars,
    names,
  );
  const hadFocus = chart.drawing.contains(document.activeElement);
  Object.assign(chart, { step, mark, picture });
  listen(chart);
  fill(chart.drawing, picture, buckets.some(({ count }) => count) && h("span", { class: "chart-most", "aria-hidden": "true" }, short(most)));
  if (hadFocus) picture.focus();
}

function role({ zoom, data }) {
  const total = data.buckets.reduce((sum, { count }) => sum + count, 0);
  const label = `Logs over time: ${counted(total, "log")}`;
  if (!zoom) return { role: "img", "aria-label": label };
  return { role: "slider", tabindex: 0, "aria-label": `${label}. Arrow keys walk, Enter zooms in`, "aria-valuemin": 0, "aria-valuemax": Math.max(data.buckets.length - 1, 0), "aria-valuenow": 0, "aria-valuetext": "Nothing chosen" };
}

function listen(chart) {
  const { picture } = chart;
  const bucketAt = (event) => {
    const at = Math.floor((event.clientX - picture.getBoundingClientRect().left) / chart.step);
    return Math.min(Math.max(at, 0), chart.data.buckets.length - 1);
  };
  picture.addEventListener("pointermove", (event) => point(chart, bucketAt(event)));
  picture.addEventListener("pointerleave", () => chart.dragging === null && unpoint(chart));
  if (!chart.zoom) return;
  picture.addEventListener("pointerdown", (event) => {
    chart.dragging = { at: bucketAt(event), x: event.clientX };
    picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener("pointerup", (event) => {
    const began = chart.dragging;
    chart.dragging = null;
    if (!began) return;
    const ended = Math.abs(event.clientX - began.x) < DRAG_MIN ? began.at : bucketAt(event);
    zoomTo(chart, Math.min(began.at, ended), Math.max(began.at, ended));
  });
  picture.addEventListener("pointercancel", () => (chart.dragging = null));
  picture.addEventListener("keydown", (event) => key(chart, event));
  picture.addEventListener("blur", () => unpoint(chart));
}

function key(chart, event) {
  const last = chart.data.buckets.length - 1;
  const to = { ArrowRight: (chart.at ?? -1) + 1, ArrowLeft: (chart.at ?? last + 1) - 1, Home: 0, End: last }[event.key];
  if (to !== undefined) point(chart, Math.min(Math.max(to, 0), last));
  else if (event.key === "Enter" && chart.at !== null) zoomTo(chart, chart.at, chart.at);
  else if (event.key === "Escape") unpoint(chart);
  else return;
  event.preventDefault();
}

// Shows what is at one bucket, or from where a drag began up to it.
function point(chart, at) {
  const { buckets, intervalMs } = chart.data;
  if (!buckets[at]) return;
  const from = Math.min(at, chart.dragging?.at ?? at);
  const to = Math.max(at, chart.dragging?.at ?? at);
  const count = buckets.slice(from, to + 1).reduce((sum, bucket) => sum + bucket.count, 0);
  const text = `${moment(buckets[from].time)} to ${moment(buckets[to].time + intervalMs)}`;
  chart.at = at;
  chart.mark.setAttribute("x", from * chart.step);
  chart.mark.setAttribute("width", (to - from + 1) * chart.step);
  chart.picture.setAttribute("aria-valuenow", at);
  chart.picture.setAttribute("aria-valuetext", `${text}: ${counted(count, "log")}`);
  fill(chart.tip, h("strong", {}, counted(count, "log")), h("span", {}, text));
  chart.tip.hidden = false;
  const middle = ((from + to + 1) / 2) * chart.step;
  const half = chart.tip.offsetWidth / 2;
  const left = chart.drawing.offsetLeft;
  chart.tip.style.left = `${left + Math.min(Math.max(middle, half), Math.max(half, chart.drawing.clientWidth - half))}px`;
}

function unpoint(chart) {
  chart.at = null;
  chart.tip.hidden = true;
  chart.mark.setAttribute("width", 0);
}

function zoomTo(chart, from, to) {
  const { buckets, intervalMs } = chart.data;
  if (buckets[from] && buckets[to]) chart.zoom(buckets[from].time, buckets[to].time + intervalMs);
}
