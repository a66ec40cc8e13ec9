// Tokens against the real gateway's token list; expiry against a fake, until the gateway checks JWTs.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startFakeAuth } from "../support/fake-api.js";
import { startGateway } from "../support/gateway.js";
import { startRedis } from "../support/redis.js";
import { Stage } from "../support/stage.js";
import { until, untilPrice, untilState, update } from "../support/wait.js";

const stage = new Stage();
let redis;
let gateway;

before(async () => {
  redis = await startRedis();
  gateway = await startGateway(redis, ["auth.tokens=first second token,plain"]);
});
afterEach(() => stage.clear());
after(async () => {
  await gateway?.end();
  await redis?.stop();
});

async function getsQuotes(client) {
  client.subscribe("LT", () => {});
  await untilState(client, "open");
  const price = Math.random();
  await redis.publish(update("LT", price));
  await untilPrice(client, "LT", price);
}

test("a token in the first message lets in, whatever text it is", async () => {
  await getsQuotes(stage.client(gateway.ws, { token: "first second token" }));
});

test("a token as a subprotocol lets in", async () => {
  await getsQuotes(stage.client(gateway.ws, { token: async () => "plain", tokenVia: "subprotocol" }));
});

test("a refused token is replaced by asking again", async () => {
  const asked = [];
  const token = (request) => (asked.push(request.renew) === 1 ? "outdated" : "plain");
  const client = stage.client(gateway.ws, { token });
  await until(client, "the second token", () => asked.length === 2);
  await getsQuotes(client);
  assert.deepEqual(asked, [false, true]);
});

test("a refused token that cannot be replaced ends the client with the reason", async () => {
  const client = stage.client(gateway.ws, { token: "wrong" });
  await untilState(client, "closed");
  assert.equal(client.connection.code, 4401);
  client.setToken("plain");
  await getsQuotes(client);
});

test("no token where one is needed ends the client after the server's patience", async () => {
  const client = stage.client(gateway.ws);
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  client.subscribe("LT");
  await untilState(client, "closed");
  assert.deepEqual([client.connection.code, errors], [4401, ["unauthorized", "closed"]]);
});

test("FAKE: a token that expires is renewed in place, or replaced by reconnecting at once", async () => {
  const fake = stage.keep(await startFakeAuth(), (server) => server.close());
  let issued = 0;
  const token = () => {
    fake.good.add(`t${++issued}`);
    return `t${issued}`;
  };
  const client = stage.client(fake.ws, { token, symbols: ["A"] });
  await untilPrice(client, "A", 1);
  fake.warn();
  await until(client, "a second token", () => fake.seen.length === 2, ["B"]);
  assert.equal(client.connection.clientId, "client_fake");
  assert.equal(fake.subscribed.flat().filter((symbol) => symbol === "A").length, 1, "on the same connection");
  fake.expire();
  await untilPrice(client, "A", 3);
  assert.deepEqual(fake.seen, ["t1", "t2", "t3"]);
});
