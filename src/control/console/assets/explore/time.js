// Stretches of time as the API takes them: `now-15m`, or an instant.

import { exact, moment } from "../format.js";

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const NAMES = { s: "second", m: "minute", h: "hour", d: "day", w: "week" };

export const PRESETS = ["now-5m", "now-15m", "now-1h", "now-6h", "now-24h", "now-7d", "now-30d"];
export const DEFAULT_FROM = "now-15m";

const RELATIVE = /^now-(\d{1,6})([smhdw])$/;

// Milliseconds since the Unix epoch, or NaN.
export function instant(text, now = Date.now()) {
  if (text === "now") return now;
  const relative = RELATIVE.exec(text);
  if (relative) return now - Number(relative[1]) * UNITS[relative[2]];
  return /^\d{1,15}$/.test(text) ? Number(text) : Date.parse(text);
}

// The stretch in words: "Last 15 minutes", "Nov 22, 14:05:00 to Nov 22, 14:10:00".
export function described({ from, to }) {
  const relative = RELATIVE.exec(from);
  if (relative && to === "now") {
    const [, count, unit] = relative;
    return `Last ${count === "1" ? "" : `${count} `}${NAMES[unit]}${count === "1" ? "" : "s"}`;
  }
  return `${label(from)} to ${label(to)}`;
}

// As the end of a sentence: "in the last 15 minutes".
export function during(range) {
  const text = described(range);
  return text.startsWith("Last") ? `in the ${text.replace("Last", "last")}` : `from ${text}`;
}

// Of what is no time, as much as can be shown.
const UNKNOWN_CHARS_MAX = 32;
const part = (text) => (text.length > UNKNOWN_CHARS_MAX ? `${text.slice(0, UNKNOWN_CHARS_MAX)}…` : text);
const label = (text) => (Number.isNaN(instant(text)) || text.startsWith("now") ? part(text) : moment(instant(text)));

// The same stretch with both ends fixed.
export function fixed({ from, to }) {
  const now = Date.now();
  const still = (text) => (Number.isNaN(instant(text, now)) ? text : new Date(instant(text, now)).toISOString());
  return { from: still(from), to: still(to) };
}

export const isRelative = ({ from, to }) => from.startsWith("now") || to.startsWith("now");

const { s, m, h, d } = UNITS;
const STEPS = [s, 2 * s, 5 * s, 10 * s, 15 * s, 30 * s, m, 2 * m, 5 * m, 10 * m, 15 * m, 30 * m, h, 2 * h, 3 * h, 6 * h, 12 * h, d, 2 * d, 7 * d, 14 * d, 30 * d, 90 * d, 365 * d];

// Round times between `from` and `to`, at most `most` of them: [{ time, text }].
export function ticks(from, to, most) {
  const step = STEPS.find((each) => (to - from) / each <= most) ?? to - from;
  const offset = new Date(from).getTimezoneOffset() * m;
  const found = [];
  for (let time = Math.ceil((from - offset) / step) * step + offset; time < to; time += step) found.push({ time, text: tick(time, step) });
  return found;
}

function tick(milliseconds, step) {
  const at = new Date(milliseconds);
  const isMidnight = at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0;
  if (step >= d || isMidnight) return at.toLocaleDateString("en", { month: "short", day: "numeric" });
  return at.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(step < m ? { second: "2-digit" } : {}) });
}

export const spoken = (milliseconds) => exact(milliseconds);

// What a date-and-time field shows of an instant, in the browser's time zone.
export function asField(milliseconds) {
  const at = new Date(milliseconds);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
