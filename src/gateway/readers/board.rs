//! Who reads which symbol without a socket: by a request of the last minute, or by a stream.
//!
//! The same that a shard's hub is to sockets, for readers that are few and fetch what waits for them by themselves. Its
//! owner is the seat, behind one lock; time is an argument. Bounded by [`MAX_HELD`] symbols by request and by what the
//! seat lets in as streams.
//!
//! A symbol counts as watched here from before its last update is looked up, so that none can slip through between.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use jiff::Timestamp;
use slab::Slab;
use tokio::sync::watch;

use super::held::{Held, Touched};
use super::mail::{Mail, Said};
use super::stream::{Stream, lock};
use super::{Known, Origin, Resume, Visitor, customer};
use crate::gateway::fanout::Fanout;
use crate::gateway::shard::Description;
use crate::hub::{Arrival, Watched};
use crate::market::Symbol;
use crate::protocol::publication::{Freshness, Notice, Publication};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::session::millis;

/// Symbols held by requests: two front pages of 5,000; 150 bytes each, and as much for the last update.
const MAX_HELD: NonZeroUsize = NonZeroUsize::new(10_000).expect("10000 is not 0");
/// How long a request counts as a watcher.
const HOLD_MS: u64 = 60_000;
/// Between two looks for streams that take nothing.
const LOOK_MS: u64 = 1000;

/// See the module.
pub(super) struct Board {
    fanout: Arc<Fanout>,
    /// Its place among the fanout's shards.
    index: u16,
    readings: HashMap<Symbol, Reading>,
    held: Held,
    streams: Slab<Stream>,
    /// How many streams an address has.
    addresses: HashMap<IpAddr, u32>,
    /// What newcomers are told: the broker is away, publishing is paused.
    standing: Vec<(Status, Arc<Notice>)>,
    draining: bool,
    /// When the next stream ends by itself.
    next_end_ms: u64,
    pub(super) counts: Counts,
}

/// When something is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    /// A stream that takes nothing for so long is cut.
    pub(super) slow_ms: u64,
    /// A symbol without updates for so long is stale; 0 never.
    pub(super) stale_ms: u64,
}

/// What happened, in totals that only rise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Updates put into streams' mail.
    pub(super) delivered: u64,
    /// Updates that gave way to newer ones there.
    pub(super) conflated: u64,
    /// Streams that were cut because they took nothing.
    pub(super) too_slow: u64,
}

/// One symbol that somebody reads.
#[derive(Default)]
struct Reading {
    streams: Vec<usize>,
    last: Option<Arc<Publication>>,
    /// Its streams were told that nothing has come for too long.
    stale: bool,
    /// Told the first update, while somebody waits for it.
    first: Option<watch::Sender<Option<Known>>>,
}

/// What there is of a symbol that was asked for.
pub(super) enum Asked {
    Known(Arc<Publication>),
    /// Nothing yet; the first one is told here.
    Cold(watch::Receiver<Option<Known>>),
}

/// A stream to be added.
pub(super) struct Joining {
    pub(super) symbols: Box<[Symbol]>,
    /// What its reader has already.
    pub(super) resume: Resume,
    /// For how long its token is good.
    pub(super) lives: Option<Duration>,
    pub(super) visitor: Visitor,
}

impl Board {
    pub(super) fn new(fanout: Arc<Fanout>, index: u16) -> Board {
        Board {
            fanout,
            index,
            readings: HashMap::new(),
            held: Held::new(MAX_HELD),
            streams: Slab::new(),
            addresses: HashMap::new(),
            standing: Vec::new(),
            draining: false,
            next_end_ms: u64::MAX,
            counts: Counts::default(),
        }
    }

    /// Counts as watched for the next minute.
    pub(super) fn hold(&mut self, symbol: Symbol, now_ms: u64) {
        match self.held.touch(symbol, now_ms + HOLD_MS) {
            Touched::Known => return,
            Touched::New => {}
            Touched::InsteadOf(evicted) => self.settle_count(evicted),
        }
        self.open(symbol);
        self.settle_count(symbol);
    }

