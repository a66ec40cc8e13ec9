// REST under load: `node loadtest/rest.mjs [SECONDS]`. Needs a release build, Linux, two cores and taskset.
//
// Starts `tickcast serve` pinned to core 0 and asks at a fixed rate from core 1, each request at its own moment whatever
// became of those before it (open loop): a latency counts from the moment a request was due. Prints one JSON line a case:
// requests a second, latencies in ms, what was not 200, the cache's hit rate meanwhile, and how much of its core the server
// used. `late_p99` is how late the generator itself was: where it is not small, it was the bottleneck.
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SECONDS = Number(process.argv[2] ?? 10);
const RATE = 2000;
const SYMBOLS = 1000;
const CONNECTIONS = 100;
const root = fileURLToPath(new URL("..", import.meta.url));
const binary = `${process.env.CARGO_TARGET_DIR || `${root}/target`}/release/tickcast`;

// Seeded (Lehmer), so that runs compare.
let state = 1;
const random = () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff;
const sums = [];
for (let rank = 1, sum = 0; rank <= SYMBOLS; rank++) sums.push((sum += 1 / rank));

/** A symbol; the n-th is asked for in proportion to 1/n. */
function zipf() {
  const wanted = random() * sums.at(-1);
  let [low, high] = [0, SYMBOLS - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return `S${low}`;
}

async function startServer() {
  const args = ["serve", "--provider", "simulated", "--bind", "127.0.0.1", "--port", "0", "--ops-port", "0"];
  const child = spawn("taskset", ["-c", "0", binary, ...args, "--log-format", "json"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH, RATE_LIMIT_RPM: "1000000" },
  });
  const server = { child };
  for await (const line of createInterface({ input: child.stderr })) {
    const event = JSON.parse(line);
    if (event.message === "gateway serves") server.port = Number(event.address.split(":").at(-1));
    if (event.message?.startsWith("ops port serves")) server.ops = `http://${event.address}`;
    if (server.port && server.ops) break;
  }
  child.stderr.resume();
  return server;
}

/** One connection: one request at a time, its answer told by Content-Length. */
class Connection {
  #socket;
  #buffer = Buffer.alloc(0);
  #done = undefined;

  constructor(port) {
    this.#socket = connect(port, "127.0.0.1").setNoDelay(true);
    this.#socket.on("data", (chunk) => this.#read(chunk));
    this.#socket.on("error", () => this.#done?.(0));
    this.#socket.on("close", () => this.#done?.(0));
  }

  get isIdle() {
    return !this.#done;
  }

  ask(path, done) {
    this.#done = done;
    this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n`);
  }

  close() {
    this.#socket.destroy();
  }

  #read(chunk) {
    this.#buffer = this.#buffer.length ? Buffer.concat([this.#buffer, chunk]) : chunk;
    const end = this.#buffer.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#buffer.latin1Slice(0, end).toLowerCase();
    const length = Number(/content-length: (\d+)/.exec(head)?.[1]);
    if (this.#buffer.length < end + 4 + length) return;
    this.#buffer = Buffer.alloc(0);
    const done = this.#done;
    this.#done = undefined;
    done?.(Number(head.slice(9, 12)));
  }
}

/** Seconds of CPU the server has used. */
function cpu(child) {
  const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function percentile(sorted, part) {
  return Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(2));
}

/** Asks for `count` paths, one each 1/RATE s. */
async function ask(port, count, path) {
  const connections = Array.from({ length: CONNECTIONS }, () => new Connection(port));
  const [latencies, late] = [[], []];
  const waiting = [];
  let [sent, answered, bad] = [0, 0, 0];
  const begun = performance.now();
  await new Promise((resolve) => {
    const send = (connection, [wanted, due]) => {
      connection.ask(wanted, (status) => {
        latencies.push(performance.now() - due);
        if (status !== 200) bad++;
        if (++answered === count) return resolve();
        const next = waiting.shift();
        if (next) send(connection, next);
      });
    };
    const tick = () => {
      const now = performance.now();
      while (sent < count && begun + (sent * 1000) / RATE <= now) {
        const due = begun + (sent++ * 1000) / RATE;
        late.push(now - due);
        const connection = connections.find((connection) => connection.isIdle);
        if (connection) send(connection, [path(), due]);
        else waiting.push([path(), due]);
      }
      if (sent < count) setImmediate(tick);
    };
    tick();
  });
  const took = (performance.now() - begun) / 1000;
  for (const connection of connections) connection.close();
  return { rate: Math.round(count / took), latencies: latencies.sort((a, b) => a - b), late: late.sort((a, b) => a - b), bad };
}

async function run(server, name, path) {
  const counts = async () => (await fetch(`${server.ops}/cache/stats`)).json();
  const [before, cpuBefore] = [await counts(), cpu(server.child)];
  const { rate, latencies, late, bad } = await ask(server.port, RATE * SECONDS, path);
  const [after, cpuAfter] = [await counts(), cpu(server.child)];
  const hits = after.hits - before.hits;
  const at = (part) => percentile(latencies, part);
  const line = {
    case: name,
    rate,
    ...{ p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: at(1), late_p99: percentile(late, 0.99) },
    not_200: bad,
    hit_rate: Number((hits / Math.max(1, hits + after.misses - before.misses)).toFixed(4)),
    core: Number(((cpuAfter - cpuBefore) / SECONDS).toFixed(2)),
  };
  console.log(JSON.stringify(line));
}

const server = await startServer();
try {
  execFileSync("taskset", ["-a", "-p", "-c", "1", String(process.pid)]);
  await new Promise((resolve) => setTimeout(resolve, 6000));
  const symbols = Array.from({ length: SYMBOLS }, (_, rank) => `S${rank}`);
  await run(server, "quotes, zipf over 1,000 symbols, none known", () => `/api/quotes?symbols=${zipf()}`);
  await fetch(`http://127.0.0.1:${server.port}/api/quotes?symbols=${symbols}`);
  await run(server, "quotes, the same, all known", () => `/api/quotes?symbols=${zipf()}`);
  await run(server, "quotes, ten a request, all known", () => `/api/quotes?symbols=${Array.from({ length: 10 }, zipf).join(",")}`);
  await run(server, "bars, zipf over 1,000 symbols, none known", () => `/api/bars/${zipf()}?range=24h`);
  for (const symbol of symbols) await fetch(`http://127.0.0.1:${server.port}/api/bars/${symbol}?range=24h`);
  await run(server, "bars, the same, all known", () => `/api/bars/${zipf()}?range=24h`);
} finally {
  server.child.kill("SIGKILL");
}
