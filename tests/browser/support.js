// Starts the real binary and a headless Chromium for a test, and ends both after it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** How long anything may take on a busy machine. */
export const WAIT = { timeout: 60_000 };

function binary() {
  const target = process.env.CARGO_TARGET_DIR || `${root}/target`;
  const found = [process.env.TICKCAST_BIN, `${target}/release/tickcast`, `${target}/debug/tickcast`].find(
    (path) => path && existsSync(path),
  );
  if (!found) throw new Error("build the binary first: cargo build (or set TICKCAST_BIN)");
  return found;
}

/** Starts `tickcast ARGS` on free ports; resolves with the URLs that its log names, once updates reach it. */
export async function startServer(args, env = {}) {
  const bind = args.includes("--bind") ? [] : ["--bind", "127.0.0.1"];
  const child = spawn(binary(), [...args, ...bind, "--port", "0", "--ops-port", "0", "--log-format", "json"], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH, ...env },
  });
  const lines = [];
  const server = { child, lines, stop: () => stop(child) };
  const url = (address) => `http://127.0.0.1:${address.split(":").at(-1)}`;
  const reader = createInterface({ input: child.stderr });
  let fed = false;
  await new Promise((resolve, reject) => {
    reader.on("line", (line) => {
      lines.push(line);
      // What is wrong with the settings is said before there is a log.
      if (!line.startsWith("{")) return;
      const event = JSON.parse(line);
      if (event.message === "gateway serves") server.http = url(event.address);
      if (event.message?.startsWith("ops port serves")) server.ops = url(event.address);
      if (event.message === "updates arrive from the broker") fed = true;
      if (server.http && server.ops && fed) resolve();
    });
    child.once("exit", (code) => reject(new Error(`tickcast ended with ${code}:\n${lines.join("\n")}`)));
  });
  server.port = Number(new URL(server.http).port);
  return server;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [code] = await ended;
  clearTimeout(timer);
  return code;
}

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
