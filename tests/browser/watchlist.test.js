// The watchlist page in a real browser, on the real binary with simulated quotes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { faintTexts, overflow, shows, startBrowser, startServer, WAIT } from "./support.js";

let server;
let browser;

before(async () => {
  server = await startServer(["serve", "--set", "drain.window_s=1", "--set", "providers.simulated.seed=7"]);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const open = (path = "/", options = {}) => browser.open(server.http + path, options);
const priced = (page, symbol) => shows(page, `tr[data-symbol="${symbol}"] .value`, /\d/);
const symbolsOf = (page) => page.$$eval("#quotes tr:not([hidden])", (rows) => rows.map(({ dataset }) => dataset.symbol));

test("a first visit shows moving prices and says that they are simulated", async () => {
  const { page, errors } = await open();
  await page.waitForSelector("#connection[data-state=open]", WAIT);
  await page.waitForFunction(() => document.querySelectorAll("#quotes .value:not(:empty)").length >= 3, null, WAIT);
  const prices = () => page.$$eval("#quotes .value", (cells) => cells.map((cell) => cell.textContent));
  const first = await prices();
  await page.waitForFunction(
    (old) => [...document.querySelectorAll("#quotes .value")].some((cell, i) => cell.textContent !== old[i]),
    first,
    WAIT,
  );
  assert.match(await page.innerText("#simulated"), /simulated/);
  assert.equal(await page.innerText("tr[data-symbol=AAPL] .source"), "simulated");
  assert.match(await page.innerText("tr[data-symbol=AAPL] .change"), /^[▲▼■] [+-]?[\d.,]+ \([+-]?\d+\.\d\d%\)$/);
  assert.match(await page.innerText("tr[data-symbol=AAPL] .age"), /^(now|\d+ s)$/);
  assert.deepEqual(errors, []);
});

test("a moved price flashes in its direction, and the trend gets a line", async () => {
  const { page } = await open("/?symbols=AAPL", {
    prepare: (page) =>
      page.addInitScript(() => {
        window.flashes = [];
        const animate = Element.prototype.animate;
        const value = (cell) => Number(cell.parentElement.querySelector(".value").textContent.replaceAll(",", ""));
        // The row flashes after it was drawn, so the cell shows the new price; what it showed before is ours to keep.
        let shown = NaN;
        Element.prototype.animate = function (...given) {
          const animation = animate.apply(this, given);
          const play = animation.play.bind(animation);
          animation.play = () => {
            const now = value(this);
            window.flashes.push({ from: shown, to: now, fell: this.classList.contains("fell") });
            shown = now;
            play();
          };
          return animation;
        };
      }),
  });
  await page.waitForFunction(() => window.flashes.length >= 4, null, WAIT);
  const flashes = (await page.evaluate(() => window.flashes)).slice(1);
  for (const { from, to, fell } of flashes) assert.equal(fell, to < from, `${from} to ${to}`);
  await page.waitForFunction(() => document.querySelector("#quotes polyline").points.length >= 3, null, WAIT);
  assert.match(await page.textContent("#quotes .trend .hidden"), /^(up|down|flat)$/);
});

test("the feed is measured: round trip, age on arrival, rate", async () => {
  const { page } = await open("/?symbols=AAPL,MSFT");
  await shows(page, "#round-trip", /^[\d.]+ m?s$/);
  await shows(page, "#arrival", /^[\d.]+ m?s \(95 %: [\d.]+ m?s\)$/);
  await shows(page, "#rate", /^[1-9]\d* \/s$/);
  await shows(page, "#count", /^2$/);
});

test("a visitor can watch another symbol and stop watching it", async () => {
  const { page } = await open("/?symbols=AAPL");
  await priced(page, "AAPL");
  await page.fill("#symbols", "tsla, symbol!");
  await page.click("#find button[type=submit]");
  await priced(page, "TSLA");
  await shows(page, "#message", /Not taken: SYMBOL! \(invalid symbol\)/);
  assert.deepEqual(await symbolsOf(page), ["AAPL", "TSLA"]);
  assert.match(page.url(), /\?symbols=AAPL,TSLA$/);
  await page.click("tr[data-symbol=TSLA] button");
  await page.waitForSelector("tr[data-symbol=TSLA]", { state: "detached", ...WAIT });
  assert.match(page.url(), /\?symbols=AAPL$/);
  await page.fill("#symbols", "*");
  await page.press("#symbols", "Enter");
  await shows(page, "#message", /Not taken: \* \(wildcard not allowed\)/);
});

test("the list is as it was left at the next visit", async () => {
  const { page } = await open("/");
  await priced(page, "AAPL");
  await page.fill("#symbols", "IBM");
  await page.press("#symbols", "Enter");
  await priced(page, "IBM");
  await page.click('tr[data-symbol="AAPL"] button');
  const left = await symbolsOf(page);
  await page.reload();
  await priced(page, "IBM");
  assert.deepEqual(await symbolsOf(page), left);
  assert.ok(left.includes("IBM") && !left.includes("AAPL"));
});

test("typing narrows the list, Escape shows it whole again", async () => {
  const { page } = await open("/?symbols=AAPL,AMZN,MSFT");
  await priced(page, "MSFT");
  await page.locator("#symbols").pressSequentially("am");
  assert.deepEqual(await symbolsOf(page), ["AMZN"]);
  assert.equal(await page.textContent("#message"), "1 of 3 watched match; Enter adds AM.");
  await page.press("#symbols", "Escape");
  assert.deepEqual(await symbolsOf(page), ["AAPL", "AMZN", "MSFT"]);
});

test("everything can be done by keyboard", async () => {
  const { page } = await open("/?symbols=AAPL,MSFT,TSLA");
  await priced(page, "TSLA");
  const focused = () => page.evaluate(() => document.activeElement.dataset.symbol ?? document.activeElement.id);
  await page.keyboard.press("/");
  assert.equal(await focused(), "symbols");
  await page.keyboard.type("nvda");
  await page.keyboard.press("Enter");
  await priced(page, "NVDA");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "AAPL");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), "MSFT");
  await page.keyboard.press("Delete");
  assert.equal(await focused(), "TSLA");
  assert.deepEqual(await symbolsOf(page), ["AAPL", "TSLA", "NVDA"]);
  await page.keyboard.press("End");
  assert.equal(await focused(), "NVDA");
  await page.keyboard.press("Home");
  assert.equal(await focused(), "AAPL");
  // One stop in the order of tabs, however long the list.
  assert.equal(await page.locator('#quotes [tabindex="0"]').count(), 1);
  await page.keyboard.press("/");
  await page.keyboard.type("TSLA");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "TSLA", "who is there already is gone to");
});

