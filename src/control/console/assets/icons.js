// Icons, drawn in a square of 16 with a line of 1.5: each is the list of its paths.

import { svg } from "./dom.js";

const PATHS = {
  search: ["M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Z", "m10.7 10.7 3.3 3.3"],
  key: ["M10.5 9.5a4 4 0 1 0-3.9-3.1L2 11v3h3l.5-1.5L7 12l.4-1.9a4 4 0 0 0 3.1-.6Z", "M10.8 5.2h.01"],
  send: ["M14 2 7.2 8.8", "m14 2-4.2 12-2.6-5.2L2 6.2 14 2Z"],
  settings: ["M2 5h6M12 5h2M2 11h2M8 11h6", "M10 7a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM6 13a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z"],
  users: ["M6 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM1.5 13.5a4.5 4.5 0 0 1 9 0", "M10.5 3.2a2.5 2.5 0 0 1 0 4.6M12 9.8a4.5 4.5 0 0 1 2.5 3.7"],
  pulse: ["M1.5 8h3l2-5 3 10 2-5h3"],
  copy: ["M5.5 5.5v-2a1 1 0 0 1 1-1h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-2", "M3.5 5.5h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-6a1 1 0 0 1-1-1v-6a1 1 0 0 1 1-1Z"],
  check: ["m3 8.5 3.2 3.2L13 4.8"],
  plus: ["M8 3v10M3 8h10"],
  minus: ["M3 8h10"],
  close: ["m4 4 8 8M12 4l-8 8"],
  trash: ["M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.6 9h6.8l.6-9M6.7 7v4M9.3 7v4"],
  pencil: ["m3 13 .6-2.9L10.8 3a1.2 1.2 0 0 1 1.7 0l.6.6a1.2 1.2 0 0 1 0 1.7l-7.2 7.1L3 13Z"],
  more: ["M3 8a.5.5 0 1 0 1 0 .5.5 0 1 0-1 0ZM7.5 8a.5.5 0 1 0 1 0 .5.5 0 1 0-1 0ZM12 8a.5.5 0 1 0 1 0 .5.5 0 1 0-1 0Z"],
  chevron: ["m6 4 4 4-4 4"],
  down: ["m4 6 4 4 4-4"],
  clock: ["M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z", "M8 4.8V8l2.2 1.4"],
  share: ["M8 10V2M5 4.5 8 1.8l3 2.7", "M4.5 7.5h-1a1 1 0 0 0-1 1v4a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1v-4a1 1 0 0 0-1-1h-1"],
  download: ["M8 2v8M5 7.3 8 10l3-2.7", "M2.5 11v1.5a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1V11"],
  play: ["M4.5 3v10l8-5-8-5Z"],
  pause: ["M5 3v10M11 3v10"],
  columns: ["M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10"],
  bookmark: ["M4 2.5h8v11L8 10.4 4 13.5v-11Z"],
  warning: ["M8 2 1.7 13h12.6L8 2Z", "M8 6.3v3M8 11.2h.01"],
  info: ["M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z", "M8 7.5v3.2M8 5.2h.01"],
  sun: ["M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z", "M8 1.2v1.3M8 13.5v1.3M1.2 8h1.3M13.5 8h1.3M3.2 3.2l.9.9M11.9 11.9l.9.9M12.8 3.2l-.9.9M4.1 11.9l-.9.9"],
  moon: ["M13.5 9.4A5.8 5.8 0 0 1 6.6 2.5a5.8 5.8 0 1 0 6.9 6.9Z"],
  screen: ["M2 3h12v8H2zM5.5 13.5h5M8 11v2.5"],
  menu: ["M2 4.5h12M2 8h12M2 11.5h12"],
  logout: ["M6 2.5H3.5a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1H6M10.5 11l3-3-3-3M13.5 8H6"],
  user: ["M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8ZM2.8 14a5.2 5.2 0 0 1 10.4 0"],
  filter: ["M2 3.5h12M4.5 8h7M6.8 12.5h2.4"],
  link: ["M6.8 9.2a2.7 2.7 0 0 0 3.9.1l2-2a2.7 2.7 0 0 0-3.8-3.9l-.9.9", "M9.2 6.8a2.7 2.7 0 0 0-3.9-.1l-2 2a2.7 2.7 0 0 0 3.8 3.9l.9-.9"],
  external: ["M9.5 2.5h4v4M13.5 2.5 7.5 8.5M12 9.5v3a1 1 0 0 1-1 1H3.5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1h3"],
  refresh: ["M13.5 8a5.5 5.5 0 1 1-1.6-3.9L13.5 5.7M13.5 2.5v3.2h-3.2"],
  keyboard: ["M1.5 4h13v8h-13zM4 6.7h.01M6.7 6.7h.01M9.3 6.7h.01M12 6.7h.01M5 9.4h6"],
  eye: ["M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8Z", "M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z"],
};

// Decoration: what it means is said beside it.
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    PATHS[name].map((d) => svg("path", { d })),
  );
}

// The gate.
export function logo() {
  return svg(
    "svg",
    { class: "logo", viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" },
    svg("rect", { width: 32, height: 32, rx: 8 }),
    svg("path", { d: "M8 25V13a8 8 0 0 1 16 0v12M13 25V14.5a3 3 0 0 1 6 0V25" }),
  );
}
