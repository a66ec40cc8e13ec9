//! The last quote of each symbol that was sent on its way, so that a vendor who repeats itself is not published again.
//!
//! A quote that stays the same for long would vanish from the cache, where newcomers look for it; so it is sent again
//! when its cached copy's life is half over. When one provider stands in for another, its quote may be older than the one
//! that is known (delayed, or the day's close): it is not sent while that one is fresh. Pure; its owner is the cycle. Bounded by the symbols that are polled.

use std::time::Duration;

use hashbrown::HashMap;

use crate::market::{Quote, Symbol};

/// By symbol.
#[derive(Debug, Default)]
pub struct Newest(HashMap<Symbol, Sent>);

#[derive(Debug)]
struct Sent {
    quote: Quote,
    at: Duration,
}

impl Newest {
    /// Whether `quote` is to be sent at `now`: it says something new, or the cached copy of what was sent, which lives
    /// for `ttl`, would not last. If so it is remembered as sent.
    pub fn admit(&mut self, quote: &Quote, ttl: Duration, now: Duration) -> bool {
        if let Some(sent) = self.0.get(&quote.symbol)
            && (sent.quote.says_the_same_as(quote) || is_elsewheres_past(quote, &sent.quote))
            && now.saturating_sub(sent.at) < ttl / 2
        {
            return false;
        }
        self.0.insert(quote.symbol, Sent { quote: quote.clone(), at: now });
        true
    }

    /// The next quote of `symbol` is sent whatever it says.
    pub fn forget(&mut self, symbol: Symbol) {
        self.0.remove(&symbol);
    }

    /// All next quotes are sent.
    pub fn clear(&mut self) {
        self.0 = HashMap::new();
    }

    /// Forgets what was sent longer than `span` ago.
    pub fn forget_older_than(&mut self, span: Duration, now: Duration) {
        self.0.retain(|_, sent| now.saturating_sub(sent.at) < span);
    }
}

/// Whether `quote` is another provider's, from before `known`. One provider's times may go back: it corrects itself.
fn is_elsewheres_past(quote: &Quote, known: &Quote) -> bool {
    let is_older = quote.traded_at.zip(known.traded_at).is_some_and(|(at, known)| at < known);
    is_older && quote.source != known.source
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Number;

    const TTL: Duration = Duration::from_secs(300);

    fn quote(price: &str, volume: u64) -> Quote {
        let mut quote = Quote::new(Symbol::parse("A").unwrap(), Number::parse(price).unwrap(), "test");
        quote.volume = Some(Number::from(volume));
        quote
    }

    #[test]
    fn a_repeated_quote_is_sent_once_and_again_before_its_cached_copy_expires() {
        let (mut newest, at) = (Newest::default(), Duration::from_secs);
        assert!(newest.admit(&quote("1.0", 1), TTL, at(0)));
        assert!(!newest.admit(&quote("1.0", 1), TTL, at(149)));
        assert!(newest.admit(&quote("1.0", 1), TTL, at(150)));
        assert!(!newest.admit(&quote("1.0", 1), TTL, at(151)));
    }

    #[test]
    fn whatever_changed_is_news() {
        let mut newest = Newest::default();
        for (price, volume) in [("1.0", 1), ("1.1", 1), ("1.1", 2), ("1.0", 1)] {
            assert!(newest.admit(&quote(price, volume), TTL, Duration::ZERO), "{price} {volume}");
        }
        newest.forget(Symbol::parse("A").unwrap());
        assert!(newest.admit(&quote("1.0", 1), TTL, Duration::ZERO));
    }

    #[test]
    fn a_stand_ins_older_quote_waits_until_the_known_one_is_old() {
        let (mut newest, at) = (Newest::default(), Duration::from_secs);
        let traded = |price, source, time: &str| {
            let traded_at = Some(format!("2026-11-20T{time}:00Z").parse().unwrap());
            Quote { source, traded_at, ..quote(price, 1) }
        };
        assert!(newest.admit(&traded("1.0", "first", "15:00"), TTL, at(0)));
        assert!(!newest.admit(&traded("0.9", "second", "14:45"), TTL, at(10)));
        assert!(newest.admit(&traded("0.8", "first", "14:50"), TTL, at(20)), "it corrects itself");
        assert!(newest.admit(&traded("1.1", "second", "15:01"), TTL, at(30)));
        assert!(newest.admit(&traded("1.2", "first", "15:00"), TTL, at(180)), "better than none");
    }
}
