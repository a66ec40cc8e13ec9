//! Broker → shards: each update is read once, encoded once, and handed to the shards that watch its symbol.
//!
//! The feed's task never waits for a shard or for the store: shards have inboxes that conflate, and whatever needs the
//! store (snapshots, what an interruption hid) is fetched by a task of its own. It keeps the last update of each
//! watched symbol, so that a shard's newcomers have one even while the broker is away.
//!
//! Readers that are not sockets have a seat among the shards ([`readers`](super::readers)): to the feed it is one more.
//!
//! Bounded by the watched symbols: every [`SWEEP`] the last updates of symbols that nobody watches any more are
//! forgotten, so that a page reload still finds them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::bounded_log::BoundedLog;
use super::clock::Clock;
use super::control;
use super::inbox::{Batch, Inbox, Order};
use super::interest::Interest;
use super::metrics::{self, FeedMetrics};
use crate::broker::{Channel, Event, Feed, Store, keys};
use crate::hub::{Arrival, Watched};
use crate::market::Symbol;
use crate::market::update::{Item, Malformed, Update, read_message};
use crate::protocol::publication::{Notice, Publication};
use crate::protocol::reply::{Reply, Stamp, Status};

/// How often the last updates of unwatched symbols are forgotten.
const SWEEP: Duration = Duration::from_secs(30);
/// Keys per read of the store: 500 × about 300 bytes is an answer of 150 KB.
const KEYS_PER_READ: usize = 500;
/// How long a starting gateway waits for the broker before it tells clients that it is away.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to read the store.
const RETRY: Duration = Duration::from_millis(500);

/// One shard, as the feed sees it.
#[derive(Clone)]
pub(super) struct ShardDoor {
    pub(super) inbox: Arc<Inbox>,
    pub(super) watched: Arc<Watched>,
}

