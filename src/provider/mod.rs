//! Quote providers: where quotes come from, one file per vendor.
//!
//! A [`Provider`] is asked for symbols and says what it got. Vendors behind HTTP are pure state machines ([`vendor`]);
//! [`fetch`] drives all of them: budget ([`limiter`]), breaker, retries, time-outs ([`client`]), redaction
//! ([`redact`]). [`simulated`] and [`replay`] answer by themselves. Which symbols are asked for and when is the
//! publisher's business; what happens to a quote is too.
//!
//! Nothing queues here: a provider without budget says so at once and is asked again later, with the symbols that
//! matter most by then.

pub mod alphavantage;
pub mod binance;
pub mod client;
pub mod coinbase;
pub mod config;
pub mod fetch;
pub mod finnhub;
pub mod limiter;
pub mod massive;
pub mod meters;
pub mod nse;
pub mod redact;
pub mod replay;
pub mod simulated;
pub mod tradier;
pub mod twelvedata;
pub mod unknown;
pub mod vendor;
pub mod yahoo;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::broker::{self, Broker};
use crate::market::{Bars, Quote, Range, Symbol};
use crate::quota::breaker;
use crate::quota::{Budget, Level};

pub use config::{Config, Name, UnknownProvider};
use vendor::Vendor;
pub use vendor::{Failure, Missing};

/// Where quotes come from.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which one.
    fn name(&self) -> Name;

    /// The most symbols one [`fetch`](Self::fetch) takes.
    fn batch(&self) -> NonZeroUsize;

    /// Between two polls of a symbol, unless configured.
    fn interval(&self) -> Duration;

    /// Whether it has `symbol`, as far as is known without asking.
    fn serves(&self, symbol: Symbol) -> bool;

    /// A few symbols it has that people know, for pages and examples.
    fn showcase(&self) -> Vec<Symbol> {
        self.name().showcase().iter().filter_map(|text| Symbol::parse(text).ok()).collect()
    }

    /// Gets these symbols, at most [`batch`](Self::batch) of them, each once. Ends: every wait in it is bounded.
    /// Dropping it is safe; what was spent is spent.
    async fn fetch(&self, symbols: &[Symbol]) -> Fetched;

    /// Gets `symbol`'s bars over `range`, for a chart. Takes from the same budget as quotes, and ends: every wait in it
    /// is bounded.
    ///
    /// # Errors
    /// [`NoBars`] when there are none; another provider may have some.
    async fn bars(&self, symbol: Symbol, range: Range) -> Result<Bars, NoBars> {
        let _ = (symbol, range);
        Err(NoBars::NotServed)
    }

    /// How it is doing; brings its gauges up to date.
    fn status(&self) -> Status;

    /// What limits it; `None` where nothing does.
    fn budget(&self) -> Option<&Budget> {
        None
    }

    /// Reads where the budget stands, for [`status`](Self::status) and the metrics; one broker command.
    async fn read_budget(&self) {}

    /// Forgets what was spent, and any wait that the vendor asked for.
    ///
    /// # Errors
    /// When the broker does not.
    async fn reset_budget(&self) -> broker::Result<()> {
        Ok(())
    }
}

/// What a fetch got.
#[derive(Debug, Default)]
pub struct Fetched {
    /// In the order to publish them. Of one symbol there may be several (`replay`), oldest first.
    pub quotes: Vec<Quote>,
    /// Asked for and answered, without a price.
    pub missing: Vec<(Symbol, Missing)>,
    /// What was not done.
    pub left: Option<Left>,
    /// Requests made for it, retries and halvings included.
    pub calls: u64,
}

/// What a fetch left undone.
#[derive(Debug)]
pub struct Left {
    /// Not asked for, or without an answer.
    pub symbols: Vec<Symbol>,
    /// Why.
    pub why: Why,
    /// Asking again earlier is in vain.
    pub retry_in: Duration,
}

/// Why there are no bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoBars {
    /// This provider has no bars, or none of this symbol.
    NotServed,
    /// It was asked, and has none.
    Missing(Missing),
    /// It could not be asked, or did not answer.
    Left {
        /// Why.
        why: Why,
        /// Asking again earlier is in vain.
        retry_in: Duration,
    },
}

