// The fallback: when it begins, how it behaves, when it ends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeWorld } from "../fakes/client.js";
import { restQuote } from "../fakes/rest.js";

async function polling(options = {}, url) {
  const world = await fakeWorld({ symbols: ["AAPL", "BTC-USDT", "M&M"], ...options }, url);
  await world.failing(10);
  await world.platform.settle();
  return world;
}

test("after ten failed attempts quotes are polled, and no sooner", async () => {
  const world = await fakeWorld({ symbols: ["AAPL"] });
  await world.failing(9);
  assert.deepEqual([world.rest.requests.length, world.client.connection.state], [0, "connecting"]);
  world.socket().end(1006);
  assert.equal(world.client.connection.state, "polling");
  assert.equal(world.rest.last().url, "https://quotes.example/api/quotes?symbols=AAPL");
  world.client.close();
});

test("ten failures take less than a minute by default", async () => {
  const world = await fakeWorld({ symbols: ["AAPL"] });
  world.platform.chance = 0.9999;
  const start = world.platform.monoMs;
  await world.failing(10);
  assert.ok(world.platform.monoMs - start < 60_000);
  world.client.close();
});

test("polled quotes are quotes, by the same rules", async () => {
  const world = await polling();
  const calls = [];
  world.client.subscribe("AAPL", (quote) => calls.push(quote.price));
  assert.deepEqual(world.rest.last().symbols, ["AAPL", "BTC-USDT", "M&M"]);
  const timestamp = "2026-11-21T12:00:00.000Z";
  world.rest.last().answer({ quotes: [restQuote("AAPL", 1, { seq: 5 }), restQuote("M&M", 2, { stale: true, age_ms: 90_000 })], missing: ["BTC-USDT"], timestamp });
  await world.platform.settle();
  assert.deepEqual(calls, [1]);
  const mm = world.client.quotes.get("M&M");
  assert.deepEqual([mm.price, mm.stale, mm.ageMs, mm.snapshot], [2, true, 90_000, true]);
  await world.platform.advance(6000);
  world.rest.last().answer({ quotes: [restQuote("AAPL", 9, { seq: 4 }), restQuote("M&M", 2)], missing: [], timestamp });
  await world.platform.settle();
  assert.deepEqual(calls, [1], "an older seq");
  assert.equal(world.client.quotes.get("M&M").stale, false);
  world.client.close();
});

test("rounds come an interval apart, one at a time", async () => {
  const world = await polling({ pollIntervalMs: 2000 });
  await world.platform.advance(5000);
  assert.equal(world.rest.requests.length, 1, "the first is not answered yet");
  world.rest.last().answer({ quotes: [], missing: [] });
  await world.platform.advance(1900);
  assert.equal(world.rest.requests.length, 1);
  await world.platform.advance(200);
  assert.equal(world.rest.requests.length, 2);
  world.client.close();
});

test("the socket is tried all the while, and ends the polling", async () => {
  const world = await polling();
  world.rest.answerAll({ quotes: [restQuote("AAPL", 1, { seq: 5 })], missing: [] });
  await world.failing(13);
  assert.equal(world.client.connection.state, "polling", "no flicker while attempts fail");
  await world.platform.advance(0);
  const socket = await world.greeted();
  assert.equal(world.client.connection.state, "open");
  assert.deepEqual(socket.asked("subscribe")[0].symbols, ["AAPL", "BTC-USDT", "M&M"]);
  const { length } = world.rest.requests;
  await world.platform.advance(8000);
  assert.equal(world.rest.requests.length, length);
  world.client.close();
});

test("an answer that comes after the socket's return is not taken", async () => {
  const world = await polling();
  const late = world.rest.last();
  const socket = await world.greeted();
  socket.quote("AAPL", 2);
  late.answer({ quotes: [restQuote("AAPL", 1, { data: { price: 1, timestamp: "2026-11-21T11:00:00Z" } })], missing: [] });
  await world.platform.settle();
  assert.equal(late.signal.aborted, true);
  const { length } = world.rest.requests;
  await world.platform.advance(20_000);
  assert.equal(world.rest.requests.length, length);
  assert.ok(!world.told.error.some(({ code }) => code === "poll_failed"), "to stop is no failure");
  assert.equal(world.client.quotes.get("AAPL").price, 2);
  world.client.close();
});

test("a server that wants to be left alone is, for as long as it says", async () => {
  for (const [status, header, waitMs] of [
    [429, () => "30", 30_000],
    [503, () => "120", 120_000],
    [503, (platform) => new Date(platform.wallMs + 40_000).toUTCString(), 39_000],
    [429, () => "99999999", 3_600_000],
  ]) {
    const world = await polling();
    world.rest.last().answer({ error: { code: "rate_limited" } }, { status, headers: { "retry-after": header(world.platform) } });
    await world.platform.settle();
    const attempts = world.rest.requests.length;
    await world.platform.advance(waitMs - 2000);
    world.client.subscribe("NEW"); // does not make it hasty
    await world.platform.advance(1000);
    assert.equal(world.rest.requests.length, attempts, `${status} ${waitMs}`);
    await world.platform.advance(3000);
    assert.equal(world.rest.requests.length, attempts + 1, `${status} ${waitMs}`);
    world.client.close();
  }
});

