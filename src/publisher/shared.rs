//! What the parts of one publisher tell each other and the outside.
//!
//! Each value has one writer: the leader the role, control what is paused, the cycle the counts of its lanes, the outlet
//! what was published. The buffer is filled by the cycle and emptied by the outlet. Locks are held for the length of a
//! few moves, never over a wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::buffer::Buffer;
use super::meters::Meters;
use crate::broker::{Broker, Epoch};
use crate::market::Quote;
use crate::protocol::control::State;
use crate::provider::Provider;

/// Whether this publisher polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Another one does, or that is not known yet.
    Standby,
    /// This one does.
    Leading {
        /// What it publishes with.
        epoch: Epoch,
        /// Counts the times that the broker confirmed it.
        renewal: u64,
        /// When another one may lead, unless the broker confirms it again before.
        until: Instant,
    },
}

impl Role {
    pub(super) const fn is_leading(self) -> bool {
        matches!(self, Role::Leading { .. })
    }
}

/// See the module.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) broker: Broker,
    pub(super) lanes: Vec<LaneBoard>,
    pub(super) role: watch::Sender<Role>,
    /// `None` until it was read once; nothing is polled before that.
    pub(super) paused: watch::Sender<Option<State>>,
    buffer: Mutex<Buffer>,
    /// Wakes the outlet.
    pub(super) filled: Notify,
    pub(super) published: AtomicU64,
    pub(super) unchanged: AtomicU64,
    pub(super) watched: AtomicUsize,
    pub(super) unserved: AtomicUsize,
    pub(super) last_publish: Mutex<Option<Instant>>,
    pub(super) meters: Meters,
}

/// One provider and what its lane counts.
pub(super) struct LaneBoard {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) expected: AtomicU64,
    pub(super) queued: AtomicUsize,
    last_cycle: Mutex<Option<Cost>>,
}

/// What a stretch of polling cost, in calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Without retries and halvings.
    pub expected: u64,
    /// Requests made.
    pub actual: u64,
}

impl LaneBoard {
    fn new(provider: Arc<dyn Provider>) -> LaneBoard {
        let (expected, queued) = (AtomicU64::new(0), AtomicUsize::new(0));
        LaneBoard { provider, expected, queued, last_cycle: Mutex::new(None) }
    }

    /// Of the last cycle in which it was asked.
    pub(super) fn last_cycle(&self) -> Option<Cost> {
        *self.last_cycle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cycle ended.
    pub(super) fn note_cycle(&self, cost: Cost) {
        *self.last_cycle.lock().unwrap_or_else(PoisonError::into_inner) = Some(cost);
    }
}

impl Shared {
    pub(super) fn new(name: String, broker: Broker, providers: Vec<Arc<dyn Provider>>) -> Shared {
        Shared {
            name,
            broker,
            lanes: providers.into_iter().map(LaneBoard::new).collect(),
            role: watch::Sender::new(Role::Standby),
            paused: watch::Sender::new(None),
            buffer: Mutex::default(),
            filled: Notify::new(),
            published: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            watched: AtomicUsize::new(0),
            unserved: AtomicUsize::new(0),
            last_publish: Mutex::new(None),
            meters: Meters::new(),
        }
    }

    pub(super) fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Puts quotes on their way.
    pub(super) fn push(&self, batch: Vec<Quote>) {
        self.with_buffer(|buffer| buffer.push(batch));
        self.filled.notify_one();
    }

    /// Uses the buffer, and counts what that lost.
    pub(super) fn with_buffer<T>(&self, use_it: impl FnOnce(&mut Buffer) -> T) -> T {
        let mut buffer = self.buffer();
        let result = use_it(&mut buffer);
        self.meters.lost(buffer.take_lost());
        #[expect(clippy::cast_precision_loss, reason = "a count of at most some 100,000")]
        self.meters.buffered.set(buffer.len() as f64);
        result
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer().len()
    }

    pub(super) fn note_published(&self, updates: usize) {
        self.published.fetch_add(updates as u64, Ordering::Relaxed);
        self.meters.published.increment(updates as u64);
        *self.last_publish.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
