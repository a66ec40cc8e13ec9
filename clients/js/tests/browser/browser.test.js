// The bundle in headless Chromium on a local page, against the real gateway: restarts, offline, sleep, tokens, polling.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { openDoor } from "../support/door.js";
import { startGateway } from "../support/gateway.js";
import { JWT_SECRET, jwt } from "../support/jwt.js";
import { servePages, startBrowser } from "../support/page.js";
import { startRedis } from "../support/redis.js";
import { Stage } from "../support/stage.js";
import { update } from "../support/wait.js";

const WAIT = { timeout: 30_000, polling: 50 };
const stage = new Stage();
let redis;
let pages;
let browser;

before(async () => {
  [redis, pages, browser] = await Promise.all([startRedis(), servePages(), startBrowser()]);
});
afterEach(() => stage.clear());
after(async () => {
  await browser?.close();
  pages?.close();
  await redis?.stop();
});

const gateways = async (...settings) => stage.keep(await startGateway(redis, settings), (gateway) => gateway.end("SIGKILL"));
const doors = async (port) => stage.keep(await openDoor(port), (door) => door.close());

async function open(path = "/") {
  const context = stage.keep(await browser.newContext(), (context) => context.close());
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  await page.goto(pages.url + path);
  return { context, page };
}

/** Connects in the page; `states` and `quotes` there keep what was told. */
async function connectIn(page, url, symbols, options = {}) {
  await page.waitForFunction(() => window.connect, null, WAIT);
  await page.evaluate(
    ({ url, symbols, options }) => {
      window.states = [];
      window.quotes = [];
      window.client = connect(url, { backoff: { minMs: 20, maxMs: 200 }, ...options });
      client.on("state", (connection) => states.push({ ...connection, at: performance.now() }));
      client.subscribe(symbols, ({ symbol, price, ageMs }) => quotes.push({ symbol, price, ageMs }));
    },
    { url, symbols, options },
  );
}

const untilPrice = (page, symbol, price) =>
  page.waitForFunction(({ symbol, price }) => client.quotes.get(symbol)?.price === price, { symbol, price }, WAIT);
const untilState = (page, state) => page.waitForFunction((state) => client.connection.state === state, state, WAIT);

async function getsQuotes(page, symbol) {
  await untilState(page, "open");
  const price = Math.random();
  await redis.publish(update(symbol, price));
  await untilPrice(page, symbol, price);
}

test("a gateway's restart is survived, and what was published meanwhile is there", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const { page } = await open();
  await connectIn(page, door.ws, ["AAPL"]);
  await getsQuotes(page, "AAPL");
  door.to = undefined;
  await gateway.end("SIGKILL");
  await page.waitForFunction(() => client.connection.attempts >= 2, null, WAIT);
  await redis.publish(update("AAPL", 42));
  door.to = (await gateways()).port;
  await untilPrice(page, "AAPL", 42);
  await getsQuotes(page, "AAPL");
  assert.deepEqual(page.errors, []);
});

test("an offline period: the last quotes stay and age, and the client is back at once with the network", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const { context, page } = await open();
  // Waits so long that only the network's return can end one in time.
  await page.evaluate(() => (Math.random = () => 0.9));
  await connectIn(page, door.ws, ["MSFT"], { backoff: { minMs: 600_000, maxMs: 600_000 } });
  await getsQuotes(page, "MSFT");
  await context.setOffline(true);
  door.cut();
  await untilState(page, "waiting");
  const [before, later] = await page.evaluate(async () => {
    const quote = client.quotes.get("MSFT");
    const before = quote.ageMs;
    while (quote.ageMs < before + 300) await new Promise(requestAnimationFrame);
    return [before, quote.ageMs];
  });
  assert.ok(later > before);
  await redis.publish(update("MSFT", 43));
  await context.setOffline(false);
  await untilPrice(page, "MSFT", 43);
  const retryInMs = await page.evaluate(() => states.find(({ state }) => state === "waiting").retryInMs);
  assert.ok(retryInMs > 60_000, `it was not the back-off: ${retryInMs}`);
});

test("while attempts fail REST is polled, then the socket is taken again", async () => {
  const gateway = await gateways("auth.tokens=t");
  const other = await gateways("auth.tokens=t");
  const door = await doors(gateway.port);
  const { page } = await open();
  const apiUrl = `http://127.0.0.1:${other.port}/api`;
  await connectIn(page, door.ws, ["TCS"], { apiUrl, pollIntervalMs: 1000, token: "t" });
  await getsQuotes(page, "TCS");
  door.to = undefined;
  await gateway.end("SIGKILL");
  await redis.publish(update("TCS", 44));
  await untilPrice(page, "TCS", 44);
  assert.equal(await page.evaluate(() => client.connection.state), "polling");
  door.to = (await gateways("auth.tokens=t")).port;
  await getsQuotes(page, "TCS");
  assert.deepEqual(page.errors, []);
});

test("the machine sleeps until the gateway gives up: the page comes back", async () => {
  const gateway = await gateways("gateway.ping_interval_s=0.5", "gateway.pong_timeout_s=0.5");
  const { page } = await open();
  await connectIn(page, gateway.ws, ["INFY"]);
  await getsQuotes(page, "INFY");
  browser.sleep();
  try {
    await gateway.logged(({ message, code }) => message === "closing" && code === 4408);
    await redis.publish(update("INFY", 45));
  } finally {
    browser.wake();
  }
  await untilPrice(page, "INFY", 45);
  await getsQuotes(page, "INFY");
});

