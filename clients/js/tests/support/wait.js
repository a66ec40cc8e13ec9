// Waiting for what a client tells, with a generous deadline.

const DEADLINE_MS = 30_000;

/** Resolves once `holds()` is true, looked at on each event of the client and on each quote of `symbols`. */
export function until(client, what, holds, symbols = []) {
  return new Promise((resolve, reject) => {
    const stops = [];
    const done = (finish) => {
      clearTimeout(timer);
      for (const stop of stops) stop();
      finish();
    };
    const timer = setTimeout(
      () => done(() => reject(new Error(`not within 30 s: ${what}; ${JSON.stringify(client.connection)}`))),
      DEADLINE_MS,
    );
    const look = () => holds() && done(resolve);
    for (const event of ["state", "status", "stale", "error"]) stops.push(client.on(event, look));
    if (symbols.length) stops.push(client.subscribe(symbols, look));
    queueMicrotask(look);
  });
}

export const untilState = (client, state) => until(client, `state ${state}`, () => client.connection.state === state);

export const untilPrice = (client, symbol, price) =>
  until(client, `${symbol} at ${price}`, () => client.quotes.get(symbol)?.price === price, [symbol]);

export const untilStatus = (client, status) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within 30 s: status ${status}`)), DEADLINE_MS);
    const stop = client.on("status", (message) => {
      if (message.status !== status) return;
      clearTimeout(timer);
      stop();
      resolve(message);
    });
  });

let seq = Date.now();

/** An update as a publisher writes it. */
export function update(symbol, price) {
  const timestamp = new Date().toISOString();
  return { type: "price_update", symbol, data: { symbol, price, timestamp }, timestamp, seq: ++seq };
}
