// What one would write in an afternoon: checks the token, parses every line, appends, and answers after an fdatasync that
// all batches share that came while the one before was under way. node receiver.js PORT TOKEN FILE
"use strict";
const fs = require("node:fs");
const http = require("node:http");

const [port, token, path] = process.argv.slice(2);
const file = fs.openSync(path, "a");
let waiting = [];
let busy = false;

function commit() {
  if (busy || waiting.length === 0) return;
  busy = true;
  const group = waiting;
  waiting = [];
  fs.writev(file, group.map((each) => each.body), (failed) => {
    fs.fdatasync(file, (unsynced) => {
      for (const each of group) answer(each.response, failed || unsynced ? 503 : 200);
      busy = false;
      commit();
    });
  });
}

function answer(response, status) {
  response.writeHead(status).end();
}

function valid(line) {
  try {
    const log = JSON.parse(line);
    return typeof log === "object" && log !== null && !Array.isArray(log);
  } catch {
    return false;
  }
}

http
  .createServer((request, response) => {
    if (new URL(request.url, "http://host").searchParams.get("token") !== token) return answer(response, 401);
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const lines = body.toString().split("\n");
      if (!lines.every((line) => line === "" || valid(line))) return answer(response, 400);
      waiting.push({ body, response });
      commit();
    });
  })
  .listen(Number(port), "127.0.0.1");
