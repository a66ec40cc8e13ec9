//! What a vendor is: a state machine without a socket.
//!
//! It says which requests get which symbols ([`Vendor::begin`]) and reads the answers ([`Vendor::answer`]), and either
//! may ask for more requests: a cookie before a crumb before a quote, the halves of a batch with a bad symbol in it, a
//! next page. Budgets, time-outs, retries, the breaker and secrets in error texts are the same for all vendors and
//! not known here ([`fetch`](super::fetch) drives); neither is the clock: each reply says when it came.

mod reply;
mod request;

use std::num::NonZeroUsize;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::config::Name;
use crate::market::{Quote, Symbol};
use crate::quota::Window;

pub use reply::Reply;
pub use request::{Body, Request, escape};

/// One vendor's requests and answers.
pub trait Vendor: Send + 'static {
    /// Tells a vendor's kinds of request apart, and carries what a later one needs of an earlier one.
    type Step: Send + Sync;

    /// What there is to know before asking.
    fn profile(&self) -> Profile;

    /// Whether this vendor has `symbol`, as far as its spelling tells.
    fn serves(&self, symbol: Symbol) -> bool;

    /// The requests that get these symbols, at most [`Profile::batch`] of them, each once.
    fn begin(&mut self, symbols: &[Symbol], now: Timestamp) -> Progress<Self::Step>;

    /// What the answer to `call` says.
    ///
    /// # Errors
    /// [`Failure`] when it is none, for the whole call.
    fn answer(&mut self, call: &Call<Self::Step>, reply: &Reply<'_>) -> Result<Progress<Self::Step>, Failure>;
}

/// What there is to know about a vendor before asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Which one.
    pub name: Name,
    /// Scheme, host and port.
    pub base_url: &'static str,
    /// The most symbols one call takes.
    pub batch: NonZeroUsize,
    /// Between two polls of a symbol, unless configured.
    pub interval: Duration,
    /// For one request, connect to last byte, unless configured.
    pub timeout: Duration,
    /// What the vendor allows, in its own units, unless configured.
    pub windows: Vec<Window>,
}

/// How far a vendor's clock may be ahead of ours.
pub const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// One request, and what it is for.
#[derive(Debug)]
pub struct Call<S> {
    /// To be sent.
    pub request: Request,
    /// What it takes of the budget, in the vendor's units.
    pub cost: u32,
    /// Whose quotes it is for.
    pub symbols: Vec<Symbol>,
    /// The vendor's own mark.
    pub step: S,
}

/// How far a fetch got by an answer.
#[derive(Debug)]
pub struct Progress<S> {
    /// Read from it; prices above zero.
    pub quotes: Vec<Quote>,
    /// The vendor has nothing for these.
    pub missing: Vec<(Symbol, Missing)>,
    /// To be made next.
    pub calls: Vec<Call<S>>,
    /// The vendor says that its budget is spent for this long. It lowers our estimate; nothing raises it.
    pub hold: Option<Duration>,
}

impl<S> Default for Progress<S> {
    fn default() -> Self {
        Progress { quotes: Vec::new(), missing: Vec::new(), calls: Vec::new(), hold: None }
    }
}

impl<S> Progress<S> {
    /// Sorts one symbol's row: a quote that is worth publishing, or what is missing. Price 0 is never published, and a
    /// time more than [`MAX_AHEAD`] after `now` is no time.
    pub fn add(&mut self, symbol: Symbol, row: Result<Quote, Missing>, now: Timestamp) {
        match row {
            Ok(mut quote) if quote.price.is_positive() => {
                quote.traded_at = quote.traded_at.filter(|at| at.duration_since(now) <= MAX_AHEAD);
                self.quotes.push(quote);
            }
            Ok(_) => self.missing.push((symbol, Missing::NoData)),
            Err(missing) => self.missing.push((symbol, missing)),
        }
    }
}

/// Why there is no quote of one symbol although the vendor answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The vendor does not know it. It is not asked for a while.
    UnknownSymbol,
    /// The vendor knows it and has no price.
    NoData,
}

impl Missing {
    /// The `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Missing::UnknownSymbol => "unknown_symbol",
            Missing::NoData => "no_data",
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

    pub(super) const fn detail_mut(&mut self) -> &mut Detail {
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
/// redacts it first ([`Redactor`](super::redact::Redactor)).
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

    pub(super) fn redact(&mut self, redactor: &super::redact::Redactor) {
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
