// What users write must be accepted by the types that are shipped, and their mistakes must not.

import { connect, type Client, type ClientError, type Connection, type Quote } from "tickcast-client";
import { useConnection, useQuote, useQuotes } from "tickcast-client/react";
import { WebSocket as Ws } from "ws";

const client: Client = connect("wss://quotes.example/ws", {
  token: async ({ renew }) => (renew ? "new" : "old"),
  symbols: ["AAPL"],
  WebSocket: Ws,
  backoff: { minMs: 100 },
});
connect(new URL("ws://h/ws"), { WebSocket, fetch, tokenVia: "subprotocol", symbols: "AAPL", pollIntervalMs: 1000 });

const stop: () => void = client.subscribe("AAPL", (quote: Quote) => {
  const price: number | undefined = quote.price;
  const age: number = quote.ageMs;
  const other: unknown = quote["marketCap"];
  return [price, age, other];
});
client.on("state", ({ state }: Connection) => state === "polling");
client.on("error", ({ code, symbol }: ClientError) => [code, symbol]);
client.on("lagging", ({ conflated }) => conflated + 1);
client.on("status", ({ status, reconnect_in_ms }) => status === "draining" && reconnect_in_ms);
const trip: Promise<number | undefined> = client.ping();

export function Component() {
  const quote = useQuote("AAPL");
  const quotes = useQuotes(["AAPL"], client);
  return [quote?.price, quotes.get("AAPL")?.stale, useConnection().standing.degraded?.reason];
}

// @ts-expect-error quotes are not the user's to change
client.quotes.set("AAPL", {});
// @ts-expect-error there is no such event
client.on("quote", () => {});
// @ts-expect-error there is no such option
connect("ws://h", { retries: 5 });
// @ts-expect-error the tests' seam is not for users
connect("ws://h", { platform: {} });

void [stop, trip];
