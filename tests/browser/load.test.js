// What the watchlist promises under load.

import assert from "node:assert/strict";
import { test } from "node:test";
import { measure } from "./load.js";

test("500 symbols at 50 updates a second each take less than 30 % of a core, and end at the newest prices", async () => {
  let wrong;
  const end = async (page, feed) => {
    const expected = JSON.stringify([...feed.last.values()].map((price) => price.toFixed(2)));
    const shown = `JSON.stringify([...document.querySelectorAll("#quotes .value")].map((cell) => cell.textContent))`;
    await page.until(`${shown} === ${JSON.stringify(expected)}`).catch((error) => (wrong = error));
  };
  const measured = await measure({ symbols: 500, perSecond: 50, seconds: 8, end });
  assert.ifError(wrong);
  assert.ok(measured.publishedPerSecond > 20_000, `the feed was too slow to say anything: ${JSON.stringify(measured)}`);
  assert.ok(measured.mainThread < 0.3, JSON.stringify(measured));
  // Rows that left nothing behind: the nodes are those of 500 rows.
  assert.ok(measured.nodes < 40_000 && measured.heapMB < 60, JSON.stringify(measured));
});
