//! What the feed's tasks, the shards and the seat share: the shards' doors, and the last update of each watched symbol.
//!
//! Bounded by the watched symbols: [`Fanout::sweep`] forgets those of others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::clock::Clock;
use super::inbox::{Inbox, Order};
use super::interest::Interest;
use super::snapshots::Snapshots;
use crate::broker::Store;
use crate::hub::Watched;
use crate::market::Symbol;
use crate::protocol::publication::{Notice, Publication};
use crate::protocol::reply::{Reply, Stamp, Status};

/// One shard, as the feed sees it.
#[derive(Clone)]
pub(super) struct ShardDoor {
    pub(super) inbox: Arc<Inbox>,
    pub(super) watched: Arc<Watched>,
}

/// Everything the feed's tasks share.
pub(super) struct Fanout {
    pub(super) shards: Vec<ShardDoor>,
    pub(super) clock: Clock,
    pub(super) interest: Arc<Interest>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) store: Arc<dyn Store>,
    /// Fires when the broker came back.
    pub(super) resumed: Arc<Notify>,
    pub(super) link: Link,
    /// Whether clients believe that publishing is paused.
    paused: AtomicBool,
    last: Mutex<Last>,
}

/// What was published last.
#[derive(Default)]
pub(super) struct Last {
    pub(super) updates: HashMap<Symbol, Arc<Publication>>,
    /// The `seq` of the last update handed to the shards.
    pub(super) high: Option<u64>,
}

/// What is known of some symbols, at one moment.
pub(super) struct Picture {
    /// Their last updates, in the order asked for.
    pub(super) updates: Vec<Option<Arc<Publication>>>,
    /// Whatever one publisher numbered up to here is in it, unless a gap hid it ([`Snapshots::settled`]).
    pub(super) high: Option<u64>,
}

/// How the feed, for health.
#[derive(Default)]
pub(super) struct Link {
    pub(super) connected: AtomicBool,
    /// On the gateway's clock; 0 before the first.
    pub(super) last_message_us: AtomicU64,
}

impl Link {
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// How long ago the last message came.
    pub(super) fn last_message_age_ms(&self, clock: Clock) -> Option<u64> {
        let at = self.last_message_us.load(Ordering::Relaxed);
        (at > 0).then(|| clock.micros().saturating_sub(at) / 1000)
    }
}

impl Fanout {
    pub(super) fn new(
        shards: Vec<ShardDoor>,
        clock: Clock,
        interest: Arc<Interest>,
        snapshots: Arc<Snapshots>,
        store: Arc<dyn Store>,
    ) -> Fanout {
        let (resumed, link, paused, last) = (Arc::default(), Link::default(), AtomicBool::default(), Mutex::default());
        Fanout { shards, clock, interest, snapshots, store, resumed, link, paused, last }
    }

    /// Tells every client, and those who come while it lasts.
    pub(super) fn tell(&self, status: Status, reason: Option<&str>) {
        match status {
            Status::Paused => self.paused.store(true, Ordering::Release),
            Status::Resumed => self.paused.store(false, Ordering::Release),
            Status::Degraded | Status::Ok | Status::Draining => {}
        }
        let timestamp = Stamp(Timestamp::now());
        let reply = Reply::Status { status, reason, provider: None, symbols: vec![], reconnect_in_ms: None, timestamp };
        let kind = match status {
            Status::Degraded | Status::Ok => "status: broker",
            Status::Paused | Status::Resumed => "status: publishing",
            Status::Draining => "status: drain",
        };
        let notice = Arc::new(Notice::new(kind, &reply.to_json()));
        for shard in &self.shards {
            shard.inbox.order(Order::Status(status, Arc::clone(&notice)));
        }
    }

    /// Nothing is paused (any more): tells clients, if they were told otherwise.
    pub(super) fn end_pause(&self) {
        if self.paused.load(Ordering::Acquire) {
            self.tell(Status::Resumed, None);
        }
    }

    pub(super) fn is_watched(&self, hash: u64) -> bool {
        self.shards.iter().any(|shard| shard.watched.may_watch(hash))
    }

    pub(super) fn hash(&self, symbol: Symbol) -> u64 {
        self.shards[0].watched.hash(symbol)
    }

    /// The last updates of these symbols; never older than what their shards have.
    pub(super) fn picture_of(&self, symbols: &[Symbol]) -> Picture {
        let last = self.last();
        Picture { updates: symbols.iter().map(|symbol| last.updates.get(symbol).cloned()).collect(), high: last.high }
    }

    /// Forgets the last updates of these symbols, or of all.
    pub(super) fn forget(&self, symbols: Option<&[Symbol]>) {
        let mut last = self.last();
        match symbols {
            Some(symbols) => symbols.iter().for_each(|symbol| drop(last.updates.remove(symbol))),
            None => last.updates.clear(),
        }
    }

    /// The last update of `symbol`, if there is one.
    pub(super) fn last_of(&self, symbol: Symbol) -> Option<Arc<Publication>> {
        self.last().updates.get(&symbol).cloned()
    }

    /// Remembers what was read from the store, if it is newer.
    pub(super) fn remember(&self, publication: &Arc<Publication>) {
        let mut last = self.last();
        match last.updates.get_mut(&publication.symbol()) {
            Some(older) if !publication.is_newer_than(older) => {}
            Some(older) => *older = Arc::clone(publication),
            None => {
                last.updates.insert(publication.symbol(), Arc::clone(publication));
            }
        }
    }

    pub(super) fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the last updates of symbols that nobody watches any more.
    pub(super) fn sweep(&self) {
        let mut last = self.last();
        last.updates.retain(|_, publication| self.is_watched(publication.hash()));
        last.updates.shrink_to(1024);
    }
}
