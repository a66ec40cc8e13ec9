// Rates and percentiles out of counters that only rise: the difference between one reading of /metrics and the next.
//
// Keeps one reading. A counter that fell means that the process is another one; that reading gives no rates.

export class Rates {
  #before = undefined;

  /** Takes a reading of `/metrics?format=json` at `now` milliseconds; what happened since the one before, if any. */
  take(metrics, now) {
    const before = this.#before;
    this.#before = { metrics, now };
    if (!before || now <= before.now) return undefined;
    const seconds = (now - before.now) / 1000;
    const rose = (name) => total(metrics[name]) - total(before.metrics[name]);
    if (rose("tickcast_deliveries_total") < 0 || rose("tickcast_updates_published_total") < 0) return undefined;
    return {
      perSecond: (name) => rose(name) / seconds,
      /** Seconds below which `part` of the samples since the last reading lie; nothing without samples. */
      quantile: (name, part) => quantile(buckets(metrics[name]), buckets(before.metrics[name]), part),
    };
  }
}

/** The sum over all labels; 0 for a metric that is not there. */
function total(metric) {
  return (metric?.samples ?? []).reduce((sum, { value }) => sum + (value ?? 0), 0);
}

/** A histogram's cumulative counts by upper bound, summed over labels. */
function buckets(metric) {
  const counts = new Map();
  for (const { name, labels, value } of metric?.samples ?? []) {
    if (!name.endsWith("_bucket")) continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** As Prometheus' histogram_quantile: linear within the bucket that the quantile falls into. */
export function quantile(after, before, part) {
  const rows = [...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]).sort(([a], [b]) => a - b);
  const all = rows.at(-1)?.[1] ?? 0;
  if (all <= 0) return undefined;
  const rank = part * all;
  let [lower, below] = [0, 0];
  for (const [bound, count] of rows) {
    if (count >= rank) return bound === Infinity ? lower : lower + ((bound - lower) * (rank - below)) / Math.max(1, count - below);
    [lower, below] = [bound, count];
  }
  return lower;
}
