// What this client needs from the browser or Node: clocks, timers, chance, and word of waking up.
//
// One seam, so that tests can move time. Everything that waits goes through it.

export interface Platform {
  /** Milliseconds that never go back; may stand still while the machine sleeps. */
  mono(): number;
  /** Milliseconds since 1970; may be set by the user. */
  wall(): number;
  /** From 0 up to 1. */
  random(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Whether timers are kept on time: a hidden page's are not. */
  visible(): boolean;
  /** Calls `wake` when the network came back or the page was brought to the front; returns how to stop that. */
  onWake(wake: () => void): () => void;
}

export const platform: Platform = {
  mono: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
  visible: () => globalThis.document?.visibilityState !== "hidden",
  onWake(wake) {
    const stop = new AbortController();
    // Node has neither.
    globalThis.addEventListener?.("online", wake, stop);
    globalThis.document?.addEventListener("visibilitychange", () => platform.visible() && wake(), stop);
    return () => stop.abort();
  },
};
