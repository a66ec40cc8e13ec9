// Tokens and JWTs against the real gateway.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startGateway } from "../support/gateway.js";
import { JWT_SECRET, jwt } from "../support/jwt.js";
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

test("a token about to expire is renewed in place", async () => {
  const jwts = stage.keep(await startGateway(redis, [`auth.jwt_secret=${JWT_SECRET}`]), (started) => started.end());
  const asked = [];
  const token = ({ renew }) => jwt(asked.push(renew) === 1 ? 2 : 3600);
  const client = stage.client(jwts.ws, { token });
  await getsQuotes(client);
  const { clientId } = client.connection;
  await delay(2500); // past the first one's end
  await getsQuotes(client);
  assert.equal(client.connection.clientId, clientId, "on the same connection");
  assert.deepEqual(asked, [false, true]);
});

test("a token that could not be renewed ends its connection, and another is made at once", async () => {
  const jwts = stage.keep(await startGateway(redis, [`auth.jwt_secret=${JWT_SECRET}`]), (started) => started.end());
  let asked = 0;
  const token = () => {
    if (++asked === 2) throw new Error("the application's server is away");
    return jwt(asked === 1 ? 2 : 3600);
  };
  const client = stage.client(jwts.ws, { token, backoff: { minMs: 600_000, maxMs: 600_000 } });
  const lost = [];
  client.on("state", ({ state, code }) => state === "waiting" && lost.push(code));
  await getsQuotes(client);
  const { clientId } = client.connection;
  await until(client, "another connection", () => client.connection.clientId && client.connection.clientId !== clientId);
  await getsQuotes(client);
  assert.deepEqual([lost, asked], [[4401], 3]);
});
