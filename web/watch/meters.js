// What this page measures of its own feed: updates a second, how old they are on arrival, the socket's round trip.
//
// Ages are those of changes, not of snapshots, by the server's clock as the client keeps it. The last SAMPLES count.

import { millis } from "./format.js";

const SAMPLES = 512;
const READ_MS = 1000;
/** A ping counts as a message there, of which the gateway takes ten a second. */
const PING_MS = 5000;

export class Meters {
  #ages = [];
  #next = 0;
  #count = 0;
  #total = 0;
  #since = performance.now();

  /** Counts one update. */
  arrived(quote) {
    this.#count++;
    this.#total++;
    if (quote.snapshot || !Number.isFinite(quote.ageMs)) return;
    this.#ages[this.#next] = quote.ageMs;
    this.#next = (this.#next + 1) % SAMPLES;
  }

  /** Writes what was measured into the page from now on. */
  start(client, { rate, arrival, roundTrip }) {
    const ask = async () => {
      if (document.visibilityState === "hidden") return;
      const ms = await client.ping();
      roundTrip.textContent = ms === undefined ? "…" : millis(ms);
    };
    setInterval(ask, PING_MS);
    client.on("state", ({ state }) => (state === "open" ? ask() : (roundTrip.textContent = "…")));
    setInterval(() => {
      rate.textContent = `${this.#perSecond().toLocaleString()} /s`;
      rate.title = `${this.#total.toLocaleString()} since the page was opened`;
      arrival.textContent = this.#spread() ?? "…";
    }, READ_MS);
  }

  #perSecond() {
    const now = performance.now();
    const perSecond = (this.#count * 1000) / (now - this.#since);
    this.#count = 0;
    this.#since = now;
    return Math.round(perSecond);
  }

  #spread() {
    if (!this.#ages.length) return undefined;
    const ages = Float64Array.from(this.#ages).sort();
    const at = (part) => millis(ages[Math.floor((ages.length - 1) * part)]);
    return `${at(0.5)} (95 %: ${at(0.95)})`;
  }
}
