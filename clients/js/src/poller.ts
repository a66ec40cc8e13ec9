// The fallback: fetches quotes by HTTP while there is no socket.
//
// One request at a time, each with a deadline, `intervalMs` between rounds and more after failures; what the server says
// by Retry-After is obeyed. Owns its timer and the request under way; `stop` ends both.

import { inParts } from "./interest.js";
import type { Settings } from "./options.js";
import { asFields, type Fields } from "./protocol.js";
import { backoffMs } from "./retry.js";
import { Timer } from "./timer.js";
import type { Tokens } from "./token.js";

/** Whom the poller works for. */
export interface PollerOwner {
  /** The base of the REST calls. */
  api(): URL;
  symbols(): string[];
  answered(body: Fields): void;
  /** A round is over: with answers, or why without. */
  polled(problem: string | undefined): void;
}

/** URLs longer than 8 KB are refused by common proxies; the rest is for host, path and cookies. */
const SYMBOLS_CHARS = 4000;
/** The server may wait 2 s for a symbol that nobody has asked for. */
const ANSWER_MS = 10_000;
/** The longest that failures put off the next round. */
const FAILURES_MOST_MS = 60_000;
/** The longest that a Retry-After does: one hour. */
const RETRY_AFTER_MOST_MS = 3_600_000;

export class Poller {
  readonly #settings: Settings;
  readonly #tokens: Tokens;
  readonly #owner: PollerOwner;
  readonly #timer: Timer;
  /** The round under way; another one, or none, makes its outcome void. */
  #round: AbortController | undefined;
  #failures = 0;

  constructor(settings: Settings, tokens: Tokens, owner: PollerOwner) {
    this.#settings = settings;
    this.#tokens = tokens;
    this.#owner = owner;
    this.#timer = new Timer(settings.platform);
  }

  start(): void {
    this.stop();
    void this.#poll();
  }

  stop(): void {
    this.#failures = 0;
    this.#timer.clear();
    this.#round?.abort();
    this.#round = undefined;
  }

  /** There are new symbols: the next round is due, unless the server wants to be left alone. */
  soon(): void {
    if (this.#timer.set && !this.#failures) this.start();
  }

  async #poll(): Promise<void> {
    const { platform, pollIntervalMs } = this.#settings;
    const round = (this.#round = new AbortController());
    let waitMs = 0;
    let problem: string | undefined;
    try {
      for (const part of inParts(this.#owner.symbols(), SYMBOLS_CHARS, (symbol) => encodeURIComponent(symbol).length + 1)) {
        waitMs = await this.#ask(part, round);
        if (waitMs) throw `asked to wait ${waitMs} ms`;
      }
      this.#failures = 0;
    } catch (error) {
      problem = String(error);
    }
    if (this.#round !== round) return;
    if (problem) this.#failures++;
    const random = platform.random();
    const ownMs = problem
      ? backoffMs(this.#failures, { minMs: pollIntervalMs, maxMs: FAILURES_MOST_MS }, random)
      : // Clients that lost the same gateway must not poll in step.
        pollIntervalMs * (0.9 + 0.2 * random);
    this.#timer.plan(Math.max(ownMs, waitMs, pollIntervalMs * 0.9), () => void this.#poll());
    this.#owner.polled(problem);
  }

  /** Fetches some symbols; resolves with how long the server wants to be left alone, 0 when it has answered. */
  async #ask(symbols: string[], round: AbortController): Promise<number> {
    const { platform, fetch } = this.#settings;
    const token = this.#tokens.current;
    const url = `${this.#owner.api().href.replace(/\/$/, "")}/quotes?symbols=${symbols.map(encodeURIComponent).join()}`;
    const deadline = new Timer(platform);
    deadline.plan(ANSWER_MS, () => round.abort());
    try {
      const response = await fetch(url, {
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        signal: round.signal,
        cache: "no-store",
      });
      const { status } = response;
      if (status === 401) this.#tokens.spent = true;
      if (status === 429 || status === 503) return this.#retryAfter(response);
      if (!response.ok) throw `REST answered ${status}`;
      const body = asFields(await response.json());
      if (body && this.#round === round) this.#owner.answered(body);
      return 0;
    } finally {
      deadline.clear();
    }
  }

  /** Seconds or a date (RFC 9110 §10.2.3); the interval when it is not told. */
  #retryAfter(response: Response): number {
    const { platform, pollIntervalMs } = this.#settings;
    const told = response.headers.get("retry-after") ?? "";
    const ms = Number(told) * 1000 || Date.parse(told) - platform.wall();
    return Math.min(RETRY_AFTER_MOST_MS, ms > 0 ? ms : pollIntervalMs);
  }
}
