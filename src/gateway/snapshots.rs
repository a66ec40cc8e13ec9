//! What the store knows, for those who need it: newcomers' first quotes, and what an interruption hid.
//!
//! A task of its own, so that the feed never waits for the store. Bounded by the watched symbols.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::control;
use super::fanout::{Fanout, ShardDoor};
use super::inbox::Order;
use crate::broker::keys;
use crate::hub::Arrival;
use crate::market::Symbol;
use crate::market::update::Update;
use crate::protocol::publication::Publication;

/// Keys per read of the store: 500 × about 300 bytes is an answer of 150 KB.
const KEYS_PER_READ: usize = 500;
/// Between two tries to read the store.
const RETRY: Duration = Duration::from_millis(500);
/// How long a shard's report is waited for; its turn takes milliseconds.
const REPORTS_WITHIN: Duration = Duration::from_secs(2);

/// Shards' requests for cached quotes.
#[derive(Default)]
pub(super) struct Snapshots {
    asked: Mutex<HashMap<Symbol, Vec<u16>>>,
    /// Everything watched is to be read again.
    recover: AtomicBool,
    wake: Notify,
    /// Counts what may have hidden updates: interruptions, returns, lags.
    gaps: AtomicU64,
    /// As `gaps` was when the last recovery began.
    healed: AtomicU64,
}

impl Snapshots {
    /// Asks for the last known quotes of symbols, to be brought to a shard's inbox.
    pub(super) fn ask(&self, shard: u16, symbols: Vec<Symbol>) {
        let mut asked = self.lock();
        for symbol in symbols {
            add(asked.entry(symbol).or_default(), shard);
        }
        drop(asked);
        self.wake.notify_one();
    }

    /// Keeps what could not be brought for the next try, where it is still wanted.
    fn ask_again(&self, unanswered: HashMap<Symbol, Vec<u16>>, is_wanted: impl Fn(Symbol) -> bool) {
        let mut asked = self.lock();
        for (symbol, shards) in unanswered {
            if is_wanted(symbol) {
                let again = asked.entry(symbol).or_default();
                shards.into_iter().for_each(|shard| add(again, shard));
            }
        }
    }

    /// Asks for the last known quotes of everything watched, for every watcher who has an older one.
    pub(super) fn ask_recovery(&self) {
        self.note_gap();
        self.recover.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Updates may be missing from now on.
    pub(super) fn note_gap(&self) {
        self.gaps.fetch_add(1, Ordering::AcqRel);
    }

    /// Which gap was healed last, if none was found since: nothing older than what was handed over is missing then.
    pub(super) fn settled(&self) -> Option<u64> {
        let healed = self.healed.load(Ordering::Acquire);
        (healed > 0 && healed == self.gaps.load(Ordering::Acquire)).then_some(healed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Symbol, Vec<u16>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(shards: &mut Vec<u16>, shard: u16) {
    if !shards.contains(&shard) {
        shards.push(shard);
    }
}

/// Reads the cached quotes of these symbols and remembers what is newer. False: the store could not be read.
pub(super) async fn look_up(fanout: &Fanout, symbols: &[Symbol]) -> bool {
    for chunk in symbols.chunks(KEYS_PER_READ) {
        let Some(found) = read_cached(fanout, chunk).await else { return false };
        for publication in found {
            fanout.remember(&publication);
        }
    }
    true
}

/// Brings cached quotes to the shards that asked for them, and all watched ones after an interruption, until `stop`.
pub(super) async fn run(fanout: Arc<Fanout>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = fanout.snapshots.wake.notified() => {}
        }
        let mut failed = false;
        if fanout.snapshots.recover.swap(false, Ordering::AcqRel) && !recover(&fanout).await {
            fanout.snapshots.recover.store(true, Ordering::Release);
            failed = true;
        }
        let asked = std::mem::take(&mut *fanout.snapshots.lock());
        if !bring_asked(&fanout, &asked).await {
            // Brought twice does no harm; not at all, there would be nothing until the next update.
            fanout.snapshots.ask_again(asked, |symbol| fanout.is_watched(fanout.hash(symbol)));
            failed = true;
        }
        // Without a link there is nothing to hurry for: its return asks for a recovery.
        if failed && fanout.link.is_connected() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => fanout.snapshots.wake.notify_one(),
            }
        }
    }
}

