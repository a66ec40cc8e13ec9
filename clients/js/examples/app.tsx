import { createRoot } from "react-dom/client";
import { connect } from "tickcast-client";
import { TickcastProvider, useConnection, useQuote, useQuotes } from "tickcast-client/react";

const client = connect(new URLSearchParams(location.search).get("ws") ?? "ws://127.0.0.1:8081/ws");

function Price({ symbol }: { symbol: string }) {
  const quote = useQuote(symbol);
  return <p className={quote?.stale ? "stale" : ""}>{quote ? `${quote.symbol} ${quote.price}` : `${symbol} …`}</p>;
}

function Watchlist({ symbols }: { symbols: string[] }) {
  const quotes = useQuotes(symbols);
  return <p>{symbols.map((symbol) => quotes.get(symbol)?.price ?? "…").join(" | ")}</p>;
}

function Status() {
  const { state, attempts, standing } = useConnection();
  return <p>{standing.paused ? "publishing is paused" : `${state} (${attempts} failed attempts)`}</p>;
}

createRoot(document.getElementById("app")!).render(
  <TickcastProvider client={client}>
    <Status />
    <Price symbol="AAPL" />
    <Watchlist symbols={["AAPL", "MSFT"]} />
  </TickcastProvider>,
);
