// Writes the client as one minified ES module, for pages without a build step: npm run bundle -- PATH

import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const source = (name) => fileURLToPath(new URL(`../src/${name}.ts`, import.meta.url));

/** Builds the entry `name` into one file. What Safari 16.4, Chrome 94 and Firefox 93 run: es2022. */
export function bundle(name, outfile, options = {}) {
  return build({
    entryPoints: [source(name)],
    outfile,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    logLevel: "warning",
    ...options,
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [path] = process.argv.slice(2);
  if (!path) {
    console.error("usage: npm run bundle -- PATH");
    process.exit(64);
  }
  await bundle("index", path, { banner: { js: "// tickcast-client. MIT OR Apache-2.0" } });
}
