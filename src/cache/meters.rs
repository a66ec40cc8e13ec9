//! What the cache counts: by tier and outcome, for `/metrics` and `/cache/stats`.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge};
use serde::Serialize;

/// One tier's or the whole cache's counts.
#[derive(Debug)]
pub(super) struct Tally {
    hits: Count,
    misses: Count,
    errors: Count,
}

#[derive(Debug)]
struct Count {
    here: AtomicU64,
    exported: Counter,
}

/// What happened to a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit,
    Miss,
    /// The tier could not be asked.
    Error,
}

/// Counts of the whole, and of each tier.
#[derive(Debug)]
pub(super) struct Meters {
    pub(super) all: Tally,
    pub(super) memory: Tally,
    pub(super) redis: Tally,
    /// What was fetched from a provider, by how that went.
    pub(super) fetched: Counter,
    pub(super) failed: Counter,
}

/// `/cache/stats`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Whether anything is cached.
    pub enabled: bool,
    /// Whether the shared tier answers.
    pub connected: bool,
    /// Requests answered from a tier.
    pub hits: u64,
    /// Requests that had to be fetched or waited for.
    pub misses: u64,
    /// Hits of all.
    pub hit_rate: f64,
    /// Each tier.
    pub tiers: Tiers,
    /// Fetches under way.
    pub fetching: usize,
}

/// See [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tiers {
    /// This process's.
    pub memory: MemoryStats,
    /// The broker's store; Redis, where one is configured.
    pub redis: RedisStats,
}

/// See [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryStats {
    /// Found.
    pub hits: u64,
    /// Not found, or not fresh.
    pub misses: u64,
    /// Values held.
    pub entries: u64,
    /// What they take.
    pub bytes: u64,
    /// What they may take.
    pub max_bytes: u64,
}

/// See [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedisStats {
    /// Found.
    pub hits: u64,
    /// Not found, or not fresh.
    pub misses: u64,
    /// Could not be asked.
    pub errors: u64,
}

impl Meters {
    pub(super) fn register() -> Meters {
        describe();
        Meters {
            all: Tally::register("all"),
            memory: Tally::register("memory"),
            redis: Tally::register("redis"),
            fetched: counter!("tickcast_cache_fetches_total", "outcome" => "ok"),
            failed: counter!("tickcast_cache_fetches_total", "outcome" => "failed"),
        }
    }
}

impl Tally {
    fn register(tier: &'static str) -> Tally {
        let count = |outcome: &'static str| Count {
            here: AtomicU64::new(0),
            exported: counter!("tickcast_cache_requests_total", "tier" => tier, "outcome" => outcome),
        };
        Tally { hits: count("hit"), misses: count("miss"), errors: count("error") }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Hit => &self.hits,
            Outcome::Miss => &self.misses,
            Outcome::Error => &self.errors,
        };
        count.here.fetch_add(1, Ordering::Relaxed);
        count.exported.increment(1);
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.here.load(Ordering::Relaxed)
    }

    pub(super) fn misses(&self) -> u64 {
        self.misses.here.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.here.load(Ordering::Relaxed)
    }

    /// Hits of all that was answered; 0 before the first.
    #[expect(clippy::cast_precision_loss, reason = "a rate of four digits")]
    pub(super) fn hit_rate(&self) -> f64 {
        let (hits, all) = (self.hits() as f64, (self.hits() + self.misses()).max(1) as f64);
        (hits / all * 10_000.0).round() / 10_000.0
    }
}

fn describe() {
    describe_counter!(
        "tickcast_cache_requests_total",
        Unit::Count,
        "Look-ups by tier (memory, redis, all: the two together) and outcome."
    );
    describe_counter!("tickcast_cache_fetches_total", Unit::Count, "Values fetched from providers for the cache.");
    describe_gauge!("tickcast_cache_entries", Unit::Count, "Values in the cache's memory tier.");
    describe_gauge!("tickcast_cache_bytes", Unit::Bytes, "What the values in the cache's memory tier take.");
}
