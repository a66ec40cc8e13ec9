//! What can go wrong with a call, by what is done next.

use std::time::Duration;

use jiff::Timestamp;

use crate::provider::redact::Redactor;

/// Why there is no quote of one symbol although the vendor answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The vendor does not know it. It is not asked for a while.
    UnknownSymbol,
    /// The key's plan does not cover it, though it covers others. It is not asked for a while.
    NotInPlan,
    /// The vendor knows it and has no price.
    NoData,
}

impl Missing {
    /// The `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Missing::UnknownSymbol => "unknown_symbol",
            Missing::NotInPlan => "not_in_plan",
            Missing::NoData => "no_data",
        }
    }

    /// Whether asking again soon is in vain.
    #[must_use]
    pub const fn lasts(self) -> bool {
        match self {
            Missing::UnknownSymbol | Missing::NotInPlan => true,
            Missing::NoData => false,
        }
    }
}

/// Why a whole call failed; what is done next decides the variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too many calls: all wait, and the breaker does not count it.
    #[error("rate limited: {detail}")]
    RateLimited {
        /// When the vendor said so; otherwise until a window of the budget has passed.
        retry_after: Option<Duration>,
        /// What it said.
        detail: Detail,
    },
    /// No more calls until then: the provider is parked.
    #[error("quota exhausted until {until}: {detail}")]
    QuotaExhausted {
        /// When there are calls again.
        until: Timestamp,
        /// What it said.
        detail: Detail,
    },
    /// The key is bad: the provider is parked, an operator has to act.
    #[error("not authorised: {0}")]
    Auth(Detail),
    /// The key does not cover this: the provider is parked.
    #[error("not in the plan: {0}")]
    Plan(Detail),
    /// 5xx, a time-out, HTML where JSON was expected: tried again, and counted by the breaker.
    #[error("{0}")]
    Transient(Detail),
    /// An answer of the wrong shape: not tried again, and counted by the breaker.
    #[error("malformed answer: {0}")]
    Malformed(Detail),
}

impl Failure {
    /// The `outcome` label of `tickcast_provider_requests_total`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Failure::RateLimited { .. } => "rate_limited",
            Failure::QuotaExhausted { .. } => "quota_exhausted",
            Failure::Auth(_) => "auth",
            Failure::Plan(_) => "plan",
            Failure::Transient(_) => "transient",
            Failure::Malformed(_) => "malformed",
        }
    }

    /// What the vendor said, or what we saw.
    #[must_use]
    pub const fn detail(&self) -> &Detail {
        match self {
            Failure::RateLimited { detail, .. }
            | Failure::QuotaExhausted { detail, .. }
            | Failure::Auth(detail)
            | Failure::Plan(detail)
            | Failure::Transient(detail)
            | Failure::Malformed(detail) => detail,
        }
    }

    pub(in crate::provider) const fn detail_mut(&mut self) -> &mut Detail {
        match self {
            Failure::RateLimited { detail, .. }
            | Failure::QuotaExhausted { detail, .. }
            | Failure::Auth(detail)
            | Failure::Plan(detail)
            | Failure::Transient(detail)
            | Failure::Malformed(detail) => detail,
        }
    }
}

/// The longest [`Detail`], in characters.
pub const MAX_DETAIL_CHARS: usize = 200;

/// A sentence about a failure: one line, at most [`MAX_DETAIL_CHARS`]. A vendor's text may repeat our key; who logs it
/// redacts it first ([`Redactor`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    /// One line of `text`.
    #[must_use]
    pub fn new(text: &str) -> Detail {
        // The key is redacted later: cut after that, or half a key could be left at the end. What is kept here is
        // bounded by far more than any key's length.
        let line: String =
            text.chars().take(20 * MAX_DETAIL_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Detail(line.trim().to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(in crate::provider) fn redact(&mut self, redactor: &Redactor) {
        let clean = redactor.clean(&self.0);
        self.0 = clean.chars().take(MAX_DETAIL_CHARS).collect();
    }
}

impl<T: AsRef<str>> From<T> for Detail {
    fn from(text: T) -> Detail {
        Detail::new(text.as_ref())
    }
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
