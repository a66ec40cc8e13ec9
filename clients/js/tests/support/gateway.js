// The real gateway, from the binary in TICKCAST_BIN, target/release or target/debug.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../..", import.meta.url));

function binary() {
  const target = process.env.CARGO_TARGET_DIR || `${root}/target`;
  const places = [process.env.TICKCAST_BIN, `${target}/release/tickcast`, `${target}/debug/tickcast`];
  const found = places.find((path) => path && existsSync(path));
  if (!found) throw new Error("build the gateway first: cargo build --release (or set TICKCAST_BIN)");
  return found;
}

/**
 * Starts `tickcast gateway` on free ports; resolves once it serves and hears its Redis, as `/ready` tells a router.
 * Settings are `key=value` as for --set.
 */
export async function startGateway(redis, settings = []) {
  const args = ["gateway", "--redis-url", redis.url, "--bind", "127.0.0.1", "--port", "0", "--ops-port", "0"];
  args.push("--log-format", "json", ...settings.flatMap((setting) => ["--set", setting]));
  const child = spawn(binary(), args, { cwd: root, stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env.PATH } });
  const lines = [];
  const waiting = new Set();
  const gateway = {
    lines,
    /** Resolves with the first event of the log, past or coming, for which `holds`. */
    logged: (holds) =>
      new Promise((resolve) => {
        const look = (line) => holds(JSON.parse(line)) && (waiting.delete(look), resolve(JSON.parse(line)), true);
        if (!lines.some(look)) waiting.add(look);
      }),
    end: (signal = "SIGTERM") => end(child, signal),
  };
  let hears = false;
  await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      for (const look of waiting) look(line);
      const event = JSON.parse(line);
      if (event.message === "gateway serves") gateway.port = Number(event.address.split(":").at(-1));
      if (event.message?.startsWith("ops port serves")) gateway.ops = `http://${event.address}`;
      if (event.message === "updates arrive from the broker") hears = true;
      if (gateway.port && gateway.ops && hears) resolve();
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the gateway ended with ${code}:\n${lines.join("\n")}`)));
  });
  gateway.ws = `ws://127.0.0.1:${gateway.port}/ws`;
  return gateway;
}

async function end(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = once(child, "exit");
  child.kill(signal);
  const [code] = await ended;
  return code;
}
