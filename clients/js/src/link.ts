// One WebSocket from its opening to its end, and whether the other side is still there.
//
// Browsers show no pings and may keep a dead socket open for minutes, so silence is answered with a ping of the
// protocol, and silence after that ends the link. It ends once, whoever ends it, and says so once. It does not know what
// messages mean, but for `connected` (it is up) and `pong`.

import type { Clock } from "./clock.js";
import { asFields, type Fields } from "./protocol.js";

/** What we need of a WebSocket; the browser's, Node's and `ws`'s have it. */
export interface WebSocketLike {
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocketLike;

interface Socket extends WebSocketLike {
  onopen: () => void;
  onmessage: (event: { data: unknown }) => void;
  onclose: (event: { code: number; reason: string }) => void;
  onerror: () => void;
}

export interface LinkListener {
  opened(): void;
  message(message: Fields): void;
  /** Never called before the constructor returned, nor twice. */
  ended(code: number, reason: string): void;
}

/** From the attempt to `connected`. Slow phones make it. */
const CONNECT_MS = 10_000;
/** From our ping to the last moment anything may be heard; the server gives us as long. */
const PONG_MS = 10_000;

/** The connection was lost without a close frame (RFC 6455 §7.4.1). */
export const LOST = 1006;

const nothing = () => {};

export class Link {
  /** Whether the server has greeted us. */
  up = false;
  /** Silence after which we ask. */
  pingMs = 25_000;
  readonly #clock: Clock;
  readonly #socket: Socket;
  readonly #listener: LinkListener;
  /** The ping that is not answered yet, and whom to tell. */
  #ping: Promise<number | undefined> | undefined;
  #pong: (at?: number) => void = nothing;
  #pingedAt = 0;
  #heardAt: number;
  #answerBy: number;

  constructor(Socket: WebSocketConstructor, url: string, protocols: string[], clock: Clock, listener: LinkListener) {
    this.#clock = clock;
    this.#listener = listener;
    this.#heardAt = clock.now();
    this.#answerBy = this.#heardAt + CONNECT_MS;
    this.#socket = (protocols.length ? new Socket(url, protocols) : new Socket(url)) as Socket;
    this.#socket.onopen = () => listener.opened();
    this.#socket.onmessage = ({ data }) => this.#read(data);
    this.#socket.onclose = ({ code, reason }) => this.end(code, reason);
    this.#socket.onerror = nothing; // a close follows
  }

  send(message: object): void {
    // A browser drops what is sent on a closing socket; `ws` throws.
    try {
      this.#socket.send(JSON.stringify(message));
    } catch {
      this.end(LOST, "sending failed");
    }
  }

  /** The round trip of a ping in milliseconds; nothing without an answer. One at a time serves all who ask. */
  ping(): Promise<number | undefined> {
    return (this.#ping ??= new Promise((done) => {
      this.#pingedAt = this.#clock.now();
      this.#pong = (at) => {
        this.#ping = undefined;
        done(at && at - this.#pingedAt);
      };
      this.send({ action: "ping", id: 1 });
    }));
  }

  /** Asks whether the server is there: unless something is heard within `ms`, the link is dead. */
  probe(ms: number): void {
    const by = this.#clock.now() + ms;
    if (this.#answerBy && this.#answerBy <= by) return;
    this.#answerBy = by;
    this.send({ action: "ping" });
  }

  /** Looks at the clock. */
  beat(): void {
    const now = this.#clock.now();
    if (now - this.#pingedAt >= PONG_MS) this.#pong(); // it was refused by the rate limit, say
    if (this.#answerBy) {
      if (now >= this.#answerBy) this.end(LOST, "no answer");
    } else if (now - this.#heardAt >= this.pingMs) {
      this.probe(PONG_MS);
    }
  }

  /** Ends the link and says so, whichever side it was. */
  end(code: number, reason: string): void {
    this.close();
    this.#listener.ended(code, reason);
  }

  /** Ends the link without a word to the listener. */
  close(): void {
    const socket = this.#socket;
    // Not null: `ws` throws an error nobody listens to when it is closed while connecting.
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = nothing;
    try {
      socket.close(1000);
    } catch {
      // Nothing to close.
    }
    this.#pong();
  }

  #read(data: unknown): void {
    let message: Fields | undefined;
    try {
      message = asFields(JSON.parse(data as string));
    } catch {
      // Not ours: a proxy's page, a binary frame.
    }
    this.#heardAt = this.#clock.now();
    if (!message) return;
    if (message["type"] === "connected") {
      this.up = true;
      this.pingMs = Number(message["ping_interval_s"]) * 1000 || this.pingMs;
    }
    if (this.up) this.#answerBy = 0;
    if (message["type"] === "pong" && message["id"]) this.#pong(this.#heardAt);
    this.#listener.message(message);
  }
}
