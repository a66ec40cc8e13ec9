// REST under load: `npm ci && npm start -- [SECONDS]`. Needs a release build, Linux, two cores.
//
// Starts `tickcast serve` pinned to core 0, asks at a fixed rate from another core (autocannon; latencies corrected for
// coordinated omission), and prints one JSON line a case: requests per second, latencies in ms, what was not 200, the
// cache's hit rate meanwhile, and how much of its core the server used.
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import autocannon from "autocannon";

const SECONDS = Number(process.argv[2] ?? 10);
const RATE = 2000;
const SYMBOLS = 1000;
const root = fileURLToPath(new URL("../..", import.meta.url));
const binary = `${process.env.CARGO_TARGET_DIR || `${root}/target`}/release/tickcast`;

/** Symbols by rank, the n-th asked for in proportion to 1/n. Seeded, so that runs compare. */
function zipf(count) {
  let state = 1;
  const random = () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff;
  const weights = Array.from({ length: SYMBOLS }, (_, rank) => 1 / (rank + 1));
  const whole = weights.reduce((sum, weight) => sum + weight);
  return Array.from({ length: count }, () => {
    let left = random() * whole;
    return `S${Math.max(0, weights.findIndex((weight) => (left -= weight) <= 0))}`;
  });
}

async function startServer() {
  const args = ["-c", "0", binary, "serve", "--provider", "simulated", "--bind", "127.0.0.1", "--port", "0"];
  const child = spawn("taskset", [...args, "--ops-port", "0", "--log-format", "json"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH, RATE_LIMIT_RPM: "1000000" },
  });
  const server = { child };
  for await (const line of createInterface({ input: child.stderr })) {
    const event = JSON.parse(line);
    if (event.message === "gateway serves") server.http = `http://${event.address}`;
    if (event.message?.startsWith("ops port serves")) server.ops = `http://${event.address}`;
    if (server.http && server.ops) break;
  }
  child.stderr.resume();
  return server;
}

/** Seconds of CPU the server has used. */
function cpu(child) {
  const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function run(server, name, paths) {
  const counts = async () => (await (await fetch(`${server.ops}/cache/stats`)).json());
  const [before, cpuBefore] = [await counts(), cpu(server.child)];
  const options = { url: server.http, connections: 50, overallRate: RATE, duration: SECONDS, requests: paths.map((path) => ({ path })) };
  const result = await autocannon(options);
  const [after, cpuAfter] = [await counts(), cpu(server.child)];
  const hits = after.hits - before.hits;
  const { p50, p90, p99, p99_9, max } = result.latency;
  console.log(
    JSON.stringify({
      case: name,
      rate: result.requests.average,
      p50,
      p90,
      p99,
      p99_9,
      max,
      not_200: result.non2xx + result.errors + result.timeouts,
      hit_rate: Number((hits / Math.max(1, hits + after.misses - before.misses)).toFixed(4)),
      core: Number(((cpuAfter - cpuBefore) / SECONDS).toFixed(2)),
    }),
  );
}

const server = await startServer();
try {
  execFileSync("taskset", ["-p", "-c", "1", String(process.pid)]);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const drawn = zipf(5000);
  await run(server, "quotes: zipf over 1,000 symbols, cold", drawn.map((symbol) => `/api/quotes?symbols=${symbol}`));
  await run(server, "quotes: the same, cached", drawn.map((symbol) => `/api/quotes?symbols=${symbol}`));
  const tens = Array.from({ length: 500 }, (_, i) => drawn.slice(i * 10, i * 10 + 10).join(","));
  await run(server, "quotes: ten a request, cached", tens.map((symbols) => `/api/quotes?symbols=${symbols}`));
  await run(server, "bars: zipf over 1,000 symbols, cold", drawn.map((symbol) => `/api/bars/${symbol}?range=1w`));
  await run(server, "bars: the same, cached", drawn.map((symbol) => `/api/bars/${symbol}?range=1w`));
} finally {
  server.child.kill("SIGKILL");
}
