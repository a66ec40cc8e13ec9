// Builds dist: both entries minified with source maps, and the types.

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.js";

const root = fileURLToPath(new URL("..", import.meta.url));
rmSync(`${root}/dist`, { recursive: true, force: true });
const types = spawnSync(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, "-p", root], { stdio: "inherit" });
if (types.status !== 0) process.exit(types.status ?? 1);
await Promise.all(["index", "react"].map((name) => bundle(name, `${root}/dist/${name}.js`, { sourcemap: true })));