test("a sleep in which the monotonic clock stood still and the link died silently", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const { page } = await open("/");
  await page.evaluate(() => {
    const wall = Date.now.bind(Date);
    let slept = 0;
    Date.now = () => wall() + slept;
    window.sleep = (ms) => (slept += ms);
  });
  await connectIn(page, door.ws, ["WIPRO"]);
  await getsQuotes(page, "WIPRO");
  door.swallow();
  await redis.publish(update("WIPRO", 46));
  const ageMs = await page.evaluate(() => {
    sleep(3_600_000);
    return client.quotes.get("WIPRO").ageMs;
  });
  assert.ok(ageMs >= 3_600_000, `an hour has passed: ${ageMs}`);
  await untilPrice(page, "WIPRO", 46);
  assert.ok(await page.evaluate(() => client.quotes.get("WIPRO").ageMs < 60_000), "by the server's clock again");
  const [lost] = await page.evaluate(() => states.slice(-3));
  assert.deepEqual([lost.state, lost.reason, lost.retryInMs], ["waiting", "asleep", 0]);
});

test("a hidden page that comes to the front asks whether its link is alive", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const { page } = await open();
  await connectIn(page, door.ws, ["SBIN"]);
  await getsQuotes(page, "SBIN");
  door.swallow();
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.waitForFunction(() => states.some(({ reason }) => reason === "no answer"), null, WAIT);
  await getsQuotes(page, "SBIN");
});

test("a token that expires is renewed on the link, and replaced where that failed", async () => {
  const gateway = await gateways(`auth.jwt_secret=${JWT_SECRET}`);
  const { page } = await open();
  await page.waitForFunction(() => window.connect, null, WAIT);
  let asked = 0;
  await page.exposeFunction("newToken", () => {
    // The second, asked for ahead of the first one's end, cannot be had; the third is short as well.
    if (++asked === 2) throw new Error("away");
    return jwt(asked < 4 ? 2 : 3600);
  });
  await page.evaluate((url) => {
    window.ids = [];
    window.client = connect(url, { token: () => newToken(), symbols: ["LT"] });
    client.on("state", ({ state, clientId }) => state === "open" && ids.push(clientId));
  }, gateway.ws);
  await getsQuotes(page, "LT");
  await page.waitForFunction(() => ids.length === 2, null, WAIT);
  while (asked < 4) await page.evaluate(async () => void (await client.ping()));
  await getsQuotes(page, "LT");
  assert.equal(await page.evaluate(() => new Set(ids).size), 2, "the fourth was taken on the second connection");
});

test("a token as a subprotocol works in a browser against the real gateway", async () => {
  const gateway = await gateways("auth.tokens=good.token-1");
  const { page } = await open();
  await connectIn(page, gateway.ws, ["LT"], { token: "good.token-1", tokenVia: "subprotocol" });
  await getsQuotes(page, "LT");
});

test("the hooks show quotes and the connection, and give symbols up", async () => {
  const gateway = await gateways();
  const door = await doors(gateway.port);
  const { page } = await open(`/react?ws=${encodeURIComponent(door.ws)}`);
  const shows = (id, text) =>
    page.waitForFunction(({ id, text }) => document.getElementById(id)?.textContent === text, { id, text }, WAIT);
  await shows("state", "open");
  await redis.publish(update("TITAN", 51));
  await shows("one", "TITAN 51");
  await shows("many", "51 ?");
  await redis.publish(update("ONGC", 52));
  await shows("many", "51 52");
  await page.evaluate(() => show.setSymbol("ONGC"));
  await shows("one", "ONGC 52");
  // A burst of changes is drawn in far fewer renders.
  const before = await page.evaluate(() => renders);
  const burst = Array.from({ length: 500 }, (_, i) => update("TITAN", 1000 + i));
  await redis.command("PUBLISH", "market-data:updates", JSON.stringify(burst));
  await shows("many", "1499 52");
  const drawn = (await page.evaluate(() => renders)) - before;
  assert.ok(drawn < 100, `${drawn} renders for 500 updates`);
  door.to = undefined;
  door.cut();
  await page.waitForFunction(() => document.getElementById("state").textContent !== "open", null, WAIT);
  assert.equal(await page.textContent("#one"), "ONGC 52", "the last quotes stay");
  door.to = gateway.port;
  await shows("state", "open");
  await page.evaluate(() => show.setShown(false));
  await page.waitForFunction(() => client.quotes.size === 0, null, WAIT);
  assert.deepEqual(page.errors, []);
});

test("the README's page and React examples run as they stand", async () => {
  const gateway = await gateways();
  await redis.publish(update("AAPL", 61));
  const query = `?ws=${encodeURIComponent(gateway.ws)}`;
  const { page } = await open(`/page.html${query}`);
  await page.waitForFunction(() => /^61 \(\d+ s old\)$/.test(document.getElementById("price").textContent), null, WAIT);
  const { page: react } = await open(`/app${query}`);
  await react.waitForFunction(() => document.getElementById("app").innerText.includes("AAPL 61"), null, WAIT);
  assert.match(await react.innerText("#app"), /^open \(0 failed attempts\)\s+AAPL 61\s+61 \|/);
  assert.deepEqual([...page.errors, ...react.errors], []);
});
