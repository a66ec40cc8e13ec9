//! What other threads have for a shard: updates, new connections, orders. The readers' seat has one too.
//!
//! A lock taken once per batch, never per delivery. The updates are bounded: beyond [`MAX_WAITING_UPDATES`] only the
//! newest of each symbol is kept, so that neither a slow shard nor a stalled one ever holds up the feed. New
//! connections are bounded by the gateway's connection limit, orders by who gives them (a handful of tasks).

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::Waker;
use tokio::sync::{Notify, oneshot};

use super::shard::Adopted;
use crate::hub::Arrival;
use crate::market::latest::Pushed;
use crate::market::{Latest, Symbol};
use crate::protocol::publication::{Notice, Publication};
use crate::protocol::reply::Status;

/// Updates that wait one by one: 2¹⁴ × about 300 bytes = 5 MB, shared by all shards. More would make an overloaded shard late
/// rather than complete, and slower too, since what waits has left the processor's caches when its turn comes.
pub(super) const MAX_WAITING_UPDATES: usize = 1 << 14;
/// Symbols that may wait after that, one update each.
const MAX_WAITING_SYMBOLS: NonZeroUsize = NonZeroUsize::new(1 << 17).expect("not zero");

/// Messages for every client that wait once the queue is full.
const MAX_WAITING_NOTICES: usize = 256;

/// What arrives in publishing order.
pub(super) enum Waiting {
    Batch(Batch),
    Notice(Arc<Notice>),
}

/// Updates in publishing order, shared between shards.
pub(super) type Batch = Arc<[Arc<Publication>]>;

/// What a shard is told to do.
pub(super) enum Order {
    /// Tell every client, and those who come while it lasts.
    Status(Status, Arc<Notice>),
    /// Give each client its slot within the window and close it then.
    Drain {
        /// Over how long.
        window: Duration,
    },
    /// Close every client at once and end.
    Stop,
    /// Bring [`Interest`](super::interest::Interest) up to date, now.
    Report(oneshot::Sender<()>),
    /// Describe the open connections.
    Describe(oneshot::Sender<Vec<super::shard::Description>>),
    /// Panic, which nothing else can be asked to.
    #[cfg(test)]
    Panic,
}

/// How the inbox's owner is told to look into it.
pub(super) enum Wake {
    /// A shard's event loop.
    Thread(Waker),
    /// A task.
    Task(Arc<Notify>),
}

/// One shard's inbox.
pub(super) struct Inbox {
    state: Mutex<State>,
    waker: Wake,
    /// Whether the shard has been woken and has not looked yet.
    woken: AtomicBool,
    /// Connections handed over and not ended.
    load: AtomicUsize,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) adopted: VecDeque<Adopted>,
    pub(super) orders: VecDeque<Order>,
    pub(super) queue: VecDeque<Waiting>,
    /// Updates and notices in `queue`.
    queued: usize,
    /// The newest of each symbol, once the queue is full. Newer than anything in it.
    pub(super) newest: Option<Latest<Symbol, Arc<Publication>>>,
    /// Notices that came once the queue was full, newest last.
    pub(super) notices: VecDeque<Arc<Notice>>,
    /// Cached quotes, brought for a snapshot or after an interruption.
    pub(super) cached: Vec<(Arc<Publication>, Arrival)>,
}

impl State {
    /// Whether updates wait.
    pub(super) fn has_updates(&self) -> bool {
        !self.queue.is_empty() || self.newest.is_some() || !self.cached.is_empty()
    }
}

impl Inbox {
    pub(super) fn new(waker: Wake) -> Inbox {
        Inbox { state: Mutex::default(), waker, woken: AtomicBool::new(false), load: AtomicUsize::new(0) }
    }

    /// Hands over a connection.
    pub(super) fn adopt(&self, adopted: Adopted) {
        self.load.fetch_add(1, Ordering::Relaxed);
        self.lock().adopted.push_back(adopted);
        self.wake();
    }

