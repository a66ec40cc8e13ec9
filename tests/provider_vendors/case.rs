//! A vendor under test: its local server, how it is configured, what it is asked and what comes of it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use tickcast::broker::{self, Broker, memory};
use tickcast::market::{Bars, Range, Symbol};
use tickcast::provider::{self, Config, Fetched, Missing, Name, NoBars, Provider};
use tokio::time::timeout;

use crate::support::DEADLINE;
use crate::support::vendor::{Answer, Asked, MockVendor};

/// It has characters that a query escapes.
pub(crate) const KEY: &str = "aB3/s3cret+key";
pub(crate) const KEY_SPELLINGS: [&str; 2] = [KEY, "aB3%2Fs3cret%2Bkey"];

pub(crate) struct Case {
    pub(crate) name: Name,
    pub(crate) has_key: bool,
    /// The vendor in good health.
    pub(crate) serve: fn(&Asked) -> Answer,
    /// Asked for; what is missing last.
    pub(crate) ask: &'static [&'static str],
    /// `SYMBOL price`, by symbol.
    pub(crate) prices: &'static [&'static str],
    pub(crate) missing: &'static [(&'static str, Missing)],
    /// It has two bars, closing at 1.50 and then at 2.50 ([`moments`]), in any order and one of them twice.
    pub(crate) chart: (&'static str, Range),
}

impl Case {
    /// With so large a budget that nothing but the vendor limits anything.
    pub(crate) fn config(&self, vendor: &MockVendor) -> Config {
        let plenty = NonZeroU32::new(10_000);
        Config {
            base_url: Some(vendor.url()),
            api_key: self.has_key.then(|| KEY.into()),
            per_second: plenty,
            per_minute: plenty,
            per_day: plenty,
            ..Config::default()
        }
    }

    pub(crate) async fn provider(&self, vendor: &MockVendor) -> Arc<dyn Provider> {
        self.provider_on(vendor, &embedded()).await
    }

    pub(crate) async fn provider_on(&self, vendor: &MockVendor, broker: &Broker) -> Arc<dyn Provider> {
        build(self.name, self.config(vendor), broker).await
    }
}

pub(crate) async fn build(name: Name, config: Config, broker: &Broker) -> Arc<dyn Provider> {
    let settings = BTreeMap::from([(name, config)]);
    provider::build(&[name], &settings, broker).await.unwrap().remove(0)
}

pub(crate) fn embedded() -> Broker {
    memory::start(broker::Timing::default())
}

pub(crate) fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

/// In as many batches as it takes; stops at the first that is not done.
pub(crate) async fn fetch(provider: &dyn Provider, texts: &[&str]) -> Fetched {
    let symbols: Vec<Symbol> = texts.iter().map(|text| symbol(text)).collect();
    let mut all = Fetched::default();
    for batch in symbols.chunks(provider.batch().get()) {
        let fetched = timeout(DEADLINE, provider.fetch(batch)).await.expect("a fetch ends");
        all.quotes.extend(fetched.quotes);
        all.missing.extend(fetched.missing);
        all.left = fetched.left;
        if all.left.is_some() {
            break;
        }
    }
    all
}

pub(crate) async fn bars(provider: &dyn Provider, text: &str, range: Range) -> Result<Bars, NoBars> {
    timeout(DEADLINE, provider.bars(symbol(text), range)).await.expect("a chart ends")
}

pub(crate) fn prices(fetched: &Fetched) -> Vec<String> {
    let mut prices: Vec<String> =
        fetched.quotes.iter().map(|quote| format!("{} {}", quote.symbol, quote.price)).collect();
    prices.sort();
    prices
}

pub(crate) fn missing(fetched: &Fetched) -> Vec<(&str, Missing)> {
    fetched.missing.iter().map(|(symbol, missing)| (symbol.as_str(), *missing)).collect()
}

/// Wherever the vendor wants it.
pub(crate) fn shows_key(asked: &Asked) -> bool {
    let is_in_header = asked.headers.values().any(|value| value.to_str().is_ok_and(|text| text.contains(KEY)));
    is_in_header || asked.target.contains(KEY_SPELLINGS[1])
}

/// When the two bars begin: an hour and half an hour before the test began. Every chart reaches back further.
pub(crate) fn moments() -> [Timestamp; 2] {
    static MOMENTS: OnceLock<[Timestamp; 2]> = OnceLock::new();
    *MOMENTS.get_or_init(|| {
        let half_hours = Timestamp::now().as_second() / 1800;
        [2, 1].map(|ago| Timestamp::from_second((half_hours - ago) * 1800).unwrap())
    })
}

/// The same of a vendor who has nothing finer than days: the last two.
pub(crate) fn days() -> [Timestamp; 2] {
    [3, 2].map(|ago| Timestamp::now().checked_sub(SignedDuration::from_hours(24 * ago)).unwrap())
}
