//! Quotes from a seeded random walk: any symbol, no vendor, no network.
//!
//! The n-th quote of a symbol depends on the seed and the symbol alone; without a configured seed each start has its own. Prices walk in whole ticks around an opening
//! price and are pulled back to it, so that they stay sensible for days; volume only rises. Every quote says
//! `"source":"simulated"`.
//!
//! State is one walk a symbol, at most [`MAX_WALKS`]; beyond that the walk that began first begins anew when it is
//! asked for again.

mod chart;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rust_decimal::Decimal;

use super::config::{Config, Name};
use super::meters::Meters;
use super::{Fetched, NoBars, Provider, Status};
use crate::market::pattern::Patterns;
use crate::market::{Bars, Latest, Number, Quote, Range, Symbol};

/// Walks kept; about 150 B each.
pub const MAX_WALKS: NonZeroUsize = NonZeroUsize::new(65_536).expect("65536 is not 0");
const INTERVAL: Duration = Duration::from_secs(1);

/// The simulated provider.
pub struct Simulated {
    seed: u64,
    serves: Patterns,
    walks: Mutex<Latest<Symbol, Walk>>,
    calls: AtomicU64,
    meters: Meters,
}

impl Simulated {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Simulated {
        Simulated {
            seed: config.seed.unwrap_or_else(|| fastrand::u64(..)),
            serves: Patterns::new(&config.symbols),
            walks: Mutex::new(Latest::new(MAX_WALKS)),
            calls: AtomicU64::new(0),
            meters: Meters::new(Name::Simulated, &[]),
        }
    }
}

#[async_trait]
impl Provider for Simulated {
    fn name(&self) -> Name {
        Name::Simulated
    }

    fn batch(&self) -> NonZeroUsize {
        NonZeroUsize::MAX
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn serves(&self, symbol: Symbol) -> bool {
        self.serves.is_empty() || self.serves.matches(symbol)
    }

    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.meters.call();
        self.meters.outcome(Ok(()));
        let now = Timestamp::now();
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        let quote = |&symbol: &Symbol| {
            let mut walk = walks.get(&symbol).cloned().unwrap_or_else(|| Walk::begin(self.seed, symbol));
            walk.step();
            let quote = walk.quote(symbol, now);
            walks.push(symbol, walk);
            quote
        };
        Fetched { quotes: symbols.iter().map(quote).collect(), calls: 1, ..Fetched::default() }
    }

    async fn bars(&self, symbol: Symbol, range: Range) -> Result<Bars, NoBars> {
        if !self.serves(symbol) {
            return Err(NoBars::NotServed);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.meters.call();
        self.meters.outcome(Ok(()));
        let walk = self.walks.lock().unwrap_or_else(PoisonError::into_inner).get(&symbol).cloned();
        let walk = walk.unwrap_or_else(|| Walk::begin(self.seed, symbol));
        Ok(chart::chart(&walk, self.seed ^ fnv1a(symbol.as_str().as_bytes()), range, Timestamp::now()))
    }

    fn status(&self) -> Status {
        Status { calls: self.calls.load(Ordering::Relaxed), ..Status::default() }
    }
}

/// One symbol's walk, in ticks of 10^-`places`.
#[derive(Debug, Clone)]
struct Walk {
    rng: fastrand::Rng,
    places: u32,
    open: i64,
    price: i64,
    volume: u64,
}

impl Walk {
    fn begin(seed: u64, symbol: Symbol) -> Walk {
        let mut rng = fastrand::Rng::with_seed(seed ^ fnv1a(symbol.as_str().as_bytes()));
        // Evenly over the magnitudes from 2 to 4096, as prices are; cheap ones are quoted more finely. Whole numbers,
        // so that it is the same on every machine.
        let doublings = rng.u32(1..12);
        let places = if doublings <= 3 { 4 } else { rng.u32(2..=3) };
        let least = 10_i64.pow(places) << doublings;
        let open = rng.i64(least..2 * least);
        Walk { rng, places, open, price: open, volume: 0 }
    }

    /// A step of at most 0.1 % of the opening price, with a pull of 1/500 of the distance back to it: the walk's spread
    /// settles near 1 %.
    fn step(&mut self) {
        let reach = (self.open / 1000).max(1);
        let pull = (self.open - self.price) / 500;
        self.price = (self.price + self.rng.i64(-reach..=reach) + pull).max(self.open / 2).max(1);
        self.volume += self.rng.u64(1..=5000);
    }

    fn quote(&self, symbol: Symbol, now: Timestamp) -> Quote {
        let number = |ticks: i64| Number::from(Decimal::new(ticks, self.places));
        let mut quote = Quote::new(symbol, number(self.price), Name::Simulated.as_str());
        quote.volume = Some(Number::from(self.volume));
        quote.traded_at = Some(now);
        quote.derive_change(Some(&number(self.open)));
        quote
    }
}

/// FNV-1a, 64 bit: the same on every machine and in every version, which the standard hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(texts: &[&str]) -> Vec<Symbol> {
        texts.iter().map(|text| Symbol::parse(text).unwrap()).collect()
    }

    fn seeded(seed: u64) -> Simulated {
        Simulated::new(&Config { seed: Some(seed), ..Config::default() })
    }

    async fn prices(provider: &Simulated, text: &str, count: usize) -> Vec<String> {
        let mut prices = Vec::new();
        for _ in 0..count {
            let fetched = provider.fetch(&symbols(&[text])).await;
            prices.extend(fetched.quotes.iter().map(|quote| quote.price.to_string()));
        }
        prices
    }

    #[tokio::test]
    async fn the_walk_depends_on_seed_and_symbol_alone() {
        let (one, two) = (seeded(7), seeded(7));
        two.fetch(&symbols(&["MSFT"])).await;
        let walk = prices(&one, "AAPL", 50).await;
        assert_eq!(walk, prices(&two, "AAPL", 50).await);
        assert_ne!(walk, prices(&seeded(8), "AAPL", 50).await);
        assert_ne!(walk, prices(&one, "MSFT", 50).await);
    }

    #[tokio::test]
    async fn quotes_stay_sensible_for_hours() {
        let provider = seeded(1);
        for text in ["AAPL", "RELIANCE", "BTC-USDT", "^NSEI"] {
            let asked = symbols(&[text]);
            let mut volume = Decimal::ZERO;
            for step in 0..20_000 {
                let quote = provider.fetch(&asked).await.quotes.remove(0);
                let (price, change) = (quote.price.to_decimal().unwrap(), quote.change.unwrap().to_decimal().unwrap());
                assert!(quote.price.is_positive() && (2..=4).contains(&price.scale()), "{text} {step} {price}");
                let open = price - change;
                assert!(change.abs() < open * Decimal::new(25, 2), "{text} {step}: {change} of {open}");
                let traded = quote.volume.unwrap().to_decimal().unwrap();
                assert!(traded > volume);
                volume = traded;
            }
        }
    }

    #[tokio::test]
    async fn every_quote_says_that_it_is_simulated() {
        let fetched = seeded(1).fetch(&symbols(&["A", "B"])).await;
        assert_eq!(fetched.quotes.len(), 2);
        assert!(fetched.quotes.iter().all(|quote| quote.source == "simulated" && quote.change_percent.is_some()));
    }
}
