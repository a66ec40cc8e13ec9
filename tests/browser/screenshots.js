// The pictures in docs/images: npm run screenshots
//
// The same seed, the same windows, still flashes: what differs from one run to the next is the time that has passed.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { shows, startBrowser, startServer, WAIT } from "./support.js";

/** Name, page, window. */
export const PICTURES = [
  { name: "watchlist-light", port: "http", options: { viewport: { width: 1000, height: 560 }, colorScheme: "light" } },
  { name: "watchlist-dark", port: "http", options: { viewport: { width: 1000, height: 560 }, colorScheme: "dark" } },
  { name: "watchlist-phone", port: "http", options: { viewport: { width: 360, height: 640 }, colorScheme: "dark" } },
  { name: "operators", port: "ops", options: { viewport: { width: 960, height: 700 }, colorScheme: "light" } },
];

/** Writes the pictures into `folder`. */
export async function takePictures(folder) {
  mkdirSync(folder, { recursive: true });
  const server = await startServer(["serve", "--set", "drain.window_s=0.2", "--set", "providers.simulated.seed=7"]);
  const browser = await startBrowser();
  try {
    const pages = await Promise.all(
      PICTURES.map(async ({ name, port, options }) => {
        const { page } = await browser.open(server[port], { reducedMotion: "reduce", ...options });
        return { name, port, page };
      }),
    );
    for (const { name, port, page } of pages) {
      if (port === "http") {
        // Enough of a trend to be seen.
        await page.waitForFunction(
          () => document.querySelector("#quotes polyline").points.length >= 15,
          null,
          WAIT,
        );
        await shows(page, "#round-trip", /\d/);
      } else {
        await shows(page, '#rates [data-term="Delivered"] dd', /[1-9]/);
        await shows(page, '#publisher [data-term="Published"] dd', /[1-9]/);
      }
      await page.screenshot({ path: join(folder, `${name}.png`) });
    }
  } finally {
    await browser.close();
    await server.stop();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await takePictures(fileURLToPath(new URL("../../docs/images", import.meta.url)));
}
