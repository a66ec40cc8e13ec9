// A client in a world of fakes, with everything it told.

import { connect } from "tickcast-client";
import { FakePlatform } from "./platform.js";
import { fakeRest } from "./rest.js";
import { fakeSockets } from "./socket.js";

export async function fakeWorld(options = {}, url = "wss://quotes.example/ws") {
  const platform = new FakePlatform();
  const { WebSocket, sockets, last } = fakeSockets();
  const rest = fakeRest();
  const client = connect(url, { platform, WebSocket, fetch: rest.fetch, ...options });
  const told = { state: [], status: [], stale: [], lagging: [], error: [], notice: [] };
  for (const event of Object.keys(told)) client.on(event, (payload) => told[event].push(payload));
  await platform.settle();
  const world = {
    platform,
    sockets,
    rest,
    client,
    told,
    socket: last,
    /** The client is connected and has said what it wants. */
    async greeted(more) {
      last().greet(more);
      await platform.advance(0);
      return last();
    },
    /** The link has proved itself. */
    async stable() {
      for (let s = 0; s < 6; s++) {
        await platform.advance(1000);
        last().say({ type: "fresh", symbol: "NOBODYS" });
      }
    },
    /** Attempts fail until `count` have. */
    async failing(count) {
      while (client.connection.attempts < count) {
        const before = sockets.length;
        last().end(1006);
        await platform.advance(client.connection.retryInMs);
        if (sockets.length === before) throw new Error("no further attempt");
      }
    },
  };
  return world;
}
