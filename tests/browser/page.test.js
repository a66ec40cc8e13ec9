// The demo page in a real browser, on the real binary.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startBrowser, startServer } from "./support.js";

const WAIT = { timeout: 60_000 };
let server;
let browser;

before(async () => {
  server = await startServer(["serve", "--set", "drain.window_s=1"]);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(path = "/", options = {}) {
  const page = await browser.newPage(options);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(server.http + path);
  return { page, errors };
}

test("a first visit shows moving prices and says that they are simulated", async () => {
  const { page, errors } = await open();
  await page.waitForSelector("#connection[data-state=open]", WAIT);
  await page.waitForFunction(() => document.querySelectorAll("#quotes .price:not(:empty)").length >= 3, null, WAIT);
  const prices = () => page.$$eval("#quotes .price", (cells) => cells.map((cell) => cell.textContent));
  const first = await prices();
  await page.waitForFunction(
    (old) => [...document.querySelectorAll("#quotes .price")].some((cell, i) => cell.textContent !== old[i]),
    first,
    WAIT,
  );
  assert.match(await page.textContent("#banner"), /simulated/);
  assert.deepEqual(errors, []);
  await page.close();
});

test("a visitor can watch another symbol and stop watching it", async () => {
  const { page } = await open("/?symbols=AAPL");
  await page.waitForSelector("tr[data-symbol=AAPL]", WAIT);
  await page.fill("#symbols", "tsla, not a symbol!");
  await page.click("button[type=submit]");
  await page.waitForSelector("tr[data-symbol=TSLA] .price:not(:empty)", WAIT);
  await page.waitForFunction(() => document.getElementById("message").textContent.includes("invalid symbol"), null, WAIT);
  await page.click("tr[data-symbol=TSLA] button");
  await page.waitForSelector("tr[data-symbol=TSLA]", { state: "detached", ...WAIT });
  await page.close();
});

test("the page fits a phone", async () => {
  const { page } = await open("/?symbols=AAPL,MSFT", { viewport: { width: 360, height: 640 } });
  await page.waitForSelector("tr[data-symbol=MSFT] .price:not(:empty)", WAIT);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${overflow} pixels too wide`);
  await page.close();
});

test("a pause is shown and ends", async () => {
  const { page } = await open("/?symbols=AAPL");
  await page.waitForSelector("tr[data-symbol=AAPL] .price:not(:empty)", WAIT);
  const control = async (message) => {
    const answer = await fetch(`${server.ops}/control`, { method: "POST", body: JSON.stringify(message) });
    assert.equal((await answer.json()).ok, true);
  };
  await control({ action: "pause", data: { reason: "maintenance" } });
  await page.waitForFunction(() => document.getElementById("banner").textContent.includes("maintenance"), null, WAIT);
  await control({ action: "resume" });
  await page.waitForFunction(() => !document.getElementById("banner").textContent.includes("maintenance"), null, WAIT);
  await page.close();
});
