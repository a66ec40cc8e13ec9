// An update off the wire, in either dialect, and the quote that users see.
//
// Nested: {"symbol":"AAPL","data":{"price":1,"timestamp":…},"timestamp":…,"seq":1}. Flat: {"ticker":"AAPL","price":1,…}.
// Which is which is seen from the message, so both may come on one connection. Pure.

import { asFields, timeOf, type Fields } from "./protocol.js";

/** The newest known quote of a symbol. A new object for each change; `ageMs` alone goes on by itself. */
export interface Quote {
  readonly symbol: string;
  readonly price?: number;
  readonly change?: number | null;
  readonly changePercent?: number | null;
  readonly volume?: number | null;
  /** Which provider said so; `simulated` ones are invented. */
  readonly source?: string;
  readonly marketState?: string;
  /** Rises with each update of the symbol; absent when the publisher gives none. */
  readonly seq: number | undefined;
  /** When the price was made, as the publisher wrote it. */
  readonly timestamp: unknown;
  /** When the update was published, as the publisher wrote it. */
  readonly publishedAt: unknown;
  /** Milliseconds since the update was published, by the server's clock, right at each reading. */
  readonly ageMs: number;
  /** The server calls it stale, or there has been no link for long. */
  readonly stale: boolean;
  /** Whether it came as the last known quote rather than as a change. */
  readonly snapshot: boolean;
  /** Whatever else the publisher put into `data`. */
  readonly [field: string]: unknown;
}

/** What an update says, read once. */
export interface Update {
  readonly symbol: string;
  readonly data: Fields;
  readonly seq: number | undefined;
  readonly publishedAt: unknown;
  readonly publishedMs: number | undefined;
  readonly tradedMs: number | undefined;
  /** A restatement (snapshot, poll) rather than a change, so that it may be what is known already. */
  readonly snapshot: boolean;
}

/** Reads an update; nothing when it names no symbol. */
export function readUpdate(message: Fields, snapshot: boolean): Update | undefined {
  const { type: _type, symbol, ticker, seq, snapshot: _snapshot, age_ms: _age, ...rest } = message;
  const name = symbol ?? ticker;
  if (typeof name !== "string") return undefined;
  const nested = asFields(message["data"]);
  const tradedMs = timeOf((nested ?? rest)["timestamp"]);
  return {
    symbol: name.toUpperCase(),
    data: nested ?? rest,
    // Anything else than a whole number counts as none, as it does in the gateway.
    seq: Number.isSafeInteger(seq) && (seq as number) >= 0 ? (seq as number) : undefined,
    publishedAt: rest["timestamp"],
    publishedMs: timeOf(rest["timestamp"]) ?? tradedMs,
    tradedMs,
    snapshot,
  };
}

/**
 * Whether `update` is to replace `held`: by a higher `seq`; without one a change always passes, and a restatement passes
 * by a later trade, then a later publication, then other content. `seq` is the highest one seen.
 */
export function isNewer(update: Update, held: Update, seq: number | undefined): boolean {
  if (update.seq !== undefined && seq !== undefined) return update.seq > seq;
  if (!update.snapshot) return true;
  for (const field of ["tradedMs", "publishedMs"] as const) {
    const [mine, theirs] = [update[field], held[field]];
    if (mine !== undefined && theirs !== undefined && mine !== theirs) return mine > theirs;
  }
  return JSON.stringify(update.data) !== JSON.stringify(held.data);
}
