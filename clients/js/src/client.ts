// The client: one connection, the symbols watched through it, and their newest quotes.
//
// Says what messages mean and passes on to its parts: the connector keeps the link, the interest knows who watches what,
// the book holds quotes, the poller stands in for the socket. User code is called in isolation and never from `connect`
// or `subscribe` themselves. Quotes are kept for watched symbols only, and for at most MAX_QUOTES through `*`.

import { Book } from "./book.js";
import { Clock } from "./clock.js";
import { Connector, type Connection } from "./connector.js";
import { Events, isolated } from "./events.js";
import { inParts, Interest, type QuoteCallback } from "./interest.js";
import { httpOf, settle, type Options, type Settings } from "./options.js";
import { Poller } from "./poller.js";
import { asFields, timeOf, type Fields, type LaggingMessage, type StatusMessage } from "./protocol.js";
import { pulse } from "./pulse.js";
import { readUpdate, type Quote, type Update } from "./quote.js";
import { Timer } from "./timer.js";
import { Tokens, type TokenSource } from "./token.js";

/** Something was not taken or did not work; the client goes on unless its state is `closed`. */
export interface ClientError {
  /** The server's (`invalid_symbol`, …), or ours: `connect_failed`, `closed`, `poll_failed`, `token_failed`, `callback_failed`, `bad_message`. */
  readonly code: string;
  readonly message: string;
  /** The symbol that was refused. */
  readonly symbol?: string;
  /** What was thrown. */
  readonly cause?: unknown;
}

export interface ClientEvents {
  /** The state or the number of failed attempts changed. */
  state: Connection;
  /** The server told something about itself. */
  status: StatusMessage;
  /** A quote became stale, or fresh again: see its `stale`. */
  stale: Quote;
  lagging: LaggingMessage;
  error: ClientError;
  /** A message of another type that a service published to everyone (a market's status, say). */
  notice: Fields;
}

/** What the server said about itself and has not taken back. */
export interface Standing {
  /** Its broker is away: quotes may be old. */
  readonly degraded?: StatusMessage;
  /** Publishing is paused. */
  readonly paused?: StatusMessage;
  /** This gateway is going away; the client will move by itself. */
  readonly draining?: StatusMessage;
}

interface Rejected {
  readonly symbol: string;
  readonly code: string;
}

/** Which standing each status begins, or ends when it is not named like it. */
const STANDING: { readonly [status: string]: keyof Standing } = {
  degraded: "degraded",
  ok: "degraded",
  paused: "paused",
  resumed: "paused",
  draining: "draining",
};

/** Through `*` the server decides how many symbols there are; newcomers beyond these are ignored. */
const MAX_QUOTES = 16_384;
/** At most two requests each 200 ms: the server takes 10 a second. */
const FLUSH_GAP_MS = 200;
/** After `rate_limited`: the server's bucket is full again for some requests. */
const RELIEF_MS = 2000;
/** Of a subscribe message, besides its symbols. */
const ENVELOPE_BYTES = 128;

export class Client {
  readonly #settings: Settings;
  readonly #maxRate: { max_rate?: number };
  readonly #clock: Clock;
  readonly #events = new Events<ClientEvents>();
  readonly #interest = new Interest();
  readonly #book: Book;
  readonly #tokens: Tokens;
  readonly #connector: Connector;
  readonly #poller: Poller;
  readonly #beats: Timer;
  readonly #flushes: Timer;
  #api: URL;
  #messageBytes = 65_536;
  #standing: Standing = {};
  #flushedAt = -Infinity;
  /** A request was lost to the rate limit: the server's view is to be replaced. */
  #resync = false;
  #unwake: (() => void) | undefined;

