// One symbol's row: what it shows, and when.
//
// `take` only remembers; `draw` writes what differs to the page, `tick` what goes on by itself (age, trend). The
// watchlist decides when either is called. A price flashes by opacity, which the compositor fades without the page.

import { age, change, decimalsOf, isNumber, market, price, volume } from "./format.js";
import { Trend } from "./trend.js";

const FADE = { duration: 500, easing: "ease-out" };
const FLASH = [{ opacity: 0.45 }, { opacity: 0 }];
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Row {
  symbol;
  /** The `tr`. */
  element;
  quote = undefined;
  /** Whether it is on the screen. */
  seen = false;
  /** Whether the quote differs from what is drawn. */
  changed = false;
  #trend = new Trend();
  #drawn = undefined;
  #decimals = 2;
  #parts;
  #fade;

  constructor(symbol, template) {
    this.symbol = symbol;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.symbol = symbol;
    const find = (name) => this.element.querySelector(name);
    find(".name").textContent = symbol;
    find("button").setAttribute("aria-label", `Stop watching ${symbol}`);
    this.#parts = {
      price: text(find(".value")),
      change: text(find(".change")),
      volume: text(find(".volume")),
      age: text(find(".age")),
      source: text(find(".source")),
      market: text(find(".market")),
      slope: text(find(".trend .hidden")),
      changeCell: find(".change"),
      sourceCell: find(".source"),
      line: find("polyline"),
      chart: find("svg"),
      flash: find(".flash"),
      tag: find(".tag"),
    };
  }

  take(quote) {
    this.quote = quote;
    this.changed = true;
    if (!isNumber(quote.price)) return;
    this.#trend.push(quote.price, performance.now());
    this.#decimals = Math.max(this.#decimals, decimalsOf(quote.price));
  }

  draw() {
    const { quote } = this;
    const parts = this.#parts;
    this.changed = false;
    if (!quote) return;
    const last = this.#drawn;
    this.#drawn = quote;
    write(parts.price, isNumber(quote.price) ? price(quote.price, this.#decimals) : String(quote.price ?? ""));
    write(parts.change, change(quote.change, quote.changePercent, Math.min(this.#decimals, 6)));
    write(parts.volume, volume(quote.volume));
    if (!last) write(parts.age, age(quote.ageMs));
    const direction = Math.sign(quote.change ?? quote.changePercent ?? 0);
    if (!last || direction !== Math.sign(last.change ?? last.changePercent ?? 0)) {
      parts.changeCell.className = `change number ${direction > 0 ? "up" : direction < 0 ? "down" : ""}`;
    }
    if (last?.source !== quote.source) {
      write(parts.source, quote.source ?? "");
      parts.sourceCell.classList.toggle("simulated", quote.source === "simulated");
    }
    if (last?.marketState !== quote.marketState) write(parts.market, market(quote.marketState));
    if (!last || last.stale !== quote.stale) {
      this.element.toggleAttribute("data-stale", quote.stale);
      parts.tag.hidden = !quote.stale;
    }
    if (this.seen && last && last.price !== quote.price) this.#flash(quote.price > last.price);
  }

  /** What changes without an update. */
  tick() {
    if (!this.quote) return;
    const parts = this.#parts;
    write(parts.age, age(this.quote.ageMs));
    if (!this.seen) return;
    const line = this.#trend.line(100, 24);
    if (parts.line.getAttribute("points") === line) return;
    parts.line.setAttribute("points", line);
    const { slope } = this.#trend;
    const way = slope > 0 ? "up" : slope < 0 ? "down" : "flat";
    if (parts.slope.data === way) return;
    parts.slope.data = way;
    parts.chart.setAttribute("class", way);
  }

  #flash(rose) {
    if (still.matches) return;
    const { flash } = this.#parts;
    flash.classList.toggle("fell", !rose);
    this.#fade ??= flash.animate(FLASH, FADE);
    this.#fade.currentTime = 0;
    this.#fade.play();
  }
}

/** The text node that a cell's words go to: writing it costs less than `textContent`, which makes a new one. */
function text(element) {
  if (!element.firstChild) element.append("");
  return element.firstChild;
}

function write(node, words) {
  if (node.data !== words) node.data = words;
}
