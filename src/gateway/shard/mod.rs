//! A shard: one thread, one event loop, its own board and its own connections.
//!
//! ```text
//!   inbox ─▶ hub ─▶ dirty lanes ─▶ one vectored write each        poll ─▶ read ─▶ session ─▶ hub
//! ```
//!
//! Nothing here is shared but the inbox. Everything that is published while the shard is busy is taken together at the
//! next turn, so a client gets one write for all of it; an idle shard adds no delay. Timers are looked at lazily: each
//! connection stands once in a heap, at the earliest time anything could be due.
//!
//! A panic ends the connection it happened in, at worst all of this shard's, and never the shard ([`crash`]).
//!
//! At its limits: [`crate::hub::MAX_QUEUED`] waiting entries, and the inbox keeps the newest per symbol until they are
//! written; [`MAX_REPLY_BYTES`] of replies to one client, and its requests are read no further until they are written.

mod closing;
mod connection;
mod crash;
mod desk;
mod intake;
mod reading;
mod socket;
mod timers;
mod writing;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use tracing::error;

use super::clock::Clock;
use super::inbox::{Inbox, State, Wake};
use super::interest::Interest;
use super::metrics::ShardMetrics;
use super::snapshots::Snapshots;
use crate::hub::{FlushStats, Hub, LaneId, Watched};
use crate::protocol::message::{Close, CloseCode};
use crate::protocol::publication::Notice;
use crate::protocol::reply::Status;
use crate::protocol::session::{Now, Rules, millis};

use connection::Connection;
pub use connection::Description;
pub(super) use connection::{Adopted, ClientId};

/// Replies that may wait for one client before its requests are read no further.
pub(super) const MAX_REPLY_BYTES: usize = 64 * 1024;
/// The shard's receive buffer, shared by its connections; also the most that is read from one of them per turn.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Lanes flushed before sockets and inbox are looked at again: about 4 ms of writes.
const FLUSHES_PER_TURN: usize = 512;
/// How long a close frame, and then the peer's own goodbye, is waited for.
const CLOSE_GRACE_MS: u64 = 2000;
/// How much a peer may still send after our close before the socket is reset.
const LINGER_BYTES: u32 = 1024 * 1024;
/// Between two reports of what is watched.
const REPORT_MS: u64 = 50;

const WAKE: Token = Token(usize::MAX);

const SLOW: Close = Close::new(CloseCode::TooSlow, "reading too slowly");
const DRAINED: Close = Close::new(CloseCode::Restart, "server restarts; reconnect");
const LEAVING: Close = Close::new(CloseCode::GoingAway, "server is going away");

/// What a shard needs from the gateway.
pub(super) struct Parts {
    pub(super) index: u16,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: Clock,
    pub(super) watched: Arc<Watched>,
    pub(super) interest: Arc<Interest>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) flush_window: Duration,
    pub(super) slow_client_timeout: Duration,
    /// Zero: never.
    pub(super) stale_after: Duration,
}

/// A shard's state; its thread owns it.
pub(super) struct Shard {
    parts: Parts,
    poll: Poll,
    inbox: Arc<Inbox>,
    taken: State,
    hub: Hub,
    connections: Vec<Option<Connection>>,
    open: usize,
    receive: Box<[u8]>,
    /// Connections with more to read than one turn takes.
    unread: Vec<LaneId>,
    timers: BinaryHeap<Reverse<(u64, LaneId, u32)>>,
    generation: u32,
    now: Now,
    /// Updates were left in the inbox, of which no wake tells.
    look_again: bool,
    /// When the first lane became dirty, while a flush window is kept.
    dirty_since_ms: Option<u64>,
    pace_due_ms: Option<u64>,
    stale_due_ms: Option<u64>,
    reported_at_ms: u64,
    /// What newcomers are told: the broker is away, publishing is paused.
    standing: Vec<(Status, Arc<Notice>)>,
    drain_until_ms: Option<u64>,
    stopping: bool,
    /// Whose work is being done, for the case that it panics.
    at_hand: Option<LaneId>,
    crashes: crash::Crashes,
    stats: FlushStats,
    metrics: ShardMetrics,
}

