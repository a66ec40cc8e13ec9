// The token: where it comes from, and whether there can be a new one.
//
// Keeps the last one in memory only. It is never put into a URL, where proxies would log it.

import type { Platform } from "./platform.js";
import { Timer } from "./timer.js";

export interface TokenRequest {
  /** The last token was refused or is about to expire: do not answer from a cache. */
  readonly renew: boolean;
}

export type TokenSource = string | ((request: TokenRequest) => string | Promise<string>);

/** A sign-in may take its time; one that never answers must not keep the client away for ever. */
const PATIENCE_MS = 30_000;

export class Tokens {
  /** Where tokens come from; only a function can bring another one. */
  source: TokenSource | undefined;
  /** The last one. */
  current: string | undefined;
  /** Whether the last one is of no more use. */
  spent = false;
  readonly #platform: Platform;

  constructor(source: TokenSource | undefined, platform: Platform) {
    this.source = source;
    this.#platform = platform;
  }

  /** Asks for the token to use now. Rejects with what the user's function threw, or when it takes too long. */
  async get(): Promise<string | undefined> {
    const { source } = this;
    if (typeof source !== "function") return (this.current = source);
    const timer = new Timer(this.#platform);
    const late = new Promise<never>((_, reject) => timer.plan(PATIENCE_MS, () => reject(new Error("no token within 30 s"))));
    try {
      this.current = await Promise.race([source({ renew: this.spent }), late]);
      this.spent = false;
      return this.current;
    } finally {
      timer.clear();
    }
  }
}
