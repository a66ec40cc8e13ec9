// The time that ages are measured by: it counts sleep, never goes back, and follows the server's time of day.
//
// The monotonic clock alone stands still while a laptop sleeps (Linux, macOS), so quotes would wake up looking fresh;
// the wall clock alone jumps when somebody sets it. So: monotonic, plus what the wall clock gained on it. A wall clock
// set forward looks like sleep until the server's next timestamp puts the time of day right again.

import type { Platform } from "./platform.js";

/** Below it a difference is rounding or a clock being disciplined, not sleep. */
const LEAP_MS = 1000;

export class Clock {
  readonly #platform: Platform;
  /** Wall minus monotonic, as it was last seen. */
  #gap: number;
  #slept = 0;
  /** Server's time of day minus ours. */
  #ahead: number;

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#gap = platform.wall() - platform.mono();
    this.#ahead = this.#gap;
  }

  /** Milliseconds since some moment, sleep included. */
  now(): number {
    const { mono, wall } = { mono: this.#platform.mono(), wall: this.#platform.wall() };
    const leap = wall - mono - this.#gap;
    if (Math.abs(leap) > LEAP_MS) {
      this.#gap += leap;
      if (leap > 0) this.#slept += leap;
    }
    return mono + this.#slept;
  }

  /** The server's time of day in milliseconds since 1970; ours until it was told. */
  server(): number {
    return this.now() + this.#ahead;
  }

  /** The server says that it is `ms` there now. */
  sync(ms: number | undefined): void {
    if (ms !== undefined) this.#ahead = ms - this.now();
  }
}
