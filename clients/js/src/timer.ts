// One planned call at most: planning another forgets the first.

import type { Platform } from "./platform.js";

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
    }, ms);
  }

  clear(): void {
    this.#platform.clearTimeout(this.#planned);
    this.#planned = undefined;
  }
}
