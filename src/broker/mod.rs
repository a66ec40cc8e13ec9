//! The seam between publisher and gateway.
//!
//! Traits split by who may do what, with two implementations: [`memory`] is the reference and the embedded default of
//! `serve`; [`redis`] is the shared one. One contract suite (`tests/broker_contract.rs`) runs against both. The broker
//! does not know JSON: a payload is bytes with a symbol and a time to live.
//!
//! **Guarantees.** Updates are at most once, in publishing order per publisher. What makes them converge is the cache:
//! [`Publish::publish`] writes `cache:quote:{symbol}` before it publishes, and a [`Feed`] says [`Event::Resumed`] or
//! [`Event::Lagged`] whenever something may have been missed, so that its reader re-reads the cached quotes of what it
//! follows. Every call ends: with an answer, or within the command time-out with [`BrokerError::Unavailable`].

pub mod config;
mod inbox;
pub mod keys;
pub mod memory;
pub mod redis;
pub mod reporter;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::market::Symbol;
pub use crate::quota::{Budget, Ledger, Level, Taken, Window};

pub use config::{Config, Timing};
pub use redis::BadConfig;
pub use reporter::Reporter;

/// Starts the broker that is configured: Redis, or the embedded one where no URL is given.
///
/// Must be called within a tokio runtime. A Redis that is away is no error: the broker connects when it can.
///
/// # Errors
/// [`BadConfig`] when the configuration cannot work, whatever the state of Redis.
pub fn start(config: &Config) -> std::result::Result<Broker, BadConfig> {
    match &config.url {
        Some(url) => redis::start(url, config),
        None => Ok(memory::start(config.timing)),
    }
}

/// One broker, as the handles to its sides. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    /// Publishing quotes and control messages.
    pub publish: Arc<dyn Publish>,
    /// Receiving.
    pub feeds: Arc<dyn Feeds>,
    /// Who watches what, over all gateways.
    pub registry: Arc<dyn Registry>,
    /// Values by key.
    pub store: Arc<dyn Store>,
    /// Which publisher polls.
    pub leadership: Arc<dyn Leadership>,
    /// Budgets shared by all processes.
    pub quota: Arc<dyn Quota>,
    /// How the broker is doing; changes are sent as they are noticed.
    pub status: watch::Receiver<Status>,
    tasks: Tasks,
}

impl Broker {
    /// Ends the broker's own tasks and closes its connections; waits for it. Feeds fall silent, calls answer
    /// [`BrokerError::Unavailable`] where there is a server to be unavailable.
    pub async fn shutdown(&self) {
        self.tasks.stop.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}

/// The tasks a broker started: told to stop, and waited for, by [`Broker::shutdown`].
#[derive(Clone, Default)]
struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// What a caller does next decides the variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Not reachable, or no answer in time: try again later.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// It answered that it will not: read-only, out of memory, no permission. Other calls may still work.
    #[error("broker refused: {0}")]
    Refused(String),
    /// Somebody else leads by now: stop publishing, stand by.
    #[error("another publisher leads with epoch {current}")]
    Fenced {
        /// The epoch on record.
        current: u64,
    },
}

/// A broker call's outcome.
pub type Result<T> = std::result::Result<T, BrokerError>;

/// Which kind of broker, for `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In this process.
    Memory,
    /// A Redis server, cluster or sentinel group.
    Redis,
}

/// How the broker is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Which kind.
    pub kind: Kind,
    /// Commands are answered and the subscriber link was proved by a probe.
    pub connected: bool,
    /// The last write was accepted (false: read-only or out of memory; publishing may still work).
    pub writable: bool,
    /// The last canary's time from PUBLISH to receipt.
    pub canary: Option<Duration>,
    /// How often a lost link was made anew.
    pub reconnects: u64,
    /// What is wrong while not connected or not writable, in words for an operator. Holds no secrets.
    pub problem: Option<Arc<str>>,
}

/// One update to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Whose it is.
    pub symbol: Symbol,
    /// The whole update, one JSON object.
    pub json: Bytes,
    /// How long `cache:quote:{symbol}` keeps it.
    pub ttl: Duration,
}

