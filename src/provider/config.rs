//! What each provider needs to be told, and the providers there are.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::market::Listings;

/// A provider, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Massive, formerly (and also) Polygon.
    Massive,
    /// Tradier.
    Tradier,
    /// Yahoo Finance (unofficial).
    Yahoo,
    /// Finnhub.
    Finnhub,
    /// Alpha Vantage.
    AlphaVantage,
    /// Twelve Data.
    TwelveData,
    /// NSE India (unofficial).
    Nse,
    /// Binance spot.
    Binance,
    /// Coinbase Exchange.
    Coinbase,
    /// Quotes from a file.
    Replay,
    /// Quotes from a seeded random walk.
    Simulated,
}

impl Name {
    /// All of them, in documentation order.
    pub const ALL: [Name; 11] = [
        Name::Massive,
        Name::Tradier,
        Name::Yahoo,
        Name::Finnhub,
        Name::AlphaVantage,
        Name::TwelveData,
        Name::Nse,
        Name::Binance,
        Name::Coinbase,
        Name::Replay,
        Name::Simulated,
    ];

    /// A few symbols it has that people know.
    #[must_use]
    pub const fn showcase(self) -> &'static [&'static str] {
        match self {
            Name::Massive | Name::Tradier | Name::Yahoo | Name::Finnhub | Name::TwelveData => {
                &["AAPL", "AMZN", "GOOG", "META", "MSFT", "NVDA", "TSLA"]
            }
            // 25 calls a day: one symbol is all a page may ask for.
            Name::AlphaVantage => &["IBM"],
            Name::Nse => &["HDFCBANK", "INFY", "ITC", "RELIANCE", "SBIN", "TCS"],
            Name::Binance => &["BNB-USDT", "BTC-USDT", "DOGE-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"],
            Name::Coinbase => &["BTC-USD", "ETH-USD", "SOL-USD"],
            Name::Replay => &[],
            Name::Simulated => &["AAPL", "AMZN", "BTC-USD", "GOOG", "MSFT", "NVDA", "RELIANCE", "TCS", "TSLA"],
        }
    }

    /// Whether its quotes come from a market, which has hours; those of the others are invented or recorded.
    #[must_use]
    pub const fn has_market(self) -> bool {
        !matches!(self, Name::Replay | Name::Simulated)
    }

    /// The name in configuration, metrics and `data.source`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Name::Massive => "massive",
            Name::Tradier => "tradier",
            Name::Yahoo => "yahoo",
            Name::Finnhub => "finnhub",
            Name::AlphaVantage => "alphavantage",
            Name::TwelveData => "twelvedata",
            Name::Nse => "nse",
            Name::Binance => "binance",
            Name::Coinbase => "coinbase",
            Name::Replay => "replay",
            Name::Simulated => "simulated",
        }
    }
}

impl FromStr for Name {
    type Err = UnknownProvider;
    fn from_str(text: &str) -> Result<Name, UnknownProvider> {
        if text == "polygon" {
            return Ok(Name::Massive);
        }
        Name::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| UnknownProvider(text.into()))
    }
}

/// There is no provider of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no provider is named {0:?}")]
pub struct UnknownProvider(pub String);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One provider's settings. `None` is the provider's documented default.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Scheme, host and port; the vendor's paths follow it.
    pub base_url: Option<String>,
    /// The key, where the vendor wants one.
    pub api_key: Option<SecretString>,
    /// `free` or `paid`, where that changes budgets or endpoints.
    pub plan: Option<String>,
    /// Budget per second.
    pub per_second: Option<NonZeroU32>,
    /// Budget per minute.
    pub per_minute: Option<NonZeroU32>,
    /// Budget per day.
    pub per_day: Option<NonZeroU32>,
    /// Symbols per call.
    pub batch: Option<NonZeroU32>,
    /// For one request, connect to last byte.
    pub timeout: Option<Duration>,
    /// Patterns of the symbols it serves (`*` matches any run of characters); empty is its own default.
    pub symbols: Vec<String>,
    /// `replay`: the file, CSV or JSON lines.
    pub file: Option<PathBuf>,
    /// `replay`: how many times faster than recorded; `None` is one record of each symbol per interval.
    pub speed: Option<f64>,
    /// `replay`: the symbol of a file without a symbol column.
    pub symbol: Option<String>,
    /// `replay`: whether to begin again at the end.
    pub repeat: Option<bool>,
    /// `simulated`: the seed of its random walk.
    pub seed: Option<u64>,
    /// Where symbols are listed; the same for all providers.
    pub listings: Listings,
}

/// Whether the key was bought; one of which nothing is known is taken for a free one.
#[must_use]
pub fn has_paid(config: &Config) -> bool {
    config.plan.as_deref() == Some("paid")
}

/// Symbols per call: as configured, and at most as many as the vendor takes.
#[must_use]
pub fn batch(config: &Config, most: NonZeroUsize) -> NonZeroUsize {
    let configured = config.batch.and_then(|batch| NonZeroUsize::try_from(batch).ok());
    configured.map_or(most, |batch| batch.min(most))
}
