// Which time the plot shows, and what happened in it.

import { read } from "./address.js";
import { ask } from "./ask.js";
import { byId, foreign, own } from "./dom.js";
import { legend, plot } from "./plot.js";

const HOUR = 3_600_000, DAY = 24 * HOUR;
const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY };
const MOST_BARS = 181; // 180 fill a range, and of one more it has the end

// The API chooses how wide a bar is. Bars begin at multiples of that, so that they stay the same
// while time goes on.
async function during(range, job) {
  const until = Date.now() + 1;
  const since = until - RANGES[range];
  const { step: width, buckets } = await ask("api/rates", { since, until, bins: MOST_BARS, job });
  const whole = { since: Math.floor(since / width) * width, until: Math.ceil(until / width) * width };
  return { range, ...whole, width, buckets };
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
  byId("rates-title").replaceChildren(...(job ? ["Attempts of job ", foreign(job)] : ["Attempts of all jobs"]));
  byId("legend").replaceChildren(...legend(rates));
  byId("plot").replaceChildren(...plot(rates));
}
