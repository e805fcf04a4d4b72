// What happened to one instance, newest first; where sequences are missing, it says so.

import { count, duration, foreign, h, own, some, time } from "./dom.js";
import { fault, next, pause, pill } from "./list.js";
import { withChange } from "./address.js";

const KNOWN = new Set([
  "eventId", "timestamp", "source", "instanceId", "id", "jobType", "jobName", "env", "serviceKey", "type",
  "executionId", "sequence",
]);

const TELL = {
  "job.started": () => ["calm", "Started"],
  "job.executed": (event) => ["ok", `Run ${event.runCount ?? "?"} succeeded`, executed(event)],
  "job.failed": (event) => [event.willRetry ? "warn" : "bad",
    `Attempt ${event.attempt ?? "?"} of run ${event.runCount ?? "?"} failed`,
    event.willRetry ? "will be tried again" : "not tried again"],
  "job.retryExhausted": (event) => ["bad", "Gave up",
    [some(event.attempts, "attempt"), event.reason === "max_duration" ? "the time for retries is over" : "no more are allowed"].join(", ")],
  "job.terminated": (event) => ["calm", "Ended", ended(event)],
  "debounce.started": (event) => ["calm", "Window opened", event.flushAt ? ["flushes at ", time(event.flushAt), " at the latest"] : "flushes when it is full"],
  "debounce.flushed": flushed,
  "task.scheduled": (event) => ["calm", "Alarm set", ["for ", time(event.scheduledAt), own(SET_BY, event.trigger) ?? [" by ", foreign(event.trigger)]]],
  "job.paused": (event) => ["warn", "Paused", by(event, "after its retries were exhausted")],
  "job.resumed": (event) => ["calm", "Resumed", by(event, "by itself, as a run succeeded")],
};

const SET_BY = {
  event: " by an event's handler", execute: " by the alarm's own run", idle: " by the idle handler", error: " by the error handler",
};

const WHY = {
  timeout: "its time was over", quiet: "it was quiet for long enough", maxEvents: "it had the most events",
  maxBytes: "it had the most bytes", manual: "somebody asked for it",
};

function executed(event) {
  return listed(", ", [event.attempt > 1 ? `at attempt ${event.attempt}` : null,
    `in ${duration(event.durationMs)}`, event.handler && event.handler !== "execute" ? foreign(event.handler) : null]);
}

function by({ by, note }, exhausted) {
  const who = by === "exhausted" ? exhausted : "by a caller";
  return note ? [`${who}: `, foreign(note)] : who;
}

// Texts and elements with something between them; nothing for those that are not there.
function listed(between, parts) {
  return parts.filter(Boolean).flatMap((part, place) => (place ? [between, part] : [part]));
}

function flushed(event) {
  const why = event.flushReason ?? event.reason;
  const after = [`after ${duration(event.durationMs)}, because `, own(WHY, why) ?? foreign(why)];
  return event.eventCount
    ? ["ok", `Window flushed with ${some(event.eventCount, "event")}`, after]
    : ["warn", "Window closed without a run", ["every event in it was rejected; ", ...after]];
}

function ended(event) {
  const discarded = event.discardedEvents ? `${some(event.discardedEvents, "event")} discarded` : null;
  return listed("; ", [event.reason && foreign(event.reason), `after ${some(event.runCount ?? 0, "run")}`, discarded]);
}

// Of a type that this page does not know: all that it says beyond what every event says.
function fields(event) {
  if (own(TELL, event.type)) return null;
  const said = Object.entries(event).filter(([name]) => !KNOWN.has(name));
  if (!said.length) return null;
  return h("details", {}, h("summary", {}, "What it says"), h("pre", {}, JSON.stringify(Object.fromEntries(said), null, 2)));
}

function failure(event) {
  if (event.type !== "job.failed") return null;
  const { message, stack } = event.error;
  return [
    h("p", { class: "said" }, foreign(message)),
    stack ? h("details", {}, h("summary", {}, "Stack"), h("pre", {}, stack)) : null,
  ];
}

function states(event) {
  return [["input", "Input"], ["preExecutionState", "State before"]]
    .filter(([name]) => event[name] !== undefined && event[name] !== null)
    .map(([name, title]) => h("details", {}, h("summary", {}, title), h("pre", {}, JSON.stringify(event[name], null, 2))));
}

function entry(event) {
  const tell = own(TELL, event.type) ?? (() => ["", foreign(event.type)]);
  const [kind, title, more] = tell(event);
  const number = event.sequence ? `#${event.sequence} ` : "";
  return h("li", { class: kind, "data-key": event.eventId },
    h("div", { class: "what" }, h("span", {}, h("b", {}, title), " ", h("span", {}, more ?? "")), h("small", {}, number, time(event.timestamp))),
    failure(event), states(event), fields(event));
}

