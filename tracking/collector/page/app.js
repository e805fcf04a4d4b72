// The page: what it shows follows from the address and from what the stream announces.

import { FILTERS, go, read, withChange } from "./address.js";
import { ask, askFor, tell } from "./ask.js";
import { byId, count, duration, foreign, h, some, time } from "./dom.js";
import { draw } from "./draw.js";
import { gapRow, gapTitle, instanceRow } from "./list.js";
import { showRates } from "./rates.js";
import { about, entries } from "./timeline.js";

// The words of the instance's own status, in the order in which they are offered.
const STATES = ["scheduled", "debouncing", "idle", "running", "retrying", "paused", "terminating", "completed", "terminated", "failed"];
const NARROW = matchMedia("(max-width:52rem)"); // as in the style

const shown = { instances: 50, events: 100, gaps: 3 };
let workflowsUrl = null;

function setOptions(select, values, chosen) {
  const wanted = [...new Set([...values, chosen].filter(Boolean))];
  const present = [...select.options].slice(1).map((option) => option.value);
  if (wanted.join("\n") !== present.join("\n")) {
    select.replaceChildren(select.options[0], ...wanted.map((value) => h("option", { value }, value)));
  }
  select.value = chosen;
}

function totals({ states, events, gaps }) {
  const instances = Object.values(states).reduce((sum, n) => sum + n, 0);
  const part = (n, word) => h("span", { "data-key": word }, h("b", {}, count(n)), ` ${word}${n === 1 ? "" : "s"}`);
  const troubled = ["retrying", "paused", "failed"].filter((state) => states[state]);
  return [
    part(instances, "instance"), part(events, "event"),
    ...troubled.map((state) => h("a", { "data-key": state, href: withChange({ state, instance: "" }) }, h("b", {}, count(states[state])), ` ${state}`)),
    events && !gaps ? h("span", { "data-key": "whole" }, "no event missing") : null,
  ];
}

async function showSummary() {
  const summary = await ask("api/summary");
  workflowsUrl = summary.workflowsUrl;
  status.workers = summary.workers;
  const { alive, lastSeenAt } = summary.workers;
  byId("workers").replaceChildren(...(lastSeenAt ? [`${some(alive, "worker")}, last sign of life `, time(lastSeenAt)] : []));
  const chosen = read();
  setOptions(byId("job"), summary.jobs, chosen.job);
  setOptions(byId("state"), STATES.filter((state) => summary.states[state]), chosen.state);
  draw(byId("totals"), totals(summary));
}

async function showGaps() {
  const found = await askFor(shown.gaps, "api/gaps", "gaps");
  byId("gaps").hidden = !found.gaps.length;
  byId("gaps-title").textContent = gapTitle(found);
  draw(byId("gap-list"), found.gaps.map((gap) => gapRow(gap, acknowledge)));
  byId("all-gaps").hidden = !found.gaps.some((gap) => gap.missing);
  byId("more-gaps").hidden = found.gaps.length === found.total || found.gaps.length < shown.gaps;
}

// Without a gap's execution: all of them.
async function acknowledge(gap) {
  const what = "They are no longer called missing. What comes after all is kept.";
  if (!gap && !confirm(`Acknowledge all missing events? ${what}`)) return;
  try {
    await tell("api/acknowledge", gap ? { executionId: gap.executionId } : {});
  } catch (error) {
    alert(`Not acknowledged: ${error.message}`);
  }
  show();
}

async function showInstances() {
  const { text, type, job, state, instance } = read();
  const { instances, cursor } = await askFor(shown.instances, "api/instances", "instances", { text, type, job, state });
  draw(byId("instances"), instances.map((one) => instanceRow(one, instance)));
  byId("more").hidden = !cursor;
  byId("none").hidden = instances.length > 0;
  byId("none").replaceChildren(...(text || type || job || state ? ["No instance fits."] : emptiness()));
}

const emptiness = () => [
  "No event came yet. Workers send them where DURABLE_JOBS_TRACKING_URL says: ",
  h("code", {}, new URL("events", document.baseURI).href),
];

const unknown = (instance) => [
  h("p", { "data-key": "unknown" }, "Nothing is known of ", foreign(instance), ". ", h("a", { href: "?", "data-instance": "" }, "Close")),
];

let told = ""; // what the timeline that stands there follows from

function drawDetail(head, rows, more) {
  draw(byId("about"), head);
  draw(byId("events"), rows);
  byId("older").hidden = !more;
}

async function showDetail() {
  const { instance } = read();
  const [row] = instance ? (await ask("api/instances", { instance })).instances : [];
  const now = JSON.stringify([location.search, row, shown.events, new Date().toDateString()]);
  if (now === told) return;
  const [{ events, cursor }, { gaps }] = row
    ? await Promise.all([askFor(shown.events, "api/events", "events", { instance }), ask("api/gaps", { instance })])
    : [{ events: [] }, { gaps: [] }];
  if (instance !== read().instance) return;
  const head = row ? about(row, events, gaps, workflowsUrl) : instance ? unknown(instance) : [];
  drawDetail(head, entries(events, gaps), cursor);
  told = now;
}

