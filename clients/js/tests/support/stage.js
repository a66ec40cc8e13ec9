// What a test has started, ended after it whatever happens.

import { connect } from "tickcast-client";
import { WebSocket } from "ws";

export class Stage {
  #ends = [];

  /** Ends `thing` after the test, in reverse order. */
  keep(thing, end) {
    this.#ends.push(() => end(thing));
    return thing;
  }

  /** A client with the `ws` package, quick to come back. */
  client(url, options = {}) {
    const client = connect(url, { WebSocket, backoff: { minMs: 10, maxMs: 100 }, ...options });
    return this.keep(client, () => client.close());
  }

  async clear() {
    for (const end of this.#ends.reverse()) await end();
    this.#ends.length = 0;
  }
}
