// tickcast-client: live quotes from a tickcast gateway. The tour:
//
//   client     what messages mean; the public face
//   connector  attempts, back-off, drains, sleep, fallback      link    one socket, and whether it lives
//   interest   who watches what                                 book    the newest quotes, stale marks
//   poller     REST while there is no socket                    token   where tokens come from
//   retry, quote, protocol, clock, events: pure              platform, pulse: time

import { Client } from "./client.js";
import type { Options } from "./options.js";

/** Connects to a gateway, as `wss://quotes.example/ws`, and stays connected until `close()`. */
export function connect(url: string | URL, options: Options = {}): Client {
  return new Client(url, options);
}

export type { Client, ClientError, ClientEvents, Standing } from "./client.js";
export type { Connection, ConnectionState } from "./connector.js";
export type { QuoteCallback } from "./interest.js";
export type { WebSocketConstructor, WebSocketLike } from "./link.js";
export type { Options } from "./options.js";
export type { LaggingMessage, StatusMessage } from "./protocol.js";
export type { Quote } from "./quote.js";
export type { Backoff } from "./retry.js";
export type { TokenRequest, TokenSource } from "./token.js";
