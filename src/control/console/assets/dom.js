// Builds elements. Data becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

// h("button", { class: "quiet", onclick: save, "aria-label": "Save" }, icon("check"), "Save")
//
// Functions under "on…" are listened to; true is an attribute without a value; false, null and undefined are none.
export function h(tag, properties, ...children) {
  return filled(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

// Attributes that people read; a column's name stands before its cell on a phone.
const READ = new Set(["title", "aria-label", "placeholder", "data-column"]);
// Controls, but for tabs and ends of lines, and what changes the direction of the text around it.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

// Text that says what is in it, and does nothing: "abc‹U+202E›def".
export const shown = (text) => text.replace(UNSEEN, (character) => `‹U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : READ.has(name) ? shown(String(value)) : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : shown(String(child)));
  }
}

// Puts `children` in the place of what `container` holds. Focus stays on the element with the same data-key; if that has gone, it
// goes to the one called "new".
export function fill(container, ...children) {
  const held = document.activeElement;
  const key = container.contains(held) ? held.dataset?.key : undefined;
  container.replaceChildren();
  append(container, children);
  if (key) (container.querySelector(`[data-key="${CSS.escape(key)}"]`) ?? document.querySelector('[data-key="new"]'))?.focus();
  return container;
}

let lastId = 0;

// An id for a label or a description to point at.
export function freshId(stem) {
  lastId += 1;
  return `${stem}-${lastId}`;
}

// Tells a screen reader, without moving anything.
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = text));
}

// Calls `act` again and again until `signal`: `milliseconds` after it was done, however long that takes.
export function every(milliseconds, act, signal) {
  let timer;
  const later = () => (timer = signal.aborted || setTimeout(() => Promise.resolve(act()).finally(later), milliseconds));
  later();
  signal.addEventListener("abort", () => clearTimeout(timer));
}
