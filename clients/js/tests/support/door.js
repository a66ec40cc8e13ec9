// A TCP door in front of gateways, as a platform's router is: its address stays while what is behind it changes.
// It can also fail as networks do: refuse, cut, or swallow without a word.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export async function openDoor(port) {
  const pairs = new Set();
  const door = {
    /** Where new connections go; nowhere: they are cut. */
    to: port,
    accepted: 0,
    /** Cuts every connection. */
    cut() {
      for (const { front, back } of pairs) {
        front.destroy();
        back.destroy();
      }
    },
    /** The existing connections are dead, and neither side is told. */
    swallow() {
      for (const { front, back } of pairs) {
        front.unpipe(back).on("data", () => {});
        back.unpipe(front).on("data", () => {});
      }
    },
    async close() {
      server.close();
      door.cut();
    },
  };
  const server = createServer((front) => {
    door.accepted++;
    front.on("error", () => {});
    if (door.to === undefined) return void front.destroy();
    const back = connect(door.to, "127.0.0.1");
    const pair = { front, back };
    pairs.add(pair);
    back.on("error", () => front.destroy());
    front.on("close", () => {
      pairs.delete(pair);
      back.destroy();
    });
    front.pipe(back).pipe(front);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  door.port = server.address().port;
  door.ws = `ws://127.0.0.1:${door.port}/ws`;
  return door;
}
