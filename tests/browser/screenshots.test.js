// The committed pictures still show what the pages are.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PICTURES, takePictures } from "./screenshots.js";
import { startBrowser } from "./support.js";

const committed = fileURLToPath(new URL("../../docs/images", import.meta.url));
const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
/** Cells of the grid that two pictures are compared by, and how far they may be apart on average, of 255. */
const GRID = 48;
const MOST_APART = 6;
let fresh;
let browser;

before(async () => {
  fresh = mkdtempSync(join(tmpdir(), "tickcast-pictures-"));
  await takePictures(fresh);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  rmSync(fresh, { recursive: true, force: true });
});

/** Size, number of colours, and brightness by cells of a PNG, as a browser sees it. */
async function look(page, file) {
  const url = `data:image/png;base64,${readFileSync(file).toString("base64")}`;
  return page.evaluate(
    async ([url, grid]) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      const draw = (width, height) => {
        const canvas = document.createElement("canvas");
        Object.assign(canvas, { width, height });
        const context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(image, 0, 0, width, height);
        return context.getImageData(0, 0, width, height).data;
      };
      const colours = new Set(new Uint32Array(draw(image.width, image.height).buffer)).size;
      const pixels = draw(grid, grid);
      const cells = Array.from({ length: grid * grid }, (_, i) => (pixels[4 * i] + pixels[4 * i + 1] + pixels[4 * i + 2]) / 3);
      return { width: image.width, height: image.height, colours, cells };
    },
    [url, GRID],
  );
}

for (const { name, options } of PICTURES) {
  test(`docs/images/${name}.png is small, in the README, and like the page of today`, async () => {
    assert.ok(readme.includes(`docs/images/${name}.png`));
    assert.ok(readFileSync(join(committed, `${name}.png`)).length < 120_000);
    const { page } = await browser.open("about:blank");
    const [kept, now] = [await look(page, join(committed, `${name}.png`)), await look(page, join(fresh, `${name}.png`))];
    assert.deepEqual([kept.width, kept.height], [options.viewport.width, options.viewport.height]);
    assert.ok(kept.colours > 50, "it is blank");
    const apart = kept.cells.reduce((sum, cell, i) => sum + Math.abs(cell - now.cells[i]), 0) / kept.cells.length;
    assert.ok(apart < MOST_APART, `${apart.toFixed(1)} of 255 apart: npm run screenshots`);
  });
}
