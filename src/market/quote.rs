//! A quote as a provider reported it, and the update it becomes.
//!
//! Numbers stay the vendor's text. The inner timestamp is the vendor's trade time, so that staleness can be seen; the
//! outer one is when we publish.

use std::fmt::Write;

use jiff::Timestamp;

use super::number::Number;
use super::symbol::Symbol;

/// One symbol's quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Our symbol, not the vendor's spelling.
    pub symbol: Symbol,
    /// Above zero.
    pub price: Number,
    /// Since the previous close (rolling 24 h for crypto vendors).
    pub change: Option<Number>,
    /// In percent: 0.50 is half a percent.
    pub change_percent: Option<Number>,
    /// Shares, or base units for crypto.
    pub volume: Option<Number>,
    /// When the vendor says it traded.
    pub traded_at: Option<Timestamp>,
    /// Which provider said so.
    pub source: &'static str,
    /// Whether its exchange is trading.
    pub market_state: Option<MarketState>,
    /// The vendor said, or we know, that this is an old price.
    pub stale: bool,
}

/// Which session an exchange is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarketState {
    /// Before the regular session.
    Pre,
    /// The regular session.
    Regular,
    /// After the regular session.
    Post,
    /// No session.
    Closed,
}

impl MarketState {
    /// The text in `data.marketState`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MarketState::Pre => "PRE",
            MarketState::Regular => "REGULAR",
            MarketState::Post => "POST",
            MarketState::Closed => "CLOSED",
        }
    }
}

impl Quote {
    /// A quote with a price and nothing else.
    #[must_use]
    pub fn new(symbol: Symbol, price: Number, source: &'static str) -> Quote {
        Quote {
            symbol,
            price,
            change: None,
            change_percent: None,
            volume: None,
            traded_at: None,
            source,
            market_state: None,
            stale: false,
        }
    }

    /// The update that carries this quote, published at `now` as number `seq`.
    #[must_use]
    pub fn to_update_json(&self, seq: u64, now: Timestamp) -> String {
        let mut json = String::with_capacity(320);
        let symbol = self.symbol.as_str();
        // A symbol's characters need no JSON escape, and neither do our own words and RFC 3339 times.
        let write = |json: &mut String| {
            write!(
                json,
                r#"{{"type":"price_update","symbol":"{symbol}","data":{{"symbol":"{symbol}","price":{}"#,
                self.price
            )?;
            for (name, number) in
                [("change", &self.change), ("changePercent", &self.change_percent), ("volume", &self.volume)]
            {
                if let Some(number) = number {
                    write!(json, r#","{name}":{number}"#)?;
                }
            }
            if let Some(at) = self.traded_at {
                write!(json, r#","timestamp":"{at:.3}""#)?;
            }
            write!(json, r#","source":"{}""#, self.source)?;
            if let Some(state) = self.market_state {
                write!(json, r#","marketState":"{}""#, state.as_str())?;
            }
            if self.stale {
                json.push_str(r#","stale":true"#);
            }
            write!(json, r#"}},"timestamp":"{now:.3}","seq":{seq}}}"#)
        };
        write(&mut json).expect("writing to a String cannot fail");
        json
    }

    /// The same market fact: a vendor that repeats itself is not published again.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Quote) -> bool {
        self.price == other.price
            && self.traded_at == other.traded_at
            && self.volume == other.volume
            && self.market_state == other.market_state
            && self.stale == other.stale
    }

    /// Fills `change` and `changePercent` from the previous close, where the vendor left them out. Percent is rounded
    /// to four places; nothing is derived from a previous close that is missing or not above zero.
    pub fn derive_change(&mut self, previous_close: Option<&Number>) {
        let previous = previous_close
            .and_then(Number::to_decimal)
            .filter(|previous| previous.is_sign_positive() && !previous.is_zero());
        let (Some(price), Some(previous)) = (self.price.to_decimal(), previous) else { return };
        let Some(change) = price.checked_sub(previous) else { return };
        if self.change.is_none() {
            self.change = Some(Number::from(change));
        }
        if self.change_percent.is_none() {
            self.change_percent = change
                .checked_mul(100.into())
                .and_then(|scaled| scaled.checked_div(previous))
                .map(|percent| Number::from(percent.round_dp(4)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Update;

    fn quote() -> Quote {
        let mut quote = Quote::new(Symbol::parse("RELIANCE").unwrap(), Number::parse("2450.50").unwrap(), "simulated");
        quote.volume = Some(Number::from(1_234_567));
        quote.traded_at = Some("2026-11-21T09:59:59Z".parse().unwrap());
        quote
    }

    #[test]
    fn an_update_carries_the_vendors_number_text() {
        let json = quote().to_update_json(42, "2026-11-21T10:00:00.5Z".parse().unwrap());
        assert_eq!(
            json,
            r#"{"type":"price_update","symbol":"RELIANCE","data":{"symbol":"RELIANCE","price":2450.50,"volume":1234567,"timestamp":"2026-11-21T09:59:59.000Z","source":"simulated"},"timestamp":"2026-11-21T10:00:00.500Z","seq":42}"#
        );
        let update = Update::read(&json).unwrap();
        assert_eq!((update.symbol.as_str(), update.seq), ("RELIANCE", Some(42)));
    }

    #[test]
    fn change_is_derived_in_decimal() {
        let mut quote = quote();
        quote.derive_change(Some(&Number::parse("2438.20").unwrap()));
        assert_eq!(quote.change.as_ref().unwrap().as_str(), "12.30");
        assert_eq!(quote.change_percent.as_ref().unwrap().as_str(), "0.5045");
    }

    #[test]
    fn nothing_is_derived_from_a_missing_or_zero_close() {
        for close in [None, Some(Number::from(0))] {
            let mut quote = quote();
            quote.derive_change(close.as_ref());
            assert_eq!((quote.change, quote.change_percent), (None, None));
        }
    }
}
