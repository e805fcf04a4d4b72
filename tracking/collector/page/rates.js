// Which time the plot shows, and what happened in it.

import { read } from "./address.js";
import { ask } from "./ask.js";
import { byId, own } from "./dom.js";
import { legend, plot } from "./plot.js";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY };
const MOST_BARS = 180;

// Bars begin at multiples of their width, so that they stay the same while time goes on.
function period(range) {
  const span = RANGES[range];
  const step = span > DAY ? HOUR : MINUTE; // what the API counts in
  const width = Math.ceil(span / step / MOST_BARS) * step;
  const until = Math.ceil((Date.now() + 1) / width) * width;
  return { range, since: until - span, until, width };
}

async function during(range, job) {
  const time = period(range);
  const { buckets } = await ask("api/rates", { since: time.since, until: time.until, bins: MOST_BARS, job });
  return { ...time, buckets };
}

// Unless one is chosen, the range is a day, or an hour where all of the day is in its last hour.
async function fitting(job) {
  const day = await during("24h", job);
  const young = day.buckets.length && day.buckets.every(({ at }) => at >= day.until - HOUR);
  return young ? during("1h", job) : day;
}

export async function showRates() {
  const { range, job } = read();
  const rates = own(RANGES, range) ? await during(range, job) : await fitting(job);
  byId("range").value = rates.range;
  byId("rates-title").textContent = job ? `Attempts of job ${job}` : "Attempts of all jobs";
  byId("legend").replaceChildren(...legend(rates));
  byId("plot").replaceChildren(...plot(rates));
}
