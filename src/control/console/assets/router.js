// The view lives in the URL's fragment: `#/explore?query=level%3Aerror&from=now-15m`.

export function here() {
  const text = location.hash.replace(/^#/, "");
  const [path, query = ""] = text.split(/\?(.*)/s);
  return { path: path || "/", params: Object.fromEntries(new URLSearchParams(query)) };
}

// The fragment that shows `path` with `params`; empty ones are left out.
export function href(path, params = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  return `#${path}${query && `?${query}`}`;
}

export function go(path, params) {
  location.hash = href(path, params);
}

// Changes the view in place: the way back leads to where one came from.
export function replace(path, params) {
  history.replaceState(null, "", href(path, params));
}

// Changes the view, with a way back, without a hashchange.
export function push(path, params) {
  if (location.hash !== href(path, params)) history.pushState(null, "", href(path, params));
}
