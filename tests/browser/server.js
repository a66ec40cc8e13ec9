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

/** Starts `tickcast ARGS` on free ports; resolves with the URLs that its log names, once updates reach it. */
export async function startServer(args, env = {}) {
  const bind = args.includes("--bind") ? [] : ["--bind", "127.0.0.1"];
  const child = spawn(binary(), [...args, ...bind, "--port", "0", "--ops-port", "0", "--log-format", "json"], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH, ...env },
  });
  const lines = [];
  const server = { child, lines, stop: () => stop(child) };
  const url = (address) => `http://127.0.0.1:${address.split(":").at(-1)}`;
  const reader = createInterface({ input: child.stderr });
  let fed = false;
  await new Promise((resolve, reject) => {
    reader.on("line", (line) => {
      lines.push(line);
      // What is wrong with the settings is said before there is a log.
      if (!line.startsWith("{")) return;
      const event = JSON.parse(line);
      if (event.message === "gateway serves") server.http = url(event.address);
      if (event.message?.startsWith("ops port serves")) server.ops = url(event.address);
      if (event.message === "updates arrive from the broker") fed = true;
      if (server.http && server.ops && fed) resolve();
    });
    child.once("exit", (code) => reject(new Error(`tickcast ended with ${code}:\n${lines.join("\n")}`)));
  });
  server.port = Number(new URL(server.http).port);
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