/// Why a fetch stopped; a router tries the next provider on any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The budget is spent.
    Budget,
    /// The breaker is open.
    Open,
    /// A lasting failure parked the provider.
    Parked,
    /// The last request failed.
    Failed(Failure),
}

/// How a provider is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Its breaker; `None` where nothing can break.
    pub breaker: Option<breaker::State>,
    /// Where its budget stood when last read.
    pub budget: Vec<Level>,
    /// Units of it spent in the 24 hours before that; `None` where nobody counts.
    pub spent_today: Option<u64>,
    /// Requests made.
    pub calls: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Why it is not asked at all, and for how long.
    pub parked: Option<(String, Duration)>,
    /// The last failure, as logged.
    pub last_failure: Option<String>,
}

/// A provider cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nobody to ask.
    #[error("publisher.providers names no provider")]
    None,
    /// The same one twice.
    #[error("publisher.providers names {0} twice")]
    Twice(Name),
    /// A setting that cannot be used.
    #[error("providers.{name}.{key}: {message}")]
    Setting {
        /// Whose.
        name: Name,
        /// Which.
        key: &'static str,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// `replay` cannot use its file.
    #[error("providers.replay.file: {0}")]
    Replay(#[from] replay::ReplayError),
    /// No HTTP.
    #[error(transparent)]
    Client(#[from] client::ClientError),
}

/// Sets up these providers, in order.
///
/// # Errors
/// [`BuildError`] for the first that cannot be set up.
pub async fn build(
    names: &[Name],
    settings: &BTreeMap<Name, Config>,
    broker: &Broker,
) -> Result<Vec<Arc<dyn Provider>>, BuildError> {
    if names.is_empty() {
        return Err(BuildError::None);
    }
    let default = Config::default();
    let mut client = None;
    let mut built: Vec<Arc<dyn Provider>> = Vec::with_capacity(names.len());
    for (i, &name) in names.iter().enumerate() {
        if names[..i].contains(&name) {
            return Err(BuildError::Twice(name));
        }
        let config = settings.get(&name).unwrap_or(&default);
        built.push(match name {
            Name::Simulated => Arc::new(simulated::Simulated::new(config)),
            Name::Replay => Arc::new(replay::Replay::open(config).await?),
            Name::Massive => over(massive::Massive::new(key(name, config)?, config), config, &mut client, broker)?,
            Name::Tradier => over(tradier::Tradier::new(key(name, config)?, config), config, &mut client, broker)?,
            Name::Yahoo => over(yahoo::Yahoo::new(config), config, &mut client, broker)?,
            Name::Finnhub => over(finnhub::Finnhub::new(key(name, config)?, config), config, &mut client, broker)?,
            Name::AlphaVantage => {
                over(alphavantage::AlphaVantage::new(key(name, config)?, config), config, &mut client, broker)?
            }
            Name::TwelveData => {
                over(twelvedata::TwelveData::new(key(name, config)?, config), config, &mut client, broker)?
            }
            Name::Nse => over(nse::Nse::new(config), config, &mut client, broker)?,
            Name::Binance => over(binance::Binance::new(config), config, &mut client, broker)?,
            Name::Coinbase => over(coinbase::Coinbase::new(config), config, &mut client, broker)?,
        });
    }
    Ok(built)
}

/// A vendor behind HTTP.
fn over<V: Vendor>(
    vendor: V,
    config: &Config,
    client: &mut Option<Arc<client::Client>>,
    broker: &Broker,
) -> Result<Arc<dyn Provider>, BuildError> {
    Ok(Arc::new(fetch::HttpProvider::new(vendor, config, shared(client)?, broker)?))
}

/// The key of a vendor that answers nobody without one.
fn key(name: Name, config: &Config) -> Result<SecretString, BuildError> {
    let key = config.api_key.clone().filter(|key| !key.expose_secret().trim().is_empty());
    key.ok_or_else(|| BuildError::Setting { name, key: "api_key", message: "is needed".into() })
}

/// One client for all vendors: one pool, one bound on requests under way.
fn shared(client: &mut Option<Arc<client::Client>>) -> Result<Arc<client::Client>, client::ClientError> {
    if let Some(client) = client {
        return Ok(Arc::clone(client));
    }
    let new = Arc::new(client::Client::new()?);
    *client = Some(Arc::clone(&new));
    Ok(new)
}