/// Fencing: the epoch a leader acquired. A publish with a lower epoch than the recorded one is refused, atomically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// 2026-01-01 UTC in Unix seconds: where [`Leadership`] counts its epochs from. A `seq` is an epoch times 2²⁴ plus a
/// counter, exact in a JavaScript number (2⁵³) for 2²⁹ seconds, 17 years.
pub const EPOCH_ORIGIN_S: u64 = 1_767_225_600;

/// The publishing side.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Writes each update's cached quote, then publishes all of them as one message (one object, or a JSON array of
    /// several), in one round trip, unless `fence` is no longer the recorded epoch. When the broker publishes but
    /// refuses to store (read-only, out of memory), the message still goes out and the answer is `Ok(Stored::No)`.
    ///
    /// # Errors
    /// [`BrokerError`]; nothing was published then, as far as can be known.
    async fn publish(&self, updates: &[Outgoing], fence: Epoch) -> Result<Stored>;

    /// Publishes one message on a channel. Returns the number of receivers the broker knows of.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn send(&self, channel: Channel, message: &[u8]) -> Result<u64>;
}

/// The message that carries these updates: one object as it is, several as a JSON array.
fn join(updates: &[Outgoing]) -> Option<Bytes> {
    match updates {
        [] => None,
        [update] => Some(update.json.clone()),
        [first, rest @ ..] => {
            let mut array =
                BytesMut::with_capacity(1 + updates.iter().map(|update| 1 + update.json.len()).sum::<usize>());
            array.put_u8(b'[');
            array.put_slice(&first.json);
            for update in rest {
                array.put_u8(b',');
                array.put_slice(&update.json);
            }
            array.put_u8(b']');
            Some(array.freeze())
        }
    }
}

/// Whether the cached quotes were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// All of them.
    Yes,
    /// The broker takes no writes now; subscribers got the updates, latecomers will not find them.
    No,
}

/// The channels by role; their names are configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `market-data:updates`.
    Updates,
    /// `market-data:subscriptions`.
    Subscriptions,
    /// `market-data:control`.
    Control,
    /// `market-data:control:replies`: acknowledgements of control messages that carried an `id`.
    Replies,
}

/// The receiving side.
pub trait Feeds: Send + Sync {
    /// A feed of the given channels. It starts unconnected: its first event is [`Event::Resumed`], sent once messages
    /// are proved to arrive.
    fn subscribe(&self, channels: &[Channel]) -> Box<dyn Feed>;
}

/// What a feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message. The bytes may be a slice of a large read buffer: copy what outlives the call.
    Message(Channel, Bytes),
    /// Messages no longer arrive, or that can no longer be proved.
    Interrupted,
    /// Messages arrive (again). Anything may have been missed before it.
    Resumed,
    /// This many messages were missed because the reader was slow.
    Lagged(u64),
}

/// One reader's feed. Bounded: a reader that falls behind gets [`Event::Lagged`], it never holds up the broker.
#[async_trait]
pub trait Feed: Send {
    /// Waits for something to happen, then appends all that has happened, in order, up to an internal bound per call.
    /// Cancel-safe. Never ends; after the broker's shutdown it waits forever.
    async fn next(&mut self, events: &mut Vec<Event>);
}

/// Names a gateway process in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayId(pub Box<str>);

/// Who watches what. Counts are absolute per gateway, so applying them twice is harmless and a lost key heals with the
/// next full report.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Renews `gateway`'s lease and sets its own subscriber counts for the given symbols (0 removes). Publishes the
    /// 0→1 event of a symbol whose sum over all gateways left zero; 1→0 events wait [`LEAVE_DELAY`]. Also subtracts
    /// gateways whose lease has run out, and announces at once what that brought to zero.
    ///
    /// Returns how many symbols the registry holds for this gateway afterwards, or [`u64::MAX`] when it found a key lost;
    /// a caller that knows of another number reports everything again. What else it has to do is in [`Reporter`].
    ///
    /// # Errors
    /// [`BrokerError`]; the caller reports everything again on return.
    async fn report(&self, gateway: &GatewayId, counts: &[(Symbol, u32)]) -> Result<u64>;

    /// Removes a drained gateway and announces at once what that brought to zero.
    ///
    /// # Errors
    /// [`BrokerError`]; the lease runs out instead.
    async fn leave(&self, gateway: &GatewayId) -> Result<()>;

    /// Every watched symbol with its live subscribers over all gateways, after subtracting expired leases. Symbols in
    /// their leave delay are not in it.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn watched(&self) -> Result<Vec<(Symbol, u64)>>;
}

