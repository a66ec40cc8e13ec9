// The demo page: subscribes, shows each symbol's newest quote, reconnects with back-off and jitter.
"use strict";

const rows = new Map(); // symbol -> {row, cells, quote, at}
const banner = document.getElementById("banner");
const connection = document.getElementById("connection");
const message = document.getElementById("message");
let socket = null;
let failures = 0;
let timer = 0;
let standing = {}; // what the server said about itself

const wanted = new Set(
  (new URLSearchParams(location.search).get("symbols") || "").split(",").map((s) => s.trim().toUpperCase()).filter(Boolean),
);

function say(state, text) {
  connection.dataset.state = state;
  connection.textContent = text;
}

function showBanner() {
  const simulated = [...rows.values()].some((entry) => entry.quote?.source === "simulated");
  const texts = [];
  if (standing.degraded) texts.push(`Degraded: ${standing.degraded}`);
  if (standing.paused) texts.push(`Publishing is paused: ${standing.paused}`);
  if (simulated) texts.push("These prices are simulated. For live ones without a key: tickcast serve --provider binance");
  banner.hidden = texts.length === 0;
  banner.textContent = texts.join(" · ");
}

function connect() {
  clearTimeout(timer);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const symbols = [...wanted].map(encodeURIComponent).join(",");
  say("connecting", "connecting…");
  socket = new WebSocket(`${scheme}://${location.host}/ws${symbols ? `?symbols=${symbols}` : ""}`);
  socket.onopen = () => {
    failures = 0;
    standing = {};
    say("open", "connected");
  };
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = (event) => reconnect(event);
}

// Full jitter: anywhere between nothing and the bound, which doubles with each failure.
function reconnect(event) {
  const bound = Math.min(30_000, 500 * 2 ** failures++);
  const delay = event.code === 1012 ? 0 : Math.random() * bound;
  say("closed", `disconnected (${event.code}); again in ${Math.ceil(delay / 1000)} s`);
  timer = setTimeout(connect, delay);
}

const handlers = {
  price_update: (update) => show(update.symbol.toUpperCase(), update.data || update, update.snapshot),
  subscribed: (ack) => {
    for (const symbol of ack.symbols) row(symbol);
    const bad = (ack.rejected || []).map((r) => `${r.symbol}: ${r.code.replaceAll("_", " ")}`);
    message.textContent = bad.length ? `Not taken: ${bad.join(", ")}` : "";
    for (const rejected of ack.rejected || []) wanted.delete(rejected.symbol);
  },
  unsubscribed: (ack) => ack.symbols.forEach(remove),
  error: (error) => (message.textContent = error.message),
  lagging: (lag) => (message.textContent = `This page fell behind; ${lag.conflated} older quotes were skipped.`),
  status: (status) => {
    if (status.status === "degraded") standing.degraded = status.reason || "the broker is away";
    if (status.status === "ok") delete standing.degraded;
    if (status.status === "paused") standing.paused = status.reason || "by an operator";
    if (status.status === "resumed") delete standing.paused;
    showBanner();
  },
};

function receive(told) {
  handlers[told.type]?.(told);
}

function row(symbol) {
  let entry = rows.get(symbol);
  if (entry) return entry;
  wanted.add(symbol);
  const tr = document.createElement("tr");
  tr.dataset.symbol = symbol;
  const cells = {};
  for (const [name, classes] of [["symbol", "symbol"], ["price", "number price"], ["change", "number"],
    ["volume", "number wide"], ["age", "number"], ["source", "source wide"]]) {
    cells[name] = tr.insertCell();
    cells[name].className = classes;
  }
  cells.symbol.textContent = symbol;
  cells.age.textContent = "…";
  const stop = document.createElement("button");
  stop.type = "button";
  stop.textContent = "×";
  stop.setAttribute("aria-label", `Stop watching ${symbol}`);
  stop.onclick = () => {
    wanted.delete(symbol);
    send({ action: "unsubscribe", symbols: [symbol] });
    remove(symbol);
  };
  tr.insertCell().append(stop);
  const after = [...rows.keys()].sort().find((other) => other > symbol);
  document.getElementById("quotes").insertBefore(tr, after ? rows.get(after).row : null);
  entry = { row: tr, cells, quote: null, at: 0 };
  rows.set(symbol, entry);
  return entry;
}

function remove(symbol) {
  rows.get(symbol)?.row.remove();
  rows.delete(symbol);
  showBanner();
}

function show(symbol, quote, snapshot) {
  if (!wanted.has(symbol)) return;
  const entry = row(symbol);
  const { cells, row: tr } = entry;
  const before = Number(entry.quote?.price);
  const price = Number(quote.price);
  cells.price.textContent = quote.price ?? "";
  const change = quote.change ?? null;
  const percent = quote.changePercent ?? null;
  const signed = (n) => (n > 0 ? `+${n}` : `${n}`);
  const rounded = percent === null ? "" : `${percent > 0 ? "+" : ""}${Number(percent).toFixed(2)}%`;
  cells.change.textContent = [change === null ? "" : signed(change), rounded].join(" ").trim();
  cells.change.className = `number ${change > 0 ? "up" : change < 0 ? "down" : ""}`;
  cells.volume.textContent = quote.volume === undefined ? "" : Number(quote.volume).toLocaleString();
  cells.source.textContent = quote.source ?? "";
  if (!snapshot && before && price !== before) {
    tr.className = "";
    void tr.offsetWidth; // restarts the animation
    tr.className = price > before ? "flash-up" : "flash-down";
  }
  const first = !entry.quote;
  entry.quote = quote;
  entry.at = Date.parse(quote.timestamp) || Date.now();
  if (first) showBanner();
}

function age(ms) {
  if (ms < 1000) return "now";
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

function send(request) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(request));
}

document.getElementById("subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = document.getElementById("symbols");
  const symbols = input.value.split(/[\s,]+/).filter(Boolean);
  if (symbols.length) {
    for (const symbol of symbols) wanted.add(symbol.toUpperCase());
    send({ action: "subscribe", symbols });
    input.value = "";
  }
});

setInterval(() => {
  for (const entry of rows.values()) {
    if (!entry.quote) continue;
    const ms = Date.now() - entry.at;
    entry.cells.age.textContent = age(ms);
    entry.cells.age.classList.toggle("old", ms > 60_000);
  }
}, 1000);

(async () => {
  if (wanted.size === 0) {
    try {
      for (const symbol of (await (await fetch("/demo.json")).json()).symbols) wanted.add(symbol);
    } catch {
      message.textContent = "The server could not be asked what to show; type symbols above.";
    }
  }
  connect();
})();
