// Which symbols this visitor watches: those in the address, else those of the last visit, else what the server suggests.
//
// A list that came by the address stays in the address, so that it can be sent to somebody; any other stays in the
// browser's storage. Bounded by what the gateway takes.

import { forGood } from "./keep.js";

const KEY = "tickcast.symbols";
const inAddress = new URLSearchParams(location.search).has("symbols");

/** Symbols out of what somebody typed. */
export function split(text) {
  return [...new Set(text.toUpperCase().split(/[\s,;]+/).filter(Boolean))];
}

/** What to begin with, and what to suggest. Rejects never: without an answer nothing is suggested. */
export async function begin() {
  const suggested = await suggestions();
  const chosen = inAddress ? split(new URLSearchParams(location.search).get("symbols")) : split(forGood.get(KEY) ?? "");
  return { symbols: chosen.length ? chosen : suggested, suggested };
}

export function remember(symbols) {
  if (inAddress) {
    const url = new URL(location.href);
    url.searchParams.set("symbols", symbols.join());
    history.replaceState(null, "", url.href.replaceAll("%2C", ","));
    return;
  }
  forGood.set(KEY, symbols.join());
}

async function suggestions() {
  try {
    const { symbols } = await (await fetch("demo.json")).json();
    return symbols;
  } catch {
    return [];
  }
}
