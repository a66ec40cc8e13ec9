// When the client comes back, and when it does not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fakeWorld } from "../fakes/client.js";

/** The server's own table: code → advice, read from its source. */
function serverTable() {
  const rust = readFileSync(new URL("../../../../src/protocol/message.rs", import.meta.url), "utf8");
  const numbers = new Map([...rust.matchAll(/^ {4}(\w+) = (\d{4}),$/gm)].map(([, name, code]) => [name, Number(code)]));
  const body = rust.slice(rust.indexOf("fn reconnect(self)"));
  const arms = body.slice(0, body.indexOf("\n    }\n")).matchAll(/((?:CloseCode::\w+[\s|]*)+)=> Reconnect::(\w+)/g);
  const table = new Map();
  for (const [, codes, advice] of arms) {
    for (const [, name] of codes.matchAll(/CloseCode::(\w+)/g)) table.set(numbers.get(name), advice);
  }
  return table;
}

test("every close code of the server is obeyed as its table says", async () => {
  const table = serverTable();
  assert.equal(table.size, 14, "the server's table was read");
  for (const [code, advice] of [...table, [1006, "BackOff"], [1005, "BackOff"], [4999, "BackOff"]]) {
    const { client, platform, sockets, greeted, stable, told } = await fakeWorld({ token: "fixed" });
    await greeted();
    await stable();
    sockets[0].end(code, "why");
    await platform.settle();
    const { state, retryInMs } = client.connection;
    assert.deepEqual([client.connection.code, client.connection.reason], [code, "why"]);
    const expected = {
      Now: () => assert.deepEqual([state, retryInMs], ["waiting", 0], `${code}`),
      BackOff: () => assert.deepEqual([state, retryInMs], ["waiting", 125], `${code}`),
      AfterMending: () => assert.equal(state, "closed", `${code}`),
      No: () => assert.equal(state, "closed", `${code}`),
    };
    expected[advice]();
    await platform.advance(60_000);
    assert.equal(sockets.length > 1, state !== "closed", `${code}: attempts`);
    assert.equal(told.error.some((error) => error.code === "closed"), state === "closed", `${code}: told`);
    client.close();
  }
});

test("waits double up to the cap, and jitter takes any part of them", async () => {
  for (const [chance, part] of [
    [0, 0],
    [0.5, 0.5],
    [0.999, 0.999],
  ]) {
    const world = await fakeWorld({ backoff: { minMs: 100, maxMs: 1000 } });
    world.platform.chance = chance;
    const waits = [];
    for (let i = 0; i < 7; i++) {
      world.socket().end(1006);
      waits.push(world.client.connection.retryInMs);
      await world.platform.advance(world.client.connection.retryInMs);
    }
    assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000, 1000].map((most) => most * part));
    world.client.close();
  }
});

test("a server that greets and drops its clients does not make a storm of them", async () => {
  for (const code of [1006, 1011, 1012]) {
    const world = await fakeWorld();
    const waits = [];
    for (let i = 0; i < 6; i++) {
      world.socket().greet().end(code);
      waits.push(world.client.connection.retryInMs);
      await world.platform.advance(world.client.connection.retryInMs);
    }
    const expected = [125, 250, 500, 1000, 2000, 4000];
    assert.deepEqual(waits, code === 1012 ? [0, ...expected.slice(0, 5)] : expected, `${code}`);
    world.client.close();
  }
});

test("a connection that held makes earlier failures forgotten", async () => {
  const world = await fakeWorld();
  await world.failing(5);
  await world.greeted();
  assert.deepEqual([world.client.connection.state, world.client.connection.attempts], ["open", 5]);
  await world.stable();
  assert.equal(world.client.connection.attempts, 0);
  world.socket().end(1006);
  assert.equal(world.client.connection.retryInMs, 125);
  world.client.close();
});

