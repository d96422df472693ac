// A log as it is shown: its fields in a row, and what is said first.

import { Digits, parseWritten } from "../written.js";

const MESSAGES = ["message", "msg", "log", "text", "event"];
const LEVELS = ["level", "severity", "log.level", "loglevel", "lvl"];
const KINDS = { fatal: "error", panic: "error", critical: "error", crit: "error", emerg: "error", alert: "error", error: "error", err: "error", warn: "warn", warning: "warn", notice: "info", info: "info", information: "info", debug: "debug", trace: "debug" };

// The page of logs that an answer of the API's holds: `logs` are { time, line, fields, message, level, kind }.
export function pageOf(answer) {
  const number = (name) => answer.get(name) && Number(answer.get(name).text);
  return {
    logs: answer.get("logs").map((found) => logOf(found.get("log"), Number(found.get("time").text))),
    cursor: answer.get("cursor"),
    partial: answer.get("partial"),
    tookMs: number("tookMs"),
  };
}

// The log that a live tail sent.
export function logOfLine(line) {
  const log = parseWritten(line);
  return logOf(log, Date.parse(log.get("@timestamp")) || Date.now());
}

// `line` is the log as it was shipped; `fields` is a Map of its flattened fields.
function logOf(log, time) {
  const fields = new Map(flattened(log));
  const message = MESSAGES.find((name) => typeof fields.get(name) === "string");
  const level = LEVELS.find((name) => typeof fields.get(name) === "string");
  // A live tail's lines have no carriage returns between their values: the same log has the same line.
  return { time, line: log.source.replaceAll("\r", " "), fields, message, level, kind: KINDS[String(fields.get(level) ?? "").toLowerCase()] };
}

// The fields of a log as pairs of a dotted path and a value that is no object; an array stays whole.
function flattened(log, path = "") {
  return [...log].flatMap(([name, value]) => {
    const whole = path ? `${path}.${name}` : name;
    return value instanceof Map && value.size > 0 ? flattened(value, whole) : [[whole, value]];
  });
}

export function textOf(value) {
  if (value === undefined) return "";
  if (value instanceof Digits) return value.text;
  return typeof value === "string" ? value : value?.source ?? String(value);
}
