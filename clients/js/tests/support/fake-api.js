// A fake of what the gateway does not have yet: `GET /api/quotes` (from the real Redis cache's content, as told by the
// test) and a socket that lets tokens expire. To be replaced by the gateway's own once it has them.

import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

/** `quotes`: symbol → update. Counts and remembers requests. */
export async function startFakeApi() {
  const quotes = new Map();
  const requests = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://fake");
    requests.push({ path: url.pathname, symbols: url.searchParams.get("symbols"), authorization: request.headers.authorization });
    const wanted = (url.searchParams.get("symbols") ?? "").split(",");
    const found = wanted.flatMap((symbol) => quotes.get(symbol) ?? []);
    response.writeHead(200, {
      "content-type": "application/json",
      "access-control-allow-origin": "*",
      "access-control-allow-headers": "authorization",
    });
    response.end(
      JSON.stringify({
        quotes: found.map((quote) => ({ ...quote, age_ms: Date.now() - Date.parse(quote.timestamp), stale: false })),
        missing: wanted.filter((symbol) => !quotes.has(symbol)),
        timestamp: new Date().toISOString(),
      }),
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    quotes,
    requests,
    url: `http://127.0.0.1:${server.address().port}/api`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * A socket that takes the tokens of `good` and says what the gateway will: `authenticated`, `auth_expiring`, 4401.
 * Tokens of a client are in `seen`; `expire()` and `warn()` do that to every connected client.
 */
export async function startFakeAuth() {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const fake = {
    good: new Set(),
    seen: [],
    subscribed: [],
    ws: `ws://127.0.0.1:${server.address().port}/ws`,
    warn: () => server.clients.forEach((client) => say(client, { type: "auth_expiring", expires_in_ms: 30_000 })),
    expire: () => server.clients.forEach((client) => client.close(4401, "the token has expired")),
    close: () => {
      server.close();
      server.clients.forEach((client) => client.terminate());
    },
  };
  server.on("connection", (client) => {
    say(client, { type: "connected", clientId: "client_fake", limits: { symbols: 1024, message_bytes: 65536 }, ping_interval_s: 25 });
    client.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.action === "auth") {
        fake.seen.push(message.token);
        if (fake.good.has(message.token)) say(client, { type: "authenticated" });
        else client.close(4401, "token refused");
      }
      if (message.action === "ping") say(client, { type: "pong", id: message.id });
      if (message.action === "subscribe") {
        fake.subscribed.push(message.symbols);
        say(client, { type: "subscribed", symbols: message.symbols, active: message.symbols.length, id: message.id });
        for (const symbol of message.symbols) say(client, { type: "price_update", symbol, data: { price: fake.seen.length } });
      }
    });
  });
  return fake;
}

function say(client, message) {
  client.send(JSON.stringify({ ...message, timestamp: new Date().toISOString() }));
}
