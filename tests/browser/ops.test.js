// The operators' page in a real browser, on the real binary.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, afterEach, before, test } from "node:test";
import { faintTexts, overflow, shows, startBrowser, startServer, WAIT } from "./support.js";

let browser;
const ends = [];

before(async () => {
  browser = await startBrowser();
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

after(() => browser?.close());

async function serve(args = [], env = {}) {
  const server = await startServer(["serve", "--set", "drain.window_s=0.2", ...args], env);
  ends.push(server.stop);
  return server;
}

async function open(url, options) {
  const opened = await browser.open(url, options);
  ends.push(() => opened.context.close());
  return opened;
}

const fact = (page, list, term) => page.textContent(`#${list} [data-term="${term}"] dd`);
const factShows = (page, list, term, pattern) => shows(page, `#${list} [data-term="${term}"] dd`, pattern);

test("an operator sees connections, rates and lag of a process that works", async () => {
  const server = await serve();
  const watcher = await open(`${server.http}/?symbols=AAPL,MSFT`);
  await shows(watcher.page, "tr[data-symbol=MSFT] .value", /\d/);
  const { page, errors } = await open(server.ops);
  await shows(page, "#health", /^healthy$/);
  await factShows(page, "connections", "Subscriptions", /^2$/);
  assert.equal(await fact(page, "connections", "Symbols"), "2");
  assert.match(await fact(page, "connections", "Connections"), /^[1-9]\d* of [\d,]+$/);
  await factShows(page, "rates", "Received", /^[\d.]*[1-9][\d.]* \/s$/);
  await factShows(page, "rates", "Delivered", /^[\d.]*[1-9][\d.]* \/s$/);
  await factShows(page, "lag", "Last update", /^[\d.]+ m?s$/);
  await factShows(page, "lag", "99 % below", /^[\d.]+ m?s$/);
  await factShows(page, "publisher", "Published", /^[\d.]*[1-9][\d.]* \/s$/);
  assert.match(await page.innerText("#providers"), /simulated\s+closed\s+unlimited/);
  assert.deepEqual(errors, []);
});

test("an operator pauses with a reason, clients are told, and resumes", async () => {
  const server = await serve();
  const watcher = await open(`${server.http}/?symbols=AAPL`);
  await shows(watcher.page, "tr[data-symbol=AAPL] .value", /\d/);
  const { page } = await open(server.ops);
  await factShows(page, "publisher", "State", /^running$/);
  await page.fill("#reason", "moving house");
  await page.click("#pause button[type=submit]");
  await shows(page, "#outcome", /pause done/);
  await factShows(page, "publisher", "State", /^paused$/);
  await shows(page, "#paused", /everything, moving house, since /);
  await shows(watcher.page, "#banner", /moving house/);
  await page.click("#resume");
  await factShows(page, "publisher", "State", /^running$/);
  await watcher.page.waitForSelector("#banner", { state: "hidden", ...WAIT });
  assert.equal(await page.locator("#paused li").count(), 0);
});

test("one provider is paused and resumed by its own button, by keyboard", async () => {
  const server = await serve();
  const { page } = await open(server.ops);
  const button = page.locator("#providers button");
  await button.waitFor(WAIT);
  assert.equal(await button.getAttribute("aria-label"), "Pause simulated");
  await button.focus();
  await page.keyboard.press("Enter");
  await shows(page, "#paused", /provider simulated, since /);
  await page.waitForSelector('#providers button[aria-label="Resume simulated"]', WAIT);
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Resume simulated", "the focus stays");
  await page.getByRole("button", { name: "Resume provider simulated" }).click();
  await page.waitForSelector('#providers button[aria-label="Pause simulated"]', WAIT);
});

test("a failing vendor's breaker and the budget that is left are shown", async () => {
  const vendor = createServer((_, response) => response.writeHead(500).end()).listen(0, "127.0.0.1");
  await once(vendor, "listening");
  ends.push(() => vendor.close());
  const base = `providers.binance.base_url=http://127.0.0.1:${vendor.address().port}`;
  const server = await serve(["--provider", "binance", "--set", base, "--set", "providers.binance.per_minute=60", "--set", "publisher.pinned=BTC-USDT"]);
  const { page } = await open(server.ops);
  await shows(page, "#providers .breaker", /^open$/);
  await shows(page, "#providers .budget", /a minute\s*[\d,]+ of [\d,]+/);
  await page.waitForFunction(() => {
    const meter = document.querySelector("meter[aria-label^=minute]");
    return meter && meter.max === 60 && meter.value < 60;
  }, null, WAIT);
  assert.match(await page.innerText("#providers .trouble"), /500/);
  assert.match(await page.innerText("#providers .actual"), /^[1-9]/);
});

test("beyond loopback the admin token is asked for, and kept for the tab alone", async () => {
  const server = await serve(["--set", "ops.bind=0.0.0.0"], { ADMIN_TOKEN: "open-sesame" });
  const { page, errors } = await open(server.ops);
  await shows(page, "#health", /^healthy$/);
  await page.click("#pause button[type=submit]");
  await page.waitForSelector("#token:not([hidden])", WAIT);
  await page.fill("#secret", "guess");
  await page.press("#secret", "Enter");
  await page.waitForFunction(() => sessionStorage.length === 0 && !document.getElementById("token").hidden, null, WAIT);
  assert.equal(await fact(page, "publisher", "State"), "running");
  await page.fill("#secret", "open-sesame");
  await page.press("#secret", "Enter");
  await factShows(page, "publisher", "State", /^paused$/);
  await page.reload();
  await shows(page, "#health", /^healthy$/);
  await page.click("#resume");
  await factShows(page, "publisher", "State", /^running$/);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  assert.doesNotMatch(await page.evaluate(() => document.cookie + location.href), /sesame/);
  const other = await open(server.ops);
  await shows(other.page, "#health", /^healthy$/);
  await other.page.click("#resume");
  await other.page.waitForSelector("#token:not([hidden])", WAIT);
  await other.page.click("#give-up");
  assert.equal(await other.page.textContent("#outcome"), "Nothing was changed.");
  // The browser itself reports each 401.
  assert.deepEqual(errors.filter((error) => !error.includes("401")), []);
});

test("a process that went away is said to be", async () => {
  const server = await serve();
  const { page } = await open(server.ops);
  await shows(page, "#health", /^healthy$/);
  await server.stop();
  await shows(page, "#health", /^not reachable, last heard .* ago/);
  assert.equal(await page.locator("main.unheard").count(), 1);
});

test("scripts get a list of paths where browsers get the page", async () => {
  const server = await serve();
  const answer = await fetch(server.ops);
  assert.ok((await answer.json()).paths.includes("/stats"));
  const page = await fetch(server.ops, { headers: { accept: "text/html" } });
  assert.match(await page.text(), /<title>tickcast: operations/);
  assert.match(page.headers.get("content-security-policy"), /script-src 'self'; .*connect-src 'self';/);
  assert.equal(page.headers.get("x-frame-options"), "DENY");
  assert.equal((await fetch(`${server.ops}/page/none.js`)).status, 404);
});

test("it fits a phone, in both themes, with texts that stand out", async () => {
  const server = await serve();
  for (const colorScheme of ["light", "dark"]) {
    const { page } = await open(server.ops, { viewport: { width: 360, height: 640 }, colorScheme });
    await page.waitForSelector("#providers tr", WAIT);
    assert.ok((await overflow(page)) <= 0);
    assert.deepEqual(await faintTexts(page), []);
  }
});
