// When to come back: the server's table of close codes, and exponential back-off with full jitter.
//
// Full jitter is random(0, min(cap, base · 2^n)): Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
// 2015. Pure.

export interface Backoff {
  /** The most that the first wait takes. */
  readonly minMs: number;
  /** The most that any wait takes. */
  readonly maxMs: number;
}

export type Advice =
  /** At once: the server asked for it. */
  | "now"
  /** With back-off. */
  | "back-off"
  /** With another token. */
  | "token"
  /** Not before someone has mended or asked for it. */
  | "stop";

/** Same as the server's table (src/protocol/message.rs); a test compares the two. Any other code: back-off. */
export function adviceFor(code: number): Advice {
  if (code === 1012) return "now";
  if (code === 4401) return "token";
  return [1000, 1002, 1003, 1007, 1008, 1009].includes(code) ? "stop" : "back-off";
}

/** How long to wait after `failures` failures in a row. */
export function backoffMs(failures: number, { minMs, maxMs }: Backoff, random: number): number {
  return random * Math.min(maxMs, minMs * 2 ** Math.min(failures, 30));
}
