// The rows: which there are, when they are drawn, how the keyboard moves through them.
//
// Owns its rows, one a symbol. However many updates come, a row is drawn at most once a frame, and only while it is on
// the screen; the others are brought up to date once a second, for whoever reads the page with other means than eyes.

import { Row } from "./row.js";

const TICK_MS = 1000;
/** How far beyond the screen a row counts as on it. */
const MARGIN = "200px";
/** Rows that PageUp and PageDown move by. */
const PAGE_ROWS = 10;

export class Watchlist {
  #rows = new Map();
  #due = new Set();
  #frame = 0;
  #filter = "";
  #body;
  #template;
  #subscribe;
  #removed;
  #eyes;

  /** `subscribe(symbol, callback)` returns how to stop; `removed(symbol)` hears of what the visitor stopped watching. */
  constructor(body, template, { subscribe, removed }) {
    this.#body = body;
    this.#template = template;
    this.#subscribe = subscribe;
    this.#removed = removed;
    this.#eyes = new IntersectionObserver((entries) => this.#look(entries), { rootMargin: MARGIN });
    body.addEventListener("click", ({ target }) => target.closest(".stop button") && this.#giveUp(rowOf(target)));
    body.addEventListener("keydown", (event) => this.#key(event));
    body.addEventListener("focusin", ({ target }) => this.#enter(rowOf(target)));
    setInterval(() => this.#tick(), TICK_MS);
  }

  get symbols() {
    return [...this.#rows.keys()];
  }

  has(symbol) {
    return this.#rows.has(symbol);
  }

  /** Whether any of its quotes is invented. */
  get simulated() {
    return [...this.#rows.values()].some(({ quote }) => quote?.source === "simulated");
  }

  add(symbols) {
    const rows = document.createDocumentFragment();
    for (const symbol of symbols) {
      if (this.#rows.has(symbol)) continue;
      const row = new Row(symbol, this.#template);
      row.element.hidden = !symbol.includes(this.#filter);
      this.#rows.set(symbol, row);
      row.stop = this.#subscribe(symbol, (quote) => this.#take(row, quote));
      rows.append(row.element);
      this.#eyes.observe(row.element);
    }
    this.#body.append(rows);
    this.#tabStop();
  }

  /** Takes a row away; the focus goes to its neighbour. */
  remove(symbol) {
    const row = this.#rows.get(symbol);
    if (!row) return;
    const next = this.#neighbour(row.element, 1) ?? this.#neighbour(row.element, -1);
    const focused = row.element.contains(document.activeElement);
    row.stop();
    this.#eyes.unobserve(row.element);
    this.#due.delete(row);
    this.#rows.delete(symbol);
    row.element.remove();
    this.#tabStop(next);
    if (focused) next?.focus();
  }

  /** Shows only the rows whose symbol holds `part`; says how many. */
  filter(part) {
    this.#filter = part;
    let shown = 0;
    for (const { symbol, element } of this.#rows.values()) {
      element.hidden = !symbol.includes(part);
      if (!element.hidden) shown++;
    }
    this.#tabStop();
    return shown;
  }

  focus(symbol) {
    this.#rows.get(symbol)?.element.focus();
  }

  #take(row, quote) {
    row.take(quote);
    if (row.seen) this.#plan(row);
  }

  #plan(row) {
    this.#due.add(row);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const row of this.#due) row.draw();
      this.#due.clear();
    });
  }

  #look(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rows.get(target.dataset.symbol);
      if (!row) continue;
      // What changed meanwhile is no news to flash at.
      if (isIntersecting && row.changed) row.draw();
      row.seen = isIntersecting;
      row.tick();
    }
  }

  #tick() {
    for (const row of this.#rows.values()) {
      if (row.changed && !row.seen) row.draw();
      row.tick();
    }
  }

  // ---- keyboard: one row is in the order of tabs, arrows move on from it

  #key(event) {
    const row = rowOf(event.target);
    const last = this.#shown.length - 1;
    const to = {
      ArrowDown: () => this.#neighbour(row, 1),
      ArrowUp: () => this.#neighbour(row, -1),
      PageDown: () => this.#shown[Math.min(last, this.#shown.indexOf(row) + PAGE_ROWS)],
      PageUp: () => this.#shown[Math.max(0, this.#shown.indexOf(row) - PAGE_ROWS)],
      Home: () => this.#shown[0],
      End: () => this.#shown[last],
    }[event.key];
    if (to) {
      event.preventDefault();
      to()?.focus();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.#giveUp(row);
    }
  }

  get #shown() {
    return [...this.#body.children].filter(({ hidden }) => !hidden);
  }

  #neighbour(element, step) {
    let other = element;
    do other = step > 0 ? other.nextElementSibling : other.previousElementSibling;
    while (other?.hidden);
    return other ?? undefined;
  }

  #enter(element) {
    this.#tabStop(element);
  }

  #tabStop(element = this.#body.querySelector('tr[tabindex="0"]:not([hidden])') ?? this.#shown[0]) {
    for (const other of this.#body.querySelectorAll('tr[tabindex="0"]')) if (other !== element) other.tabIndex = -1;
    if (element) element.tabIndex = 0;
  }

  #giveUp(element) {
    const { symbol } = element.dataset;
    this.remove(symbol);
    this.#removed(symbol);
  }
}

function rowOf(element) {
  return element.closest("tr");
}
