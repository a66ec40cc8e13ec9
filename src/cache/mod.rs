//! The cache: a bounded memory tier in front of the broker's store, and one fetch at a time per key.
//!
//! ```text
//!   get ─▶ memory ─▶ flight (one per key) ─▶ store ─▶ lock in the store ─▶ fetch
//! ```
//!
//! Whoever asks for a key that is being fetched waits for that fetch: within the process for the flight, between
//! processes for the lock's holder. A failure is kept for a while too, so that it is not repeated by each who asks; a
//! value that cannot be fetched anew is answered with for as long again. While the store is away the memory tier works
//! alone; switched off, nothing is kept, and fetches under way are still shared.
//!
//! It does not know HTTP nor what its values mean ([`charts`] does, for bars). Quotes live in the gateway's fan-out and
//! in `cache:quote:{symbol}`, which publishers write; here they are only counted ([`Cache::count_quote`]).
//!
//! Bounded: the memory tier by bytes, the least valuable goes first; flights by [`MAX_FLIGHTS`], beyond which a request is
//! refused with [`Busy`]; a value by [`value::MAX_BODY`].

pub mod charts;
pub mod config;
mod flight;
mod memory;
pub mod meters;
pub mod value;

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use charts::Charts;
pub use config::{Class, Config};
pub use flight::Fetched;
pub use meters::Stats;
pub use value::Value;

use crate::broker::{self, Broker, BrokerError, Store, keys};
use crate::market::{Range, Symbol};
use flight::{Fetch, Flight};
use memory::Memory;
use meters::{MemoryStats, Meters, Outcome, RedisStats, Tiers};

/// Keys that may be fetched at the same time; more than the providers have requests in flight is of no use.
pub const MAX_FLIGHTS: usize = 256;

/// The cache. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    config: Config,
    store: Arc<dyn Store>,
    status: watch::Receiver<broker::Status>,
    memory: Option<Memory>,
    flights: Mutex<HashMap<Arc<str>, watch::Receiver<Option<Answer>>>>,
    meters: Meters,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A key's answer, and where it came from.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The value.
    pub value: Arc<Value>,
    /// Where from.
    pub origin: Origin,
}

/// Where an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In this process.
    Memory,
    /// In the shared store.
    Store,
    /// Not in the cache: it was fetched, or waited for.
    Fetched,
}

/// Too many keys are being fetched; try again in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much is being fetched; try again in a moment")]
pub struct Busy;

