//! What the cache needs to be told.

use std::time::Duration;

use crate::market::Symbol;

/// How long what is kept, and how much of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Off entirely when false.
    pub enabled: bool,
    /// [`Class::Latest`].
    pub ttl_latest: Duration,
    /// [`Class::Recent`].
    pub ttl_recent: Duration,
    /// [`Class::List`].
    pub ttl_list: Duration,
    /// Symbols whose TTL is multiplied.
    pub popular: Vec<Symbol>,
    /// By how much.
    pub popular_multiplier: u32,
    /// Upper bound of the memory tier, in bytes.
    pub max_bytes: u64,
}

/// What a value is, as far as its time to live goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Quotes.
    Latest,
    /// Bars: they change at their end only.
    Recent,
    /// Which symbols there are, and so that there is none of a name.
    List,
}

impl Config {
    /// How long a value of this class is fresh; longer for popular symbols.
    #[must_use]
    pub fn ttl(&self, class: Class, symbol: Symbol) -> Duration {
        let ttl = match class {
            Class::Latest => self.ttl_latest,
            Class::Recent => self.ttl_recent,
            Class::List => self.ttl_list,
        };
        if self.popular.contains(&symbol) { ttl * self.popular_multiplier } else { ttl }
    }

    /// How long a symbol's quote is kept.
    #[must_use]
    pub fn quote_ttl(&self, symbol: Symbol) -> Duration {
        self.ttl(Class::Latest, symbol)
    }
}