/// Every symbol with a watcher who may have missed something. Shards tell their counts now and then; here each is asked, and
/// who subscribes after it answered asks the store for itself.
async fn watched(fanout: &Fanout) -> Vec<Symbol> {
    // What nobody watches now may be out of date: whoever watches it next is to ask the store.
    fanout.sweep();
    let ask = |shard: &ShardDoor| {
        let (answer, reported) = oneshot::channel();
        shard.inbox.order(Order::Report(answer));
        reported
    };
    // All at once, then each answer. One that has ended has no watchers; one that hangs must not keep the others waiting.
    let reports: Vec<_> = fanout.shards.iter().map(ask).collect();
    for reported in reports {
        let _ = timeout(REPORTS_WITHIN, reported).await;
    }
    fanout.interest.watched()
}

/// Reads every watched symbol's cached quote. What is newer than what was sent goes to all its watchers.
async fn recover(fanout: &Fanout) -> bool {
    let gap = fanout.snapshots.gaps.load(Ordering::Acquire);
    control::restore(fanout).await;
    let symbols = watched(fanout).await;
    for chunk in symbols.chunks(KEYS_PER_READ) {
        let Some(found) = read_cached(fanout, chunk).await else { return false };
        for publication in found {
            fanout.remember(&publication);
            for shard in &fanout.shards {
                if shard.watched.may_watch(publication.hash()) {
                    shard.inbox.bring([(Arc::clone(&publication), Arrival::Recovered)]);
                }
            }
        }
    }
    fanout.snapshots.healed.store(gap, Ordering::Release);
    true
}

async fn bring_asked(fanout: &Fanout, asked: &HashMap<Symbol, Vec<u16>>) -> bool {
    let mut missing = Vec::new();
    for (symbol, shards) in asked {
        let known = fanout.last_of(*symbol);
        match known {
            Some(publication) => bring(fanout, shards, &publication),
            None => missing.push(*symbol),
        }
    }
    for chunk in missing.chunks(KEYS_PER_READ) {
        let Some(found) = read_cached(fanout, chunk).await else { return false };
        for publication in found {
            fanout.remember(&publication);
            bring(fanout, &asked[&publication.symbol()], &publication);
        }
    }
    true
}

fn bring(fanout: &Fanout, shards: &[u16], publication: &Arc<Publication>) {
    for &shard in shards {
        fanout.shards[usize::from(shard)].inbox.bring([(Arc::clone(publication), Arrival::Cached)]);
    }
}

/// The cached quotes there are. `None`: the store could not be read.
async fn read_cached(fanout: &Fanout, symbols: &[Symbol]) -> Option<Vec<Arc<Publication>>> {
    let keys: Vec<String> = symbols.iter().map(|&symbol| keys::quote(symbol)).collect();
    let values = match fanout.store.get_many(&keys).await {
        Ok(values) => values,
        Err(error) => {
            debug!(%error, "cached quotes could not be read");
            return None;
        }
    };
    let (now_us, now) = (fanout.clock.micros(), Timestamp::now());
    let publication = |(symbol, value): (&Symbol, bytes::Bytes)| {
        let text = std::str::from_utf8(&value).ok()?;
        let update = Update::read(text).ok().filter(|update| update.symbol == *symbol)?;
        let json = update.json(now);
        let age_us =
            update.published_at().map_or(0, |at| u64::try_from(now.duration_since(at).as_micros()).unwrap_or(0));
        let publication = Publication::new(*symbol, update.seq, &json, fanout.hash(*symbol), now_us);
        Some(Arc::new(publication.since(now_us.saturating_sub(age_us))))
    };
    let found = symbols.iter().zip(values).filter_map(|(symbol, value)| Some((symbol, value?)));
    Some(found.filter_map(publication).collect())
}
