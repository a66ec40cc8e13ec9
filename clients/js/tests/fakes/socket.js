// A fake WebSocket class: each attempt is kept, and the test plays the server.

export function fakeSockets() {
  const sockets = [];
  class FakeWebSocket {
    sent = [];
    closedWith = undefined;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;

    constructor(url, protocols) {
      this.url = url;
      this.protocols = protocols;
      sockets.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith ??= code;
    }

    // ---- the server's side

    open() {
      this.onopen({});
      return this;
    }

    /** Opens and greets, as a gateway does. */
    greet(more = {}) {
      this.open();
      return this.say({
        type: "connected",
        clientId: `client_${sockets.length}`,
        limits: { symbols: 1024, message_bytes: 65536 },
        ping_interval_s: 25,
        timestamp: "2026-11-21T10:00:00.000Z",
        ...more,
      });
    }

    say(message) {
      return this.write(JSON.stringify(message));
    }

    write(data) {
      this.onmessage({ data });
      return this;
    }

    quote(symbol, price, more = {}) {
      const timestamp = "2026-11-21T10:00:00.000Z";
      return this.say({ type: "price_update", symbol, data: { symbol, price, timestamp }, timestamp, ...more });
    }

    end(code, reason = "") {
      this.onclose({ code, reason });
      return this;
    }

    /** What was sent of one action. */
    asked(action) {
      return this.sent.filter((message) => message.action === action);
    }
  }
  return { WebSocket: FakeWebSocket, sockets, last: () => sockets.at(-1) };
}