    /// Holds a symbol and says what is known of it.
    pub(super) fn ask(&mut self, symbol: Symbol, now_ms: u64) -> Asked {
        self.hold(symbol, now_ms);
        let reading = self.open(symbol);
        match &reading.last {
            Some(last) => Asked::Known(Arc::clone(last)),
            None => Asked::Cold(reading.first.get_or_insert_with(|| watch::Sender::new(None)).subscribe()),
        }
    }

    /// Adds a stream, says what is known of its symbols, and returns its place.
    pub(super) fn join(&mut self, joining: Joining, now_ms: u64) -> (usize, Arc<Mutex<Mail>>) {
        let Joining { symbols, resume, lives, visitor } = joining;
        for &symbol in &symbols {
            self.open(symbol);
        }
        let settled = self.fanout.snapshots.settled();
        let picture = self.fanout.picture_of(&symbols);
        let settled = settled.is_some() && self.fanout.snapshots.settled() == settled;
        // What was read from the store may be ahead of the feed; then others of its time are still to come.
        let high = picture.high.filter(|_| settled);
        let mut known: Vec<Arc<Publication>> = picture.updates.into_iter().flatten().collect();
        known.sort_by_key(|publication| publication.seq());
        let mut mail = Mail::new(NonZeroUsize::new(symbols.len()).unwrap_or(NonZeroUsize::MIN));
        for (_, notice) in &self.standing {
            mail.push(Said::Notice(Arc::clone(notice)), now_ms);
        }
        let mut ahead = Vec::new();
        for publication in known {
            let reading = self.readings.get_mut(&publication.symbol()).expect("opened above");
            match (publication.seq(), reading.last.as_ref().and_then(|last| last.seq())) {
                _ if reading.streams.is_empty() => reading.last = Some(Arc::clone(&publication)),
                (Some(seq), Some(known)) if seq > known => ahead.push((publication.symbol(), seq)),
                _ => {}
            }
            if !publication.seq().is_some_and(|seq| resume.has(seq)) {
                self.counts.delivered += 1;
                let id = publication.seq().filter(|&seq| high.is_some_and(|high| seq <= high));
                mail.push(Said::Update { publication, freshness: Freshness::Snapshot, id }, now_ms);
            }
        }
        for &symbol in &symbols {
            if let Some(notice) = self.readings.get(&symbol).and_then(|reading| reading.stale_notice(symbol, now_ms)) {
                mail.push(Said::Notice(notice), now_ms);
            }
        }
        *self.addresses.entry(customer(visitor.peer)).or_default() += 1;
        let ends_at_ms = lives.map_or(u64::MAX, |lives| now_ms.saturating_add(millis(lives)));
        self.next_end_ms = self.next_end_ms.min(ends_at_ms);
        let mail = Arc::new(Mutex::new(mail));
        let stream = Stream {
            mail: Arc::clone(&mail),
            symbols,
            ahead,
            resume,
            ends_at_ms,
            ended: false,
            visitor,
            opened_ms: now_ms,
        };
        let place = self.streams.insert(stream);
        for symbol in self.streams[place].symbols.clone() {
            self.open(symbol).streams.push(place);
            self.settle_count(symbol);
        }
        (place, mail)
    }

    /// Takes a stream away. Its symbols count as watched for another minute: it may come back.
    pub(super) fn leave(&mut self, place: usize, now_ms: u64) {
        let Some(stream) = self.streams.try_remove(place) else { return };
        if let Entry::Occupied(mut streams) = self.addresses.entry(customer(stream.visitor.peer)) {
            *streams.get_mut() -= 1;
            if *streams.get() == 0 {
                streams.remove();
            }
        }
        for &symbol in &stream.symbols {
            if let Some(reading) = self.readings.get_mut(&symbol) {
                reading.streams.retain(|&other| other != place);
            }
            self.hold(symbol, now_ms);
            self.settle_count(symbol);
        }
    }

