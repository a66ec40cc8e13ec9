//! What the publisher needs to be told.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::market::{Listings, Symbol};
use crate::provider;

/// What is polled, from whom, how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// Providers in the order they are tried.
    pub providers: Vec<provider::Name>,
    /// Between two cycles; `None` is the provider's own default (5 s; 1 s for `simulated`).
    pub interval: Option<Duration>,
    /// Symbols polled whether or not anyone watches.
    pub pinned: Vec<Symbol>,
    /// Index symbols: polled like pinned ones, and gathered in `cache:indices`.
    pub indices: Vec<Symbol>,
    /// Where symbols are listed, and so when they trade.
    pub listings: Listings,
    /// How many times longer the interval is while a symbol's market is closed; 1 is never.
    pub closed_stretch: NonZeroU32,
    /// Whether `serve` runs a publisher at all.
    pub enabled: bool,
    /// Each provider's settings, by name.
    pub settings: BTreeMap<provider::Name, provider::Config>,
}
