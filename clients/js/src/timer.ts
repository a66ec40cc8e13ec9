// One planned call at most: planning another forgets the first.

import type { Platform } from "./platform.js";

/** Longer ones would run at once: timers count in 31 bits. */
const MOST_MS = 2 ** 31 - 1;

export class Timer {
  readonly #platform: Platform;
  #planned: unknown;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Whether a call is planned. */
  get set(): boolean {
    return this.#planned !== undefined;
  }

  plan(ms: number, run: () => void): void {
    this.clear();
    this.#planned = this.#platform.setTimeout(() => {
      this.#planned = undefined;
      run();
    }, Math.min(ms, MOST_MS));
  }

  clear(): void {
    this.#platform.clearTimeout(this.#planned);
    this.#planned = undefined;
  }
}
