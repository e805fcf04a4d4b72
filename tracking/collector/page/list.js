// The instances, and the gaps above them.

import { count, h, some, time } from "./dom.js";
import { withChange } from "./address.js";

export function pill(text) {
  return h("b", { class: `pill ${/^[a-z]+$/.test(text) ? text : ""}` }, text);
}

function numbers(instance) {
  const parts = [`${some(instance.executed, "run")}`];
  if (instance.failed) parts.push(`${count(instance.failed)} failed`);
  return parts.join(", ");
}

export function instanceRow(instance, chosen) {
  const troubled = ["failed", "retrying"].includes(instance.state) && instance.lastError;
  const attributes = {
    href: withChange({ instance: instance.instanceId }),
    "data-instance": instance.instanceId,
    "aria-current": instance.instanceId === chosen ? "true" : null,
  };
  const soon = instance.nextAt && instance.nextAt > Date.now();
  return h("li", {}, h("a", attributes,
    h("span", {}, h("b", {}, instance.id || instance.instanceId), " ", h("small", {}, instance.jobName)),
    pill(instance.state),
    h("small", {}, `${instance.jobType || "job"}, ${numbers(instance)}`, soon ? [", next at ", time(instance.nextAt)] : null),
    h("span", { class: "when" }, time(instance.lastAt)),
    troubled ? h("span", { class: "error" }, instance.lastError) : null));
}

export function ranges(gap) {
  const known = gap.ranges.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`)).join(", ");
  return known || "deleted since";
}

export function gapList(gaps) {
  if (!gaps.total) return [];
  const rows = gaps.gaps.map((gap) => h("li", {},
    h("a", { href: withChange({ instance: gap.instanceId }), "data-instance": gap.instanceId }, gap.instanceId),
    h("span", {}, `${some(gap.missing, "event")} missing of ${count(gap.highest)}: number ${ranges(gap)}`),
    h("small", {}, "last event ", time(gap.lastAt))));
  const shown = gaps.gaps.length < gaps.total ? h("p", {}, h("small", {}, `the last ${gaps.gaps.length} are shown`)) : null;
  return [h("h2", {}, `Missing events in ${some(gaps.total, "execution")}`), h("ul", {}, rows), shown];
}