let drawing = false;
let again = false;
let seek = Boolean(read().instance); // a timeline that was not chosen in the list may be out of sight

// One redraw at a time; whoever asks during one gets the next at once.
async function show() {
  if (drawing) { again = true; return; }
  drawing = true;
  try {
    await showSummary();
    await Promise.all([showRates(), showGaps(), showInstances(), showDetail()]);
    if (seek && !NARROW.matches) byId("detail").scrollIntoView();
    seek = false;
    say({ problem: "" });
  } catch (error) {
    say({ problem: `No answer: ${error.message}` });
  }
  drawing = false;
  drawn = Date.now();
  if (again) { again = false; show(); }
}

// What comes alone shows at once; in a flood the views are asked for seldom.
let timer = null;
let drawn = 0;
function later() {
  const wait = Math.max(200, drawn + 1500 - Date.now());
  timer ??= setTimeout(() => {
    timer = null;
    if (drawing) later();
    else show();
  }, wait);
}

const status = { connection: "Connecting …", problem: "", workers: null };

// Events come from workers alone: where none is heard of, what is shown may long be otherwise.
function lifeOf({ alive, lastSeenAt }) {
  if (alive) return "Live";
  if (!lastSeenAt) return "Live, but no worker has been heard of yet";
  return `Live, but no sign of a worker for ${duration(Math.max(0, Date.now() - lastSeenAt))}`;
}

function say(change) {
  Object.assign(status, change);
  const { connection, problem, workers } = status;
  const text = connection !== "Live" ? connection : problem || (workers ? lifeOf(workers) : "Connecting …");
  byId("live").classList.toggle("on", text === "Live");
  if (byId("live").textContent !== text) byId("live").textContent = text;
}

let stream = null;

// A browser has six connections to a server: a page that nobody sees, in another tab or kept for
// the way back, must not hold one.
function attend() {
  stream?.close();
  stream = null;
  if (document.visibilityState === "hidden") return;
  stream = new EventSource("api/stream");
  stream.onopen = () => { say({ connection: "Live" }); later(); };
  stream.onmessage = later;
  stream.addEventListener("skipped", later);
  stream.onerror = lost;
}

function lost() {
  say({ connection: "Not live: connection lost, trying again …" });
  // After some answers, such as a proxy's 502, a browser gives up by itself.
  if (stream.readyState === EventSource.CLOSED) setTimeout(attend, 3000);
}

let left = 0; // where the list was when a timeline took its place

history.scrollRestoration = "manual"; // or the browser scrolls after turn() did

// On a phone either the list is seen or a timeline; whoever comes back finds the list where it was.
function turn() {
  const { classList } = document.body;
  const open = Boolean(read().instance);
  if (open === classList.contains("chosen")) return;
  if (open) left = scrollY;
  classList.toggle("chosen", open);
  if (NARROW.matches) scrollTo(0, open ? 0 : left);
}

function fromAddress() {
  const values = read();
  for (const name of FILTERS) byId(name).value = values[name];
  turn();
  show();
}

function filter(values, options) {
  shown.instances = 50;
  go(values, options);
  show();
}

function choose(instance) {
  const before = read().instance;
  shown.events = 100;
  go({ instance });
  turn();
  show();
  byId("detail").scrollTop = 0;
  const row = [...byId("instances").children].find((child) => child.dataset.key === before)?.firstElementChild;
  (instance ? byId("detail") : row ?? byId("instances")).focus({ preventScroll: true });
}

function grow(button, name, by) {
  byId(button).addEventListener("click", () => { shown[name] += by; show(); });
}

for (const name of ["type", "job", "state", "range"]) {
  byId(name).addEventListener("change", () => filter({ [name]: byId(name).value }));
}
byId("text").addEventListener("input", () => filter({ text: byId("text").value }, { typing: true }));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => {
  setTimeout(() => filter(Object.fromEntries(FILTERS.map((name) => [name, ""]))));
});
grow("more", "instances", 100);
grow("older", "events", 200);
grow("more-gaps", "gaps", 50);
byId("all-gaps").addEventListener("click", () => acknowledge(null));
addEventListener("popstate", fromAddress);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-instance]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  seek = Boolean(link.closest("#gaps"));
  choose(link.dataset.instance);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && read().instance && event.target !== byId("text")) choose("");
});
const fold = () => { byId("fold").open = !NARROW.matches; };
NARROW.addEventListener("change", fold);
fold();
byId("zone").textContent = `Times in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
setInterval(later, 30_000);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (event) => { if (event.persisted) attend(); });
document.addEventListener("visibilitychange", attend);
fromAddress();
attend();
