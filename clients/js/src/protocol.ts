// What the server says, as far as this client reads it (docs/protocol.md has every message).
//
// Only shapes and the two ways a time may be written. A message is untrusted until a field's type was looked at.

/** A JSON object off the wire. */
export type Fields = { readonly [name: string]: unknown };

/** `{"type":"status"}`: what the server says about itself. Fields as on the wire. */
export interface StatusMessage {
  readonly type: "status";
  readonly status: "degraded" | "ok" | "paused" | "resumed" | "draining" | (string & {});
  readonly reason?: string;
  /** Paused or resumed: only what this provider serves. */
  readonly provider?: string;
  /** Paused or resumed: only these symbols. */
  readonly symbols?: readonly string[];
  /** Draining: when this connection will be closed; the client comes back then by itself. */
  readonly reconnect_in_ms?: number;
  readonly timestamp?: string;
}

/** `{"type":"lagging"}`: this client reads too slowly and now gets only the newest of each symbol. */
export interface LaggingMessage {
  readonly type: "lagging";
  /** Updates that gave way to newer ones since the last such message. */
  readonly conflated: number;
}

/** The object in `value`; nothing for anything else. */
export function asFields(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/**
 * A time in milliseconds since 1970: an RFC 3339 text, or a number of seconds or, from 10^11 on (the year 5138 in
 * seconds), of milliseconds. The gateway reads times the same way.
 */
export function timeOf(value: unknown): number | undefined {
  const ms = typeof value === "number" ? (value >= 1e11 ? value : value * 1000) : Date.parse(String(value));
  return Number.isFinite(ms) ? ms : undefined;
}