/// Everything the feed's two tasks share.
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
struct Last {
    updates: HashMap<Symbol, Arc<Publication>>,
    /// The `seq` of the last update handed to the shards.
    high: Option<u64>,
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
    connected: AtomicBool,
    /// On the gateway's clock; 0 before the first.
    last_message_us: AtomicU64,
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
            let shards = asked.entry(symbol).or_default();
            if !shards.contains(&shard) {
                shards.push(shard);
            }
        }
        drop(asked);
        self.wake.notify_one();
    }

    /// Asks for the last known quotes of everything watched, for every watcher who has an older one.
    pub(super) fn ask_recovery(&self) {
        self.note_gap();
        self.recover.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Updates may be missing from now on.
    fn note_gap(&self) {
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

    fn is_watched(&self, hash: u64) -> bool {
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

    /// Reads the cached quotes of these symbols and remembers what is newer. False: the store could not be read.
    pub(super) async fn look_up(&self, symbols: &[Symbol]) -> bool {
        for chunk in symbols.chunks(KEYS_PER_READ) {
            let Some(found) = read_cached(self, chunk).await else { return false };
            for publication in found {
                remember(self, &publication);
            }
        }
        true
    }

    /// Forgets the last updates of these symbols, or of all.
    pub(super) fn forget(&self, symbols: Option<&[Symbol]>) {
        let mut last = self.last();
        match symbols {
            Some(symbols) => symbols.iter().for_each(|symbol| drop(last.updates.remove(symbol))),
            None => last.updates.clear(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let mut last = self.last();
        last.updates.retain(|_, publication| self.is_watched(publication.hash()));
        last.updates.shrink_to(1024);
    }
}

/// Reads the feed until `stop`. Control messages go to `controls`; one that finds it full is dropped and counted there.
pub(super) async fn run(
    fanout: Arc<Fanout>,
    mut feed: Box<dyn Feed>,
    controls: mpsc::Sender<bytes::Bytes>,
    stop: CancellationToken,
) {
    let mut reader = Reader {
        routed: Vec::new(),
        metrics: FeedMetrics::register(),
        log: BoundedLog::default(),
        link: Linked::NotYet,
        fanout,
    };
    let mut events = Vec::new();
    let mut sweep = tokio::time::interval(SWEEP);
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = sweep.tick() => reader.fanout.sweep(),
            () = &mut patience, if reader.link == Linked::NotYet => reader.interrupted(),
            () = feed.next(&mut events) => reader.take(&mut events, &controls),
        }
    }
}

/// The feed task's own state.
struct Reader {
    fanout: Arc<Fanout>,
    /// Updates read from the events at hand, not handed over yet.
    routed: Vec<Arc<Publication>>,
    metrics: FeedMetrics,
    log: BoundedLog,
    link: Linked,
}

/// What clients believe of the broker's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linked {
    /// The gateway has just started; nobody was told anything.
    NotYet,
    Up,
    /// They were told that it is away.
    Away,
}

impl Reader {
    fn take(&mut self, events: &mut Vec<Event>, controls: &mpsc::Sender<bytes::Bytes>) {
        let received_us = self.fanout.clock.micros().max(1);
        let now = Timestamp::now();
        let mut sampled = false;
        for event in events.drain(..) {
            match event {
                Event::Message(Channel::Updates, payload) => {
                    self.fanout.link.last_message_us.store(received_us, Ordering::Relaxed);
                    self.read(&payload, received_us, now, &mut sampled);
                }
                Event::Message(Channel::Control, payload) => {
                    if controls.try_send(bytes::Bytes::copy_from_slice(&payload)).is_err() {
                        warn!("a control message was dropped: too many at once");
                    }
                }
                Event::Message(Channel::Subscriptions | Channel::Replies, _) => {}
                Event::Interrupted => self.interrupted(),
                Event::Resumed => self.resumed(),
                Event::Lagged(missed) => {
                    warn!(missed, "the feed was read too slowly; reading the cached quotes again");
                    self.metrics.lagged.increment(missed);
                    self.fanout.snapshots.ask_recovery();
                }
            }
        }
        self.hand_over();
    }

    fn read(&mut self, payload: &[u8], received_us: u64, now: Timestamp, sampled: &mut bool) {
        read_message(payload, |item| match item {
            Ok(Item::Update(update)) => {
                self.metrics.received.increment(1);
                if !*sampled {
                    *sampled = true;
                    self.sample_age(&update, now);
                }
                self.route(&update, received_us, now);
            }
            Ok(Item::Notice { kind, raw }) => {
                self.metrics.notices.increment(1);
                // What was published before it goes before it.
                self.hand_over();
                let notice = Arc::new(Notice::new(&kind, raw));
                for shard in &self.fanout.shards {
                    shard.inbox.notify(&notice);
                }
            }
            Err(malformed) => drop_malformed(malformed, payload.len(), &mut self.log),
        });
    }

    fn sample_age(&self, update: &Update<'_>, now: Timestamp) {
        let age = update.published_at().and_then(|at| Duration::try_from(now.duration_since(at)).ok());
        if let Some(age) = age {
            self.metrics.age.record(age);
        }
    }

    /// Encodes an update, if anybody may want it.
    fn route(&mut self, update: &Update<'_>, received_us: u64, now: Timestamp) {
        let fanout = &self.fanout;
        let hash = fanout.hash(update.symbol);
        let remembered = fanout.last().updates.contains_key(&update.symbol);
        if !remembered && !fanout.is_watched(hash) {
            self.metrics.unwatched.increment(1);
            return;
        }
        let json = update.json(now);
        self.routed.push(Arc::new(Publication::new(update.symbol, update.seq, &json, hash, received_us)));
    }

    /// Gives each shard what it watches, one batch, and then remembers it: a newcomer must not get as a snapshot what
    /// its shard is about to send it as news. Whoever begins to watch a symbol while this happens reads what is
    /// remembered after it, so it is one step to them: it has the update in its batch or finds it here.
    fn hand_over(&mut self) {
        if self.routed.is_empty() {
            return;
        }
        let mut last = self.fanout.last();
        for shard in &self.fanout.shards {
            let watched = self.routed.iter().filter(|publication| shard.watched.may_watch(publication.hash()));
            let batch: Batch = watched.cloned().collect();
            if !batch.is_empty() {
                self.metrics.conflated.increment(shard.inbox.push(batch));
            }
        }
        for publication in self.routed.drain(..) {
            last.high = last.high.max(publication.seq());
            match last.updates.get_mut(&publication.symbol()) {
                Some(older) if older.seq().zip(publication.seq()).is_some_and(|(old, new)| new <= old) => {}
                Some(older) => *older = publication,
                None => {
                    last.updates.insert(publication.symbol(), publication);
                }
            }
        }
    }

    fn interrupted(&mut self) {
        self.fanout.snapshots.note_gap();
        self.fanout.link.connected.store(false, Ordering::Release);
        if std::mem::replace(&mut self.link, Linked::Away) != Linked::Away {
            warn!("the broker is away; clients keep their last quotes");
            self.fanout.tell(Status::Degraded, Some("the broker is away; quotes may be old"));
        }
    }

    fn resumed(&mut self) {
        self.fanout.link.connected.store(true, Ordering::Release);
        self.fanout.resumed.notify_one();
        self.fanout.snapshots.ask_recovery();
        info!("updates arrive from the broker");
        if std::mem::replace(&mut self.link, Linked::Up) == Linked::Away {
            self.fanout.tell(Status::Ok, None);
        }
    }
}

fn drop_malformed(malformed: Malformed, bytes: usize, log: &mut BoundedLog) {
    metrics::dropped(malformed.reason());
    if let Some(suppressed) = log.may_log() {
        warn!(reason = malformed.reason(), bytes, suppressed, "dropped from the updates channel: {malformed}");
    }
}

/// Brings cached quotes to the shards that asked for them, and all watched ones after an interruption, until `stop`.
pub(super) async fn fetch(fanout: Arc<Fanout>, stop: CancellationToken) {
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
        failed |= !bring_asked(&fanout, asked).await;
        // Without a link there is nothing to hurry for: its return asks for a recovery.
        if failed && fanout.link.is_connected() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => fanout.snapshots.wake.notify_one(),
            }
        }
    }
}

/// Reads every watched symbol's cached quote. What is newer than what was sent goes to all its watchers.
async fn recover(fanout: &Fanout) -> bool {
    let gap = fanout.snapshots.gaps.load(Ordering::Acquire);
    control::restore(fanout).await;
    let symbols = fanout.interest.watched();
    for chunk in symbols.chunks(KEYS_PER_READ) {
        let Some(found) = read_cached(fanout, chunk).await else { return false };
        for publication in found {
            remember(fanout, &publication);
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

async fn bring_asked(fanout: &Fanout, asked: HashMap<Symbol, Vec<u16>>) -> bool {
    let mut missing = Vec::new();
    for (symbol, shards) in &asked {
        let known = fanout.last().updates.get(symbol).cloned();
        match known {
            Some(publication) => bring(fanout, shards, &publication),
            None => missing.push(*symbol),
        }
    }
    for chunk in missing.chunks(KEYS_PER_READ) {
        let Some(found) = read_cached(fanout, chunk).await else { return false };
        for publication in found {
            remember(fanout, &publication);
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

fn remember(fanout: &Fanout, publication: &Arc<Publication>) {
    let mut last = fanout.last();
    match last.updates.get_mut(&publication.symbol()) {
        Some(older) if !publication.is_newer_than(older) => {}
        Some(older) => *older = Arc::clone(publication),
        None => {
            last.updates.insert(publication.symbol(), Arc::clone(publication));
        }
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
