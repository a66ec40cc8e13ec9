// A private redis-server on a free port, without persistence.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export async function startRedis() {
  const dir = mkdtempSync(join(tmpdir(), "tickcast-client-redis-"));
  for (let tries = 0; tries < 20; tries++) {
    const port = await freePort();
    const redis = new Redis(port, dir);
    if (await redis.start()) return redis;
    // Another process took the port in between.
  }
  throw new Error("no redis-server came up on 20 free ports");
}

class Redis {
  #child;

  constructor(port, dir) {
    this.port = port;
    this.dir = dir;
    this.url = `redis://127.0.0.1:${port}`;
  }

  /** Starts it, also again after a kill, empty. */
  async start() {
    const args = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.dir];
    const child = (this.#child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "ignore"] }));
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", () => resolve(false));
      let log = "";
      child.stdout.on("data", (data) => {
        if (log.includes("Ready to accept")) return;
        log += data;
        if (log.includes("Ready to accept")) resolve(true);
      });
    });
  }

  /** One command over a connection of its own (RESP); resolves with the raw answer. */
  async command(...words) {
    const socket = connect(this.port, "127.0.0.1");
    try {
      await once(socket, "connect");
      socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
      const [answer] = await once(socket, "data");
      if (answer[0] === 0x2d) throw new Error(`${words[0]}: ${answer}`);
      return answer.toString();
    } finally {
      socket.destroy();
    }
  }

  /** Publishes an update as a publisher does: kept first, then sent. */
  async publish(update) {
    const text = JSON.stringify(update);
    await this.command("SET", `cache:quote:${update.symbol}`, text, "EX", "300");
    await this.command("PUBLISH", "market-data:updates", text);
  }

  async kill() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async stop() {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