    /// Connections the shard has, those on their way included.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// The shard has ended a connection.
    pub(super) fn ended(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives an order.
    pub(super) fn order(&self, order: Order) {
        self.lock().orders.push_back(order);
        self.wake();
    }

    /// Hands over a message for every client. When too many wait, an older one of its kind gives way, or the oldest.
    pub(super) fn notify(&self, notice: &Arc<Notice>) {
        let mut state = self.lock();
        if state.newest.is_none() && state.queued < MAX_WAITING_UPDATES {
            state.queued += 1;
            state.queue.push_back(Waiting::Notice(Arc::clone(notice)));
        } else {
            if state.notices.len() >= MAX_WAITING_NOTICES {
                let same = state.notices.iter().position(|waiting| waiting.kind == notice.kind);
                state.notices.remove(same.unwrap_or(0));
            }
            state.notices.push_back(Arc::clone(notice));
        }
        drop(state);
        self.wake();
    }

    /// Brings cached quotes.
    pub(super) fn bring(&self, cached: impl IntoIterator<Item = (Arc<Publication>, Arrival)>) {
        self.lock().cached.extend(cached);
        self.wake();
    }

    /// Hands over updates. Returns how many gave way to newer ones.
    pub(super) fn push(&self, batch: Batch) -> u64 {
        let mut state = self.lock();
        let mut conflated = 0;
        if state.newest.is_none() && state.queued + batch.len() <= MAX_WAITING_UPDATES {
            state.queued += batch.len();
            state.queue.push_back(Waiting::Batch(batch));
        } else {
            let newest = state.newest.get_or_insert_with(|| Latest::new(MAX_WAITING_SYMBOLS));
            for publication in batch.iter() {
                let pushed = newest.push(publication.symbol(), Arc::clone(publication));
                conflated += u64::from(!matches!(pushed, Pushed::New));
            }
        }
        drop(state);
        self.wake();
        conflated
    }

    /// Takes orders and connections, and what is published too when `updates` says so.
    pub(super) fn take(&self, into: &mut State, updates: TakeUpdates) {
        self.woken.store(false, Ordering::Release);
        let mut state = self.lock();
        into.adopted.append(&mut state.adopted);
        into.orders.append(&mut state.orders);
        if updates == TakeUpdates::Yes {
            // Only together with the updates that came before them: those are news, these are not.
            into.cached.append(&mut state.cached);
            into.queue.append(&mut state.queue);
            into.newest = state.newest.take();
            into.notices.append(&mut state.notices);
            state.queued = 0;
        }
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            match &self.waker {
                Wake::Thread(waker) => {
                    // A waker fails only when its eventfd's counter is full, and then the shard is awake already.
                    let _: io::Result<()> = waker.wake();
                }
                Wake::Task(notify) => notify.notify_one(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A shard that panicked while it held the lock left plain collections behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a shard has room for updates now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakeUpdates {
    Yes,
    /// Its outboxes are full: leave them, to be conflated here if more come.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> (mio::Poll, Inbox) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Inbox::new(Wake::Thread(waker)))
    }

    fn publication(symbol: &str, seq: u64) -> Arc<Publication> {
        let symbol = Symbol::parse(symbol).unwrap();
        Arc::new(Publication::new(symbol, Some(seq), "{}", 0, 0))
    }

    #[test]
    fn a_full_inbox_keeps_the_newest_of_each_symbol() {
        let (_poll, inbox) = inbox();
        let full: Batch = (0..MAX_WAITING_UPDATES as u64).map(|seq| publication("A", seq)).collect();
        assert_eq!(inbox.push(full), 0);
        for seq in 0..10 {
            let conflated = inbox.push([publication("A", 100_000 + seq), publication("B", seq)].into());
            assert_eq!(conflated, if seq == 0 { 0 } else { 2 });
        }
        let mut taken = State::default();
        inbox.take(&mut taken, TakeUpdates::No);
        assert!(!taken.has_updates());
        inbox.take(&mut taken, TakeUpdates::Yes);
        let newest: Vec<_> = taken.newest.take().unwrap().drain().map(|(_, p)| p.seq().unwrap()).collect();
        assert_eq!((taken.queue.len(), newest), (1, vec![100_009, 9]));
        assert_eq!(inbox.push([publication("A", 1)].into()), 0, "room again");
    }
}