    /// Takes in an update. `settled`: nothing older is missing.
    pub(super) fn arrive(&mut self, publication: &Arc<Publication>, arrival: Arrival, settled: bool, now_ms: u64) {
        let Some(reading) = self.readings.get_mut(&publication.symbol()) else { return };
        if reading.last.as_ref().is_some_and(|last| !follows(publication, last, arrival)) {
            return;
        }
        reading.last = Some(Arc::clone(publication));
        if let Some(first) = reading.first.take() {
            let origin = if arrival == Arrival::Live { Origin::Feed } else { Origin::Store };
            first.send_replace(Some(Known { publication: Arc::clone(publication), origin }));
        }
        let fresh = std::mem::take(&mut reading.stale).then(|| {
            let fresh = Reply::Fresh { symbol: publication.symbol() };
            Arc::new(Notice::new(&stale_kind(publication.symbol()), &fresh.to_json()))
        });
        let freshness = if arrival == Arrival::Live { Freshness::Live } else { Freshness::Snapshot };
        // What is read again comes in no order.
        let id = publication.seq().filter(|_| settled && arrival == Arrival::Live);
        for &place in &reading.streams {
            let stream = &mut self.streams[place];
            if let Some(fresh) = &fresh {
                self.counts.conflated += lock(&stream.mail).push(Said::Notice(Arc::clone(fresh)), now_ms);
            }
            let resumed =
                freshness == Freshness::Snapshot && publication.seq().is_some_and(|seq| stream.resume.has(seq));
            if resumed || stream.has_already(publication) {
                continue;
            }
            let said = Said::Update { publication: Arc::clone(publication), freshness, id };
            self.counts.delivered += 1;
            self.counts.conflated += lock(&stream.mail).push(said, now_ms);
        }
    }

    /// Tells every stream.
    pub(super) fn notify(&mut self, notice: &Arc<Notice>, now_ms: u64) {
        for (_, stream) in &self.streams {
            self.counts.conflated += lock(&stream.mail).push(Said::Notice(Arc::clone(notice)), now_ms);
        }
    }

    /// Tells every stream, and those that come while it lasts.
    pub(super) fn set_status(&mut self, status: Status, notice: &Arc<Notice>, now_ms: u64) {
        self.standing.retain(|(standing, _)| {
            *standing != status
                && !matches!((status, *standing), (Status::Ok, Status::Degraded) | (Status::Resumed, Status::Paused))
        });
        if matches!(status, Status::Degraded | Status::Paused) {
            self.standing.push((status, Arc::clone(notice)));
        }
        self.notify(notice, now_ms);
    }

    /// Gives each stream its moment to leave within the window.
    pub(super) fn drain(&mut self, window: Duration, now_ms: u64, now: Timestamp) {
        let window_ms = millis(window);
        self.draining = true;
        // Looked at again at once: each has its own end now.
        self.next_end_ms = now_ms;
        let count = self.streams.len().max(1) as u64;
        for (at, (_, stream)) in (0u64..).zip(&mut self.streams) {
            stream.leave_in(window_ms * (2 * at + 1) / (2 * count), now_ms, now);
        }
    }

    /// Ends every stream at once.
    pub(super) fn end_all(&mut self) {
        self.draining = true;
        for (_, stream) in &mut self.streams {
            stream.end();
        }
    }

    /// Whether streams are still let in.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Tells streams of symbols whose last update is older than this, once.
    fn find_stale(&mut self, after_ms: u64, now_ms: u64) {
        let bound_us = now_ms.saturating_sub(after_ms) * 1000;
        for (&symbol, reading) in &mut self.readings {
            let old = |last: &Arc<Publication>| last.fresh_us() < bound_us && !last.is_of_closed_market();
            if reading.stale || reading.streams.is_empty() || !reading.last.as_ref().is_some_and(old) {
                continue;
            }
            reading.stale = true;
            let Some(notice) = reading.stale_notice(symbol, now_ms) else { continue };
            for &place in &reading.streams {
                self.counts.conflated +=
                    lock(&self.streams[place].mail).push(Said::Notice(Arc::clone(&notice)), now_ms);
            }
        }
    }

