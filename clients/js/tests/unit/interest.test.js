// Who watches what, and what the server is asked.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeWorld } from "../fakes/client.js";

const symbolsOf = (socket, action) => socket.asked(action).map(({ symbols }) => symbols);

test("a symbol is asked for once however many watch it, and given up with the last", async () => {
  const { client, platform, greeted } = await fakeWorld();
  const socket = await greeted();
  const first = client.subscribe("AAPL", () => {});
  const second = client.subscribe(["aapl ", "MSFT"], () => {});
  await platform.advance(1000);
  assert.deepEqual(symbolsOf(socket, "subscribe"), [["AAPL", "MSFT"]]);
  first();
  first();
  await platform.advance(1000);
  assert.deepEqual(symbolsOf(socket, "unsubscribe"), []);
  second();
  await platform.advance(1000);
  assert.deepEqual(symbolsOf(socket, "unsubscribe"), [["AAPL", "MSFT"]]);
  client.close();
});

test("everything is subscribed again in one message", async () => {
  const { client, platform, greeted, sockets } = await fakeWorld({ symbols: ["A", "B"] });
  client.subscribe("C", () => {});
  (await greeted()).end(1012);
  client.subscribe("D", () => {});
  await platform.advance(0);
  const socket = await greeted();
  assert.equal(sockets.length, 2);
  await platform.advance(1000);
  assert.deepEqual(symbolsOf(socket, "subscribe"), [["A", "B", "C", "D"]]);
  client.close();
});

test("a symbol given up and taken again at once causes no message", async () => {
  const { client, platform, greeted } = await fakeWorld();
  const stop = client.subscribe("AAPL", () => {});
  const socket = await greeted();
  socket.quote("AAPL", 1, { seq: 1 });
  stop();
  client.subscribe("AAPL", () => {});
  await platform.advance(1000);
  assert.equal(socket.sent.length, 1);
  assert.equal(client.quotes.get("AAPL").price, 1, "its quote was kept");
  client.close();
});

test("a late answer to an unsubscribe does not undo what was asked since", async () => {
  const { client, platform, greeted } = await fakeWorld();
  const stop = client.subscribe("AAPL", () => {});
  const socket = await greeted();
  stop();
  await platform.advance(500);
  client.subscribe("AAPL", () => {});
  await platform.advance(500);
  socket.say({ type: "unsubscribed", symbols: ["AAPL"], active: 0, id: socket.asked("unsubscribe")[0].id });
  await platform.advance(500);
  assert.equal(socket.asked("subscribe").length, 2);
  client.close();
});

test("a page that subscribes row by row stays below the server's message rate", async () => {
  const { client, platform, greeted } = await fakeWorld();
  const socket = await greeted();
  for (let i = 0; i < 500; i++) {
    client.subscribe(`S${i}`, () => {});
    await platform.advance(10);
  }
  assert.ok(socket.sent.length <= 26, `${socket.sent.length} messages in 5 s`);
  assert.equal(socket.asked("subscribe").flatMap(({ symbols }) => symbols).length, 500);
  client.close();
});

test("more symbols than a message holds are sent in several", async () => {
  const symbols = Array.from({ length: 1000 }, (_, i) => `SYMBOL${i}`);
  const { client, greeted } = await fakeWorld({ symbols });
  const socket = await greeted({ limits: { symbols: 5000, message_bytes: 2048 } });
  const texts = socket.asked("subscribe").map((message) => JSON.stringify(message).length);
  assert.ok(texts.length > 1 && texts.every((length) => length <= 2048), `${texts}`);
  assert.deepEqual(socket.asked("subscribe").flatMap((message) => message.symbols), symbols);
  client.close();
});

test("a text that cannot be a symbol is told and never sent", async () => {
  const { client, platform, told, greeted } = await fakeWorld();
  client.subscribe(["TC S", "x".repeat(70_000), "", "AAPL", "é"], () => {});
  assert.equal(told.error.length, 0, "not from subscribe itself");
  const socket = await greeted();
  await platform.settle();
  assert.deepEqual(symbolsOf(socket, "subscribe"), [["AAPL"]]);
  assert.deepEqual(told.error.map(({ code }) => code), Array(4).fill("invalid_symbol"));
  assert.equal(told.error[0].symbol, "TC S");
  client.close();
});

test("what the server refuses is told, and asked for again on the next connection only", async () => {
  const { client, platform, told, greeted } = await fakeWorld({ symbols: ["AAPL", "SECRET"] });
  const socket = await greeted();
  socket.say({ type: "subscribed", symbols: ["AAPL"], rejected: [{ symbol: "SECRET", code: "forbidden_symbol" }], active: 1, id: 1 });
  assert.deepEqual(told.error.map(({ code, symbol }) => [code, symbol]), [["forbidden_symbol", "SECRET"]]);
  client.subscribe("MSFT");
  await platform.advance(1000);
  assert.deepEqual(symbolsOf(socket, "subscribe"), [["AAPL", "SECRET"], ["MSFT"]]);
  client.close();
});

