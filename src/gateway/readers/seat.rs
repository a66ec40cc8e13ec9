//! The readers' place among the shards: an inbox, a filter, a board behind a lock, and the task that brings one to the
//! other.
//!
//! To the feed it is one more shard. The lock is taken once per turn of the task, per request and per stream that comes or
//! goes; streams fetch their mail by a lock of their own. What arrives while the task is busy is taken together; beyond the
//! inbox's bound the newest of each symbol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Spans};
use super::metrics::ReaderMetrics;
use crate::gateway::fanout::{Fanout, ShardDoor};
use crate::gateway::inbox::{self, Order, TakeUpdates, Waiting};
use crate::hub::Arrival;
use crate::market::Symbol;
use crate::protocol::publication::Publication;
use crate::protocol::session::millis;

/// See the module.
pub(in crate::gateway) struct Seat {
    pub(super) fanout: Arc<Fanout>,
    index: u16,
    door: ShardDoor,
    /// Wakes the task: the inbox has something, or something is due earlier than it knows.
    turn: Arc<Notify>,
    spans: Spans,
    metrics: ReaderMetrics,
    board: Mutex<Board>,
}

impl Seat {
    /// At a place among the fanout's shards, whose inbox wakes by `turn`.
    pub(in crate::gateway) fn new(
        fanout: &Arc<Fanout>,
        index: u16,
        turn: Arc<Notify>,
        slow: Duration,
        stale: Duration,
    ) -> Seat {
        Seat {
            index,
            door: fanout.shards[usize::from(index)].clone(),
            board: Mutex::new(Board::new(Arc::clone(fanout), index)),
            fanout: Arc::clone(fanout),
            turn,
            spans: Spans { slow_ms: millis(slow), stale_ms: millis(stale) },
            metrics: ReaderMetrics::register(),
        }
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.fanout.clock.millis()
    }

    /// Asks for the cached quotes of symbols that nobody has seen here.
    pub(super) fn ask_for(&self, symbols: Vec<Symbol>) {
        self.fanout.snapshots.ask(self.index, symbols);
    }

    /// Something may be due earlier than before.
    pub(super) fn hurry(&self) {
        self.turn.notify_one();
    }

    fn turn(&self, taken: &mut inbox::State) {
        let settled = self.fanout.snapshots.settled();
        self.door.inbox.take(taken, TakeUpdates::Yes);
        // A gap found meanwhile may lie before what was just taken.
        let settled = settled.is_some() && self.fanout.snapshots.settled() == settled;
        let now_ms = self.now_ms();
        let mut board = self.board();
        for order in taken.orders.drain(..) {
            obey(&mut board, order, now_ms);
        }
        for waiting in taken.queue.drain(..) {
            match waiting {
                Waiting::Batch(batch) => {
                    for publication in batch.iter() {
                        board.arrive(publication, Arrival::Live, settled, now_ms);
                    }
                }
                Waiting::Notice(notice) => board.notify(&notice, now_ms),
            }
        }
        if let Some(mut newest) = taken.newest.take() {
            let mut newest: Vec<Arc<Publication>> = newest.drain().map(|(_, publication)| publication).collect();
            // Ids must rise (`mail`).
            newest.sort_by_key(|publication| publication.seq());
            for publication in newest {
                board.arrive(&publication, Arrival::Live, settled, now_ms);
            }
        }
        for notice in taken.notices.drain(..) {
            board.notify(&notice, now_ms);
        }
        for (publication, arrival) in taken.cached.drain(..) {
            board.arrive(&publication, arrival, settled, now_ms);
        }
        self.metrics.count(board.counts);
    }
}

/// Brings what arrives to the board and looks at what is due, until `stop`; then every stream ends.
pub(in crate::gateway) async fn run(seat: Arc<Seat>, stop: CancellationToken) {
    let mut taken = inbox::State::default();
    let mut look_at_ms = None;
    loop {
        let wait_ms = look_at_ms.map_or(u64::MAX, |at: u64| at.saturating_sub(seat.now_ms()));
        tokio::select! {
            () = stop.cancelled() => break,
            () = seat.turn.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)), if look_at_ms.is_some() => {}
        }
        seat.turn(&mut taken);
        let now_ms = seat.now_ms();
        let mut board = seat.board();
        if look_at_ms.is_none_or(|at| at <= now_ms) || board.next_look_ms(now_ms) < look_at_ms {
            board.look(seat.spans, now_ms);
            look_at_ms = board.next_look_ms(now_ms);
        }
    }
    seat.board().end_all();
}

fn obey(board: &mut Board, order: Order, now_ms: u64) {
    match order {
        Order::Status(status, notice) => board.set_status(status, &notice, now_ms),
        Order::Drain { window } => board.drain(window, now_ms, Timestamp::now()),
        Order::Stop => board.end_all(),
        #[cfg(test)]
        Order::Panic => panic!("asked to"),
        // Its counts are told as they change.
        Order::Report(answer) => _ = answer.send(()),
        Order::Describe(answer) => {
            // Nobody waits for the answer any more: nothing to do about it.
            let _ = answer.send(board.describe(now_ms));
        }
    }
}
