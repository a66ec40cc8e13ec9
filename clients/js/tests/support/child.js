// A client in a process of its own, which a test can stop and continue. Run by itself it is that process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const self = fileURLToPath(import.meta.url);

/** Starts one that watches `symbol`; it tells its states and prices. */
export async function startChild(url, symbol) {
  const child = spawn(process.execPath, [self, url, symbol], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = [];
  const waiting = new Set();
  createInterface({ input: child.stdout }).on("line", (line) => {
    lines.push(JSON.parse(line));
    for (const look of waiting) look();
  });
  return {
    lines,
    /** Resolves once it has told something, past or coming, for which `holds`. */
    told: (holds) =>
      new Promise((resolve) => {
        const look = () => lines.some(holds) && (waiting.delete(look), resolve(), true);
        if (!look()) waiting.add(look);
      }),
    signal: (signal) => child.kill(signal),
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

if (process.argv[1] === self) {
  const { connect } = await import("tickcast-client");
  const { WebSocket } = await import("ws");
  const [url, symbol] = process.argv.slice(2);
  const tell = (what) => console.log(JSON.stringify(what));
  const client = connect(url, { WebSocket, backoff: { minMs: 10, maxMs: 100 } });
  client.on("state", tell);
  client.subscribe(symbol, ({ price }) => tell({ price }));
}
