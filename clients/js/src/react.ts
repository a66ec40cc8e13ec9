// Hooks for React 18 and later, on useSyncExternalStore.
//
// They hold no quotes: the client does, and hands out a new object for each change, which is what React compares. A
// symbol is subscribed while a mounted component uses it.

import { createContext, createElement, useCallback, useContext, useMemo, useSyncExternalStore } from "react";
import type { FunctionComponent, ReactNode } from "react";
import type { Client, Standing } from "./client.js";
import type { Connection } from "./connector.js";
import type { Quote } from "./quote.js";

const Context = createContext<Client | undefined>(undefined);

/** Gives the components below it a client. */
export const TickcastProvider: FunctionComponent<{ client: Client; children?: ReactNode }> = ({ client, children }) =>
  createElement(Context.Provider, { value: client }, children);

/** The client: the one given, or the provider's. */
export function useClient(given?: Client): Client {
  const provided = useContext(Context);
  const client = given ?? provided;
  if (!client) throw new Error("no client: wrap the component in <TickcastProvider client={…}> or pass one");
  return client;
}

/** The newest quote of a symbol; undefined until there is one. Renders on each change; `ageMs` goes on between. */
export function useQuote(symbol: string, client?: Client): Quote | undefined {
  const source = useClient(client);
  const name = symbol.trim().toUpperCase();
  const subscribe = useCallback((changed: () => void) => source.subscribe(name, changed), [source, name]);
  return useSyncExternalStore(
    subscribe,
    () => source.quotes.get(name),
    () => undefined,
  );
}

/** The newest quotes of some symbols; renders at most once a frame, however many change. */
export function useQuotes(symbols: readonly string[], client?: Client): ReadonlyMap<string, Quote> {
  const source = useClient(client);
  const key = symbols.join();
  const store = useMemo(() => quotesStore(source, key ? key.split(",") : []), [source, key]);
  return useSyncExternalStore(store.subscribe, store.get, () => NONE);
}

/** The state of the connection, and what the server says about itself. */
export function useConnection(client?: Client): Connection & { readonly standing: Standing } {
  const source = useClient(client);
  const store = useMemo(() => connectionStore(source), [source]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

const NONE: ReadonlyMap<string, Quote> = new Map();

function quotesStore(client: Client, symbols: readonly string[]) {
  const names = symbols.map((symbol) => symbol.trim().toUpperCase());
  const read = () => {
    const quotes = new Map<string, Quote>();
    for (const name of names) {
      const quote = client.quotes.get(name);
      if (quote) quotes.set(name, quote);
    }
    return quotes;
  };
  let quotes: ReadonlyMap<string, Quote> = read();
  return {
    get: () => quotes,
    subscribe(changed: () => void) {
      let unplan: (() => void) | undefined;
      const show = () => {
        unplan = undefined;
        quotes = read();
        changed();
      };
      const stop = client.subscribe(names, () => (unplan ??= nextFrame(show)));
      return () => {
        unplan?.();
        stop();
      };
    },
  };
}

/** Runs soon, once; returns how not to. A hidden page has no frames, and needs none. */
function nextFrame(run: () => void): () => void {
  if (typeof requestAnimationFrame !== "function") {
    const timer = setTimeout(run, 16);
    return () => clearTimeout(timer);
  }
  const frame = requestAnimationFrame(run);
  return () => cancelAnimationFrame(frame);
}

function connectionStore(client: Client) {
  let { connection, standing } = client;
  let shown = { ...connection, standing };
  return {
    get() {
      if (connection !== client.connection || standing !== client.standing) {
        ({ connection, standing } = client);
        shown = { ...connection, standing };
      }
      return shown;
    },
    subscribe(changed: () => void) {
      const stops = [client.on("state", changed), client.on("status", changed)];
      return () => stops.forEach((stop) => stop());
    },
  };
}
