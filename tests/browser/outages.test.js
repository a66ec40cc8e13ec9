// The watchlist page when things go wrong: on a gateway of its own, its Redis, and a door between that can be shut.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { openDoor } from "../../clients/js/tests/support/door.js";
import { startRedis } from "../../clients/js/tests/support/redis.js";
import { update } from "../../clients/js/tests/support/wait.js";
import { shows, startBrowser, startServer, WAIT } from "./support.js";

let redis;
let browser;
const ends = [];

before(async () => {
  redis = await startRedis();
  browser = await startBrowser();
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

after(async () => {
  await browser?.close();
  await redis?.stop();
});

async function gateway(...settings) {
  const sets = ["drain.window_s=0.2", ...settings].flatMap((setting) => ["--set", setting]);
  const server = await startServer(["gateway", "--redis-url", redis.url, ...sets]);
  ends.push(server.stop);
  return server;
}

async function behindDoor(server) {
  const door = await openDoor(server.port);
  ends.push(door.close);
  return door;
}

async function open(url, options) {
  const opened = await browser.open(url, options);
  ends.push(() => opened.context.close());
  return opened;
}

/** Publishes, and waits until the page shows it; if the page has not subscribed yet, its snapshot brings it. */
async function getsQuote(page, symbol, price) {
  await redis.publish(update(symbol, price));
  await shows(page, `tr[data-symbol="${symbol}"] .value`, new RegExp(`^${price}\\.00$`));
}

test("quotes of another service are shown with their source and market state", async () => {
  const server = await gateway();
  const { page, errors } = await open(`${server.http}/?symbols=INFY`);
  const quote = update("INFY", 1500.5);
  Object.assign(quote.data, { change: -2.25, changePercent: -0.15, volume: 1_234_567, source: "nse", marketState: "CLOSED" });
  await redis.publish(quote);
  await shows(page, "tr[data-symbol=INFY] .value", /^1,500\.50$/);
  const cell = (name) => page.innerText(`tr[data-symbol=INFY] .${name}`);
  assert.deepEqual(
    [await cell("change"), await cell("volume"), await cell("source"), await cell("market")],
    ["▼ -2.25 (-0.15%)", "1.23M", "nse", "closed"],
  );
  assert.equal(await page.isVisible("#simulated"), false);
  assert.deepEqual(errors, []);
});

test("a quote that nobody renews is marked stale, and fresh when one comes", async () => {
  const server = await gateway("gateway.stale_after_s=1");
  const { page } = await open(`${server.http}/?symbols=TCS`);
  await getsQuote(page, "TCS", 10);
  await page.waitForSelector("tr[data-symbol=TCS][data-stale] .tag", WAIT);
  assert.equal(await page.innerText("tr[data-symbol=TCS] .tag"), "stale");
  await getsQuote(page, "TCS", 11);
  await page.waitForSelector("tr[data-symbol=TCS]:not([data-stale])", WAIT);
});

test("a cut connection is shown, quotes stay, and the page comes back by itself", async () => {
  const server = await gateway();
  const door = await behindDoor(server);
  const { page } = await open(`http://127.0.0.1:${door.port}/?symbols=WIPRO`);
  await getsQuote(page, "WIPRO", 20);
  door.to = undefined;
  door.cut();
  await page.waitForSelector("#connection[data-state=waiting]", WAIT);
  assert.match(await page.innerText("#connection"), /^disconnected, again in \d+ s/);
  assert.equal(await page.innerText("tr[data-symbol=WIPRO] .value"), "20.00");
  await redis.publish(update("WIPRO", 21));
  door.to = server.port;
  await shows(page, "tr[data-symbol=WIPRO] .value", /^21\.00$/);
  await page.waitForSelector("#connection[data-state=open]", WAIT);
});

test("when the socket never opens the page polls, and says so; the button tries again", async () => {
  const server = await gateway();
  const door = await behindDoor(server);
  const quotes = [];
  const { page } = await open(`http://127.0.0.1:${door.port}/?symbols=SBIN`, {
    prepare: async (page) => {
      // The first ten attempts almost without their waits; once patient, no further one within hours.
      await page.addInitScript(() => (Math.random = () => (window.patient ? 10_000 : 0.001)));
      // FAKE: REST as the contract has it, which outlives the socket here.
      await page.route("**/api/quotes*", (route) =>
        route.fulfill({ json: { quotes, missing: [], timestamp: new Date().toISOString() } }),
      );
    },
  });
  await getsQuote(page, "SBIN", 30);
  quotes.push({ ...update("SBIN", 31), age_ms: 5, stale: false });
  door.to = undefined;
  door.cut();
  await page.waitForSelector("#connection[data-state=polling]", WAIT);
  await page.evaluate(() => (window.patient = true));
  assert.match(await page.innerText("#connection"), /^polling by HTTP/);
  await shows(page, "tr[data-symbol=SBIN] .value", /^31\.00$/);
  assert.equal(await page.isVisible("#retry"), true);
  door.to = server.port;
  // Not page.click: a machine that stood still for seconds makes the client try by itself, and the button vanish under the pointer.
  await page.evaluate(() => document.querySelector("#retry").click());
  await page.waitForSelector("#connection[data-state=open]", WAIT);
  await getsQuote(page, "SBIN", 32);
  assert.equal(await page.isVisible("#retry"), false);
});

test("a broker that went away is told, and its return too", async () => {
  const server = await gateway();
  const { page } = await open(`${server.http}/?symbols=LT`);
  await getsQuote(page, "LT", 40);
  await redis.kill();
  await shows(page, "#banner:not([hidden])", /^Degraded/);
  assert.equal(await redis.start(), true);
  await page.waitForSelector("#banner", { state: "hidden", ...WAIT });
});

test("a gateway that wants a token gets one, kept for the tab alone", async () => {
  const server = await gateway("auth.mode=token", "auth.tokens=open-sesame");
  const { page } = await open(`${server.http}/?symbols=ITC`);
  await page.waitForSelector("#token:not([hidden])", WAIT);
  await page.fill("#secret", "wrong");
  await page.press("#secret", "Enter");
  await shows(page, "#message", /^The token was refused/);
  assert.equal(await page.innerText("#connection"), "needs a token");
  await page.fill("#secret", "open-sesame");
  await page.press("#secret", "Enter");
  await page.waitForSelector("#connection[data-state=open]", WAIT);
  await getsQuote(page, "ITC", 50);
  assert.equal(await page.isVisible("#token"), false);
  await page.reload();
  await getsQuote(page, "ITC", 51);
  const kept = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, location.href].join());
  assert.doesNotMatch(kept, /sesame/);
});
