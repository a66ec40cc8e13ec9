// Prints quotes as they change: node examples/watch.js [URL] [SYMBOL…]
import { connect } from "tickcast-client";
import { WebSocket } from "ws"; // Node below 22 has none of its own

const [url = "ws://127.0.0.1:8081/ws", ...symbols] = process.argv.slice(2);
const client = connect(url, { WebSocket });

client.on("state", ({ state, attempts }) => console.error(`${state}, ${attempts} failed attempts`));
client.on("error", ({ message }) => console.error(message));
client.subscribe(symbols.length ? symbols : ["AAPL", "MSFT"], (quote) => {
  console.log(quote.symbol, quote.price, `${quote.ageMs} ms old`, quote.stale ? "(stale)" : "");
});