test("a drained client comes back the moment it is closed", async () => {
  const world = await fakeWorld({ symbols: "AAPL" });
  const socket = await world.greeted();
  socket.say({ type: "status", status: "draining", reconnect_in_ms: 1500 });
  assert.equal(world.client.standing.draining.reconnect_in_ms, 1500);
  await world.platform.advance(1500);
  assert.equal(world.sockets.length, 1, "the server closes, not the client");
  socket.end(1012, "drained");
  await world.platform.advance(0);
  assert.equal(world.sockets.length, 2);
  await world.greeted();
  assert.deepEqual(world.client.standing, {});
  world.client.close();
});

test("a client whose draining server dies before its slot waits for the slot", async () => {
  const world = await fakeWorld();
  const socket = await world.greeted();
  socket.say({ type: "status", status: "draining", reconnect_in_ms: 8000 });
  await world.platform.advance(3000);
  socket.end(1006);
  assert.equal(world.client.connection.retryInMs, 5000);
  world.client.close();
});

test("a slot in the far future is no slot now", async () => {
  const world = await fakeWorld();
  const socket = await world.greeted();
  socket.say({ type: "status", status: "draining", reconnect_in_ms: 1e12 }).end(1006);
  await world.platform.advance(60_000);
  assert.equal(world.sockets.length, 1);
  world.client.close();
});

test("an attempt that nobody answers is given up", async () => {
  const world = await fakeWorld();
  await world.platform.advance(9000);
  assert.equal(world.client.connection.attempts, 0);
  await world.platform.advance(2000);
  assert.equal(world.client.connection.attempts, 1);
  assert.equal(world.sockets[0].closedWith, 1000, "it is not left open");
  assert.equal(world.sockets.length, 2);
  world.client.close();
});

test("an upgrade without a greeting is no connection", async () => {
  const world = await fakeWorld();
  world.socket().open();
  await world.platform.advance(5000);
  world.socket().say({ type: "a proxy's" });
  await world.platform.advance(6000);
  assert.equal(world.client.connection.attempts, 1);
  world.client.close();
});

test("waking up ends a wait", async () => {
  const world = await fakeWorld();
  await world.failing(8);
  world.socket().end(1006);
  const attempts = world.sockets.length;
  world.platform.wake();
  await world.platform.settle();
  assert.equal(world.sockets.length, attempts + 1);
  world.client.close();
});

test("after close nothing is left: no timer, no listener, no attempt", async () => {
  const world = await fakeWorld({ symbols: ["AAPL"] });
  const socket = await world.greeted();
  socket.quote("AAPL", 1, { seq: 1 });
  world.client.close();
  assert.equal(socket.closedWith, 1000);
  assert.deepEqual([world.platform.timers, world.platform.wakes], [0, 0]);
  assert.equal(world.client.connection.state, "closed");
  const { price, stale } = world.client.quotes.get("AAPL");
  assert.deepEqual([price, stale], [1, true], "quotes stay readable, as what they are");
  world.platform.wake();
  await world.platform.advance(600_000);
  assert.equal(world.sockets.length, 1);
});

test("a closed client can be brought back", async () => {
  const world = await fakeWorld({ symbols: ["AAPL"] });
  (await world.greeted()).end(1008);
  assert.equal(world.client.connection.state, "closed");
  world.client.reconnect();
  const socket = await world.platform.settle().then(() => world.greeted());
  assert.equal(world.client.connection.state, "open");
  assert.deepEqual(socket.asked("subscribe").map(({ symbols }) => symbols), [["AAPL"]]);
  world.client.close();
});

test("a WebSocket class that throws is a failed attempt", async () => {
  class Throws {
    constructor() {
      throw new SyntaxError("insecure");
    }
  }
  const world = await fakeWorld({ WebSocket: Throws });
  await world.platform.advance(1000);
  assert.equal(world.told.error[0].code, "connect_failed");
  assert.ok(world.client.connection.attempts >= 1);
  world.client.close();
});
