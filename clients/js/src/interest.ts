// Who watches which symbol here, and what the server was told of it.
//
// A symbol is wanted from its first subscription to the end of its last. What goes to the server is the difference
// between what is wanted and what it was told on this connection, so any number of changes makes at most two messages.
// Bounded by the user's own subscriptions; a text that cannot be a symbol is refused here, since one long enough would
// close the connection (1009).

import type { Quote } from "./quote.js";

/** What the server takes as a symbol, once upper-cased, and the wildcard. */
const SYMBOL = /^([\w.\-:^=/&@]{1,32}|\*)$/;

export type QuoteCallback = (quote: Quote) => void;

/** One call of `subscribe`: the same callback may be subscribed twice. */
export interface Subscription {
  readonly symbols: readonly string[];
  /** What cannot be a symbol. */
  readonly refused: readonly string[];
  readonly call: QuoteCallback | undefined;
  live: boolean;
}

export class Interest {
  readonly #watchers = new Map<string, Set<Subscription>>();
  readonly #told = new Set<string>();

  add(wanted: string | readonly string[], call: QuoteCallback | undefined): Subscription {
    const names = [...new Set([wanted].flat().map((symbol) => symbol.trim().toUpperCase()))];
    const symbols = names.filter((name) => SYMBOL.test(name));
    const subscription = { symbols, refused: names.filter((name) => !SYMBOL.test(name)), call, live: true };
    for (const name of symbols) {
      const watchers = this.#watchers.get(name) ?? new Set();
      this.#watchers.set(name, watchers.add(subscription));
    }
    return subscription;
  }

  remove(subscription: Subscription): void {
    subscription.live = false;
    for (const name of subscription.symbols) {
      const watchers = this.#watchers.get(name);
      watchers?.delete(subscription);
      if (watchers?.size === 0) this.#watchers.delete(name);
    }
  }

  /** Whether a symbol is watched by its name. */
  names(symbol: string): boolean {
    return this.#watchers.has(symbol);
  }

  /** Whether a symbol is watched, by name or by `*`. */
  covers(symbol: string): boolean {
    return this.names(symbol) || this.names("*");
  }

  /** Everything watched by name. */
  symbols(): string[] {
    return [...this.#watchers.keys()].filter((name) => name !== "*");
  }

  /** Those to be called with a symbol's quote. A copy, since a callback may subscribe and unsubscribe. */
  watchers(symbol: string): Subscription[] {
    return [...(this.#watchers.get(symbol) ?? []), ...(this.#watchers.get("*") ?? [])];
  }

  /** What the server is to be told now; afterwards it counts as told. */
  changes(): { subscribe: string[]; unsubscribe: string[] } {
    const subscribe = [...this.#watchers.keys()].filter((name) => !this.#told.has(name));
    const unsubscribe = [...this.#told].filter((name) => !this.#watchers.has(name));
    for (const name of subscribe) this.#told.add(name);
    this.untold(unsubscribe);
    return { subscribe, unsubscribe };
  }

  /** The server does not know of these. */
  untold(symbols: Iterable<string>): void {
    for (const symbol of symbols) this.#told.delete(symbol);
  }

  /** The server knows of nothing: a new connection. */
  forget(): void {
    this.#told.clear();
  }
}

/** Cuts a list so that no part takes more than `chars` when each symbol takes `cost` more than `size` says. */
export function inParts(symbols: readonly string[], chars: number, size: (symbol: string) => number): string[][] {
  const parts: string[][] = [];
  let room = 0;
  for (const symbol of symbols) {
    if (room < size(symbol)) {
      parts.push([]);
      room = chars;
    }
    parts[parts.length - 1]?.push(symbol);
    room -= size(symbol);
  }
  return parts;
}
