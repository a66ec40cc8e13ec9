//! Broker → shards: each update is read once, encoded once, and handed to the shards that watch its symbol.
//!
//! The feed's task never waits for a shard or for the store: shards have inboxes that conflate, and whatever needs the
//! store ([snapshots](super::snapshots), what an interruption hid) is fetched by a task of its own. It keeps the last update of each
//! watched symbol, so that a shard's newcomers have one even while the broker is away.
//!
//! Readers that are not sockets have a seat among the shards ([`readers`](super::readers)): to the feed it is one more.
//!
//! Bounded by the watched symbols: every [`SWEEP`] the last updates of symbols that nobody watches any more are
//! forgotten, so that a page reload still finds them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::bounded_log::BoundedLog;
use super::fanout::Fanout;
use super::inbox::Batch;
use super::metrics::{self, FeedMetrics};
use crate::broker::{Channel, Event, Feed};
use crate::market::update::{Item, Malformed, Update, read_message};
use crate::protocol::publication::{Notice, Publication};
use crate::protocol::reply::Status;

/// How often the last updates of unwatched symbols are forgotten.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a starting gateway waits for the broker before it tells clients that it is away.
const PATIENCE: Duration = Duration::from_secs(1);

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
