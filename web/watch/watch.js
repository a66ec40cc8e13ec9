// The watchlist page: a client, the rows, the search, and what is said about the connection.

import { connect } from "./tickcast-client.js";
import { forTab } from "./keep.js";
import { Meters } from "./meters.js";
import { link, standing } from "./status.js";
import { begin, remember, split } from "./symbols.js";
import { Watchlist } from "./watchlist.js";

/** Updates a second and symbol that eyes can follow; the newest comes in any case. */
const MAX_RATE = 4;
const TOKEN = "tickcast.token";
/** Every symbol: a row each is what a watchlist is, so it takes none of these. */
const ALL = "*";
const $ = (id) => document.getElementById(id);

const meters = new Meters();
const client = connect("ws", { maxRate: MAX_RATE, token: () => forTab.get(TOKEN) });
const list = new Watchlist($("quotes"), $("row"), {
  subscribe: (symbol, draw) => {
    let first = true;
    return client.subscribe(symbol, (quote) => {
      draw(quote);
      meters.arrived(quote);
      if (first) showSimulated();
      first = false;
    });
  },
  removed: (symbol) => {
    say(`${symbol} is no longer watched.`);
    suggest([symbol]);
    listChanged();
  },
});

// ---- what is watched

function add(symbols) {
  if (symbols.includes(ALL)) refuse(ALL, "wildcard_not_allowed");
  list.add(symbols.filter((symbol) => symbol !== ALL));
  listChanged();
}

function listChanged() {
  const { symbols } = list;
  remember(symbols);
  $("count").textContent = symbols.length;
  $("empty").hidden = symbols.length > 0;
  showSimulated();
}

function showSimulated() {
  $("simulated").hidden = !list.simulated;
}

function suggest(symbols) {
  const known = new Set([...$("known").options].map(({ value }) => value));
  for (const symbol of symbols) if (!known.has(symbol)) $("known").append(new Option(symbol, symbol));
}

// ---- the search: narrows while one types, adds on Enter

$("symbols").addEventListener("input", () => find($("symbols").value));
$("symbols").addEventListener("keydown", ({ key }) => key === "Escape" && clear());
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const symbols = split($("symbols").value);
  const fresh = symbols.filter((symbol) => !list.has(symbol));
  clear();
  if (!symbols.length) return;
  add(fresh);
  if (fresh.length) say(`${fresh.join(", ")} added.`);
  else list.focus(symbols[0]);
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input")) return;
  event.preventDefault();
  $("symbols").focus();
});

function clear() {
  $("symbols").value = "";
  find("");
}

function find(text) {
  // Several symbols are to be added, not found.
  const part = /[\s,;]/.test(text.trim()) ? "" : text.trim().toUpperCase();
  const shown = list.filter(part);
  say(part ? `${shown} of ${list.symbols.length} watched match; Enter adds ${part}.` : "");
}

// ---- what is said

function say(text) {
  $("message").textContent = text;
}

function showState(connection) {
  if (connection.code === 4401 && connection.state !== "connecting") askToken();
  const asking = !$("token").hidden;
  const { text, tone, retry } = asking ? { text: "needs a token", tone: "", retry: false } : link(connection);
  const pill = $("connection");
  pill.dataset.state = connection.state;
  pill.dataset.tone = tone;
  pill.textContent = text;
  $("retry").hidden = !retry;
  showStanding();
}

function showStanding() {
  const said = standing(client.standing);
  $("banner").hidden = said.length === 0;
  $("banner").textContent = said.join(" ");
}

/** Refusals come one a symbol; they are said together. */
let refused = [];

function refuse(symbol, code) {
  if (!refused.length) {
    queueMicrotask(() => {
      const most = 5;
      const more = refused.length > most ? ` and ${refused.length - most} more` : "";
      say(`Not taken: ${refused.slice(0, most).join(", ")}${more}.`);
      refused = [];
      listChanged();
    });
  }
  refused.push(`${symbol} (${code.replaceAll("_", " ")})`);
  list.remove(symbol);
}

client.on("state", showState);
client.on("status", showStanding);
client.on("lagging", ({ conflated }) => say(`This page fell behind: ${conflated} older quotes were skipped.`));
client.on("error", ({ code, message, symbol }) => {
  if (code === "unauthorized") askToken();
  else if (symbol !== undefined) refuse(symbol, code);
  else if (code !== "poll_failed" && code !== "connect_failed") say(message);
});
$("retry").addEventListener("click", () => client.reconnect());

// ---- a token, where the gateway wants one: kept for this tab only, and nothing is tried meanwhile

function askToken() {
  if (!$("token").hidden) return;
  if (forTab.get(TOKEN) !== undefined) say("The token was refused.");
  forTab.remove(TOKEN);
  $("token").hidden = false;
  $("secret").focus();
  client.close();
}

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  forTab.set(TOKEN, $("secret").value);
  $("secret").value = "";
  $("token").hidden = true;
  say("");
  client.reconnect();
});

// ---- begin

showState(client.connection);
meters.start(client, { rate: $("rate"), arrival: $("arrival"), roundTrip: $("round-trip") });
const { symbols, suggested } = await begin();
suggest(suggested);
if (!symbols.length) say("The server suggests nothing; type symbols above.");
add(symbols);
