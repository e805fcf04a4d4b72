// Runs over time: bars of what succeeded, below the line what failed, of it what is tried again.

import { count, h, s } from "./dom.js";

const STEPS = { minute: 60_000, hour: 3_600_000 };
const WIDTH = 1000, HEIGHT = 150, TOP = 12, FOOT = 18, LEFT = 44;
const MOST_BARS = 180;

function bins(rates) {
  const step = STEPS[rates.step];
  const first = Math.floor(rates.since / step) * step;
  const steps = Math.ceil((rates.until - first) / step);
  const each = Math.max(1, Math.ceil(steps / MOST_BARS));
  const made = Array.from({ length: Math.ceil(steps / each) }, (_, index) => ({
    at: first + index * each * step, executed: 0, failed: 0, retried: 0,
  }));
  for (const bucket of rates.buckets) {
    const bin = made[Math.floor((bucket.at - first) / (each * step))];
    if (!bin) continue;
    for (const name of ["executed", "failed", "retried"]) bin[name] += bucket[name];
  }
  return { made, minutes: (each * step) / 60_000 };
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

function legend(made) {
  const [executed, failed, retried] = ["executed", "failed", "retried"].map((name) => total(made, name));
  const runs = executed + failed;
  const share = (part) => (runs ? ` (${((100 * part) / runs).toFixed(1)} %)` : "");
  const entry = (name, words, value, more = "") =>
    h("span", {}, h("i", { class: name }), `${words} `, h("b", {}, count(value)), more);
  return h("div", { class: "legend" },
    entry("executed", "succeeded", executed),
    entry("failed", "failed", failed, share(failed)),
    entry("retried", "of them retried", retried, share(retried)));
}

export function plot(rates) {
  const { made, minutes } = bins(rates);
  const [up, down] = ["executed", "failed"].map((name) => Math.max(0, ...made.map((bin) => bin[name])));
  const scale = (HEIGHT - TOP - FOOT - 1) / Math.max(1, up + down);
  const base = HEIGHT - FOOT - 1 - down * scale;
  const slot = (WIDTH - LEFT) / made.length;
  const bars = made.map((bin, index) =>
    bar(bin, LEFT + index * slot, Math.max(slot - 0.8, 0.8), scale, base, minutes));
  const span = rates.until - rates.since;
  const marks = [0, 0.25, 0.5, 0.75].map((part) => {
    const bin = made[Math.floor(part * made.length)];
    return s("text", { x: LEFT + part * (WIDTH - LEFT), y: HEIGHT - 3 }, label(bin.at, span));
  });
  const high = s("text", { x: LEFT - 6, y: TOP + 6, "text-anchor": "end" }, up ? count(up) : "");
  const low = s("text", { x: LEFT - 6, y: base + down * scale, "text-anchor": "end" }, down ? count(down) : "");
  const axis = s("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: base + 0.5, y2: base + 0.5 });
  const sums = `${total(made, "executed")} runs succeeded, ${total(made, "failed")} failed`;
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": sums },
    axis, bars);
  return [legend(made), frame(drawing, marks, [high, low])];
}

// The bars stretch with the page; the texts stand beside them, because they must not.
function frame(drawing, marks, sides) {
  const at = (text) => Number(text.getAttribute("x")) / WIDTH * 100;
  const words = marks.map((text) => s("text", { x: `${at(text)}%`, y: text.getAttribute("y") }, text.textContent));
  const edges = sides.map((text) => s("text", { x: `${at(text)}%`, y: text.getAttribute("y"), "text-anchor": "end" }, text.textContent));
  const texts = s("svg", { class: "texts", "aria-hidden": "true" }, words, edges);
  return h("div", { class: "drawing" }, drawing, texts);
}
