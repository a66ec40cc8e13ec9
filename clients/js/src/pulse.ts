// A beat each second, and word of it when beats are missing: the machine slept, the page was frozen or hidden.

import type { Clock } from "./clock.js";
import type { Timer } from "./timer.js";

const BEAT_MS = 1000;
/** A busy main thread is late too, but not by that much. */
const LATE_MS = 3000;

/** Beats until the timer is cleared. `lateMs` is how late the beat is, 0 when that is nothing to speak of. */
export function pulse(timer: Timer, clock: Clock, beat: (lateMs: number) => void): void {
  const due = clock.now() + BEAT_MS;
  timer.plan(BEAT_MS, () => {
    pulse(timer, clock, beat);
    const late = clock.now() - due;
    beat(late < LATE_MS ? 0 : late);
  });
}
