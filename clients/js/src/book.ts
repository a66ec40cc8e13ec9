// The newest quote of each symbol, and what is known about its staleness.
//
// Owns all quotes. Does not know who watches them: its bound is kept by whoever calls `drop`.

import type { Clock } from "./clock.js";
import { isNewer, type Quote, type Update } from "./quote.js";

/** Who calls a quote stale. What we said ourselves for want of a link ends with the link's return. */
type Mark = "server" | "unlinked" | undefined;

interface Held {
  readonly update: Update;
  readonly seq: number | undefined;
  readonly publishedMs: number;
  readonly mark: Mark;
}

export class Book {
  readonly quotes = new Map<string, Quote>();
  readonly #held = new Map<string, Held>();
  readonly #clock: Clock;
  readonly #marked: (quote: Quote) => void;

  /** `marked` hears of each quote that has become stale or fresh. */
  constructor(clock: Clock, marked: (quote: Quote) => void) {
    this.#clock = clock;
    this.#marked = marked;
  }

  /** Takes an update unless it is old news. `ageMs` is what the server says its age is. */
  take(update: Update, ageMs?: number): Quote | undefined {
    const held = this.#held.get(update.symbol);
    if (held && !isNewer(update, held.update, held.seq)) return undefined;
    const now = this.#clock.server();
    const publishedMs = ageMs === undefined ? (update.publishedMs ?? now) : now - ageMs;
    const next = { update, seq: update.seq ?? held?.seq, publishedMs, mark: undefined };
    const quote = this.#put(next);
    if (held?.mark) this.#marked(quote);
    return quote;
  }

  /** The server says that a symbol's quote is stale, or fresh. */
  mark(symbol: string, stale: boolean): Quote | undefined {
    return this.#setMark(symbol, stale ? "server" : undefined);
  }

  /** Without a link, whatever is older than `ms` is stale; with one (`ms` infinite) the server says what is. */
  review(ms: number): Quote[] {
    return [...this.#held].flatMap(([symbol, { mark }]) => {
      const old = (this.quotes.get(symbol)?.ageMs ?? 0) >= ms;
      return (mark !== "server" && this.#setMark(symbol, old ? "unlinked" : undefined)) || [];
    });
  }

  /** Forgets the symbols that are not to be kept. */
  retain(keep: (symbol: string) => boolean): void {
    for (const symbol of this.quotes.keys()) {
      if (keep(symbol)) continue;
      this.quotes.delete(symbol);
      this.#held.delete(symbol);
    }
  }

  #setMark(symbol: string, mark: Mark): Quote | undefined {
    const held = this.#held.get(symbol);
    if (!held || held.mark === mark) return undefined;
    const quote = this.#put({ ...held, mark });
    if (!held.mark !== !mark) this.#marked(quote);
    return quote;
  }

  #put(held: Held): Quote {
    const { update, publishedMs } = held;
    const clock = this.#clock;
    this.#held.set(update.symbol, held);
    const quote: Quote = {
      // A spread defines fields; assigning them would let a field named __proto__ change the object's nature.
      ...update.data,
      symbol: update.symbol,
      seq: update.seq,
      timestamp: update.data["timestamp"] ?? update.publishedAt,
      publishedAt: update.publishedAt,
      snapshot: update.snapshot,
      stale: held.mark !== undefined || update.data["stale"] === true,
      get ageMs() {
        return Math.max(0, Math.round(clock.server() - publishedMs));
      },
    };
    this.quotes.set(update.symbol, quote);
    return quote;
  }
}
