// The README's Node example, run as it stands.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startGateway } from "../support/gateway.js";
import { startRedis } from "../support/redis.js";
import { update } from "../support/wait.js";

let redis;
let gateway;

before(async () => {
  redis = await startRedis();
  gateway = await startGateway(redis);
});
after(async () => {
  await gateway?.end();
  await redis?.stop();
});

test("examples/watch.js prints quotes", async () => {
  await redis.publish(update("AAPL", 178.5));
  const path = fileURLToPath(new URL("../../examples/watch.js", import.meta.url));
  const child = spawn(process.execPath, [path, gateway.ws, "AAPL"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    assert.match(line, /^AAPL 178\.5 \d+ ms old/);
  } finally {
    child.kill();
  }
});
