// A headless Chromium beside the real binary.

import { chromium } from "playwright-core";

export { startServer } from "./server.js";
/** How long anything may take on a busy machine. */
export const WAIT = { timeout: 60_000 };

/** A headless Chromium that looks nothing up outside this machine. */
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  return {
    close: () => browser.close(),
    /** Opens `url` in a context of its own; `errors` gathers whatever the page complains about, its policy included. */
    async open(url, { prepare, ...options } = {}) {
      const context = await browser.newContext({ locale: "en-US", viewport: { width: 1000, height: 700 }, ...options });
      const page = await context.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(error.message));
      page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
      if (prepare) await prepare(page);
      await page.goto(url);
      return { page, errors, context };
    },
  };
}

/** Resolves once the text of `selector` matches. */
export function shows(page, selector, pattern) {
  return page.waitForFunction(
    ([selector, source]) => new RegExp(source).test(document.querySelector(selector)?.textContent),
    [selector, pattern.source],
    WAIT,
  );
}

/** Pixels that the page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

/** Texts that stand out from what is behind them by less than WCAG 2.1 asks for (4.5 to 1). */
export function faintTexts(page) {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = ([r, g, b]) => {
      const [red, green, blue] = [r, g, b].map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if (colour[3] === 255) return colour;
      }
      return rgba("white");
    };
    return [...document.querySelectorAll("body *")]
      .filter((element) => element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
      .filter((element) => !element.closest(".hidden"))
      .map((element) => {
        const [a, b] = [luminance(rgba(getComputedStyle(element).color)), luminance(behind(element))];
        return { text: element.textContent.trim().slice(0, 40), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
      })
      .filter(({ ratio }) => ratio < 4.5);
  });
}
