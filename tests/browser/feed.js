// A service that publishes at a fixed rate through Redis, over one connection, and knows what it said last.

import { once } from "node:events";
import { connect } from "node:net";

export class Feed {
  #socket;
  #timer;
  #seq = Date.now();
  #rounds = 0;
  #symbols;
  /** What was published last, by symbol. */
  last = new Map();

  constructor(symbols) {
    this.#symbols = symbols;
  }

  static async start(redis, symbols, perSecond) {
    const feed = new Feed(symbols);
    feed.#socket = connect(redis.port, "127.0.0.1");
    await once(feed.#socket, "connect");
    feed.#socket.resume();
    const from = performance.now();
    // As many rounds as are due: a timer that came late is made up for.
    feed.#timer = setInterval(() => {
      while (feed.#rounds < ((performance.now() - from) * perSecond) / 1000) feed.#publish();
    }, 1000 / perSecond);
    return feed;
  }

  /** Rounds published; each is one update of every symbol. */
  get rounds() {
    return this.#rounds;
  }

  /** Stops after one more round, kept in Redis before it is published: whoever lost some of the others gets this one. */
  settle() {
    clearInterval(this.#timer);
    const updates = this.#updates();
    for (const update of updates) this.#command("SET", `cache:quote:${update.symbol}`, JSON.stringify(update), "EX", "300");
    this.#command("PUBLISH", "market-data:updates", JSON.stringify(updates));
  }

  stop() {
    clearInterval(this.#timer);
    this.#socket.end();
  }

  #publish() {
    this.#command("PUBLISH", "market-data:updates", JSON.stringify(this.#updates()));
  }

  /** One update of each symbol. */
  #updates() {
    this.#rounds++;
    const timestamp = new Date().toISOString();
    return this.#symbols.map((symbol, i) => {
      const price = Number((100 + i + Math.sin(this.#rounds / 7 + i)).toFixed(2));
      this.last.set(symbol, price);
      const data = { symbol, price, change: 0.5, changePercent: 0.3, volume: 1000 + this.#rounds, source: "feed", timestamp };
      return { type: "price_update", symbol, data, timestamp, seq: ++this.#seq };
    });
  }

  /** Sends a command in Redis' RESP. */
  #command(...words) {
    this.#socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
  }
}
