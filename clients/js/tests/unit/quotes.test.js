// What becomes of updates: order, both dialects, ages, stale marks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeWorld } from "../fakes/client.js";

async function watching(...symbols) {
  const calls = [];
  const world = await fakeWorld();
  world.client.subscribe(symbols, (quote) => calls.push(quote));
  await world.greeted();
  return { ...world, calls, get: (symbol) => world.client.quotes.get(symbol) };
}

test("a quote has the fields of data and those of its update", async () => {
  const { client, calls, get, socket } = await watching("AAPL");
  const data = { symbol: "aapl", price: 178.5, change: 2.35, source: "simulated", odd: { a: [1] }, timestamp: "2026-11-21T09:59:58Z" };
  socket().say({ type: "price_update", symbol: "aapl", data, timestamp: "2026-11-21T09:59:59Z", seq: 7 });
  const { symbol, price, change, source, odd, seq, timestamp, publishedAt, ageMs, stale, snapshot } = get("AAPL");
  assert.deepEqual(
    { symbol, price, change, source, odd, seq, timestamp, publishedAt, ageMs, stale, snapshot },
    {
      symbol: "AAPL",
      price: 178.5,
      change: 2.35,
      source: "simulated",
      odd: { a: [1] },
      seq: 7,
      timestamp: "2026-11-21T09:59:58Z",
      publishedAt: "2026-11-21T09:59:59Z",
      ageMs: 1000,
      stale: false,
      snapshot: false,
    },
  );
  assert.deepEqual(calls, [get("AAPL")]);
  assert.equal(JSON.parse(JSON.stringify(get("AAPL"))).ageMs, 1000);
  client.close();
});

test("the flat dialect makes the same quote", async () => {
  const { client, get, socket } = await watching("AAPL");
  socket().say({ type: "price_update", ticker: "AAPL", price: 178.5, change: 2.35, timestamp: "2026-11-21T09:59:58Z", seq: 7, snapshot: true });
  const { symbol, price, change, seq, snapshot, ageMs, type, ticker } = get("AAPL");
  assert.deepEqual(
    { symbol, price, change, seq, snapshot, ageMs, type, ticker },
    { symbol: "AAPL", price: 178.5, change: 2.35, seq: 7, snapshot: true, ageMs: 2000, type: undefined, ticker: undefined },
  );
  client.close();
});

test("what has no higher seq is dropped", async () => {
  const { client, calls, socket } = await watching("AAPL");
  for (const [price, seq] of [
    [1, 5],
    [2, 5],
    [3, 4],
    [4, 6],
    [5, undefined],
    [6, 6],
    [7, 7.5],
    [8, "9"],
    [9, 7],
  ]) {
    socket().quote("AAPL", price, { seq });
  }
  assert.deepEqual(calls.map(({ price }) => price), [1, 4, 5, 7, 8, 9]);
  client.close();
});

test("a change without a seq always passes, whatever it says", async () => {
  const { client, calls, socket } = await watching("A");
  const at = (timestamp) => ({ type: "price_update", symbol: "A", data: { price: 1, timestamp }, timestamp });
  socket().say(at("2026-11-21T10:00:00Z")).say(at("2026-11-21T10:00:00Z")).say(at("2026-11-21T09:00:00Z"));
  assert.equal(calls.length, 3);
  client.close();
});

test("seq is each symbol's own", async () => {
  const { client, get, socket } = await watching("A", "B");
  socket().quote("A", 1, { seq: 100 }).quote("B", 2, { seq: 1 });
  assert.deepEqual([get("A").price, get("B").price], [1, 2]);
  client.close();
});

test("a restatement of what is known is no change", async () => {
  const { client, calls, socket } = await watching("A", "B");
  const at = (timestamp, price, symbol = "A") => ({ type: "price_update", symbol, data: { price, timestamp }, timestamp });
  socket().say(at("2026-11-21T10:00:00Z", 1));
  socket().say({ ...at("2026-11-21T10:00:00Z", 1), snapshot: true });
  socket().say({ ...at("2026-11-21T09:00:00Z", 2), snapshot: true });
  assert.equal(calls.length, 1, "the same, and an older one");
  socket().say({ ...at("2026-11-21T10:00:00Z", 3), snapshot: true });
  socket().say({ ...at("2026-11-21T10:00:01Z", 4), snapshot: true });
  assert.deepEqual(calls.map(({ price }) => price), [1, 3, 4]);
  client.close();
});

test("ages go on without updates and without a link", async () => {
  const { client, platform, get, socket } = await watching("AAPL");
  socket().quote("AAPL", 1, { seq: 1 });
  await platform.advance(7000);
  assert.equal(get("AAPL").ageMs, 7000);
  socket().end(1006);
  await platform.advance(60_000);
  assert.equal(get("AAPL").ageMs, 67_000);
  client.close();
});

test("ages count sleep, whichever clock stood still", async () => {
  for (const away of ["sleep", "freeze"]) {
    const { client, platform, get, socket } = await watching("AAPL");
    socket().quote("AAPL", 1, { seq: 1 });
    platform[away](3_600_000);
    assert.equal(get("AAPL").ageMs, 3_600_000, away);
    client.close();
  }
});

