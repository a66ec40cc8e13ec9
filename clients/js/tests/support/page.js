// A page on a local server, and a headless Chromium to open it in.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const html = (script) => `<!doctype html><meta charset="utf-8"><title>test</title><div id="app"></div><script type="module">${script}</script>`;

const PAGES = {
  // The examples of the README.
  "/page.html": readFileSync(join(root, "examples/page.html"), "utf8"),
  "/app": html('import "/app.js";'),
  "/": html('import { connect } from "/client.js"; window.connect = connect;'),
  "/react": html('import "/react-page.js";'),
};

/** Serves the bundle that `npm run bundle` writes, and the React page. */
export async function servePages() {
  const dir = mkdtempSync(join(tmpdir(), "tickcast-client-page-"));
  execFileSync("npm", ["run", "--silent", "bundle", "--", join(dir, "client.js")], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  copyFileSync(join(dir, "client.js"), join(dir, "tickcast-client.js"));
  await build({
    entryPoints: [join(root, "tests/browser/react-page.js"), join(root, "examples/app.tsx")],
    entryNames: "[name]",
    outdir: dir,
    bundle: true,
    jsx: "automatic",
    format: "esm",
    define: { "process.env.NODE_ENV": '"development"' },
    logLevel: "warning",
  });
  const server = createServer(({ url }, response) => {
    const path = url.split("?")[0];
    if (PAGES[path]) return response.writeHead(200, { "content-type": "text/html" }).end(PAGES[path]);
    if (!/^\/[a-z-]+\.js$/.test(path)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(join(dir, path)));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.close();
      server.closeAllConnections();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A Chromium that looks nothing up outside this machine, and can be put to sleep. */
export async function startBrowser() {
  const server = await chromium.launchServer({
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
  const browser = await chromium.connect(server.wsEndpoint());
  return {
    newContext: (options) => browser.newContext(options),
    /** Stops all its processes, as a laptop's sleep does. */
    sleep: () => signal(server.process().pid, "SIGSTOP"),
    wake: () => signal(server.process().pid, "SIGCONT"),
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/** Signals a process and all its descendants. */
function signal(pid, name) {
  const table = execFileSync("ps", ["-e", "-o", "pid=,ppid="], { encoding: "utf8" });
  const processes = [...table.matchAll(/(\d+)\s+(\d+)/g)].map(([, id, parent]) => [Number(id), Number(parent)]);
  const family = [pid];
  for (const id of family) family.push(...processes.filter(([, parent]) => parent === id).map(([child]) => child));
  for (const id of family) process.kill(id, name);
}
