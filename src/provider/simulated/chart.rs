//! A simulated symbol's past: bars that lead to its present price.
//!
//! Pure. The shape depends on seed, symbol and range; it is walked backwards, each close a step of at most 1 % of the
//! opening price times the root of the bar's part of a day.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::Walk;
use crate::market::bar::Bar;
use crate::market::{Bars, Number, Range};
use crate::provider::Name;

const DAY_S: i64 = 86_400;

/// The bars of `range` that end with `walk`'s price at `now`.
pub(super) fn chart(walk: &Walk, seed: u64, range: Range, now: Timestamp) -> Bars {
    let interval_s: i64 = match range {
        Range::Day => 300,
        Range::Week => 1800,
        Range::Month => DAY_S,
    };
    let count = range.span().as_secs() / interval_s;
    let last_s = now.as_second() - now.as_second().rem_euclid(interval_s);
    let mut rng = fastrand::Rng::with_seed(seed ^ interval_s.unsigned_abs());
    // The root of the part of a day, in 1/64 so that it is the same on every machine.
    let root = i64::try_from((64 * 64 * interval_s / DAY_S).unsigned_abs().isqrt()).unwrap_or(64);
    let reach = (walk.open * root / 64 / 100).max(1);
    let number = |ticks: i64| Number::from(Decimal::new(ticks.max(1), walk.places));
    let mut close = walk.price;
    let mut bars: Vec<Bar> = (0..count)
        .filter_map(|back| {
            let pull = (walk.open - close) / 50;
            let open = (close + rng.i64(-reach..=reach) + pull).clamp(walk.open / 2, walk.open * 2).max(1);
            let (high, low) = (open.max(close) + rng.i64(0..=reach / 2), open.min(close) - rng.i64(0..=reach / 2));
            let start = Timestamp::from_second(last_s - back * interval_s).ok()?;
            let volume = Some(Number::from(rng.u64(1000..100_000)));
            let bar =
                Bar { start, open: number(open), high: number(high), low: number(low), close: number(close), volume };
            close = open;
            Some(bar)
        })
        .collect();
    bars.reverse();
    Bars { source: Name::Simulated.as_str(), interval: Duration::from_secs(interval_s.unsigned_abs()), bars }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Symbol, bar};

    #[test]
    fn a_chart_leads_to_the_present_price_without_gaps() {
        let now: Timestamp = "2026-11-21T12:03:07Z".parse().unwrap();
        let mut walk = Walk::begin(7, Symbol::parse("AAPL").unwrap());
        (0..100).for_each(|_| walk.step());
        for (range, count) in [(Range::Day, 288), (Range::Week, 336), (Range::Month, 31)] {
            let bars = chart(&walk, 7, range, now);
            assert_eq!(bars.bars.len(), count, "{range}");
            assert_eq!(bars.bars.last().unwrap().close, number_of(&walk));
            assert!(bars.bars.windows(2).all(|pair| pair[0].close == pair[1].open), "{range}");
            assert_eq!(bars.bars, bar::in_order(bars.bars.clone(), Timestamp::MIN), "{range}");
            assert_eq!(bars, chart(&walk, 7, range, now), "the same each time");
        }
    }

    fn number_of(walk: &Walk) -> Number {
        Number::from(Decimal::new(walk.price, walk.places))
    }
}
