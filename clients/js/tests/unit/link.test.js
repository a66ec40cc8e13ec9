// Whether the other side is still there: silence, sleep, pings.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeWorld } from "../fakes/client.js";

test("a silent server is asked, and one that stays silent is left", async () => {
  const { client, platform, greeted, sockets } = await fakeWorld();
  const socket = await greeted({ ping_interval_s: 25 });
  await platform.advance(24_000);
  assert.equal(socket.asked("ping").length, 0);
  await platform.advance(2000);
  assert.equal(socket.asked("ping").length, 1);
  await platform.advance(11_000);
  assert.equal(sockets.length, 2);
  assert.deepEqual([socket.closedWith, client.connection.code, client.connection.reason], [1000, 1006, "no answer"]);
  client.close();
});

test("anything heard is a sign of life", async () => {
  const { client, platform, greeted, sockets } = await fakeWorld();
  const socket = await greeted({ ping_interval_s: 2 });
  for (let i = 0; i < 30; i++) {
    await platform.advance(3500);
    assert.ok(socket.asked("ping").length > 0);
    socket.say(i % 2 ? { type: "pong" } : { type: "lagging", conflated: 1 });
  }
  assert.equal(sockets.length, 1);
  client.close();
});

test("a link that died in a sleep is replaced at once", async () => {
  for (const away of ["sleep", "freeze"]) {
    const { client, platform, greeted, sockets, told } = await fakeWorld({ symbols: ["A"] });
    (await greeted()).quote("A", 1, { seq: 1 });
    platform[away](3_600_000);
    await platform.advance(1000);
    assert.equal(sockets.length, 2, away);
    assert.equal(sockets[0].closedWith, 1000);
    assert.equal(client.connection.state, "connecting");
    assert.ok(client.quotes.get("A").ageMs >= 3_600_000);
    assert.deepEqual(told.state.at(-2), { state: "waiting", attempts: 0, retryInMs: 0, code: 1006, reason: "asleep" });
    client.close();
  }
});

test("a short nap is asked about first", async () => {
  const { client, platform, greeted, sockets } = await fakeWorld();
  const socket = await greeted();
  platform.sleep(10_000);
  await platform.advance(1000);
  assert.equal(socket.asked("ping").length, 1);
  await platform.advance(4000);
  assert.equal(sockets.length, 2, "no answer within 3 s");
  client.close();
});

test("a hidden page's late timers are no sleep: it asks, and stays when it is answered", async () => {
  const { client, platform, greeted, sockets } = await fakeWorld();
  const socket = await greeted();
  platform.isVisible = false;
  for (let minute = 1; minute <= 5; minute++) {
    platform.freeze(59_000);
    await platform.advance(1000);
    assert.equal(socket.asked("ping").length, minute);
    socket.say({ type: "pong" });
  }
  assert.equal(sockets.length, 1);
  client.close();
});

test("back on the network or in front, the link is asked", async () => {
  const { client, platform, greeted, sockets } = await fakeWorld();
  const socket = await greeted();
  platform.wake();
  platform.wake();
  assert.equal(socket.asked("ping").length, 1);
  socket.say({ type: "pong" });
  await platform.advance(5000);
  assert.equal(sockets.length, 1);
  platform.wake();
  await platform.advance(5000);
  assert.equal(sockets.length, 2);
  client.close();
});

test("a ping measures the round trip, and ends with the link", async () => {
  const { client, platform, greeted } = await fakeWorld();
  assert.equal(await client.ping(), undefined);
  const socket = await greeted();
  const trip = client.ping();
  await platform.advance(40);
  socket.say({ type: "pong" }); // to a probe
  socket.say({ type: "pong", id: 1, timestamp: "2026-11-21T10:00:00Z" });
  assert.equal(await trip, 40);
  const refused = client.ping();
  await platform.settle();
  socket.say({ type: "error", code: "rate_limited", message: "slowly" });
  await platform.advance(11_000);
  assert.equal(await refused, undefined);
  const lost = client.ping();
  await platform.settle();
  socket.end(1006);
  assert.equal(await lost, undefined);
  client.close();
});

test("pings do not pile up", async () => {
  const { client, greeted } = await fakeWorld();
  const socket = await greeted();
  const trips = Array.from({ length: 100 }, () => client.ping());
  client.close();
  assert.ok((await Promise.all(trips)).every((ms) => ms === undefined));
  assert.equal(socket.asked("ping").length, 1);
});

test("what the server says of itself stands until it is taken back or the connection changes", async () => {
  const { client, platform, greeted, told } = await fakeWorld();
  const socket = await greeted();
  const status = (status, reason) => socket.say({ type: "status", status, reason });
  status("degraded", "broker away");
  status("paused", "maintenance");
  assert.deepEqual([client.standing.degraded.reason, client.standing.paused.reason], ["broker away", "maintenance"]);
  status("ok");
  assert.deepEqual(Object.keys(client.standing), ["paused"]);
  status("resumed");
  assert.deepEqual(client.standing, {});
  status("degraded", "again");
  status("of another kind");
  assert.deepEqual(Object.keys(client.standing), ["degraded"]);
  assert.equal(told.status.length, 6);
  socket.end(1006);
  assert.deepEqual(Object.keys(client.standing), ["degraded"], "the last word until there is another");
  await platform.advance(500);
  await greeted();
  assert.deepEqual(client.standing, {});
  client.close();
});

test("what cannot be a socket's address is refused at once", async () => {
  await assert.rejects(fakeWorld({}, "mailto:a@b"), /not a WebSocket URL/);
  await assert.rejects(fakeWorld({}, "no url"), /Invalid URL/);
  if (!globalThis.WebSocket) await assert.rejects(fakeWorld({ WebSocket: undefined }), /pass the option WebSocket/);
});