test("what a narrower token took away is asked for once, so that its refusal is told", async () => {
  const { client, platform, told, greeted } = await fakeWorld({ symbols: ["A", "B"] });
  const socket = await greeted();
  socket.say({ type: "unsubscribed", symbols: ["B"], active: 1 });
  await platform.advance(1000);
  assert.deepEqual(symbolsOf(socket, "subscribe"), [["A", "B"], ["B"]]);
  socket.say({ type: "subscribed", symbols: [], rejected: [{ symbol: "B", code: "forbidden_symbol" }], active: 1, id: 1 });
  await platform.advance(5000);
  assert.equal(socket.asked("subscribe").length, 2);
  assert.equal(told.error.length, 1);
  client.close();
});

test("after a lost request the server's view is made anew", async () => {
  const { client, platform, greeted } = await fakeWorld({ symbols: ["A"] });
  const socket = await greeted();
  client.subscribe("B", () => {});
  await platform.advance(300);
  socket.say({ type: "error", code: "rate_limited", message: "at most 10" });
  await platform.advance(300);
  assert.equal(socket.asked("subscribe").length, 2, "not at once");
  await platform.advance(2000);
  assert.deepEqual(symbolsOf(socket, "unsubscribe"), [["*"]]);
  assert.deepEqual(symbolsOf(socket, "subscribe").at(-1), ["A", "B"]);
  client.close();
});

test("a late subscriber gets the known quote, soon and once", async () => {
  const { client, platform, greeted } = await fakeWorld({ symbols: ["AAPL"] });
  (await greeted()).quote("AAPL", 1, { seq: 1 });
  const calls = [];
  client.subscribe("AAPL", (quote) => calls.push(quote.price));
  const stop = client.subscribe("AAPL", () => calls.push("stopped"));
  stop();
  assert.deepEqual(calls, []);
  await platform.settle();
  assert.deepEqual(calls, [1]);
  client.close();
});

test("quotes of symbols that nobody watches are not kept", async () => {
  const { client, platform, greeted } = await fakeWorld();
  const stop = client.subscribe("AAPL", () => {});
  const socket = await greeted();
  socket.quote("AAPL", 1).quote("OTHER", 1);
  assert.deepEqual([...client.quotes.keys()], ["AAPL"]);
  stop();
  await platform.advance(1000);
  socket.quote("AAPL", 2);
  assert.equal(client.quotes.size, 0);
  client.close();
});

test("the wildcard watches everything, up to a bound", async () => {
  const { client, greeted } = await fakeWorld();
  let calls = 0;
  client.subscribe("*", () => calls++);
  const socket = await greeted();
  assert.deepEqual(symbolsOf(socket, "subscribe"), [["*"]]);
  for (let i = 0; i < 20_000; i++) socket.quote(`S${i}`, i);
  assert.deepEqual([client.quotes.size, calls], [16_384, 16_384]);
  socket.quote("S0", 5);
  assert.equal(client.quotes.get("S0").price, 5, "those that are known go on");
  client.close();
});

test("a rate is asked for when it is wanted", async () => {
  const { client, greeted } = await fakeWorld({ symbols: ["A"], maxRate: 2 });
  const socket = await greeted();
  assert.equal(socket.asked("subscribe")[0].max_rate, 2);
  client.close();
});

test("callbacks that throw, reject, subscribe or stop harm nobody", async () => {
  const { client, platform, told, greeted } = await fakeWorld();
  const calls = [];
  client.subscribe("A", () => {
    throw new Error("mine");
  });
  client.subscribe("A", async () => {
    throw new Error("later");
  });
  const stops = [];
  client.subscribe("A", () => {
    calls.push("stops the next");
    stops[0]();
    client.subscribe("A", () => calls.push("newcomer"));
  });
  stops.push(client.subscribe("A", () => calls.push("stopped")));
  client.subscribe("A", () => calls.push("last"));
  const socket = await greeted();
  socket.quote("A", 1);
  assert.deepEqual(calls, ["stops the next", "last"]);
  await platform.settle();
  assert.deepEqual(told.error.map(({ code, cause }) => [code, cause.message]), [
    ["callback_failed", "mine"],
    ["callback_failed", "later"],
  ]);
  client.close();
});

test("a listener that throws, even one for errors, harms nobody", async (t) => {
  const shown = t.mock.method(console, "error", () => {});
  const { client, told, greeted } = await fakeWorld({ symbols: ["A"] });
  client.on("error", () => {
    throw new Error("in the error listener");
  });
  const stop = client.on("lagging", () => {
    throw new Error("in a listener");
  });
  const socket = await greeted();
  socket.say({ type: "error", code: "invalid_request", message: "no" }).say({ type: "lagging", conflated: 120 });
  assert.equal(shown.mock.callCount(), 2);
  assert.deepEqual([told.error.length, told.lagging[0].conflated], [1, 120]);
  stop();
  socket.say({ type: "lagging", conflated: 1 });
  assert.equal(shown.mock.callCount(), 2);
  client.close();
});
