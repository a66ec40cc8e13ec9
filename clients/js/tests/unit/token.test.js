// Tokens: how they travel, and how new ones are come by.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeWorld } from "../fakes/client.js";

test("a token goes in the first message, before the symbols", async () => {
  const { client, greeted } = await fakeWorld({ token: "secret", symbols: ["A"] });
  const socket = await greeted();
  assert.equal(socket.protocols, undefined);
  assert.ok(!socket.url.includes("secret"));
  assert.deepEqual(socket.sent.map(({ action }) => action), ["auth", "subscribe"]);
  assert.equal(socket.sent[0].token, "secret");
  client.close();
});

test("a token may go as a subprotocol", async () => {
  const { client, greeted } = await fakeWorld({ token: async () => "secret", tokenVia: "subprotocol" });
  const socket = await greeted();
  assert.deepEqual(socket.protocols, ["bearer", "secret"]);
  assert.deepEqual(socket.sent, []);
  client.close();
});

test("a token function is asked before each attempt", async () => {
  const asked = [];
  const world = await fakeWorld({ token: (request) => `t${asked.push(request)}` });
  await world.failing(2);
  const socket = await world.greeted();
  assert.equal(socket.sent[0].token, "t3");
  assert.deepEqual(asked.map(({ renew }) => renew), [false, false, false]);
  world.client.close();
});

test("a token about to expire is replaced on the live link", async () => {
  const asked = [];
  const { client, platform, greeted, sockets } = await fakeWorld({ token: async (request) => `t${asked.push(request)}` });
  const socket = await greeted();
  socket.say({ type: "auth_expiring", expires_in_ms: 30_000 });
  await platform.settle();
  assert.deepEqual(socket.asked("auth").map(({ token }) => token), ["t1", "t2"]);
  assert.deepEqual(asked.map(({ renew }) => renew), [false, true]);
  assert.equal(sockets.length, 1);
  client.close();
});

test("an expired token is replaced at once, a refused one with back-off", async () => {
  const asked = [];
  const world = await fakeWorld({ token: (request) => `t${asked.push(request.renew)}`, symbols: ["A"] });
  await world.greeted();
  await world.stable();
  world.socket().end(4401, "the token has expired");
  await world.platform.advance(0);
  assert.deepEqual([world.sockets.length, asked], [2, [false, true]]);
  world.socket().greet().end(4401, "token refused");
  assert.equal(world.client.connection.retryInMs, 125);
  await world.platform.advance(125);
  world.socket().greet().end(4401, "token refused");
  assert.equal(world.client.connection.retryInMs, 250);
  assert.deepEqual(asked, [false, true, true]);
  await world.platform.advance(250);
  world.socket().greet().end(1006);
  await world.platform.advance(500);
  assert.deepEqual(asked, [false, true, true, true, false], "only after a refusal");
  world.client.close();
});

test("a refused token that cannot be replaced ends the client, until another is set", async () => {
  const { client, platform, told, greeted, socket, sockets } = await fakeWorld({ token: "old", symbols: ["A"] });
  (await greeted()).end(4401, "token refused");
  assert.equal(client.connection.state, "closed");
  assert.equal(told.error[0].code, "closed");
  await platform.advance(60_000);
  assert.equal(sockets.length, 1);
  client.setToken("new");
  await platform.settle();
  await greeted();
  assert.equal(socket().sent[0].token, "new");
  assert.equal(client.connection.state, "open");
  client.setToken("newer");
  await platform.settle();
  assert.equal(socket().asked("auth").at(-1).token, "newer");
  client.close();
});

test("a token function that throws, rejects or never answers is a failed attempt", async () => {
  let answers = [
    () => {
      throw new Error("thrown");
    },
    () => Promise.reject(new Error("rejected")),
    () => new Promise(() => {}),
    () => "good",
  ];
  const { client, platform, told, socket, sockets } = await fakeWorld({ token: () => answers.shift()() });
  await platform.advance(40_000);
  assert.deepEqual(told.error.map(({ message }) => message), ["Error: thrown", "Error: rejected", "Error: no token within 30 s"]);
  assert.equal(sockets.length, 1);
  assert.equal(socket().open().sent[0].token, "good");
  client.close();
});

test("a token that comes after the client was closed is not used", async () => {
  let answer;
  const { client, platform, sockets } = await fakeWorld({ token: () => new Promise((resolve) => (answer = resolve)) });
  client.close();
  answer("late");
  await platform.settle();
  assert.equal(sockets.length, 0);
  assert.equal(platform.timers, 0);
});

test("a renewal that fails is told and left to the next connection", async () => {
  let fail = false;
  const token = () => {
    if (fail) throw new Error("signed out");
    return "t";
  };
  const { client, platform, told, greeted } = await fakeWorld({ token });
  const socket = await greeted();
  fail = true;
  socket.say({ type: "auth_expiring" });
  await platform.settle();
  assert.deepEqual(told.error.map(({ code }) => code), ["token_failed"]);
  assert.equal(client.connection.state, "open");
  client.close();
});
