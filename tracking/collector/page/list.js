// The instances, and above them the executions whose numbering has faults.

import { count, foreign, h, some, time } from "./dom.js";
import { withChange } from "./address.js";

const MOST_RANGES = 5; // in a line

export function pill(text) {
  return h("b", { class: `pill ${/^[a-z]+$/.test(text) ? text : ""}` }, text);
}

function numbers(instance) {
  const parts = [`${some(instance.executed, "run")} succeeded`];
  if (instance.failed) parts.push(`${some(instance.failed, "attempt")} failed`);
  return parts.join(", ");
}

// Who paused it, and the note that was left.
export function pause({ pausedBy, pauseNote }) {
  const causes = { exhausted: "Paused after its retries were exhausted", job: "Paused with its whole job" };
  const who = causes[pausedBy] || "Paused by a caller";
  return pauseNote ? [`${who}: `, foreign(pauseNote)] : who;
}

// An alarm or flush whose time is over is no longer to come.
export const next = (instance) => (instance.nextAt > Date.now() ? instance.nextAt : null);

export function instanceRow(instance, chosen) {
  const attributes = {
    href: withChange({ instance: instance.instanceId }),
    "data-instance": instance.instanceId,
    "aria-current": instance.instanceId === chosen ? "true" : null,
  };
  const soon = next(instance);
  return h("li", { "data-key": instance.instanceId }, h("a", attributes,
    h("span", {}, h("b", {}, foreign(instance.id || instance.instanceId)), " ", h("small", {}, foreign(instance.jobName))),
    pill(instance.state),
    h("small", {}, foreign(instance.jobType || "job"), `, ${numbers(instance)}`, soon ? [", next at ", time(soon)] : null),
    h("span", { class: "when" }, time(instance.lastAt)),
    instance.pausedBy ? h("span", { class: "note" }, pause(instance)) : null,
    instance.lastError ? h("span", { class: "error" }, foreign(instance.lastError)) : null));
}

function missing(gap, most) {
  const listed = gap.ranges.slice(0, most);
  const left = gap.missing - listed.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  const one = listed.length === 1 && listed[0][0] === listed[0][1] && !left;
  const known = listed.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`)).join(", ");
  const which = known ? `number${one ? "" : "s"} ${known}${left > 0 ? ` and ${count(left)} more` : ""}` : "numbers no longer known";
  return `${some(gap.missing, "event")} missing of ${count(gap.highest)}: ${which}`;
}

export function fault(gap, most = Infinity) {
  const parts = [];
  if (gap.missing) parts.push(missing(gap, most));
  if (gap.clashes) parts.push(`${some(gap.clashes, "number")} given to two events`);
  return parts.join("; ");
}

export function gapTitle({ gaps, total }) {
  const what = gaps.some((gap) => gap.clashes) ? "Missing or clashing events" : "Missing events";
  return `${what} in ${some(total, "execution")}`;
}

export function gapRow(gap, acknowledge) {
  return h("li", { "data-key": `${gap.instanceId} ${gap.executionId}` },
    h("a", { href: withChange({ instance: gap.instanceId }), "data-instance": gap.instanceId }, foreign(gap.instanceId)),
    h("span", {}, fault(gap, MOST_RANGES)),
    h("small", {}, "last event ", time(gap.lastAt)),
    gap.missing ? h("button", { type: "button", onclick: () => acknowledge(gap) }, "Acknowledge") : null);
}