test("ages follow the server's clock, not a wrong local one", async () => {
  for (const wrongByMs of [-86_400_000, 5_000_000]) {
    const world = await fakeWorld({ symbols: "AAPL" });
    world.platform.wallMs += wrongByMs;
    await world.greeted({ timestamp: "2026-11-21T10:00:30.000Z" });
    world.socket().quote("AAPL", 1, { seq: 1 });
    assert.equal(world.client.quotes.get("AAPL").ageMs, 30_000);
    world.platform.wallMs -= 40_000_000; // somebody sets the clock back
    await world.platform.advance(1000);
    assert.equal(world.client.quotes.get("AAPL").ageMs, 31_000);
    world.client.close();
  }
});

test("an age is never negative", async () => {
  const { client, get, socket } = await watching("AAPL");
  socket().quote("AAPL", 1, { timestamp: "2026-11-21T11:00:00Z" });
  assert.equal(get("AAPL").ageMs, 0);
  client.close();
});

test("times may be numbers of seconds or of milliseconds", async () => {
  const { client, get, socket } = await watching("A", "B", "C");
  const ms = Date.parse("2026-11-21T09:59:00Z");
  socket().say({ type: "price_update", symbol: "A", data: { price: 1, timestamp: ms } });
  socket().say({ type: "price_update", symbol: "B", data: { price: 1, timestamp: ms / 1000 } });
  socket().say({ type: "price_update", symbol: "C", data: { price: 1, timestamp: "soon" } });
  assert.deepEqual([get("A").ageMs, get("B").ageMs, get("C").ageMs], [60_000, 60_000, 0]);
  client.close();
});

test("the server's stale marks change the quote and are told", async () => {
  const { client, calls, told, get, socket } = await watching("TCS");
  socket().say({ type: "stale", symbol: "TCS", age_ms: 91000 });
  assert.equal(told.stale.length, 0, "there is no quote yet");
  socket().quote("TCS", 1, { seq: 1 });
  const before = get("TCS");
  socket().say({ type: "stale", symbol: "TCS", age_ms: 91000 }).say({ type: "stale", symbol: "TCS", age_ms: 92000 });
  assert.notEqual(get("TCS"), before, "a new object, so that views notice");
  assert.equal(get("TCS").stale, true);
  socket().say({ type: "fresh", symbol: "TCS" });
  assert.equal(get("TCS").stale, false);
  socket().say({ type: "stale", symbol: "TCS" }).quote("TCS", 2, { seq: 2 });
  assert.deepEqual([get("TCS").stale, get("TCS").price], [false, 2]);
  assert.deepEqual(told.stale.map(({ stale }) => stale), [true, false, true, false]);
  assert.equal(calls.length, 5);
  client.close();
});

test("what the publisher calls stale is stale", async () => {
  const { client, get, socket } = await watching("TCS");
  socket().say({ type: "price_update", symbol: "TCS", data: { price: 1, stale: true } });
  assert.equal(get("TCS").stale, true);
  client.close();
});

test("without a link old quotes become stale, with one again they do not stay so", async () => {
  const { client, platform, told, get, socket, greeted } = await watching("TCS");
  socket().quote("TCS", 1, { seq: 1 });
  socket().end(1006);
  await platform.advance(29_000);
  assert.equal(get("TCS").stale, false);
  await platform.advance(2000);
  assert.equal(get("TCS").stale, true);
  assert.equal(told.stale.length, 1);
  await greeted();
  assert.equal(get("TCS").stale, false);
  client.close();
});

test("what the server calls stale stays so over a reconnect, until it says otherwise", async () => {
  const { client, platform, get, socket, greeted } = await watching("TCS");
  socket().quote("TCS", 1, { seq: 1 }).say({ type: "stale", symbol: "TCS" }).end(1006);
  await platform.advance(40_000);
  assert.equal(get("TCS").stale, true);
  (await greeted()).quote("TCS", 1, { seq: 1, snapshot: true });
  assert.equal(get("TCS").stale, true);
  socket().say({ type: "fresh", symbol: "TCS" });
  assert.equal(get("TCS").stale, false);
  client.close();
});

test("a field named __proto__ changes nothing's nature", async () => {
  const { client, get, socket } = await watching("A");
  socket().write('{"type":"price_update","symbol":"A","data":{"price":1,"__proto__":{"polluted":true}}}');
  assert.equal(Object.getPrototypeOf(get("A")), Object.prototype);
  assert.equal({}.polluted, undefined);
  assert.equal(get("A").polluted, undefined);
  client.close();
});

test("messages that make no sense are survived", async () => {
  const { client, calls, socket, told } = await watching("A");
  for (const text of ["", "no json", "null", "[]", "5", '"A"', "{}", '{"type":5}', '{"type":"price_update"}', '{"type":"price_update","symbol":7}', '{"type":"price_update","symbol":"A","data":null}', '{"type":"subscribed","rejected":5}', '{"type":"status"}', '{"type":"connected","api":"http://[","limits":null}', '{"type":"unsubscribed"}', '{"type":"pong","id":{}}', '{"type":"stale"}']) {
    socket().write(text);
  }
  socket().write(new ArrayBuffer(8));
  socket().quote("A", 2);
  assert.equal(calls.at(-1).price, 2);
  assert.equal(client.connection.state, "open");
  assert.ok(told.error.every(({ code }) => code === "bad_message"));
  client.close();
});

test("a service's own notices are passed on", async () => {
  const { client, told, socket } = await watching("A");
  socket().say({ type: "market_status", exchange: "NSE", open: true });
  assert.deepEqual(told.notice, [{ type: "market_status", exchange: "NSE", open: true }]);
  client.close();
});
