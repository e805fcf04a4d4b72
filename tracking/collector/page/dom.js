// Small helpers. Data only ever becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  const present = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== "");
  element.append(...present.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export const h = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

export const s = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

// A text from outside, whose direction, right to left perhaps, ends where it ends.
export const foreign = (text) => h("bdi", {}, text);

export const byId = (id) => document.getElementById(id);

// A name that came from outside may be "constructor", which every object has.
export const own = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);

const number = new Intl.NumberFormat();
export const count = (value) => number.format(value);

const plural = new Intl.PluralRules("en");
export const some = (value, what, many = `${what}s`) =>
  `${count(value)} ${plural.select(value) === "one" ? what : many}`;

const sameDay = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const otherDay = { day: "numeric", month: "short", ...sameDay };
const otherYear = { ...otherDay, year: "numeric" };

export function time(value) {
  const moment = new Date(value);
  if (Number.isNaN(moment.valueOf())) return h("time", {}, foreign(String(value)));
  const now = new Date();
  const thisYear = moment.getFullYear() === now.getFullYear();
  const today = moment.toDateString() === now.toDateString();
  const text = moment.toLocaleString(undefined, today ? sameDay : thisYear ? otherDay : otherYear);
  return h("time", { datetime: moment.toISOString(), title: moment.toISOString() }, text);
}

export function duration(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${(ms / 60_000).toFixed(1)} min`;
  if (ms < 172_800_000) return `${(ms / 3_600_000).toFixed(1)} h`;
  return `${(ms / 86_400_000).toFixed(1)} days`;
}
