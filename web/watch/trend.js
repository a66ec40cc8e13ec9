// The prices of the last minute of one symbol, at most one a second, and the line through them.
//
// Bounded by POINTS. Knows no element.

const POINTS = 60;
const GAP_MS = 1000;
/** Fewer than these do not fill the width, so that a beginning looks like one. */
const FEW = 20;

export class Trend {
  #points = [];
  #at = -Infinity;

  /** Takes a price; those within a second of the last point move it instead of adding one. */
  push(price, now) {
    const points = this.#points;
    if (points.length && now - this.#at < GAP_MS) {
      points[points.length - 1] = price;
      return;
    }
    this.#at = now;
    points.push(price);
    if (points.length > POINTS) points.shift();
  }

  /** From the first point to the last: above 0 it rose. */
  get slope() {
    return this.#points.length ? this.#points[this.#points.length - 1] - this.#points[0] : 0;
  }

  /** The `points` of a polyline in a box, the newest at its right edge. */
  line(width, height) {
    const points = this.#points;
    let least = Infinity;
    let most = -Infinity;
    for (const point of points) {
      if (point < least) least = point;
      if (point > most) most = point;
    }
    const step = width / (Math.max(FEW, points.length) - 1);
    const scale = most > least ? (height - 4) / (most - least) : 0;
    const middle = scale ? 0 : (height - 4) / 2;
    let line = "";
    for (let i = 0; i < points.length; i++) {
      const x = width - (points.length - 1 - i) * step;
      const y = height - 2 - middle - (points[i] - least) * scale;
      line += `${x.toFixed(1)},${y.toFixed(1)} `;
    }
    return line;
  }
}
