//! Symbols that a vendor said it does not know; they are not asked for again for a while.
//!
//! Bounded by [`MAX_UNKNOWN`]: beyond it the one that has waited longest is asked for again early.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

use crate::market::latest::Pushed;
use crate::market::{Latest, Symbol};

/// How many are remembered: 64 B each, half a MiB.
pub const MAX_UNKNOWN: NonZeroUsize = NonZeroUsize::new(8192).expect("8192 is not 0");
/// How long. New listings are rare, and each mistake costs a batch its bisection.
pub const COOL_DOWN: Duration = Duration::from_secs(600);

/// Unknown symbols, and until when.
#[derive(Debug)]
pub struct Unknown(Latest<Symbol, Instant>);

impl Default for Unknown {
    fn default() -> Self {
        Unknown(Latest::new(MAX_UNKNOWN))
    }
}

impl Unknown {
    /// Remembers `symbol`. False when it was remembered already.
    pub fn insert(&mut self, symbol: Symbol, now: Instant) -> bool {
        matches!(self.0.push(symbol, now + COOL_DOWN), Pushed::New | Pushed::Evicted(..))
    }

    /// Whether `symbol` cools down at `now`.
    pub fn contains(&mut self, symbol: Symbol, now: Instant) -> bool {
        self.0.get(&symbol).is_some_and(|&until| now < until)
    }
}
