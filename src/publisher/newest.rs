//! The last quote of each symbol that was sent on its way, so that a vendor who repeats itself is not published again.
//!
//! A quote that stays the same for long would vanish from the cache, where newcomers look for it; so it is sent again
//! when its cached copy's life is half over. Pure; its owner is the cycle. Bounded by the symbols that are polled.

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
    /// Whether `quote` is to be sent at `now`: it says something new, or its cached copy, which lives for `ttl`, would
    /// not last. If so it is remembered as sent.
    pub fn admit(&mut self, quote: &Quote, ttl: Duration, now: Duration) -> bool {
        if let Some(sent) = self.0.get(&quote.symbol)
            && sent.quote.says_the_same_as(quote)
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
}
