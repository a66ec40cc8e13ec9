// The client and the real gateway, when nothing goes wrong.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startGateway } from "../support/gateway.js";
import { startRedis } from "../support/redis.js";
import { Stage } from "../support/stage.js";
import { until, untilPrice, untilState, update } from "../support/wait.js";

const stage = new Stage();
let redis;
let gateway;

before(async () => {
  redis = await startRedis();
  gateway = await startGateway(redis, ["gateway.wildcard=true", "limits.symbols_per_client=300"]);
});
afterEach(() => stage.clear());
after(async () => {
  await gateway?.end();
  await redis?.stop();
});

test("a subscriber gets the last known quote and every later one", async () => {
  await redis.publish(update("AAPL", 178.5));
  const client = stage.client(gateway.ws);
  const prices = [];
  client.subscribe("aapl", (quote) => prices.push([quote.price, quote.snapshot]));
  await untilPrice(client, "AAPL", 178.5);
  for (const price of [179, 180.25]) {
    await redis.publish(update("AAPL", price));
    await untilPrice(client, "AAPL", price);
  }
  assert.deepEqual(prices, [[178.5, true], [179, false], [180.25, false]]);
  assert.ok(client.quotes.get("AAPL").ageMs < 30_000);
  assert.match(client.connection.clientId, /^client_/);
});

test("both dialects make the same quotes", async () => {
  const told = { ...update("TCS", 3500.5), seq: 7 };
  const nested = stage.client(gateway.ws);
  const flat = stage.client(`${gateway.ws}/a-front-end`);
  await Promise.all([nested, flat].map((client) => untilState(client, "open")));
  await redis.publish(told);
  await Promise.all([nested, flat].map((client) => untilPrice(client, "TCS", 3500.5)));
  for (const client of [nested, flat]) {
    const { symbol, price, seq, timestamp } = client.quotes.get("TCS");
    assert.deepEqual({ symbol, price, seq, timestamp }, { symbol: "TCS", price: 3500.5, seq: 7, timestamp: told.timestamp });
  }
  assert.equal(flat.connection.clientId, "a-front-end");
});

test("what the gateway refuses is told, and the rest of the request holds", async () => {
  const symbols = Array.from({ length: 301 }, (_, i) => `MANY${i}`);
  const client = stage.client(gateway.ws, { symbols });
  const errors = [];
  client.on("error", (error) => errors.push(error));
  await until(client, "a refusal", () => errors.length > 0);
  assert.deepEqual(errors.map(({ code, symbol }) => [code, symbol]), [["too_many_symbols", "MANY300"]]);
  await redis.publish(update("MANY299", 1));
  await untilPrice(client, "MANY299", 1);
});

test("the wildcard brings everything", async () => {
  const client = stage.client(gateway.ws);
  const seen = new Set();
  client.subscribe("*", ({ symbol }) => seen.add(symbol));
  await until(client, "a link", () => client.connection.state === "open");
  await client.ping(); // answered after the subscription
  for (const symbol of ["ANY1", "ANY2"]) await redis.publish(update(symbol, 1));
  await until(client, "both", () => seen.has("ANY1") && seen.has("ANY2"), ["*"]);
});

test("a symbol that nobody watches any more is no longer sent", async () => {
  const client = stage.client(gateway.ws);
  const stop = client.subscribe("GONE", () => {});
  await redis.publish(update("GONE", 1));
  await untilPrice(client, "GONE", 1);
  stop();
  await redis.publish(update("OTHER", 1));
  await untilPrice(client, "OTHER", 1); // asked for after GONE was given up
  const { connections } = await (await fetch(`${gateway.ops}/connections`)).json();
  const { symbols } = connections.find((one) => one.client_id === client.connection.clientId);
  assert.deepEqual([symbols, client.quotes.has("GONE")], [1, false]);
});

test("a round trip is measured", async () => {
  const client = stage.client(gateway.ws);
  await untilState(client, "open");
  assert.ok((await client.ping()) >= 0);
});

test("a service's own notices reach the listener", async () => {
  const client = stage.client(gateway.ws);
  await untilState(client, "open");
  const notice = new Promise((resolve) => client.on("notice", resolve));
  await redis.command("PUBLISH", "market-data:updates", JSON.stringify({ type: "market_status", open: false }));
  assert.deepEqual(await notice, { type: "market_status", open: false });
});
