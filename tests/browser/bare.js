// A headless Chromium that nobody watches but us: the DevTools protocol over its pipe, and nothing switched on.
//
// Playwright has the browser report every WebSocket frame to it, which costs the page more than its own work does; so
// whoever measures a page needs a browser without it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const DEADLINE_MS = 60_000;

export class BareBrowser {
  #child;
  #dir;
  #next = 0;
  #asked = new Map();
  #rest = "";

  constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), "tickcast-chromium-"));
    const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-pipe"];
    args.push("--disable-background-networking", "--disable-component-update", "--disable-sync", `--user-data-dir=${this.#dir}`);
    args.push("--window-size=1000,800", "about:blank");
    this.#child = spawn(process.env.CHROMIUM || "/usr/bin/chromium", args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.#child.stdio[4].setEncoding("utf8").on("data", (text) => this.#read(text));
    this.#child.once("exit", () => this.#asked.forEach(({ reject }) => reject(new Error("the browser ended"))));
  }

  /** Opens `url`; resolves with what can be done with the page. */
  async open(url) {
    const { targetId } = await this.#send("Target.createTarget", { url });
    const { sessionId } = await this.#send("Target.attachToTarget", { targetId, flatten: true });
    const send = (method, params) => this.#send(method, params, sessionId);
    const evaluate = async (expression) => {
      const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    };
    /** Resolves once `expression` holds, looked at every 100 ms. */
    const until = async (expression) => {
      const deadline = performance.now() + DEADLINE_MS;
      while (!(await evaluate(expression))) {
        if (performance.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms: ${expression}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    return { send, evaluate, until };
  }

  /** Has it end in order: killed, its helpers would go on writing to its folder for a while. */
  async close() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "exit");
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), DEADLINE_MS);
      this.#send("Browser.close").catch(() => {});
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
  }

  #send(method, params = {}, sessionId = undefined) {
    const id = ++this.#next;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  #read(text) {
    const messages = (this.#rest + text).split("\0");
    this.#rest = messages.pop();
    for (const message of messages.map((message) => JSON.parse(message))) {
      const asked = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      if (message.error) asked?.reject(new Error(message.error.message));
      else asked?.resolve(message.result);
    }
  }
}
