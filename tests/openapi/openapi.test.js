// The API's description: a validator accepts it, and the server answers as it says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import SwaggerParser from "@apidevtools/swagger-parser";
import Ajv from "ajv";
import addFormats from "ajv-formats";
import { startServer } from "../browser/server.js";

const file = fileURLToPath(new URL("../../src/api/openapi.json", import.meta.url));

test("the document is OpenAPI, every reference resolved", async () => {
  const api = await SwaggerParser.validate(file);
  assert.match(api.openapi, /^3\.0\./);
});

/** OpenAPI 3.0 says `nullable` where JSON Schema has a list of types. */
function asJsonSchema(schema) {
  if (Array.isArray(schema)) return schema.map(asJsonSchema);
  if (schema === null || typeof schema !== "object") return schema;
  const { nullable, example, ...rest } = schema;
  const fields = Object.entries(rest).map(([name, value]) => [name, asJsonSchema(value)]);
  const json = Object.fromEntries(fields);
  return nullable ? { ...json, type: [json.type, "null"] } : json;
}

test("the server answers as the document says", async (t) => {
  const api = await SwaggerParser.dereference(file);
  const ajv = addFormats(new Ajv({ strict: false }));
  const server = await startServer(["serve", "--provider", "simulated"]);
  t.after(() => server.stop());
  const check = async (path, url, { status = 200, method = "get", ...init } = {}) => {
    const response = await fetch(`${server.http}${url}`, { method, ...init });
    assert.equal(response.status, status, `${method} ${url}`);
    const described = api.paths[path][method.toLowerCase()].responses[status];
    assert.ok(described, `${path} ${status} is described`);
    for (const header of Object.keys(described.headers ?? {})) assert.ok(response.headers.has(header), `${url}: ${header}`);
    const body = await response.json();
    const valid = ajv.compile(asJsonSchema(described.content["application/json"].schema));
    assert.ok(valid(body), `${url}: ${ajv.errorsText(valid.errors)} in ${JSON.stringify(body).slice(0, 300)}`);
    return body;
  };
  const quotes = await check("/api/quotes", "/api/quotes?symbols=AAPL,MSFT");
  assert.deepEqual(quotes.quotes.map((quote) => quote.symbol), ["AAPL", "MSFT"]);
  await check("/api/quotes", "/api/quotes", { status: 400 });
  await check("/api/quotes/{symbol}", "/api/quotes/BRK%2FB");
  await check("/api/quotes/{symbol}", "/api/quotes/a%20b", { status: 400 });
  await check("/api/indices", "/api/indices");
  for (const range of ["24h", "1w", "1m"]) {
    const bars = await check("/api/bars/{symbol}", `/api/bars/AAPL?range=${range}`);
    assert.equal(bars.range, range);
  }
  await check("/api/bars/{symbol}", "/api/bars/AAPL?range=1y", { status: 400 });
  await check("/api/preload-cache", "/api/preload-cache?symbols=TSLA&timeRange=1w");
  const body = JSON.stringify({ symbols: ["NVDA"], batchSize: 5 });
  await check("/api/preload-cache", "/api/preload-cache", { method: "POST", body });
  await check("/api/preload-cache/health", "/api/preload-cache/health");
  await check("/api/openapi.json", "/api/openapi.json");
  await check("/health", "/health");
});

test("nothing is served under /api that is not described", async () => {
  const api = await SwaggerParser.parse(file);
  const { readFile } = await import("node:fs/promises");
  const routes = await readFile(new URL("../../src/api/mod.rs", import.meta.url), "utf8");
  const served = [...routes.matchAll(/\.route\("(\/(?:api|sse)[^"]*)"/g)].map(([, path]) => path);
  assert.ok(served.length > 5);
  assert.deepEqual(served.filter((path) => !api.paths[path]), []);
});
