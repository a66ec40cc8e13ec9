// How much of a core the watchlist's main thread takes: node load.js [SYMBOLS] [UPDATES A SECOND AND SYMBOL] [SECONDS]
//
// A thread's CPU time, as Chromium's own metrics count it (CDP Performance, clock threadTicks), so that a busy machine
// does not look like a busy page. The updates go through Redis and a gateway, as they would.

import { fileURLToPath } from "node:url";
import { startRedis } from "../../clients/js/tests/support/redis.js";
import { BareBrowser } from "./bare.js";
import { Feed } from "./feed.js";
import { startServer } from "./support.js";

/** Measures for `seconds`; `end(page, feed)` is called after the last update. Durations are parts of one core. */
export async function measure({ symbols: count, perSecond, seconds, end = async () => {} }) {
  const ends = [];
  const keep = (thing, stop) => (ends.push(async () => stop(thing)), thing);
  try {
    const redis = keep(await startRedis(), (redis) => redis.stop());
    const server = keep(await startServer(["gateway", "--redis-url", redis.url, "--set", "drain.window_s=0.2"]), (server) => server.stop());
    const browser = keep(new BareBrowser(), (browser) => browser.close());
    const symbols = Array.from({ length: count }, (_, i) => `S${String(i).padStart(3, "0")}`);
    const page = await browser.open(`${server.http}/?symbols=${symbols.join()}`);
    const feed = keep(await Feed.start(redis, symbols, perSecond), (feed) => feed.stop());
    await page.until(`document.querySelectorAll("#quotes .value:not(:empty)").length === ${count}`);
    await page.send("Performance.enable", { timeDomain: "threadTicks" });
    const read = async () => {
      const { metrics } = await page.send("Performance.getMetrics");
      const total = await page.evaluate(`parseInt(document.getElementById("rate").title.replaceAll(",", ""))`);
      return { at: performance.now(), rounds: feed.rounds, total, ...Object.fromEntries(metrics.map(({ name, value }) => [name, value])) };
    };
    const before = await read();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const after = await read();
    const tookS = (after.at - before.at) / 1000;
    const share = (name) => (after[name] - before[name]) / tookS;
    const result = {
      publishedPerSecond: ((after.rounds - before.rounds) * count) / tookS,
      receivedPerSecond: (after.total - before.total) / tookS,
      mainThread: share("ThreadTime"),
      tasks: share("TaskDuration"),
      script: share("ScriptDuration"),
      style: share("RecalcStyleDuration"),
      layout: share("LayoutDuration"),
      heapMB: after.JSHeapUsedSize / 1e6,
      nodes: after.Nodes,
    };
    feed.settle();
    await end(page, feed);
    return result;
  } finally {
    // All of them, also when one fails: a process left behind would keep the test from ending.
    for (const end of ends.reverse()) await end().catch(console.error);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [symbols = 500, perSecond = 50, seconds = 10] = process.argv.slice(2).map(Number);
  console.log(await measure({ symbols, perSecond, seconds }));
}