  constructor(url: string | URL, options: Options = {}) {
    const settings = (this.#settings = settle(url, options));
    const { platform } = settings;
    this.#api = settings.api;
    this.#maxRate = options.maxRate === undefined ? {} : { max_rate: options.maxRate };
    this.#clock = new Clock(platform);
    this.#book = new Book(this.#clock, (quote) => this.#emit("stale", quote));
    this.#tokens = new Tokens(options.token, platform);
    this.#beats = new Timer(platform);
    this.#flushes = new Timer(platform);
    this.#poller = new Poller(settings, this.#tokens, {
      api: () => this.#api,
      symbols: () => this.#interest.symbols(),
      answered: (body) => this.#answered(body),
      polled: (problem) => {
        this.#connector.polled(!problem);
        if (problem) this.#fail("poll_failed", problem);
      },
    });
    this.#connector = new Connector(settings, this.#clock, this.#tokens, {
      message: (message) => this.#receive(message),
      up: () => this.#up(),
      changed: (connection) => this.#changed(connection),
      failed: (code, cause) => this.#fail(code, cause),
      fallback: (needed) => (needed ? this.#poller.start() : this.#poller.stop()),
    });
    if (options.symbols) this.subscribe(options.symbols);
    this.reconnect();
  }

  /** The newest quote of each watched symbol, by upper-case symbol. Live; keeps what it has while there is no link. */
  get quotes(): ReadonlyMap<string, Quote> {
    return this.#book.quotes;
  }

  get connection(): Connection {
    return this.#connector.connection;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /**
   * Watches symbols (`*`: all, where the server allows it). The callback gets the quote that is known already, soon, and
   * every later one. Returns how to stop; the server is asked once per symbol however many watch it.
   */
  subscribe(symbols: string | readonly string[], callback?: QuoteCallback): () => void {
    const subscription = this.#interest.add(symbols, callback);
    this.#flushSoon();
    queueMicrotask(() => {
      for (const symbol of subscription.refused) this.#refused(symbol, "invalid_symbol");
      for (const symbol of subscription.symbols.includes("*") ? [...this.quotes.keys()] : subscription.symbols) {
        const quote = this.quotes.get(symbol);
        if (quote && callback && subscription.live) this.#call(callback, quote);
      }
    });
    return () => {
      this.#interest.remove(subscription);
      this.#flushSoon();
    };
  }

  /** Listens; returns how to stop. */
  on<E extends keyof ClientEvents>(event: E, callback: (payload: ClientEvents[E]) => void): () => void {
    return this.#events.on(event, callback);
  }

  /** The round trip of a ping in milliseconds; nothing without a link. */
  async ping(): Promise<number | undefined> {
    return this.#connector.link?.ping();
  }

  /** Uses another token from now on: on the live link, or for a new attempt when there is none. */
  setToken(token: TokenSource): void {
    this.#tokens.source = token;
    if (this.#connector.link) void this.#renew();
    else this.reconnect();
  }

  /** Tries to connect now; also brings a closed client back. */
  reconnect(): void {
    pulse(this.#beats, this.#clock, (lateMs) => this.#beat(lateMs));
    this.#unwake ??= this.#settings.platform.onWake(() => this.#connector.nudge());
    this.#connector.start();
  }

  /** Ends the connection and every timer. Quotes stay readable. */
  close(): void {
    this.#connector.stop(1000, "closed by this side");
  }

  // ---- what the server says

  #receive(message: Fields): void {
    try {
      this.#read(message);
    } catch (error) {
      this.#fail("bad_message", error);
    }
  }

  #read(message: Fields): void {
    const { type, code, id, timestamp, symbol } = message;
    switch (type) {
      case "price_update": {
        const update = readUpdate(message, message["snapshot"] === true);
        return update && this.#take(update);
      }
      case "connected":
        this.#standing = {};
        this.#clock.sync(timeOf(timestamp));
        this.#messageBytes = Number(asFields(message["limits"])?.["message_bytes"]) || this.#messageBytes;
        if (typeof message["api"] === "string") this.#setApi(message["api"]);
        return;
      case "pong":
        return this.#clock.sync(timeOf(timestamp));
      case "subscribed":
      case "unsubscribed":
        for (const { symbol, code } of (message["rejected"] ?? []) as Rejected[]) {
          this.#refused(symbol, code);
        }
        // Unasked: a new token covers less. Asking again says which symbols, by their refusal.
        if (type === "unsubscribed" && id === undefined) {
          this.#interest.untold(message["symbols"] as string[]);
          this.#flushSoon();
        }
        return;
      case "stale":
      case "fresh":
        return this.#tell(this.#book.mark(String(symbol), type === "stale"));
      case "lagging":
        return this.#emit("lagging", message as unknown as LaggingMessage);
      case "status":
        return this.#status(message as unknown as StatusMessage);
      case "auth_expiring":
        return void this.#renew();
      case "error":
        if (code === "rate_limited") this.#resyncLater();
        return this.#emit("error", { code: String(code), message: String(message["message"]) });
      case "authenticated":
      case "subscriptions":
        return;
      default:
        this.#emit("notice", message);
    }
  }

  #setApi(address: string): void {
    const { url } = this.#settings;
    const api = new URL(address, httpOf(url));
    // A token that came over TLS is not to leave without it.
    if (api.protocol === "https:" || url.protocol === "ws:") this.#api = api;
  }

  #status(message: StatusMessage): void {
    const { status } = message;
    const about = STANDING[status];
    if (about) {
      const { [about]: _, ...others } = this.#standing;
      this.#standing = about === status ? { ...others, [about]: message } : others;
    }
    if (status === "draining") this.#connector.draining(message.reconnect_in_ms ?? 0);
    this.#emit("status", message);
  }

  #answered(body: Fields): void {
    this.#clock.sync(timeOf(body["timestamp"]));
    for (const fields of body["quotes"] as Fields[]) {
      const update = readUpdate(fields, true);
      if (!update) continue;
      const age = fields["age_ms"];
      this.#take(update, typeof age === "number" ? age : undefined);
      this.#tell(this.#book.mark(update.symbol, fields["stale"] === true));
    }
  }

  #take(update: Update, ageMs?: number): void {
    const { symbol } = update;
    if (!this.#interest.covers(symbol)) return;
    if (!this.#interest.names(symbol) && this.quotes.size >= MAX_QUOTES && !this.quotes.has(symbol)) return;
    this.#tell(this.#book.take(update, ageMs));
  }

  /** Calls those who watch a quote's symbol. */
  #tell(quote: Quote | undefined): void {
    if (!quote) return;
    for (const { call, live } of this.#interest.watchers(quote.symbol)) {
      if (call && live) this.#call(call, quote);
    }
  }

  // ---- what the server is told

  #up(): void {
    this.#interest.forget();
    this.#resync = false;
    for (const quote of this.#book.review(Infinity)) this.#tell(quote);
    this.#flush();
  }

  #changed(connection: Connection): void {
    if (connection.state === "closed") {
      this.#beats.clear();
      this.#flushes.clear();
      this.#unwake?.();
      this.#unwake = undefined;
      // From here on nobody would notice that they are old.
      for (const quote of this.#book.review(0)) this.#tell(quote);
    }
    this.#emit("state", connection);
  }

  #beat(lateMs: number): void {
    this.#connector.beat(lateMs);
    const { state } = this.connection;
    if (state === "open" || state === "polling") return;
    for (const quote of this.#book.review(this.#settings.staleAfterMs)) this.#tell(quote);
  }

  #flushSoon(afterMs = 0): void {
    if (this.#flushes.set) return;
    const gapMs = this.#flushedAt + FLUSH_GAP_MS - this.#clock.now();
    this.#flushes.plan(Math.max(afterMs, gapMs), () => this.#flush());
  }

  #flush(): void {
    this.#flushes.clear();
    this.#book.retain((symbol) => this.#interest.covers(symbol));
    const { link } = this.#connector;
    if (!link) return this.#poller.soon();
    this.#flushedAt = this.#clock.now();
    if (this.#resync) this.#interest.forget();
    const { subscribe, unsubscribe } = this.#interest.changes();
    if (this.#resync) unsubscribe.push("*");
    this.#resync = false;
    // An id marks the answer as asked for.
    if (unsubscribe.length) link.send({ action: "unsubscribe", symbols: unsubscribe, id: 1 });
    for (const symbols of inParts(subscribe, this.#messageBytes - ENVELOPE_BYTES, ({ length }) => length + 3)) {
      link.send({ action: "subscribe", symbols, ...this.#maxRate, id: 1 });
    }
  }

  #resyncLater(): void {
    this.#resync = true;
    this.#flushes.clear();
    this.#flushSoon(RELIEF_MS);
  }

  /** Puts a new token on the live link; a lost race against the old one's end is mended by 4401. */
  async #renew(): Promise<void> {
    this.#tokens.spent = true;
    try {
      const token = await this.#tokens.get();
      if (token !== undefined) this.#connector.link?.send({ action: "auth", token });
    } catch (error) {
      this.#fail("token_failed", error);
    }
  }

  // ---- what the user is told

  #refused(symbol: string, code: string): void {
    this.#emit("error", { code, message: `${symbol} was refused: ${code}`, symbol });
  }

  #call<A>(callback: (argument: A) => void, argument: A): void {
    isolated(callback, argument, (error) => this.#fail("callback_failed", error));
  }

  #emit<E extends keyof ClientEvents>(event: E, payload: ClientEvents[E]): void {
    // Not as an error event: a listener for errors that throws would hear itself.
    this.#events.emit(event, payload, (error) => console.error("tickcast: a listener failed", error));
  }

  #fail(code: string, cause: unknown): void {
    this.#emit("error", { code, message: String(cause), cause });
  }
}