impl Shard {
    /// A shard and the inbox that feeds it.
    ///
    /// # Errors
    /// When the kernel gives no epoll or eventfd.
    pub(super) fn new(parts: Parts) -> io::Result<(Shard, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(Wake::Thread(Waker::new(poll.registry(), WAKE)?)));
        let shard = Shard {
            poll,
            inbox: Arc::clone(&inbox),
            taken: State::default(),
            hub: Hub::new(Arc::clone(&parts.watched)),
            connections: Vec::new(),
            open: 0,
            receive: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            unread: Vec::new(),
            timers: BinaryHeap::new(),
            generation: 0,
            now: parts.clock.now(),
            look_again: false,
            dirty_since_ms: None,
            pace_due_ms: None,
            stale_due_ms: None,
            reported_at_ms: 0,
            standing: Vec::new(),
            drain_until_ms: None,
            stopping: false,
            at_hand: None,
            crashes: crash::Crashes::default(),
            stats: FlushStats::default(),
            metrics: ShardMetrics::register(),
            parts,
        };
        Ok((shard, inbox))
    }

    /// Turns until it is told to stop.
    fn turns(&mut self, events: &mut Events) {
        while !self.stopping {
            if let Err(error) = self.poll.poll(events, self.timeout())
                && error.kind() != io::ErrorKind::Interrupted
            {
                error!(%error, shard = self.parts.index, "the event loop failed; this shard ends");
                return;
            }
            self.now = self.parts.clock.now();
            for event in &*events {
                if event.token() != WAKE {
                    self.on_event(event);
                }
            }
            for lane in std::mem::take(&mut self.unread) {
                self.read(lane);
            }
            self.at_hand = None;
            self.take_inbox();
            self.look_at_timers();
            self.look_for_stale();
            self.flush();
            self.at_hand = None;
            self.report();
        }
        self.close_all();
    }

    /// How long the next poll may wait.
    fn timeout(&self) -> Option<Duration> {
        let mut due = u64::MAX;
        if self.hub.is_dirty() {
            due = self.dirty_since_ms.map_or(0, |since| since + millis(self.parts.flush_window));
        }
        if !self.unread.is_empty() || self.look_again {
            due = 0;
        }
        if let Some(&Reverse((timer, ..))) = self.timers.peek() {
            due = due.min(timer);
        }
        for other in [self.pace_due_ms, self.stale_due_ms].into_iter().flatten() {
            due = due.min(other);
        }
        if self.hub.has_changed() {
            due = due.min(self.reported_at_ms + REPORT_MS);
        }
        if due == u64::MAX {
            return None;
        }
        let now = self.parts.clock.micros();
        Some(Duration::from_micros((due.saturating_mul(1000)).saturating_sub(now)))
    }

    fn on_event(&mut self, event: &Event) {
        let Some(lane) = self.lane_at(event.token().0) else { return };
        self.at_hand = Some(lane);
        if event.is_writable() {
            self.on_writable(lane);
        }
        if event.is_read_closed()
            && let Some(connection) = self.connection(lane)
        {
            connection.read_closed = true;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(lane);
        }
    }

    fn lane_at(&self, index: usize) -> Option<LaneId> {
        Some(self.connections.get(index)?.as_ref()?.lane)
    }

    fn connection(&mut self, lane: LaneId) -> Option<&mut Connection> {
        self.connections.get_mut(lane.index())?.as_mut().filter(|connection| connection.lane == lane)
    }

    fn report(&mut self) {
        self.metrics.count(self.hub.counters());
        if self.hub.has_changed() && self.now.mono_ms >= self.reported_at_ms + REPORT_MS {
            self.report_interest();
        }
    }

    fn report_interest(&mut self) {
        self.reported_at_ms = self.now.mono_ms;
        self.parts.interest.set(self.parts.index, &self.hub.take_changed());
    }
}
