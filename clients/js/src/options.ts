// What a client can be told, and what holds when it is not.

import type { WebSocketConstructor } from "./link.js";
import { platform, type Platform } from "./platform.js";
import type { Backoff } from "./retry.js";
import type { TokenSource } from "./token.js";

export interface Options {
  /** Watched from the start and until `close()`. */
  symbols?: string | readonly string[];
  /**
   * A token, or a function that brings one. The function is called before each attempt to connect, when the server says
   * that the token is about to expire, and after it was refused; only with a function can a client outlive its token.
   */
  token?: TokenSource;
  /**
   * How the token travels: in the first message (any text can be a token, and a refusal can be told from an outage) or
   * as the subprotocol `bearer, <token>`, which a gateway can refuse before it upgrades. Never in the URL, since URLs
   * are logged. Default: message.
   */
  tokenVia?: "message" | "subprotocol";
  /** Bounds of the waits between attempts. Default: 250 ms to 10 s, so ten failures take at most 46 s. */
  backoff?: Partial<Backoff>;
  /** Between two rounds of the polling fallback. Default 5000; the server allows 60 requests a minute. */
  pollIntervalMs?: number;
  /** Base of the REST calls. Default: from the socket's URL; what the server says on connecting wins. */
  apiUrl?: string;
  /** At most this many updates per second and symbol. Default: all. */
  maxRate?: number;
  /** Without socket and polling, a quote this old is marked stale. Default 30,000. */
  staleAfterMs?: number;
  /** For Node below 22: the class of the `ws` package. */
  WebSocket?: WebSocketConstructor;
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** @internal For tests: clocks and timers. */
  platform?: Platform;
}

export type Settings = ReturnType<typeof settle>;

/** The options with their defaults. Throws on a URL that cannot be a socket's, and when there is no WebSocket. */
export function settle(url: string | URL, options: Options) {
  const socketUrl = new URL(url, globalThis.location?.href);
  socketUrl.protocol = socketUrl.protocol.replace("http", "ws");
  socketUrl.hash = "";
  if (!/^wss?:$/.test(socketUrl.protocol)) throw new TypeError(`not a WebSocket URL: ${url}`);
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (!WebSocket) throw new TypeError("there is no global WebSocket: pass the option WebSocket (`ws` package)");
  const minMs = Math.max(1, options.backoff?.minMs ?? 250);
  return {
    url: socketUrl,
    WebSocket: WebSocket as WebSocketConstructor,
    // Called bare: as a method of ours, browsers refuse it.
    fetch: options.fetch ?? ((input: RequestInfo | URL, init?: RequestInit) => fetch(input, init)),
    subprotocol: options.tokenVia === "subprotocol",
    backoff: { minMs, maxMs: Math.max(minMs, options.backoff?.maxMs ?? 10_000) },
    pollIntervalMs: Math.max(100, options.pollIntervalMs ?? 5000),
    staleAfterMs: options.staleAfterMs ?? 30_000,
    platform: options.platform ?? platform,
    api: new URL(options.apiUrl ?? apiOf(socketUrl), httpOf(socketUrl)),
  };
}

/** The address REST is at, as far as the socket's tells: `wss://host/prefix/ws/me` → `https://host/prefix/api`. */
function apiOf(socket: URL): string {
  return `${socket.pathname.replace(/(\/ws(\/[^/]*)?)?\/?$/, "")}/api`;
}

/** The same place for HTTP, to resolve the paths of REST against. */
export function httpOf(socket: URL): URL {
  return new URL("/", socket.href.replace(/^ws/, "http"));
}
