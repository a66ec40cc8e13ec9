// The socket's description: a validator accepts it, its examples are what it says, and the server talks as it says.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Parser } from "@asyncapi/parser";
import Ajv from "ajv";
import WebSocket from "ws";
import { startServer } from "../browser/server.js";

const text = readFileSync(new URL("../../docs/asyncapi.yaml", import.meta.url), "utf8");

async function parse() {
  const { document, diagnostics } = await new Parser().parse(text);
  const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 0);
  assert.deepEqual(errors, [], "AsyncAPI");
  return document;
}

/** What checks a message's payload, by the message's name. */
async function checks() {
  const ajv = new Ajv({ strict: false });
  const checks = new Map();
  for (const message of (await parse()).components().messages()) {
    checks.set(message.id(), { check: ajv.compile(message.payload().json()), examples: message.examples().all() });
  }
  return checks;
}

test("the document is AsyncAPI, and each message has an example that fits it and no other", async () => {
  const messages = await checks();
  assert.ok(messages.size > 15);
  for (const [name, { examples }] of messages) {
    assert.ok(examples.length > 0, `${name} has no example`);
    for (const example of examples) {
      const fitting = [...messages].filter(([, { check }]) => check(example.payload())).map(([other]) => other);
      assert.deepEqual(fitting, [name], JSON.stringify(example.payload()));
    }
  }
});

/** A connection that checks all it hears and remembers which messages it met. */
class Talk {
  constructor(url, messages) {
    this.met = new Set();
    this.heard = [];
    this.waiting = [];
    this.socket = new WebSocket(url);
    this.socket.on("message", (data) => {
      const message = JSON.parse(data.toString());
      const fitting = [...messages].filter(([, { check }]) => check(message)).map(([name]) => name);
      assert.equal(fitting.length, 1, `${data} is ${fitting}`);
      this.met.add(fitting[0]);
      this.heard.push(fitting[0]);
      this.waiting.splice(0).forEach((wake) => wake());
    });
  }

  /** Waits for a message after those it was waited for before. */
  async hears(name) {
    while (!this.heard.includes(name)) await new Promise((wake) => this.waiting.push(wake));
    this.heard.splice(0, this.heard.indexOf(name) + 1);
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }
}

test("the server says what the document describes", async (t) => {
  const messages = await checks();
  const server = await startServer(["serve", "--provider", "simulated", "--set", "gateway.stale_after_s=3",
    "--set", "drain.window_s=0.2"]);
  t.after(() => server.stop());
  const url = `ws://127.0.0.1:${server.port}`;
  const talk = new Talk(`${url}/ws`, messages);
  await talk.hears("connected");
  // Crypto has no closing time: a quote of a closed market is never called stale.
  talk.say({ action: "subscribe", symbols: ["BTC-USD", "B AD", "*"], id: 1 });
  await talk.hears("subscribed");
  await talk.hears("price_update");
  talk.say({ action: "list", id: "a" });
  await talk.hears("subscriptions");
  talk.say({ action: "ping" });
  await talk.hears("pong");
  talk.say({ action: "fly" });
  await talk.hears("error");
  talk.say({ action: "auth", token: "any" });
  await talk.hears("authenticated");
  const control = (body) => fetch(`${server.ops}/control`, { method: "POST", body: JSON.stringify(body) });
  assert.equal((await control({ action: "pause", data: { reason: "maintenance" } })).status, 200);
  await talk.hears("stale");
  assert.equal((await control({ action: "resume" })).status, 200);
  await talk.hears("fresh");
  talk.say({ action: "unsubscribe", symbols: ["*"] });
  await talk.hears("unsubscribed");
  const flat = new Talk(`${url}/ws/me?symbols=MSFT`, messages);
  await flat.hears("flat_price_update");
  const drained = talk.hears("status");
  server.child.kill("SIGTERM");
  await drained;
  const met = new Set([...talk.met, ...flat.met]);
  const unmet = [...messages.keys()].filter((name) => !met.has(name));
  assert.deepEqual(unmet.sort(), ["auth", "auth_expiring", "lagging", "list", "ping", "subscribe", "unsubscribe"]);
});
