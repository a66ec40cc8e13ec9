//! What the cache needs to be told.

use std::time::Duration;

use crate::market::Symbol;

/// How long what is kept, and how much of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Off entirely when false.
    pub enabled: bool,
    /// Quotes.
    pub ttl_latest: Duration,
    /// Recent bars.
    pub ttl_recent: Duration,
    /// Symbol lists.
    pub ttl_list: Duration,
    /// Symbols whose TTL is multiplied.
    pub popular: Vec<Symbol>,
    /// By how much.
    pub popular_multiplier: u32,
    /// Upper bound of the memory tier, in bytes.
    pub max_bytes: u64,
}

impl Config {
    /// How long a symbol's quote is kept.
    #[must_use]
    pub fn quote_ttl(&self, symbol: Symbol) -> Duration {
        if self.popular.contains(&symbol) { self.ttl_latest * self.popular_multiplier } else { self.ttl_latest }
    }
}
