//! Whether markets trade: how much less often a symbol is polled whose market is closed, and `data.marketState`.
//!
//! The calendars are [`market::calendar`](crate::market::calendar)'s. "Now" is an argument; it may jump, since it is the
//! wall clock's. A vendor that says itself which session it is knows better (halts, late openings) and is believed.
//!
//! Its owner is [`Wanted`](super::wanted::Wanted). Bounded by the exchanges there are.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;

use crate::market::quote::MarketState;
use crate::market::{Exchange, Listings, Quote, Symbol};

/// What time it is at the markets.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// See the module.
#[derive(Debug)]
pub struct Hours {
    listings: Listings,
    closed_stretch: NonZeroU32,
    sessions: [Session; 3],
}

/// One exchange's present session: from `since`, until `until` if it ever changes.
#[derive(Debug)]
struct Session {
    exchange: Exchange,
    state: MarketState,
    since: Timestamp,
    until: Option<Timestamp>,
}

impl Hours {
    /// Whose intervals are `closed_stretch` times longer while their market is closed.
    #[must_use]
    pub fn new(listings: Listings, closed_stretch: NonZeroU32, now: Timestamp) -> Hours {
        let sessions = [Exchange::Nyse, Exchange::Nse, Exchange::Crypto].map(|exchange| Session::at(exchange, now));
        Hours { listings, closed_stretch, sessions }
    }

    /// Goes on to `now`. True when a market opened or closed.
    pub fn turn(&mut self, now: Timestamp) -> bool {
        let mut has_changed = false;
        for session in &mut self.sessions {
            if now < session.since || session.until.is_some_and(|until| until <= now) {
                let before = session.state;
                *session = Session::at(session.exchange, now);
                has_changed |= session.state != before;
            }
        }
        has_changed
    }

    /// Which session `symbol`'s market is in.
    #[must_use]
    pub fn state(&self, symbol: Symbol) -> MarketState {
        let exchange = self.listings.exchange(symbol);
        let session = self.sessions.iter().find(|session| session.exchange == exchange);
        session.map_or(MarketState::Regular, |session| session.state)
    }

    /// How many times longer `symbol`'s interval is now.
    #[must_use]
    pub fn stretch(&self, symbol: Symbol) -> NonZeroU32 {
        match self.state(symbol) {
            MarketState::Closed => self.closed_stretch,
            MarketState::Pre | MarketState::Regular | MarketState::Post => NonZeroU32::MIN,
        }
    }

    /// Fills in which session it is, unless the vendor said so, or the quote is of another day (`replay`).
    pub fn mark(&self, quote: &mut Quote) {
        let is_recorded = quote.source == crate::provider::Name::Replay.as_str();
        if quote.market_state.is_none() && !is_recorded {
            quote.market_state = Some(self.state(quote.symbol));
        }
    }
}

impl Session {
    fn at(exchange: Exchange, now: Timestamp) -> Session {
        let calendar = exchange.calendar();
        Session { exchange, state: calendar.state_at(now), since: now, until: calendar.next_change(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Number;

    /// A Thursday before a day with an early close, in New York and in Mumbai.
    const THURSDAY: &str = "2026-11-26";

    fn at(time: &str) -> Timestamp {
        format!("{THURSDAY}T{time}Z").parse().unwrap()
    }

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    fn hours(now: Timestamp) -> Hours {
        Hours::new(Listings::default(), NonZeroU32::new(12).unwrap(), now)
    }

    #[test]
    fn a_closed_market_is_polled_less_often_and_crypto_never_is() {
        // Thanksgiving: New York is closed all day; Mumbai trades until 15:30, 10:00 UTC.
        let mut hours = hours(at("09:00:00"));
        let shown = |hours: &Hours| ["AAPL", "RELIANCE", "BTC-USD"].map(|text| hours.stretch(symbol(text)).get());
        assert_eq!(shown(&hours), [12, 1, 1]);
        assert!(!hours.turn(at("09:59:59")));
        assert!(hours.turn(at("10:00:00")) && shown(&hours) == [12, 1, 1], "after hours");
        assert!(hours.turn(at("10:30:00")) && shown(&hours) == [12, 12, 1]);
    }

    #[test]
    fn a_clock_that_is_set_back_opens_the_market_again() {
        let mut hours = hours(at("12:00:00"));
        assert_eq!(hours.state(symbol("RELIANCE")), MarketState::Closed);
        assert!(hours.turn(at("09:00:00")));
        assert_eq!(hours.state(symbol("RELIANCE")), MarketState::Regular);
    }

    #[test]
    fn a_vendor_that_says_which_session_it_is_knows_better() {
        let hours = hours(at("09:00:00"));
        let quote = |source| Quote::new(symbol("AAPL"), Number::from(1), source);
        let (mut silent, mut outspoken, mut recorded) = (quote("massive"), quote("yahoo"), quote("replay"));
        outspoken.market_state = Some(MarketState::Pre);
        for quote in [&mut silent, &mut outspoken, &mut recorded] {
            hours.mark(quote);
        }
        let states = [silent.market_state, outspoken.market_state, recorded.market_state];
        assert_eq!(states, [Some(MarketState::Closed), Some(MarketState::Pre), None]);
    }
}
