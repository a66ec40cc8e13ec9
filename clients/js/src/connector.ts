// Keeps one link up: attempts, back-off, close codes, drains, sleep, and when the polling fallback is needed.
//
// Owns the link, the count of failed attempts and the connection state. Does not know quotes. At most one link and one
// timer exist at a time; attempts go on for ever, at most `backoff.maxMs` apart, unless the server says not to come back.

import type { Clock } from "./clock.js";
import { Link, LOST } from "./link.js";
import type { Settings } from "./options.js";
import type { Fields } from "./protocol.js";
import { adviceFor, backoffMs } from "./retry.js";
import { Timer } from "./timer.js";
import type { Tokens } from "./token.js";

export type ConnectionState =
  /** An attempt is under way. */
  | "connecting"
  /** The socket is up. */
  | "open"
  /** The last attempt failed; the next one is planned. */
  | "waiting"
  /** No socket for ten attempts: quotes are fetched by HTTP, attempts go on. */
  | "polling"
  /** By `close()`, or since the server said not to come back. */
  | "closed";

/** The link as users see it; a new object for each change. */
export interface Connection {
  readonly state: ConnectionState;
  /** Attempts that failed since a connection last held. */
  readonly attempts: number;
  /** How long the next attempt was put off, when one is planned. */
  readonly retryInMs?: number;
  /** How the last connection or attempt ended: a close code, 1006 when it was simply lost. */
  readonly code?: number;
  readonly reason?: string;
  /** The server's name for this connection, in its logs too. */
  readonly clientId?: string;
}

/** Whom the connector works for. */
export interface ConnectorOwner {
  message(message: Fields): void;
  /** The server has greeted us. */
  up(): void;
  changed(connection: Connection): void;
  /** `cause`: what was thrown, or a sentence. */
  failed(code: string, cause: unknown): void;
  /** Quotes are to be fetched, or no longer. */
  fallback(needed: boolean): void;
}

/** Failed attempts until quotes are fetched by HTTP instead. */
const POLL_AFTER = 10;
/** A connection that held so long has proved itself: what failed before no longer counts. */
const STABLE_MS = 5000;
/** Woken up, we give the server this long to show that the link has survived. */
const WAKE_MS = 3000;

export class Connector {
  connection: Connection = { state: "connecting", attempts: 0 };
  readonly #settings: Settings;
  readonly #clock: Clock;
  readonly #tokens: Tokens;
  readonly #owner: ConnectorOwner;
  /** The next attempt. */
  readonly #timer: Timer;
  #link: Link | undefined;
  /** Rises with each attempt; what a former one was waiting for is void. */
  #turn = 0;
  /** Since when the link is up, until it has proved itself. */
  #upAt: number | undefined;
  /** Whether the server's "at once" is still obeyed: once until a connection holds, or a broken server makes a storm. */
  #eager = true;
  /** Our slot of a drain. */
  #slotAt = 0;
  #polling: "off" | "works" | "fails" = "off";

  constructor(settings: Settings, clock: Clock, tokens: Tokens, owner: ConnectorOwner) {
    this.#settings = settings;
    this.#clock = clock;
    this.#tokens = tokens;
    this.#owner = owner;
    this.#timer = new Timer(settings.platform);
  }

  /** The link, while it is up. */
  get link(): Link | undefined {
    return this.#link?.up ? this.#link : undefined;
  }

  /** Tries now, whatever was planned; also after the end. */
  start(): void {
    this.#halt();
    const { clientId: _, retryInMs: __, ...last } = this.connection;
    this.#change({ ...last, state: this.#unlinked() });
    void this.#attempt(this.#turn);
  }

  /** Ends for good, until `start`. */
  stop(code: number, reason: string): void {
    this.#halt();
    this.#fallback(false);
    this.#change({ state: "closed", attempts: 0, code, reason });
  }

