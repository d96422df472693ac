// A line no larger than a word. What it shows is said beside it.

import { svg } from "../dom.js";

const WIDTH = 120;
const HEIGHT = 24;

export function sparkline(values) {
  const most = Math.max(...values, 1);
  const step = WIDTH / Math.max(values.length - 1, 1);
  const points = values.map((value, at) => `${(at * step).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`);
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    values.length > 1 && svg("polyline", { points: points.join(" ") }),
  );
}
