// The client and the real gateway, when the gateway, its Redis or the network in between fails.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startChild } from "../support/child.js";
import { openDoor } from "../support/door.js";
import { startGateway } from "../support/gateway.js";
import { startRedis } from "../support/redis.js";
import { Stage } from "../support/stage.js";
import { until, untilPrice, untilState, untilStatus, update } from "../support/wait.js";

const stage = new Stage();
let redis;

before(async () => (redis = await startRedis()));
afterEach(() => stage.clear());
after(() => redis?.stop());

const gateways = async (...settings) => stage.keep(await startGateway(redis, settings), (gateway) => gateway.end("SIGKILL"));
const doors = async (port) => stage.keep(await openDoor(port), (door) => door.close());

test("a gateway killed and started again: the client comes back and holds what was published meanwhile", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const client = stage.client(door.ws);
  const prices = [];
  client.subscribe(["AAPL", "MSFT"], ({ symbol, price }) => prices.push(`${symbol} ${price}`));
  await untilState(client, "open");
  for (const quote of [update("AAPL", 1), update("MSFT", 5)]) await redis.publish(quote);
  await untilPrice(client, "MSFT", 5);
  door.to = undefined;
  await gateway.end("SIGKILL");
  await until(client, "the loss", () => client.connection.state !== "open");
  assert.equal(client.quotes.get("AAPL").price, 1, "the last quotes stay");
  await redis.publish(update("AAPL", 2));
  door.to = (await gateways()).port;
  await untilPrice(client, "AAPL", 2);
  assert.equal(client.connection.state, "open");
  await redis.publish(update("MSFT", 6));
  await untilPrice(client, "MSFT", 6);
  assert.deepEqual(prices, ["AAPL 1", "MSFT 5", "AAPL 2", "MSFT 6"], "nothing twice, nothing back in time");
});

test("a gateway gone for more than ten attempts: the client polls, and returns to the socket", async () => {
  const gateway = await gateways("auth.tokens=t");
  const other = await gateways("auth.tokens=t");
  const door = await doors(gateway.port);
  const apiUrl = `http://127.0.0.1:${other.port}/api`;
  const client = stage.client(door.ws, { apiUrl, pollIntervalMs: 1000, token: "t" });
  const states = [];
  client.on("state", ({ state }) => states.at(-1) !== state && states.push(state));
  client.subscribe(["TCS"], () => {});
  await untilState(client, "open");
  await redis.publish(update("TCS", 1));
  await untilPrice(client, "TCS", 1);
  door.to = undefined;
  await gateway.end("SIGKILL");
  await redis.publish(update("TCS", 2));
  await untilPrice(client, "TCS", 2);
  assert.equal(client.connection.state, "polling");
  assert.ok(client.connection.attempts >= 10);
  await redis.publish(update("TCS", 3));
  await untilPrice(client, "TCS", 3);
  door.to = (await gateways("auth.tokens=t")).port;
  await untilState(client, "open");
  await redis.publish(update("TCS", 4));
  await untilPrice(client, "TCS", 4);
  assert.deepEqual(states.filter((state) => state === "polling" || state === "open").slice(-2), ["polling", "open"]);
});

test("Redis killed and started again: the client stays, is told, and holds the newest quote", async () => {
  const own = stage.keep(await startRedis(), (server) => server.stop());
  const gateway = stage.keep(await startGateway(own), (started) => started.end("SIGKILL"));
  const client = stage.client(gateway.ws, { symbols: ["INFY"] });
  await untilState(client, "open");
  await own.publish(update("INFY", 1));
  await untilPrice(client, "INFY", 1);
  const degraded = untilStatus(client, "degraded");
  await own.kill();
  await degraded;
  assert.equal(client.connection.state, "open");
  assert.equal(client.standing.degraded.status, "degraded");
  const newcomer = stage.client(gateway.ws, { symbols: ["INFY"] });
  await untilPrice(newcomer, "INFY", 1);
  await until(newcomer, "what stands", () => newcomer.standing.degraded);
  const ok = untilStatus(client, "ok");
  assert.equal(await own.start(), true, "Redis has its port again");
  await own.publish(update("INFY", 2));
  await ok;
  await Promise.all([client, newcomer].map((one) => untilPrice(one, "INFY", 2)));
  assert.deepEqual(client.standing, {});
  assert.equal(client.connection.attempts, 0);
});

test("a drained gateway: every client moves to the other one at its slot, without a failed attempt", async () => {
  const [leaving, staying] = await Promise.all([gateways("drain.window_s=2"), gateways()]);
  const door = await doors(leaving.port);
  const clients = Array.from({ length: 20 }, () => stage.client(door.ws, { symbols: ["WIPRO"] }));
  await Promise.all(clients.map((client) => untilState(client, "open")));
  const attempts = clients.map((client) => {
    const seen = [];
    client.on("state", (connection) => seen.push(connection));
    return seen;
  });
  const notices = clients.map((client) => untilStatus(client, "draining"));
  door.to = staying.port;
  const ended = leaving.end("SIGTERM");
  for (const notice of await Promise.all(notices)) assert.ok(notice.reconnect_in_ms <= 2000);
  await Promise.all(clients.map((client) => until(client, "the move", () => client.connection.state === "open" && !client.standing.draining)));
  await redis.publish(update("WIPRO", 9));
  await Promise.all(clients.map((client) => untilPrice(client, "WIPRO", 9)));
  assert.equal(await ended, 0);
  assert.equal(door.accepted, 40);
  for (const seen of attempts) {
    assert.deepEqual(seen.map(({ state, attempts, code }) => [state, attempts, code]), [
      ["waiting", 0, 1012],
      ["connecting", 0, 1012],
      ["open", 0, undefined],
    ]);
  }
});

test("a connection that is dead without a word is noticed and replaced", async () => {
  const gateway = await gateways("gateway.ping_interval_s=0.5", "gateway.pong_timeout_s=60");
  const door = await doors(gateway.port);
  const client = stage.client(door.ws, { symbols: ["SBIN"] });
  await untilState(client, "open");
  door.swallow();
  await until(client, "the loss", () => client.connection.reason === "no answer");
  await untilState(client, "open");
  await redis.publish(update("SBIN", 4));
  await untilPrice(client, "SBIN", 4);
});

test("a router that cuts every connection for a while: back within a back-off of its return", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const client = stage.client(door.ws, { symbols: ["HDFC"] });
  await untilState(client, "open");
  door.to = undefined;
  door.cut();
  await until(client, "some failed attempts", () => client.connection.attempts >= 4);
  door.to = gateway.port;
  await untilState(client, "open");
  await redis.publish(update("HDFC", 4));
  await untilPrice(client, "HDFC", 4);
});

test("a process that was stopped, as in a sleep, until the gateway gave up on it: it comes back", async () => {
  const gateway = await gateways("gateway.ping_interval_s=0.3", "gateway.pong_timeout_s=0.3");
  const child = stage.keep(await startChild(gateway.ws, "ITC"), (client) => client.end());
  await child.told(({ state }) => state === "open");
  await redis.publish(update("ITC", 3));
  await child.told(({ price }) => price === 3);
  child.signal("SIGSTOP");
  await gateway.logged(({ message, code }) => message === "closing" && code === 4408);
  await redis.publish(update("ITC", 4));
  child.signal("SIGCONT");
  await child.told(({ price }) => price === 4);
  assert.ok(child.lines.some(({ code }) => code === 4408));
});
