// Starts the real binary for a test, and ends it after it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

function binary() {
  const target = process.env.CARGO_TARGET_DIR || `${root}/target`;
  const found = [process.env.TICKCAST_BIN, `${target}/release/tickcast`, `${target}/debug/tickcast`].find(
    (path) => path && existsSync(path),
  );
  if (!found) throw new Error("build the binary first: cargo build (or set TICKCAST_BIN)");
  return found;
}

/** Starts `tickcast ARGS` on free ports; resolves with the URLs that its log names. */
export async function startServer(args) {
  const child = spawn(binary(), [...args, "--port", "0", "--ops-port", "0", "--bind", "127.0.0.1", "--log-format", "json"], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH },
  });
  const lines = [];
  const server = { child, lines, stop: () => stop(child) };
  const reader = createInterface({ input: child.stderr });
  const ready = new Promise((resolve, reject) => {
    reader.on("line", (line) => {
      lines.push(line);
      const event = JSON.parse(line);
      if (event.message === "gateway serves") server.http = `http://${event.address}`;
      if (event.message?.startsWith("ops port serves")) server.ops = `http://${event.address}`;
      if (server.http && server.ops) resolve();
    });
    child.once("exit", (code) => reject(new Error(`tickcast ended with ${code}:\n${lines.join("\n")}`)));
  });
  await ready;
  return server;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [code] = await ended;
  clearTimeout(timer);
  return code;
}