function numbers(name, from, to, one, many) {
  const text = from === to ? `Number ${from} ${one}` : `Numbers ${from} to ${to} ${many}`;
  return h("li", { class: "gap", "data-key": `missing ${name} ${from}` }, text);
}

const missing = (name, from, to) => numbers(name, from, to, "is missing", "are missing");
const unsure = (name, from, to) => numbers(name, from, to, "is not shown and may be missing", "are not shown and some may be missing");

function clash(name, number) {
  return h("li", { class: "gap", "data-key": `clash ${name} ${number}` }, `Number ${number} was given to two events`);
}

// Within one execution the sequence is the order, whatever the clocks of several workers said.
function lives(events) {
  const groups = new Map();
  for (const event of events) {
    const name = event.executionId ?? "";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(event);
  }
  for (const members of groups.values()) members.sort((one, other) => (other.sequence ?? 0) - (one.sequence ?? 0));
  return [...groups];
}

// What is missing only the books know: an event may also be forgotten, or be further down because
// of its time. Of many ranges they name the first alone.
function missingIn(name, from, to, gaps) {
  const { ranges, more } = gaps.find((gap) => gap.executionId === name) ?? { ranges: [], more: 0 };
  const known = more ? ranges.at(-1)[1] : Infinity;
  const here = ranges.filter((range) => range[0] <= to && range[1] >= from)
    .map((range) => missing(name, Math.max(range[0], from), Math.min(range[1], to)));
  const rest = Math.max(from, known + 1);
  return [rest <= to ? unsure(name, rest, to) : null, ...here.reverse()];
}

// Below the oldest event that is shown.
function missingBelow(name, last, gaps) {
  const ranges = gaps.filter((gap) => gap.executionId === name).flatMap((gap) => gap.ranges);
  const range = ranges.find(([, to]) => last.sequence && to === last.sequence - 1);
  return range ? missing(name, ...range) : null;
}

function between(name, after, event, gaps) {
  if (!after || !event.sequence) return null;
  if (after.sequence === event.sequence) return clash(name, event.sequence);
  return after.sequence - event.sequence > 1 ? missingIn(name, event.sequence + 1, after.sequence - 1, gaps) : null;
}

export function entries(events, gaps) {
  const groups = lives(events);
  return groups.flatMap(([name, members]) => {
    const heading = name && groups.length > 1 ? h("li", { class: "life", "data-key": `life ${name}` }, "Execution ", foreign(name)) : null;
    const rows = members.flatMap((event, place) => [between(name, members[place - 1], event, gaps), entry(event)].flat());
    return [heading, ...rows, missingBelow(name, members.at(-1), gaps)];
  });
}

const disordered = (events) => lives(events).some(([, members]) =>
  members.some((event, place) => place && new Date(members[place - 1].timestamp) < new Date(event.timestamp)));

function facts(instance) {
  const fact = (name, value) => h("span", {}, `${name} `, h("b", {}, value));
  const soon = next(instance);
  return h("div", { class: "facts", "data-key": "facts" },
    pill(instance.state), fact("job", foreign(instance.jobName)), instance.env ? fact("in", foreign(instance.env)) : null,
    instance.serviceKey ? fact("service", foreign(instance.serviceKey)) : null,
    fact("runs", count(instance.executed)), fact("failures", count(instance.failed)),
    fact("retries", count(instance.retried)), fact("since", time(instance.firstAt)),
    soon ? fact("next", time(soon)) : null);
}

function links(instance, workflowsUrl) {
  const ui = workflowsUrl && /^https?:/.test(workflowsUrl)
    ? h("a", { href: workflowsUrl + encodeURIComponent(instance.instanceId), target: "_blank", rel: "noopener noreferrer" }, "Open in Temporal")
    : null;
  const close = h("a", { href: withChange({ instance: "" }), "data-instance": "" }, "Close");
  return h("div", { class: "links", "data-key": "links" }, ui, close);
}

// What stands above the timeline.
export function about(instance, events, gaps, workflowsUrl) {
  const error = instance.state === "failed" && instance.lastError;
  return [
    h("h3", { "data-key": "name" }, foreign(instance.instanceId)), facts(instance), links(instance, workflowsUrl),
    instance.pausedBy ? h("p", { class: "note", "data-key": "pause" }, pause(instance)) : null,
    error ? h("p", { class: "said", "data-key": "error" }, foreign(error)) : null,
    ...gaps.map((gap) => h("p", { class: "said", "data-key": `gap ${gap.executionId}` }, fault(gap))),
    disordered(events)
      ? h("p", { class: "note", "data-key": "order" }, "The numbers are the order in which the instance learned of things; their times may be in another order.")
      : null,
  ];
}
