// Runs over time: bars of what succeeded, below the line what failed, of it what is tried again.
// Under them, as lines, the shares of attempts that failed and that are tried again.

import { count, h, s, some } from "./dom.js";

const WIDTH = 1000, HEIGHT = 110, TOP = 8, FOOT = 18, LEFT = 44;
const STRIP = 48; // as in the style, where heights have to stand
const NAMES = ["executed", "failed", "retried"];

function bins({ since, until, width, buckets }) {
  const made = Array.from({ length: (until - since) / width }, (_, index) => ({
    at: since + index * width, executed: 0, failed: 0, retried: 0,
  }));
  for (const bucket of buckets) {
    const bin = made[Math.floor((bucket.at - since) / width)];
    if (!bin) continue;
    for (const name of NAMES) bin[name] += bucket[name];
  }
  return made;
}

const total = (made, name) => made.reduce((sum, bin) => sum + bin[name], 0);

function label(at, span) {
  const moment = new Date(at);
  return span > 2 * 86_400_000
    ? moment.toLocaleDateString(undefined, { day: "numeric", month: "short" })
    : moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

function bar(bin, x, width, scale, base, minutes) {
  const parts = [];
  const add = (name, y, height) => {
    if (height > 0) parts.push(s("rect", { class: name, x, y, width, height: Math.max(height, 1.5) }));
  };
  add("executed", base - bin.executed * scale, bin.executed * scale);
  add("failed", base + 1, bin.failed * scale);
  add("retried", base + 1, bin.retried * scale);
  const from = new Date(bin.at).toLocaleString();
  const text = `${from}, ${minutes} min: ${bin.executed} succeeded, ${bin.failed} failed, ${bin.retried} of them to be retried`;
  return s("g", {}, s("title", {}, text), s("rect", { x, y: TOP, width, height: HEIGHT - TOP - FOOT, fill: "transparent" }), parts);
}

export function legend({ buckets, width }) {
  const minutes = width / 60_000;
  const [executed, failed, retried] = NAMES.map((name) => total(buckets, name));
  const share = (part, whole) => (whole ? ` (${((100 * part) / whole).toFixed(1)} %)` : "");
  const entry = (name, words, value, more = "") =>
    h("span", {}, h("i", { class: name }), `${words} `, h("b", {}, count(value)), more);
  return [
    entry("executed", "succeeded", executed),
    entry("failed", "failed", failed, share(failed, executed + failed)),
    entry("retried", "of these tried again", retried, share(retried, failed)),
    h("span", {}, `a bar is ${minutes < 60 ? some(minutes, "minute") : some(minutes / 60, "hour")}`),
  ];
}

export function plot(rates) {
  const made = bins(rates);
  const minutes = rates.width / 60_000;
  const [up, down] = ["executed", "failed"].map((name) => Math.max(0, ...made.map((bin) => bin[name])));
  const scale = (HEIGHT - TOP - FOOT - 1) / Math.max(1, up + down);
  const base = HEIGHT - FOOT - 1 - down * scale;
  const slot = (WIDTH - LEFT) / made.length;
  const bars = made.map((bin, index) =>
    bar(bin, LEFT + index * slot, Math.max(slot - 0.8, 0.8), scale, base, minutes));
  const span = rates.until - rates.since;
  const marks = [0, 0.25, 0.5, 0.75].map((part) =>
    word(LEFT + part * (WIDTH - LEFT), HEIGHT - 3, label(made[Math.floor(part * made.length)].at, span)));
  const high = edge(TOP + 6, up ? count(up) : "");
  const low = edge(base + down * scale, down ? count(down) : "");
  const axis = s("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: base + 0.5, y2: base + 0.5 });
  const sums = `${total(made, "executed")} runs succeeded, ${total(made, "failed")} attempts failed`;
  return [frame(HEIGHT, sums, [axis, ...bars], [...marks, high, low]), ...shares(made)];
}

function shares(made) {
  const found = made.map(({ executed, failed, retried }) => {
    const attempts = executed + failed;
    return attempts ? { failed: failed / attempts, retried: retried / attempts } : null;
  });
  const highest = Math.max(0, ...found.map((one) => one?.failed ?? 0));
  if (!highest) return [];
  const scale = (STRIP - 9) / highest;
  const line = (name) => s("path", { class: `line ${name}`, d: steps(found, name, scale) });
  const axis = s("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: STRIP - 1.5, y2: STRIP - 1.5 });
  const most = percent(highest);
  return [
    h("p", { class: "caption" }, "Share of attempts that failed, and that are tried again"),
    frame(STRIP, `at most ${most} of attempts failed`, [axis, line("failed"), line("retried")], [edge(12, most), edge(STRIP - 1, "0")]),
  ];
}

// Level over each step; where nothing ran the line has a hole.
function steps(found, name, scale) {
  const slot = (WIDTH - LEFT) / found.length;
  return found.map((one, index) => {
    if (!one) return "";
    const x = LEFT + index * slot, y = STRIP - 2 - one[name] * scale;
    return `${index && found[index - 1] ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}H${(x + slot).toFixed(1)}`;
  }).join("");
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
const word = (x, y, text) => s("text", { x: `${(x / WIDTH) * 100}%`, y }, text);
const edge = (y, text) => s("text", { x: `${((LEFT - 6) / WIDTH) * 100}%`, y, "text-anchor": "end" }, text);

// The drawing stretches with the page; the texts stand beside it, because they must not.
function frame(height, says, drawn, texts) {
  const size = { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none" };
  // A bar's title is for the pointer; read aloud, the sum says more than each bar.
  const drawing = s("svg", { ...size, role: "img", "aria-label": says }, s("g", { "aria-hidden": "true" }, drawn));
  const words = s("svg", { class: "texts", "aria-hidden": "true" }, texts);
  return h("div", { class: height === STRIP ? "drawing strip" : "drawing" }, drawing, words);
}
