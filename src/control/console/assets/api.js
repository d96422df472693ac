// The REST API, as this page may use it: by the session's cookie, or by the shared token of a link.

import { parseWritten } from "./written.js";

export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body?.errorCode ?? "";
    this.parameters = body?.parameters ?? {};
    this.requestId = body?.requestId;
    this.retryAfter = retryAfter;
  }
}

let shareToken = null;
let overListener = () => {};

// From now on nothing but this shared token is shown to the server, whatever session the browser has.
export function readAs(token) {
  shareToken = token;
}

// Calls `listener` when the server no longer takes our credentials.
export function whenOver(listener) {
  overListener = listener;
}

export const get = (path, query, signal) => call("GET", path, { query, signal });
// As `get`, of logs: JSON as it was written.
export const getWritten = (path, query, signal) => call("GET", path, { query, signal, read: parseWritten });
export const post = (path, body, signal) => call("POST", path, { body, signal });
export const put = (path, body) => call("PUT", path, { body });
export const remove = (path) => call("DELETE", path, {});

async function call(method, path, { query, body, signal, read = JSON.parse }) {
  const headers = { "X-Requested-With": "shipgate" };
  if (shareToken) headers["X-SHARED-TOKEN"] = shareToken;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(path + asQuery(query), {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: shareToken ? "omit" : "same-origin",
      cache: "no-store",
    });
    text = await response.text();
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new ApiError(0, { message: "Shipgate cannot be reached. Check your connection, then try again." });
  }
  if (response.ok) return parsed(text, read);
  const error = new ApiError(response.status, parsed(text, JSON.parse), Number(response.headers.get("Retry-After")) || null);
  if ((error.status === 401 || error.status === 403) && !path.startsWith("/v1/session")) overListener(error);
  throw error;
}

// What a proxy in between may say is no JSON.
function parsed(text, read) {
  try {
    return read(text);
  } catch {
    return null;
  }
}

// An EventSource; it cannot send headers.
export function stream(path, query) {
  return new EventSource(path + asQuery({ ...query, shareToken }), { withCredentials: false });
}

// Where the browser itself may fetch `path` from.
export function download(path, query) {
  return path + asQuery({ ...query, shareToken });
}

function asQuery(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return text && `?${text}`;
}

// Whether a failure is only that nobody waits for the answer any more.
export const isAbort = (failure) => failure?.name === "AbortError";
