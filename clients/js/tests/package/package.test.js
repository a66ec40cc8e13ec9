// What is shipped: its size, its files, its types, its documentation.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path) => readFileSync(join(root, path), "utf8");
const manifest = JSON.parse(read("package.json"));

test("the client is under 6 KB gzipped", () => {
  const bytes = gzipSync(read("dist/index.js"), { level: 9 }).length;
  assert.ok(bytes < 6000, `${bytes} bytes`);
});

test("it depends on nothing at run time", () => {
  assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, { react: ">=18" }]);
  assert.doesNotMatch(read("dist/index.js"), /\bimport\b|\brequire\(/);
  const imported = [...read("dist/react.js").matchAll(/from"([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(imported, ["react"]);
});

test("the package holds what its manifest points at, and nothing of ours besides", () => {
  const [{ files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root, stdio: ["ignore", "pipe", "ignore"] }));
  const names = files.map(({ path }) => path);
  for (const entry of Object.values(manifest.exports).flatMap((entry) => Object.values(entry).filter((path) => path.length > 1))) {
    assert.ok(names.includes(entry.replace("./", "")), `${entry} is missing`);
  }
  assert.ok(names.includes("LICENSE-MIT") && names.includes("LICENSE-APACHE") && names.includes("README.md"));
  assert.deepEqual(names.filter((name) => !/^(dist\/|LICENSE-|README\.md$|package\.json$)/.test(name)), []);
});

test("users' TypeScript is checked by the shipped types", () => {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", join(root, "tests/package")], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
});

test("the README shows the examples that tests run, word for word", () => {
  const readme = read("README.md");
  for (const name of ["watch.js", "page.html", "app.tsx"]) {
    assert.ok(readme.includes(read(`examples/${name}`)), `examples/${name}`);
  }
});

test("the gateway's own page is served this client, as it is built now", () => {
  const path = join(tmpdir(), `tickcast-client-page-${process.pid}.js`);
  try {
    execFileSync(process.execPath, [join(root, "scripts/bundle.js"), path]);
    assert.ok(readFileSync(path).equals(readFileSync(join(root, "../../web/tickcast-client.js"))), "run: npm run pages");
  } finally {
    rmSync(path, { force: true });
  }
});

test("the bundle is one module without imports, and complains about a missing path", () => {
  const path = join(tmpdir(), `tickcast-client-${process.pid}.js`);
  const bundle = (...args) => spawnSync(process.execPath, [join(root, "scripts/bundle.js"), ...args], { encoding: "utf8" });
  try {
    assert.equal(bundle(path).status, 0);
    assert.match(readFileSync(path, "utf8"), /export\{\w+ as connect\}/);
    assert.doesNotMatch(readFileSync(path, "utf8"), /\bimport\b/);
  } finally {
    rmSync(path, { force: true });
  }
  assert.equal(bundle().status, 64);
  assert.equal(existsSync(path), false);
});
