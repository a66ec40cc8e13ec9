//! What the schedule is told once: its bounds; and of each call: its outcome.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Bounds on ages, and how long things rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A symbol is not handed out again before this much time has passed since the call that refreshed it was made.
    /// (Not since its answer: a cycle of exactly this length would find it not quite ripe each second time.)
    pub min_age: Duration,
    /// Nobody watched gets older than this, if the pace allows it at all. A tenth of it is kept in reserve.
    pub max_age: Duration,
    /// How long an unwatched symbol's last refresh is remembered. A symbol that comes back within it goes on where it
    /// was; one that comes back later is cold: the quote it had is gone from the cache.
    pub remember: Duration,
    /// After this much time a symbol that was handed out and never reported on is taken for lost and waits again.
    pub lease: Duration,
    /// Rest after [`Outcome::Failed`]: short and constant, since breaker and backoff hold a sick provider back.
    pub rest_failed: Duration,
    /// Rest after the first [`Outcome::NoData`]; doubles with each one in a row, up to `rest_unknown`.
    pub rest_no_data: Duration,
    /// Rest after [`Outcome::Unknown`].
    pub rest_unknown: Duration,
    /// Symbols known at once, watched or remembered: about 400 bytes each (176 in the map, 96 in the orders, and slack).
    pub capacity: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            min_age: Duration::from_secs(5),
            // The cache's TTL of a quote: what is watched should not vanish from it.
            max_age: Duration::from_secs(300),
            remember: Duration::from_secs(300),
            // Five attempts of 10 s each and their waits, doubled.
            lease: Duration::from_secs(120),
            rest_failed: Duration::from_secs(1),
            rest_no_data: Duration::from_secs(10),
            rest_unknown: Duration::from_secs(3600),
            capacity: NonZeroUsize::MIN.saturating_add(99_999),
        }
    }
}

/// What became of a symbol that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is a quote of it, new or confirmed.
    Refreshed,
    /// The call went well but brought nothing usable for this symbol.
    NoData,
    /// Nobody knows this symbol.
    Unknown,
    /// The call failed; it was not this symbol's fault.
    Failed,
    /// The call was never made, or refused without looking at it: no budget, rate limited, cancelled, key or plan.
    NotAsked,
}
