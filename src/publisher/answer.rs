//! What a fetch says about each symbol that it was to get: a quote, or why there is none.
//!
//! Pure; holds nothing.

use crate::market::Symbol;
use crate::provider::{Failure, Fetched, Missing, Why};

/// What a provider answered about one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A quote, or that there is no newer one.
    Quote,
    /// No such symbol.
    Unknown,
    /// No price.
    NoData,
    /// Nothing usable.
    Failed,
    /// It was not asked, or refused without looking: budget, breaker, key or plan.
    Away,
}

impl Answer {
    /// What a fetch says about one of its symbols.
    pub fn about(symbol: Symbol, fetched: &Fetched) -> Answer {
        if let Some(left) = fetched.left.as_ref().filter(|left| left.symbols.contains(&symbol)) {
            return match &left.why {
                Why::Failed(Failure::Transient(_) | Failure::Malformed(_)) => Answer::Failed,
                Why::Failed(_) | Why::Budget | Why::Open | Why::Parked => Answer::Away,
            };
        }
        match fetched.missing.iter().find(|(other, _)| *other == symbol) {
            Some((_, Missing::UnknownSymbol | Missing::NotInPlan)) => Answer::Unknown,
            Some((_, Missing::NoData)) => Answer::NoData,
            // Asked for and answered; what is not among the quotes has nothing new (`replay`).
            None => Answer::Quote,
        }
    }
}