  /** The network is back or somebody is looking: no reason to wait any longer. */
  nudge(): void {
    this.link?.probe(WAKE_MS);
    if (this.#timer.set) this.start();
  }

  /** The server closes us in `ms`, and wants us back then. */
  draining(ms: number): void {
    this.#slotAt = this.#clock.now() + ms;
  }

  /** How the last round of polling went. */
  polled(works: boolean): void {
    this.#polling = works ? "works" : "fails";
    this.#change({ ...this.connection, state: this.#unlinked() });
  }

  /** Looks at the clock. Nothing ran for `lateMs`: asleep, or a hidden page's timers. */
  beat(lateMs: number): void {
    const { link } = this;
    // The server gives up on a silent client after its interval and its patience. Whether a hidden page slept or was
    // only kept from its timers cannot be seen, so it asks first.
    if (link && lateMs >= link.pingMs && this.#settings.platform.visible()) this.#lost(LOST, "asleep", 0);
    else if (lateMs) this.nudge();
    this.#link?.beat();
    if (this.#upAt !== undefined && this.#clock.now() - this.#upAt >= STABLE_MS) {
      this.#upAt = undefined;
      this.#eager = true;
      this.#change({ ...this.connection, attempts: 0 });
    }
  }

  async #attempt(turn: number): Promise<void> {
    const { WebSocket, url, subprotocol } = this.#settings;
    try {
      const token = await this.#tokens.get();
      if (turn !== this.#turn) return;
      const given = token !== undefined;
      this.#link = new Link(WebSocket, url.href, given && subprotocol ? ["bearer", token] : [], this.#clock, {
        // The first message, since a browser cannot set a header. What follows it need not wait for the answer.
        opened: () => given && !subprotocol && this.#link?.send({ action: "auth", token }),
        message: (message) => {
          this.#owner.message(message);
          if (message["type"] === "connected") this.#opened(message);
        },
        ended: (code, reason) => this.#ended(code, reason),
      });
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#lost(LOST, "connect failed");
      this.#owner.failed("connect_failed", error);
    }
  }

  #opened({ clientId }: Fields): void {
    this.#upAt = this.#clock.now();
    this.#fallback(false);
    this.#change({ state: "open", attempts: this.connection.attempts, clientId: String(clientId) });
    this.#owner.up();
  }

  #ended(code: number, reason: string): void {
    const tokens = this.#tokens;
    const advice = adviceFor(code);
    tokens.spent ||= advice === "token";
    if (advice === "stop" || (advice === "token" && typeof tokens.source !== "function")) {
      this.stop(code, reason);
      this.#owner.failed("closed", `closed with ${code}: ${reason}`);
    } else if (advice !== "back-off" && this.#eager) {
      this.#eager = false;
      this.#lost(code, reason, 0);
    } else {
      // Lost before its slot: the server is gone, and its clients were to come back one after another.
      const slotMs = this.#slotAt - this.#clock.now();
      this.#lost(code, reason, advice === "back-off" && slotMs > 0 ? slotMs : undefined);
    }
  }

  /** Plans the next attempt: after `delayMs`, or by back-off, which then counts a connection that never held. */
  #lost(code: number, reason: string, delayMs?: number): void {
    const { platform, backoff } = this.#settings;
    const { attempts: failures } = this.connection;
    const held = this.link && this.#upAt === undefined;
    this.#halt();
    const attempts = held || delayMs !== undefined ? failures : failures + 1;
    const retryInMs = delayMs ?? backoffMs(failures, backoff, platform.random());
    this.#timer.plan(retryInMs, () => this.start());
    if (attempts >= POLL_AFTER) this.#fallback(true);
    this.#change({ state: this.#unlinked(), attempts, retryInMs, code, reason });
  }

  #halt(): void {
    this.#turn++;
    this.#timer.clear();
    this.#link?.close();
    this.#link = undefined;
    this.#upAt = undefined;
    this.#slotAt = 0;
  }

  #fallback(needed: boolean): void {
    if ((this.#polling !== "off") === needed) return;
    // Hopefully; `polled` will tell.
    this.#polling = needed ? "works" : "off";
    this.#owner.fallback(needed);
  }

  #unlinked(): ConnectionState {
    return this.#polling === "works" ? "polling" : this.#timer.set ? "waiting" : "connecting";
  }

  #change(connection: Connection): void {
    const { state, attempts } = this.connection;
    this.connection = connection;
    if (state !== connection.state || attempts !== connection.attempts) this.#owner.changed(connection);
  }
}