test("a screen reader is told what each thing is", async () => {
  const { page } = await open("/?symbols=AAPL");
  await priced(page, "AAPL");
  await page.waitForFunction(() => document.querySelector("#quotes .trend .hidden").textContent, null, WAIT);
  const row = page.getByRole("grid", { name: "Watchlist" }).getByRole("row", { name: /AAPL/ });
  assert.equal(await row.getByRole("gridcell").count(), 8);
  assert.equal(await row.getByRole("rowheader").innerText(), "AAPL");
  await row.getByRole("button", { name: "Stop watching AAPL" }).waitFor(WAIT);
  await page.getByRole("search").getByRole("combobox", { name: "Find or add" }).waitFor(WAIT);
  const headers = await page.getByRole("columnheader").allInnerTexts();
  assert.deepEqual(headers.map((text) => text.trim()), ["Symbol", "Trend", "Price", "Change", "Volume", "Age", "Source", "Market", "Stop watching"]);
  // Prices change too often to be read out; what is said of the connection is.
  assert.equal(await page.locator("#quotes [aria-live], #quotes [role=status]").count(), 0);
  assert.equal(await page.getByRole("status").filter({ hasText: "live" }).count(), 1);
  const unnamed = await page.$$eval("button, input", (all) => all.filter((e) => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).length);
  assert.equal(unnamed, 0);
});

test("it is light or dark as the system, or as the visitor says", async () => {
  const { page } = await open("/?symbols=AAPL", { colorScheme: "dark" });
  const brightness = () => page.evaluate(() => Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0]));
  await priced(page, "AAPL");
  assert.ok((await brightness()) < 64);
  assert.deepEqual(await faintTexts(page), []);
  await page.click("#theme");
  assert.equal(await page.innerText("#theme"), "Theme: light");
  assert.ok((await brightness()) > 192);
  assert.deepEqual(await faintTexts(page), []);
  await page.reload();
  assert.ok((await brightness()) > 192, "it is remembered");
});

test("it fits windows from a small phone to a desk", async () => {
  for (const width of [320, 360, 640, 960, 1600]) {
    const { page, context } = await open("/", { viewport: { width, height: 640 } });
    await page.waitForFunction(() => document.querySelectorAll("#quotes .value:not(:empty)").length >= 9, null, WAIT);
    assert.ok((await overflow(page)) <= 0, `${width}`);
    const cut = await page.$$eval("#quotes .value, #quotes .change, #quotes .name", (all) =>
      all.filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline").map((e) => e.textContent),
    );
    assert.deepEqual(cut, [], `${width}`);
    await context.close();
  }
});

test("whoever wants less motion gets no flashes", async () => {
  const { page } = await open("/?symbols=AAPL", { reducedMotion: "reduce" });
  await priced(page, "AAPL");
  const first = await page.textContent(".value");
  await page.waitForFunction((old) => document.querySelector("#quotes .value").textContent !== old, first, WAIT);
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
});

test("a pause is shown and ends", async () => {
  const { page } = await open("/?symbols=AAPL");
  await priced(page, "AAPL");
  const control = async (message) => {
    const answer = await fetch(`${server.ops}/control`, { method: "POST", body: JSON.stringify(message) });
    assert.equal((await answer.json()).ok, true);
  };
  await control({ action: "pause", data: { reason: "maintenance" } });
  await shows(page, "#banner:not([hidden])", /paused.*maintenance/);
  await control({ action: "resume" });
  await page.waitForSelector("#banner", { state: "hidden", ...WAIT });
});
