// A React application on the hooks, for the browser tests.

import { createElement as h, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "tickcast-client";
import { TickcastProvider, useConnection, useQuote, useQuotes } from "tickcast-client/react";

const client = (window.client = connect(new URLSearchParams(location.search).get("ws"), { backoff: { minMs: 20, maxMs: 200 } }));
window.renders = 0;

function One({ symbol }) {
  const quote = useQuote(symbol);
  return h("p", { id: "one" }, quote ? `${quote.symbol} ${quote.price}` : "no quote");
}

function Many({ symbols }) {
  window.renders++;
  const quotes = useQuotes(symbols);
  return h("p", { id: "many" }, symbols.map((symbol) => quotes.get(symbol)?.price ?? "?").join(" "));
}

function State() {
  const { state, standing } = useConnection();
  return h("p", { id: "state" }, standing.paused ? `${state}, paused` : state);
}

function App() {
  const [symbol, setSymbol] = useState("TITAN");
  const [shown, setShown] = useState(true);
  window.show = { setSymbol, setShown };
  return shown && [h(One, { key: 1, symbol }), h(Many, { key: 2, symbols: ["TITAN", "ONGC"] }), h(State, { key: 3 })];
}

createRoot(document.getElementById("app")).render(h(StrictMode, null, h(TickcastProvider, { client }, h(App))));
