// The filters live in the address, so that a view can be kept, shared and gone back to.

export const FILTERS = ["text", "type", "job", "state"];
const NAMES = [...FILTERS, "range", "instance"];

export function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
}

export function withChange(change) {
  const values = { ...read(), ...change };
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  return query.size ? `?${query}` : location.pathname;
}

// Whoever goes back comes to the choice before, not to the letter before.
export function go(change, { typing = false } = {}) {
  const address = withChange(change);
  if (typing) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}
