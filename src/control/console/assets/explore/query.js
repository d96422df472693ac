// Queries, put together by clicking.

const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9_.\-]*$/;
const WORDS = new Set(["AND", "OR", "NOT", "TO"]);

const escaped = (text) => text.replace(/[\\"]/g, "\\$&");
const value = (text) => (PLAIN.test(text) && !WORDS.has(text) ? text : `"${escaped(text)}"`);
const name = (field) => field.replace(/[^A-Za-z0-9_.@\-]/g, "\\$&");

// `query`, narrowed to logs whose field is, or is not, this.
export function narrowed(query, field, text, isNot = false) {
  const term = `${isNot ? "NOT " : ""}${name(field)}:${value(String(text))}`;
  const before = query.trim();
  if (!before) return term;
  if (before === term || before.endsWith(` AND ${term}`)) return before;
  return `${/\bOR\b|\|\|/.test(before) && !/^\(.*\)$/s.test(before) ? `(${before})` : before} AND ${term}`;
}

// The words that a query looks for, to be marked where they are found.
export function words(query) {
  const found = [];
  for (const [, not, , quoted, bare] of query.matchAll(/(NOT\s+|-)?([^\s:()"]+:)?(?:"((?:\\.|[^"\\])*)"|([^\s:()"]+))/g)) {
    const text = quoted ?? bare?.replace(/\*$/, "");
    if (!not && text && !WORDS.has(text) && !/^[[{<>]/.test(text)) found.push(text.toLowerCase());
  }
  return found;
}
