// Numbers, sizes and times as people read them, in the browser's time zone.

import { h } from "./dom.js";

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const DATE = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en", {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const EXACT = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "long" });
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export const whole = (number) => WHOLE.format(number);
export const short = (number) => (Math.abs(number) < 10_000 ? WHOLE.format(number) : SHORT.format(number));
// How often a second: a decimal where it tells something.
export const rate = (number) => (number > 0 && number < 9.95 ? number.toFixed(1) : short(Math.round(number)));
export const date = (seconds) => DATE.format(seconds * 1000);
export const moment = (milliseconds) => MOMENT.format(milliseconds);
export const exact = (milliseconds) => EXACT.format(milliseconds);
export const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString("en", { hourCycle: "h23" });

// "1 token", "2 tokens".
export const counted = (number, noun, plural = `${noun}s`) => `${whole(number)} ${number === 1 ? noun : plural}`;

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (number >= 1000 && at < units.length - 1) {
    number /= 1000;
    at += 1;
  }
  return `${at === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[at]}`;
}

// "3 minutes ago", of seconds since the Unix epoch.
export function ago(seconds) {
  const distance = seconds - Date.now() / 1000;
  for (const [unit, size] of [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]]) {
    if (Math.abs(distance) >= size) return AGO.format(Math.round(distance / size), unit);
  }
  return distance > 0 ? "in a moment" : "just now";
}

// How long ago, and on hover when exactly; of seconds since the Unix epoch.
export const when = (seconds) => h("time", { datetime: new Date(seconds * 1000).toISOString(), title: exact(seconds * 1000) }, ago(seconds));

const two = (number) => String(number).padStart(2, "0");

// "22 Nov 14:05:03.120": what stands before every log.
export function logTime(milliseconds) {
  const at = new Date(milliseconds);
  const day = at.toLocaleDateString("en", { month: "short", day: "2-digit" });
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${day}, ${time}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

// Names joined for a sentence: "a", "a and b", "a, b and c".
export function listed(names, word = "and") {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} ${word} ${names.at(-1)}`;
}
