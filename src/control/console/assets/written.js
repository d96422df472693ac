// JSON as it was written. JSON.parse would round numbers beyond 2^53; here they keep their digits, objects are Maps, so that no
// name of a field is special, and what holds others knows its own text.

// A number, by its digits.
export class Digits {
  constructor(text) {
    this.text = text;
  }
}

// Objects become Maps, each with its text in `.source`, as arrays have it; numbers become Digits. Throws what JSON.parse would.
export function parseWritten(text) {
  const reader = { text, at: 0 };
  const value = read(reader);
  skip(reader);
  if (reader.at < text.length) fail(reader);
  return value;
}

const SPACE = /[ \t\n\r]*/y;
const WORD = /-?\d[\d.eE+-]*|true|false|null/y;

function read(reader) {
  skip(reader);
  switch (reader.text[reader.at]) {
    case "{":
      return list(reader, "}", new Map(), (map) => {
        skip(reader);
        const name = string(reader);
        skip(reader);
        if (reader.text[reader.at] !== ":") fail(reader);
        reader.at += 1;
        map.set(name, read(reader));
      });
    case "[":
      return list(reader, "]", [], (array) => array.push(read(reader)));
    case '"':
      return string(reader);
    default:
      return word(reader);
  }
}

function list(reader, end, into, readOne) {
  const from = reader.at;
  reader.at += 1;
  skip(reader);
  if (reader.text[reader.at] === end) reader.at += 1;
  else {
    for (;;) {
      readOne(into);
      skip(reader);
      const next = reader.text[reader.at];
      if (next !== "," && next !== end) fail(reader);
      reader.at += 1;
      if (next === end) break;
    }
  }
  into.source = reader.text.slice(from, reader.at);
  return into;
}

function string(reader) {
  const { text, at: from } = reader;
  if (text[from] !== '"') fail(reader);
  for (let end = text.indexOf('"', from + 1); end > 0; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text[before - 1] === "\\") before -= 1;
    if ((end - before) % 2 === 1) continue;
    reader.at = end + 1;
    return JSON.parse(text.slice(from, end + 1));
  }
  return fail(reader);
}

function word(reader) {
  WORD.lastIndex = reader.at;
  const [found] = WORD.exec(reader.text) ?? fail(reader);
  reader.at += found.length;
  const value = JSON.parse(found);
  return typeof value === "number" ? new Digits(found) : value;
}

function skip(reader) {
  SPACE.lastIndex = reader.at;
  reader.at += SPACE.exec(reader.text)[0].length;
}

function fail({ at }) {
  throw new SyntaxError(`no JSON at ${at}`);
}