test("failing polls are not called polling, are told, and become rarer", async () => {
  const world = await polling({ pollIntervalMs: 1000 });
  world.platform.chance = 0.999;
  const gaps = [];
  for (let i = 0; i < 8; i++) {
    world.rest.last().fail();
    await world.platform.settle();
    assert.notEqual(world.client.connection.state, "polling");
    const { length } = world.rest.requests;
    const start = world.platform.monoMs;
    while (world.rest.requests.length === length) await world.platform.advance(100);
    gaps.push(Math.round((world.platform.monoMs - start) / 1000));
  }
  assert.deepEqual(gaps, [2, 4, 8, 16, 32, 60, 60, 60]);
  assert.equal(world.told.error.filter(({ code }) => code === "poll_failed").length, 8);
  world.rest.last().answer({ quotes: [], missing: [] });
  await world.platform.settle();
  assert.equal(world.client.connection.state, "polling");
  await world.platform.advance(1500);
  world.rest.last().fail();
  const { length } = world.rest.requests;
  await world.platform.advance(2000);
  assert.equal(world.rest.requests.length, length + 1, "the success is remembered");
  world.client.close();
});

test("a poll that is not answered is given up", async () => {
  const world = await polling();
  await world.platform.advance(10_500);
  assert.equal(world.rest.requests[0].signal.aborted, true);
  assert.equal(world.told.error.at(-1).code, "poll_failed");
  world.client.close();
});

test("answers that are no quotes are survived", async () => {
  const world = await polling({ pollIntervalMs: 1000 });
  for (const body of [null, [], "text", {}, { quotes: 5 }, { quotes: [null] }, { quotes: [{}] }]) {
    world.rest.last().answer(body);
    await world.platform.advance(130_000);
  }
  world.rest.last().answer({ quotes: [restQuote("AAPL", 3)] });
  await world.platform.settle();
  assert.equal(world.client.quotes.get("AAPL").price, 3);
  world.client.close();
});

test("new symbols are polled at once", async () => {
  const world = await polling();
  world.rest.last().answer({ quotes: [], missing: [] });
  await world.platform.settle();
  world.client.subscribe("NEW");
  await world.platform.advance(300);
  assert.deepEqual(world.rest.last().symbols.at(-1), "NEW");
  world.client.close();
});

test("more symbols than a URL holds are asked for in several requests", async () => {
  const symbols = Array.from({ length: 1000 }, (_, i) => `SYMBOL-${i}`);
  const world = await polling({ symbols });
  for (let i = 0; i < 10; i++) {
    world.rest.last().answer({ quotes: [], missing: [] });
    await world.platform.settle();
  }
  assert.ok(world.rest.requests.every(({ url }) => url.length < 4200));
  assert.deepEqual(world.rest.requests.flatMap((request) => request.symbols), symbols);
  world.client.close();
});

test("the API's address is derived, given, or told by the server", async () => {
  for (const [url, apiUrl, told, expected] of [
    ["ws://h:8081/ws", undefined, undefined, "http://h:8081/api/quotes"],
    ["ws://h/", undefined, undefined, "http://h/api/quotes"],
    ["wss://h/prefix/ws/me?symbols=A#x", undefined, undefined, "https://h/prefix/api/quotes"],
    ["https://h/ws", undefined, undefined, "https://h/api/quotes"],
    ["wss://h/ws", "https://other/v1/", undefined, "https://other/v1/quotes"],
    ["wss://h/ws", "https://other/v1", "https://told/api", "https://told/api/quotes"],
    ["wss://h/ws", undefined, "/rest", "https://h/rest/quotes"],
    ["wss://h/ws", undefined, "http://h/api", "https://h/api/quotes"], // no step down from TLS
    ["ws://h/ws", undefined, "http://told/api", "http://told/api/quotes"],
  ]) {
    const world = await fakeWorld({ symbols: "A", apiUrl }, url);
    if (told) (await world.greeted({ api: told })).end(1006);
    await world.platform.advance(300);
    await world.failing(10);
    assert.equal(world.rest.requests[0]?.url, `${expected}?symbols=A`);
    world.client.close();
  }
});

test("polls carry the token in a header, never in the URL", async () => {
  const world = await polling({ token: () => "secret" });
  assert.equal(world.rest.last().headers.authorization, "Bearer secret");
  assert.ok(!world.rest.last().url.includes("secret"));
  world.client.close();
});
