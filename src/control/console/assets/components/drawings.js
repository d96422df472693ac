// Drawings no larger than a word.

import { svg } from "../dom.js";

const WIDTH = 120;
const HEIGHT = 24;

// How a number went. What it shows is said beside it.
export function sparkline(numbers) {
  // Of one alone nothing can be told yet.
  const values = numbers.length === 1 ? [0, 0] : numbers;
  const most = Math.max(...values, 1);
  const step = WIDTH / Math.max(values.length - 1, 1);
  const points = values.map((value, at) => `${(at * step).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`);
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    values.length > 1 && svg("polyline", { points: points.join(" ") }),
  );
}

// How much of `most` a `value` is.
export function meter(value, most, label) {
  return svg(
    "svg",
    { class: "meter", viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("rect", { class: "meter-most", width: 100, height: 1 }),
    svg("rect", { class: "meter-value", width: Math.min(100, (100 * value) / Math.max(most, 1)), height: 1 }),
  );
}