/// A gateway's lease. Renewed every [`REPORT_INTERVAL`] at least; found expired within one interval of another process.
/// 9 s + 2 s + scheduling stays below the 15 s that the contract allows for a killed gateway.
pub const LEASE: Duration = Duration::from_secs(9);
/// How often a gateway reports although nothing changed.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// How long a symbol without subscribers stays in `subscriptions:active` (page reloads cause no traffic).
pub const LEAVE_DELAY: Duration = Duration::from_secs(10);

/// Values by key. Keys are those of [`keys`], without the configured prefix.
#[async_trait]
pub trait Store: Send + Sync {
    /// The values, in the keys' order.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>>;

    /// Sets a value, for `ttl` or until removed.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<()>;

    /// Sets a value for `ttl` if there is none. True when it was set.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool>;

    /// Removes keys. Returns how many there were.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn remove(&self, keys: &[String]) -> Result<u64>;

    /// The keys that begin with `prefix`, in no order; for operators' calls, never on a regular path.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn keys_with_prefix(&self, prefix: &str) -> Result<Vec<String>>;
}

/// Which publisher polls. The lease is kept on the broker's clock.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// Becomes (or stays) the leader for `lease` unless another holds it. A take-over gets a new epoch: seconds since
    /// 2026-01-01 UTC on the broker's clock, at least one above the recorded `publisher:epoch`, recorded atomically.
    /// A holder that asks again renews and keeps its epoch, unless the record was lost or moved on: then it gets a
    /// new, higher one. `floor` is the highest epoch the caller has held or seen; the answer is above it on a take-over,
    /// so that a lost Redis cannot bring an old number back.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn acquire(&self, owner: &str, lease: Duration, floor: Epoch) -> Result<Lead>;

    /// Gives the lease up, if `owner` holds it.
    ///
    /// # Errors
    /// [`BrokerError`]; the lease runs out instead.
    async fn resign(&self, owner: &str) -> Result<()>;
}

/// [`Leadership::acquire`]'s answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// The caller leads.
    Leading(Epoch),
    /// `holder` leads for at least `remaining` more.
    Standby {
        /// Who leads.
        holder: String,
        /// When to ask again.
        remaining: Duration,
    },
}

/// Budgets shared by all processes, on the broker's clock.
#[async_trait]
pub trait Quota: Send + Sync {
    /// Takes `cost` from every window of `budget`, or nothing from any. At most `limit` is granted in *any* span of a
    /// window's length, whatever its phase, over all processes and restarts.
    ///
    /// # Errors
    /// [`BrokerError`]; nothing may be spent then.
    async fn take(&self, budget: &Budget, cost: u32) -> Result<Taken>;

    /// Records what was spent without asking, while the broker was away: how long ago, and how much. It may go over the
    /// limit; then nothing is granted until enough of it has aged.
    ///
    /// # Errors
    /// [`BrokerError`]; nothing was recorded then.
    async fn record(&self, budget: &Budget, spent: &[(Duration, u32)]) -> Result<()>;

    /// Grants nothing from `budget` for the next `span`: the vendor said to wait. Never shortens an earlier hold.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn hold(&self, budget: &Budget, span: Duration) -> Result<()>;

    /// What was spent of `budget` by anyone, and any hold, with the time on the clock that it is told by (ms).
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn ledger(&self, budget: &Budget) -> Result<(Ledger, u64)>;

    /// Where each window stands, in the budget's order.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn levels(&self, budget: &Budget) -> Result<Vec<Level>> {
        let (mut ledger, now_ms) = self.ledger(budget).await?;
        Ok(ledger.levels(&budget.windows, now_ms))
    }

    /// Forgets what was spent and any hold.
    ///
    /// # Errors
    /// [`BrokerError`].
    async fn reset(&self, budget: &Budget) -> Result<()>;
}
