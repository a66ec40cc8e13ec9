// A headless Chromium beside the real binary.

import { chromium } from "playwright-core";

export { startServer } from "./server.js";

/** A headless Chromium that looks nothing up outside this machine. */
export function startBrowser() {
  return chromium.launch({
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
}
