// A fake clock with its timers, and chance that is no chance. Time moves only by `advance` and `sleep`.

export class FakePlatform {
  /** Both clocks; they differ by how long the machine slept. */
  monoMs = 1000;
  wallMs = Date.parse("2026-11-21T10:00:00Z");
  chance = 0.5;
  isVisible = true;
  #timers = new Map();
  #next = 1;
  #wakes = new Set();

  mono = () => this.monoMs;
  wall = () => this.wallMs;
  random = () => this.chance;
  visible = () => this.isVisible;

  setTimeout = (run, ms) => {
    // Real ones count in 31 bits, and run at once what does not fit.
    const inMs = ms > 2 ** 31 - 1 ? 1 : Math.max(0, ms);
    this.#timers.set(this.#next, { at: this.monoMs + inMs, run });
    return this.#next++;
  };

  clearTimeout = (timer) => void this.#timers.delete(timer);

  onWake = (wake) => {
    this.#wakes.add(wake);
    return () => this.#wakes.delete(wake);
  };

  /** The network came back, or the page to the front. */
  wake() {
    for (const wake of this.#wakes) wake();
  }

  get timers() {
    return this.#timers.size;
  }

  get wakes() {
    return this.#wakes.size;
  }

  /** Lets promises settle: what was awaited has gone on afterwards. */
  async settle() {
    for (let i = 0; i < 20; i++) await null;
  }

  /** Lets `ms` pass, running what falls due on the way. */
  async advance(ms) {
    await this.settle();
    const end = this.monoMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [timer, { at, run }] = due;
      this.#timers.delete(timer);
      this.#pass(Math.max(0, at - this.monoMs));
      run();
      await this.settle();
    }
    this.#pass(end - this.monoMs);
  }

  /** The machine sleeps: only the wall clock goes on, and no timer runs. */
  sleep(ms) {
    this.wallMs += ms;
  }

  /** The page is frozen: both clocks go on, and timers are late. */
  freeze(ms) {
    this.#pass(ms);
  }

  #pass(ms) {
    this.monoMs += ms;
    this.wallMs += ms;
  }
}
