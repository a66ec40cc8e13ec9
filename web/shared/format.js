// Numbers and spans as people read them. Pure; formats are made once, since making one costs more than using it.

const MOST_DECIMALS = 10;
const prices = new Map();
const volumes = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });

/** How many decimals a number was written with. */
export function decimalsOf(number) {
  const text = String(number);
  const at = text.indexOf("e-");
  if (at >= 0) return Math.min(MOST_DECIMALS, Number(text.slice(at + 2)));
  const point = text.indexOf(".");
  return point < 0 ? 0 : Math.min(MOST_DECIMALS, text.length - point - 1);
}

/** With exactly so many decimals, so that the digits of a column stay where they are. */
export function price(number, decimals) {
  let format = prices.get(decimals);
  if (!format) {
    format = new Intl.NumberFormat(undefined, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    prices.set(decimals, format);
  }
  return format.format(number);
}

/** `▲ +1.20 (+0.50%)`; whatever part is not known is left out. */
export function change(number, percent, decimals) {
  const known = [];
  const sign = (value) => (value > 0 ? "+" : "");
  if (isNumber(number)) known.push(sign(number) + price(number, decimals));
  if (isNumber(percent)) known.push(known.length ? `(${sign(percent)}${percent.toFixed(2)}%)` : `${sign(percent)}${percent.toFixed(2)}%`);
  const direction = isNumber(number) ? number : percent;
  if (known.length) known.unshift(direction > 0 ? "▲" : direction < 0 ? "▼" : "■");
  return known.join(" ");
}

export function volume(number) {
  return isNumber(number) ? volumes.format(number) : "";
}

/** A span in its largest whole unit. */
export function age(ms) {
  if (ms < 1000) return "now";
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

/** A short span, to a tenth of a millisecond below ten. */
export function millis(ms) {
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 10 ? `${Math.round(ms)} ms` : `${Math.round(ms * 10) / 10} ms`;
}

/** What `data.marketState` means; a service's own word is shown as it is. */
export function market(state) {
  const words = { PRE: "pre-market", REGULAR: "open", POST: "after hours", CLOSED: "closed" };
  return typeof state === "string" ? (words[state] ?? state) : "";
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