    /// Does what is due: requests that are a minute old, streams that end, streams that take nothing, symbols that have
    /// become stale.
    pub(super) fn look(&mut self, spans: Spans, now_ms: u64) {
        let Spans { slow_ms, stale_ms } = spans;
        if stale_ms > 0 && !self.streams.is_empty() {
            self.find_stale(stale_ms, now_ms);
        }
        while let Some(symbol) = self.held.pop_ended(now_ms) {
            self.settle_count(symbol);
        }
        let (mut cut, mut next_end_ms) = (Vec::new(), u64::MAX);
        for (place, stream) in &mut self.streams {
            if stream.ends_at_ms <= now_ms {
                stream.end();
            } else {
                next_end_ms = next_end_ms.min(stream.ends_at_ms);
            }
            if lock(&stream.mail).waiting_since_ms().is_some_and(|since| now_ms >= since + slow_ms) {
                cut.push(place);
            }
        }
        self.next_end_ms = next_end_ms;
        for place in cut {
            self.counts.too_slow += 1;
            self.streams[place].end();
            // Its connection takes nothing and would not notice.
            self.streams[place].visitor.hangup.cancel();
            self.leave(place, now_ms);
        }
    }

    /// When to [`look`](Self::look) next.
    pub(super) fn next_look_ms(&self, now_ms: u64) -> Option<u64> {
        let slow = (!self.streams.is_empty()).then_some(now_ms + LOOK_MS);
        let end = Some(self.next_end_ms).filter(|&end| end != u64::MAX);
        [slow, end, self.held.next_end_ms()].into_iter().flatten().min()
    }

    /// Forgets the last updates of these symbols, or of all.
    pub(super) fn forget(&mut self, symbols: Option<&[Symbol]>) {
        match symbols {
            Some(symbols) => {
                for symbol in symbols {
                    if let Some(reading) = self.readings.get_mut(symbol) {
                        reading.last = None;
                    }
                }
            }
            None => self.readings.values_mut().for_each(|reading| reading.last = None),
        }
    }

    /// Streams of this address.
    pub(super) fn streams_of(&self, peer: IpAddr) -> u32 {
        self.addresses.get(&customer(peer)).copied().unwrap_or(0)
    }

    /// Symbols held by requests, and streams.
    pub(super) fn census(&self) -> (usize, usize) {
        (self.held.len(), self.streams.len())
    }

    /// The streams, as connections are shown.
    pub(super) fn describe(&self, now_ms: u64) -> Vec<Description> {
        self.streams.iter().map(|(_, stream)| stream.describe(now_ms)).collect()
    }

    /// The symbol's reading; a new one is watched from now on, and knows what the feed remembers.
    fn open(&mut self, symbol: Symbol) -> &mut Reading {
        let fanout = &self.fanout;
        let watched = &fanout.shards[usize::from(self.index)].watched;
        self.readings.entry(symbol).or_insert_with(|| {
            watched.raise(fanout.hash(symbol));
            let last = fanout.picture_of(&[symbol]).updates.pop().flatten();
            Reading { last, ..Reading::default() }
        })
    }

    /// Reports how many watch a symbol; closes it when nobody does. A stream's own request is no second watcher.
    fn settle_count(&mut self, symbol: Symbol) {
        let held = u32::from(self.held.contains(symbol));
        let streams = self.readings.get(&symbol).map_or(0, |reading| reading.streams.len());
        let count = u32::try_from(streams).unwrap_or(u32::MAX).max(held);
        if count == 0 && self.readings.remove(&symbol).is_some() {
            self.watched().lower(self.fanout.hash(symbol));
        }
        self.fanout.interest.set(self.index, &[(symbol, count)]);
    }

    fn watched(&self) -> &Watched {
        &self.fanout.shards[usize::from(self.index)].watched
    }
}

impl Reading {
    /// What streams are told, while it is stale.
    fn stale_notice(&self, symbol: Symbol, now_ms: u64) -> Option<Arc<Notice>> {
        let last = self.last.as_ref().filter(|_| self.stale)?;
        let stale = Reply::Stale { symbol, age_ms: now_ms.saturating_sub(last.fresh_us() / 1000) };
        Some(Arc::new(Notice::new(&stale_kind(symbol), &stale.to_json())))
    }
}

/// A newer word on a symbol's freshness takes the place of an older one that waits.
fn stale_kind(symbol: Symbol) -> String {
    format!("stale: {symbol}")
}

/// Whether an update may follow the last one of its symbol, by the rules of the hub's board.
fn follows(publication: &Publication, last: &Publication, arrival: Arrival) -> bool {
    match arrival {
        Arrival::Live => publication.seq().zip(last.seq()).is_none_or(|(seq, last)| seq > last),
        Arrival::Cached | Arrival::Recovered => publication.is_newer_than(last),
    }
}
