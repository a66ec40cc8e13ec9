//! What a vendor is: a state machine without a socket.
//!
//! It says which requests get which symbols ([`Vendor::begin`]) and reads the answers ([`Vendor::answer`]), and either
//! may ask for more requests: a cookie before a crumb before a quote, the halves of a batch with a bad symbol in it, a
//! next page. Budgets, time-outs, retries, the breaker and secrets in error texts are the same for all vendors and
//! not known here ([`fetch`](super::fetch) drives); neither is the clock: each reply says when it came.

pub mod cookies;
mod failure;
pub mod field;
mod reply;
mod request;
#[cfg(test)]
pub(in crate::provider) mod script;
pub mod spelling;
pub mod when;

use std::num::NonZeroUsize;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::config::Name;
use crate::market::{Bar, Quote, Range, Symbol};
use crate::quota::Window;
use crate::quota::backoff::Jitter;

pub use cookies::Cookies;
pub use failure::{Detail, Failure, MAX_DETAIL_CHARS, Missing};
pub use field::Field;
pub use reply::Reply;
pub use request::{Body, Request, escape};
pub use spelling::Spelled;

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

    /// The requests that get `symbol`'s bars over `range`; `None` when this vendor has no bars, or none of it.
    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Self::Step>> {
        let _ = (symbol, range, now);
        None
    }

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
    /// The most fetches that are under way at once; `None` is any number. One, where they share a session that the
    /// first of them opens.
    pub at_once: Option<NonZeroUsize>,
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
    /// What to wait before it is made, beyond what the budget demands.
    pub pause: Option<Jitter>,
}

impl<S> Call<S> {
    /// A call of cost 1.
    #[must_use]
    pub fn new(request: Request, symbols: &[Symbol], step: S) -> Call<S> {
        Call { request, cost: 1, symbols: symbols.to_vec(), step, pause: None }
    }

    /// The same call, at this cost.
    #[must_use]
    pub fn costs(self, cost: u32) -> Call<S> {
        Call { cost, ..self }
    }

    /// The same call, as one for the next page of an answer.
    #[must_use]
    pub fn next_page(self) -> Call<S> {
        Call { pause: Some(Jitter::BETWEEN_PAGES), ..self }
    }
}

/// How a chart is asked for.
#[derive(Debug)]
pub struct Chart<S> {
    /// From one bar to the next.
    pub interval: Duration,
    /// Bars that begin earlier are left out.
    pub from: Timestamp,
    /// The first call.
    pub call: Call<S>,
}

/// How far a fetch got by an answer.
#[derive(Debug)]
pub struct Progress<S> {
    /// Read from it; prices above zero.
    pub quotes: Vec<Quote>,
    /// Read from it, in any order.
    pub bars: Vec<Bar>,
    /// The vendor has nothing for these.
    pub missing: Vec<(Symbol, Missing)>,
    /// To be made next.
    pub calls: Vec<Call<S>>,
    /// The vendor says that its budget is spent for this long. It lowers our estimate; nothing raises it.
    pub hold: Option<Duration>,
}

impl<S> Default for Progress<S> {
    fn default() -> Self {
        Progress { quotes: Vec::new(), bars: Vec::new(), missing: Vec::new(), calls: Vec::new(), hold: None }
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