impl Cache {
    /// A cache over this broker's store.
    #[must_use]
    pub fn new(config: &Config, broker: &Broker) -> Cache {
        Cache(Arc::new(Inner {
            config: config.clone(),
            store: Arc::clone(&broker.store),
            status: broker.status.clone(),
            memory: config.enabled.then(|| Memory::new(config.max_bytes)),
            flights: Mutex::default(),
            meters: Meters::register(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// How long what is kept.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The value of `key`: from memory, from the store, or fetched, once for all who ask meanwhile, in this process and
    /// in others. The fetch goes on when the caller no longer waits.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn get<F>(&self, key: &str, fetch: impl FnOnce() -> F + Send + 'static) -> Result<Answer, Busy>
    where
        F: Future<Output = Fetched> + Send + 'static,
    {
        let inner = &self.0;
        if let Some(value) = inner.memory.as_ref().and_then(|memory| memory.fresh(key, now_ms())) {
            inner.meters.memory.count(Outcome::Hit);
            inner.meters.all.count(Outcome::Hit);
            return Ok(Answer { value, origin: Origin::Memory });
        }
        inner.meters.memory.count(Outcome::Miss);
        let mut flight = self.board(key, Box::new(|| Box::pin(fetch())))?;
        let answer = flight.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        // A flight ends without an answer only when the process does, or when its fetch panicked.
        let answer = answer.ok_or(Busy)?;
        inner.meters.all.count(if answer.origin == Origin::Fetched { Outcome::Miss } else { Outcome::Hit });
        Ok(answer)
    }

    /// Counts a quote that a reader was given, or was not, as the gateway found it.
    pub fn count_quote(&self, origin: Origin) {
        if !self.0.config.enabled {
            return;
        }
        let Meters { all, memory, redis, .. } = &self.0.meters;
        let (in_memory, in_store) = (origin == Origin::Memory, origin == Origin::Store);
        let outcome = |is_hit| if is_hit { Outcome::Hit } else { Outcome::Miss };
        memory.count(outcome(in_memory));
        if !in_memory {
            redis.count(outcome(in_store));
        }
        all.count(outcome(in_memory || in_store));
    }

    /// Forgets everything, or one symbol: here and in the store. Memory tiers of other processes look into the store
    /// again within a minute. Returns how many keys the store had.
    ///
    /// # Errors
    /// [`BrokerError`]: memory was cleared, the store could not be.
    pub async fn clear(&self, symbol: Option<Symbol>) -> Result<u64, BrokerError> {
        let store = &self.0.store;
        let found = match symbol {
            Some(symbol) => {
                let charts = Range::ALL.into_iter().map(|range| charts::key(symbol, range));
                charts.chain([keys::quote(symbol)]).collect()
            }
            None => Vec::new(),
        };
        if let Some(memory) = &self.0.memory {
            match symbol {
                Some(_) => found.iter().for_each(|key| memory.remove(key)),
                None => memory.clear(),
            }
        }
        let found = if symbol.is_some() { found } else { store.keys_with_prefix(keys::CACHE_PREFIX).await? };
        if found.is_empty() { Ok(0) } else { store.remove(&found).await }
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Inner { config, memory, meters, .. } = &*self.0;
        let (entries, bytes) = memory.as_ref().map(Memory::size).unwrap_or_default();
        Stats {
            enabled: config.enabled,
            connected: self.0.status.borrow().connected,
            hits: meters.all.hits(),
            misses: meters.all.misses(),
            hit_rate: meters.all.hit_rate(),
            tiers: Tiers {
                memory: MemoryStats {
                    hits: meters.memory.hits(),
                    misses: meters.memory.misses(),
                    entries,
                    bytes,
                    max_bytes: config.max_bytes,
                },
                redis: RedisStats {
                    hits: meters.redis.hits(),
                    misses: meters.redis.misses(),
                    errors: meters.redis.errors(),
                },
            },
            fetching: self.flights().len(),
        }
    }

    /// Brings the gauges up to date, before metrics are read.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; sizes stay far below 2^53")]
    pub fn set_gauges(&self) {
        let (entries, bytes) = self.0.memory.as_ref().map(Memory::size).unwrap_or_default();
        metrics::gauge!("tickcast_cache_entries").set(entries as f64);
        metrics::gauge!("tickcast_cache_bytes").set(bytes as f64);
    }

    /// Gives up what is being fetched and waits for it to end.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The key's flight: one that is under way, or a new one.
    fn board(&self, key: &str, fetch: Fetch) -> Result<watch::Receiver<Option<Answer>>, Busy> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key) {
            return Ok(flight.clone());
        }
        if flights.len() >= MAX_FLIGHTS || self.0.stop.is_cancelled() {
            return Err(Busy);
        }
        let key: Arc<str> = key.into();
        let (answer, flight) = watch::channel(None);
        flights.insert(Arc::clone(&key), flight.clone());
        drop(flights);
        let landing = Landing { cache: self.clone(), key: Arc::clone(&key) };
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move {
            let landing = landing;
            let flight = Flight { inner: &landing.cache.0, key: &key };
            tokio::select! {
                () = stop.cancelled() => {}
                found = flight.run(fetch) => {
                    answer.send_replace(Some(found));
                }
            }
        });
        Ok(flight)
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, watch::Receiver<Option<Answer>>>> {
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list however it ends.
struct Landing {
    cache: Cache,
    key: Arc<str>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.cache.flights().remove(&self.key);
    }
}

/// Now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}
