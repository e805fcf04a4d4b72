// The page: what it shows follows from the address and from what the stream announces.

import { FILTERS, go, read, withChange } from "./address.js";
import { ask, byId, count, h, some } from "./dom.js";
import { gapList, instanceRow } from "./list.js";
import { plot } from "./plot.js";
import { timeline } from "./timeline.js";

const HOUR = 3_600_000;
const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };
const STATES = ["scheduled", "debouncing", "idle", "running", "retrying", "failed", "completed", "terminated", "unknown"];
const PAGE = 50;

let shownInstances = PAGE;
let shownEvents = 100;
let workflowsUrl = null;
let seen = { list: "", detail: "" };

function setOptions(select, values, chosen) {
  const wanted = [...new Set([...values, chosen].filter(Boolean))];
  const present = [...select.options].slice(1).map((option) => option.value);
  if (wanted.join("\n") !== present.join("\n")) {
    select.replaceChildren(select.options[0], ...wanted.map((value) => h("option", { value }, value)));
  }
  select.value = chosen;
}

// A redraw must not take the focus, an opened stack or the scroll position away.
function draw(container, content) {
  const focused = container.contains(document.activeElement) ? document.activeElement.dataset.instance : undefined;
  const open = new Set([...container.querySelectorAll("details[open]")].map(detailName));
  const scroll = container.scrollTop;
  container.replaceChildren(...content.flat().filter(Boolean));
  for (const detail of container.querySelectorAll("details")) detail.open = open.has(detailName(detail));
  container.scrollTop = scroll;
  if (focused !== undefined) {
    const again = [...container.querySelectorAll("[data-instance]")].find((link) => link.dataset.instance === focused);
    again?.focus({ preventScroll: true });
  }
}

const detailName = (detail) =>
  `${detail.closest("[data-event]")?.dataset.event} ${detail.firstElementChild.textContent}`;

async function showSummary() {
  const summary = await ask("api/summary");
  workflowsUrl = summary.workflowsUrl;
  const chosen = read();
  setOptions(byId("job"), summary.jobs, chosen.job);
  setOptions(byId("state"), STATES.filter((state) => summary.states[state]), chosen.state);
  const instances = Object.values(summary.states).reduce((sum, n) => sum + n, 0);
  const part = (n, words) => h("span", {}, h("b", {}, count(n)), ` ${words}`);
  const troubled = ["retrying", "failed"].filter((state) => summary.states[state]);
  byId("totals").replaceChildren(
    part(instances, instances === 1 ? "instance" : "instances"),
    part(summary.events, summary.events === 1 ? "event" : "events"),
    ...troubled.map((state) => h("a", { href: withChange({ state, instance: "" }) }, h("b", {}, count(summary.states[state])), ` ${state}`)),
    ...(summary.events && !summary.gaps ? [h("span", {}, "no event missing")] : []));
}

async function showRates() {
  const { range, job } = read();
  const until = Date.now();
  const parameters = { since: until - (RANGES[range] ?? RANGES[""]), until, job };
  byId("plot").replaceChildren(...plot(await ask("api/rates", parameters)));
}

async function showGaps() {
  draw(byId("gaps"), gapList(await ask("api/gaps", { limit: 20 })));
}

async function showInstances() {
  const { text, type, job, state, instance } = read();
  const found = await ask("api/instances", { text, type, job, state, limit: Math.min(shownInstances, 500) });
  const now = JSON.stringify([found, instance]);
  byId("more").hidden = !found.cursor || shownInstances >= 500;
  if (now === seen.list) return;
  seen.list = now;
  draw(byId("instances"), found.instances.map((one) => instanceRow(one, instance)));
  byId("none").hidden = found.instances.length > 0;
  byId("none").replaceChildren(...(text || type || job || state ? ["No instance fits."] : emptiness()));
}

const emptiness = () => [
  "No event came yet. Workers send them where DURABLE_JOBS_TRACKING_URL says: ",
  h("code", {}, new URL("events", document.baseURI).href),
];

async function showDetail() {
  const { instance } = read();
  document.body.classList.toggle("chosen", Boolean(instance));
  if (!instance) {
    seen.detail = "";
    byId("detail").replaceChildren();
    return;
  }
  const [rows, events, gaps] = await Promise.all([
    ask("api/instances", { instance }),
    ask("api/events", { instance, limit: Math.min(shownEvents, 500) }),
    ask("api/gaps", { instance }),
  ]);
  const now = JSON.stringify([rows, events, gaps]);
  if (now === seen.detail || instance !== read().instance) return;
  seen.detail = now;
  const older = () => { shownEvents += 200; show(); };
  draw(byId("detail"), rows.instances.length
    ? timeline({ instance: rows.instances[0], events: events.events, gaps: gaps.gaps, cursor: shownEvents < 500 && events.cursor, workflowsUrl, older })
    : [h("p", {}, `Nothing is known of ${instance}. `), h("a", { href: "?", "data-instance": "" }, "Close")]);
}

let drawing = false;
let again = false;

// One redraw at a time, however much comes.
async function show() {
  if (drawing) { again = true; return; }
  drawing = true;
  try {
    await showSummary();
    await Promise.all([showRates(), showGaps(), showInstances(), showDetail()]);
  } catch (error) {
    announce(false, `No answer: ${error.message}`);
  }
  drawing = false;
  drawn = Date.now();
  if (again) { again = false; later(); }
}

// What comes alone shows at once; in a flood the views are asked for seldom.
let timer = null;
let drawn = 0;
function later() {
  const wait = Math.max(200, drawn + 1500 - Date.now());
  timer ??= setTimeout(() => { timer = null; show(); }, wait);
}

function announce(on, text) {
  byId("live").classList.toggle("on", on);
  byId("live").textContent = text;
}

let stream = null;

// A browser has six connections to a server: a page that nobody sees, in another tab or kept for
// the way back, must not hold one.
function attend() {
  stream?.close();
  stream = null;
  if (document.visibilityState === "hidden") return;
  stream = new EventSource("api/stream");
  stream.onopen = () => { announce(true, "Live"); later(); };
  stream.onmessage = later;
  stream.addEventListener("skipped", later);
  stream.onerror = lost;
}

function lost() {
  announce(false, "Not live: connection lost, trying again …");
  // After some answers, such as a proxy's 502, a browser gives up by itself.
  if (stream.readyState === EventSource.CLOSED) setTimeout(attend, 3000);
}

function fromAddress() {
  const values = read();
  for (const name of [...FILTERS, "range"]) byId(name).value = values[name];
  if (byId("range").selectedIndex < 0) byId("range").value = "";
  show();
}

function change(values, options) {
  shownInstances = PAGE;
  go(values, options);
  show();
}

for (const name of ["type", "job", "state", "range"]) {
  byId(name).addEventListener("change", () => change({ [name]: byId(name).value }));
}
byId("text").addEventListener("input", () => change({ text: byId("text").value }));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => {
  setTimeout(() => change(Object.fromEntries(FILTERS.map((name) => [name, ""]))));
});
byId("more").addEventListener("click", () => { shownInstances += 2 * PAGE; show(); });
addEventListener("popstate", fromAddress);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-instance]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  shownEvents = 100;
  change({ instance: link.dataset.instance }, { keep: true });
  if (link.dataset.instance) byId("detail").focus({ preventScroll: true });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && read().instance && event.target !== byId("text")) change({ instance: "" }, { keep: true });
});
setInterval(later, 30_000);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (event) => { if (event.persisted) attend(); });
document.addEventListener("visibilitychange", attend);
fromAddress();
attend();
