//! Bars for charts: what a symbol traded at over spans of equal length.
//!
//! A bar is the vendor's own row: its numbers stay text, its start is UTC. Pure; who asks for bars bounds their number
//! ([`MAX_BARS`]).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::calendar::Calendar;
use super::number::Number;
use super::quote::MarketState;

/// The most bars one answer holds: more than any [`Range`] has at its own interval (a week of half hours around the clock
/// is 336), with room for a vendor whose intervals are finer.
pub const MAX_BARS: usize = 5000;

/// What a symbol traded at from `start` until the next bar begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// When it begins.
    pub start: Timestamp,
    /// The first price.
    pub open: Number,
    /// The highest price.
    pub high: Number,
    /// The lowest price.
    pub low: Number,
    /// The last price.
    pub close: Number,
    /// Shares, or base units for crypto; `None` where the vendor counts none (currencies).
    pub volume: Option<Number>,
}

/// A symbol's bars over a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bars {
    /// Which provider said so.
    pub source: &'static str,
    /// From one bar to the next, while the exchange is open; 86,400 s is a trading day.
    pub interval: Duration,
    /// Oldest first, each start once, at least one.
    pub bars: Vec<Bar>,
}

/// How far back a chart looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Range {
    /// `24h`.
    Day,
    /// `1w`.
    Week,
    /// `1m`.
    Month,
}

/// There is no range of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no range is named {0:?}; there are 24h, 1w and 1m (a month)")]
pub struct UnknownRange(pub String);

impl Range {
    /// All of them, shortest first.
    pub const ALL: [Range; 3] = [Range::Day, Range::Week, Range::Month];

    /// The name in requests and cache keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Range::Day => "24h",
            Range::Week => "1w",
            Range::Month => "1m",
        }
    }

    /// From its first moment to its last. A month is 31 days, so that it holds the same day of the month before.
    #[must_use]
    pub const fn span(self) -> SignedDuration {
        match self {
            Range::Day => SignedDuration::from_hours(24),
            Range::Week => SignedDuration::from_hours(7 * 24),
            Range::Month => SignedDuration::from_hours(31 * 24),
        }
    }

    /// Its first moment at `now`: the span before now while the exchange trades, and else before its last close, so
    /// that a chart of 24 hours is not empty on a Sunday.
    #[must_use]
    pub fn begins(self, calendar: &Calendar, now: Timestamp) -> Timestamp {
        let today = calendar.zone().to_datetime(now).date();
        let closes = [Some(today), today.yesterday().ok()].into_iter().flatten();
        let last_close = closes.filter_map(|day| calendar.last_close(day)).find(|close| *close <= now);
        let end = match calendar.state_at(now) {
            MarketState::Regular => now,
            MarketState::Pre | MarketState::Post | MarketState::Closed => last_close.unwrap_or(now),
        };
        end.checked_sub(self.span()).unwrap_or(Timestamp::MIN)
    }
}

impl FromStr for Range {
    type Err = UnknownRange;

    fn from_str(text: &str) -> Result<Range, UnknownRange> {
        Range::ALL.into_iter().find(|range| range.as_str() == text).ok_or_else(|| UnknownRange(text.into()))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Bar {
    /// Whether its prices are prices: all above zero, and the highest not below the lowest. A close a little outside of
    /// both is how some vendors round, and is left as it is.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_positive = [&self.open, &self.high, &self.low, &self.close].iter().all(|price| price.is_positive());
        is_positive && self.low.to_decimal().zip(self.high.to_decimal()).is_some_and(|(low, high)| low <= high)
    }
}

/// Puts bars in order, keeps the last of those with the same start, and drops what is unsound or begins before `from`.
#[must_use]
pub fn in_order(mut bars: Vec<Bar>, from: Timestamp) -> Vec<Bar> {
    bars.retain(|bar| bar.start >= from && bar.is_sound());
    bars.sort_by_key(|bar| bar.start);
    // Of equals the sort keeps the order in which they came, and the last one is to stay.
    bars.reverse();
    bars.dedup_by_key(|bar| bar.start);
    bars.reverse();
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Exchange;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn bar(start: &str, [open, high, low, close]: [&str; 4]) -> Bar {
        let number = |text: &str| Number::parse(text).unwrap();
        Bar {
            start: at(start),
            open: number(open),
            high: number(high),
            low: number(low),
            close: number(close),
            volume: None,
        }
    }

    #[test]
    fn ranges_are_known_by_name() {
        for range in Range::ALL {
            assert_eq!(range.as_str().parse(), Ok(range));
        }
        assert_eq!("1d".parse::<Range>(), Err(UnknownRange("1d".into())));
    }

    #[test]
    fn a_range_ends_now_or_with_the_last_close() {
        let nyse = Exchange::Nyse.calendar();
        for (now, range, expected) in [
            // Friday 14:00 in New York.
            ("2026-11-20T19:00:00Z", Range::Day, "2026-11-19T19:00:00Z"),
            // Saturday: the close of Friday, 16:00.
            ("2026-11-21T12:00:00Z", Range::Day, "2026-11-19T21:00:00Z"),
            ("2026-11-21T12:00:00Z", Range::Week, "2026-11-13T21:00:00Z"),
            // Monday before the opening, and Monday evening.
            ("2026-11-23T13:00:00Z", Range::Day, "2026-11-19T21:00:00Z"),
            ("2026-11-23T22:00:00Z", Range::Day, "2026-11-22T21:00:00Z"),
        ] {
            assert_eq!(range.begins(nyse, at(now)), at(expected), "{now} {range}");
        }
        let crypto = Exchange::Crypto.calendar();
        assert_eq!(Range::Month.begins(crypto, at("2026-11-21T12:00:00Z")), at("2026-10-21T12:00:00Z"));
    }

    #[test]
    fn bars_are_put_in_order_and_unsound_ones_dropped() {
        let good = ["1.0", "2.0", "0.5", "1.5"];
        let bars = vec![
            bar("2026-11-20T15:10:00Z", good),
            bar("2026-11-20T15:00:00Z", ["9.0", "9.0", "9.0", "9.0"]),
            bar("2026-11-20T15:00:00Z", good),
            bar("2026-11-20T15:05:00Z", ["1.0", "0.5", "2.0", "0.7"]),
            bar("2026-11-20T15:06:00Z", ["0", "2.0", "0", "1.5"]),
            bar("2026-11-20T14:55:00Z", good),
        ];
        let expected = vec![bar("2026-11-20T15:00:00Z", good), bar("2026-11-20T15:10:00Z", good)];
        assert_eq!(in_order(bars, at("2026-11-20T15:00:00Z")), expected);
    }
}
