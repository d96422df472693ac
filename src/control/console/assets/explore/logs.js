// A log as it is shown: its fields in a row, and what is said first.

const MESSAGES = ["message", "msg", "log", "text", "event"];
const LEVELS = ["level", "severity", "log.level", "loglevel", "lvl"];
const KINDS = { fatal: "error", panic: "error", critical: "error", crit: "error", emerg: "error", alert: "error", error: "error", err: "error", warn: "warn", warning: "warn", notice: "info", info: "info", information: "info", debug: "debug", trace: "debug" };

// The fields of a log as pairs of a dotted path and a value that is no object; an array stays whole.
export function flattened(log, path = "") {
  return Object.entries(log).flatMap(([name, value]) => {
    const whole = path ? `${path}.${name}` : name;
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    return isObject && Object.keys(value).length > 0 ? flattened(value, whole) : [[whole, value]];
  });
}

export function textOf(value) {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

// `fields` is a Map of a flattened log.
export function read(log) {
  const fields = new Map(flattened(log));
  const message = MESSAGES.find((name) => typeof fields.get(name) === "string");
  const level = LEVELS.find((name) => typeof fields.get(name) === "string");
  return { fields, message, level, kind: KINDS[String(fields.get(level) ?? "").toLowerCase()] };
}
