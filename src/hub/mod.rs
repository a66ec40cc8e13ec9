//! Who watches what, and what waits for whom. One hub per shard; the shard's thread is its only user.
//!
//! ```text
//!   Publication ──▶ board: symbol → topic ──▶ each watcher's lane ──▶ one vectored write per dirty lane
//! ```
//!
//! Pure: no socket, no clock. It does not know JSON or sessions; it knows frames only as bytes. Per delivery it
//! allocates nothing, locks nothing and hashes nothing: one list entry is appended for a lane and one slice is handed
//! to its write. A lane whose socket is full keeps only *which* symbols wait; what is sent then is each one's newest
//! update, which the board holds anyway, so a slow client costs four bytes a symbol and never an old quote.

mod board;
mod chain;
mod dirty;
mod filter;
mod flush;
mod lane;
mod pace;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::market::Symbol;
use crate::protocol::message::Terms;
use crate::protocol::publication::{Form, Freshness, Notice, Publication};
use crate::protocol::reply::Reply;

use board::{Board, TopicId, Watcher};
use chain::{Chain, Item, ItemId};
use dirty::Dirty;
pub use filter::Watched;
pub use flush::{Flush, FlushStats};
pub use lane::LaneId;
use lane::{Lanes, State, SubId};
use pace::Pacer;

/// Most entries that may wait in a hub's lanes that are not blocked. 2¹⁸ entries × 12 bytes = 3 MiB; above it the
/// shard stops taking updates from its inbox, which then keeps the newest per symbol.
pub const MAX_QUEUED: usize = 1 << 18;
/// Most topics kept for wildcard watchers alone; later symbols are delivered to them but have no snapshot.
pub const MAX_WILD_TOPICS: usize = 1 << 16;

/// A shard's board and outboxes.
pub struct Hub {
    board: Board,
    lanes: Lanes,
    chain: Chain,
    dirty: Dirty,
    pacer: Pacer,
    flush: flush::Scratch,
    /// Lanes that watch every symbol.
    wild: Vec<LaneId>,
    /// When staleness was looked at last, on the process's monotonic clock.
    looked_at_us: u64,
    counters: Counters,
}

/// What a hub has done, in totals that only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Updates handed whole to a socket.
    pub deliveries: u64,
    /// Writes made.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Updates that gave way to a newer one because their client was slow.
    pub conflated: u64,
    /// Updates not above their symbol's last `seq`.
    pub out_of_order: u64,
    /// Updates nobody watches here.
    pub unwatched: u64,
}

/// Why an update comes to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was just published: it is the next of its symbol.
    Live,
    /// It was in the cache when a symbol got its first watcher here: it goes to whoever asked for a snapshot.
    Cached,
    /// It was in the cache after an interruption: it goes to every watcher, if it is newer than what was sent.
    Recovered,
}

impl Hub {
    /// An empty hub. `watched` is told which symbols have watchers here.
    #[must_use]
    pub fn new(watched: Arc<Watched>) -> Hub {
        Hub {
            board: Board::new(watched),
            lanes: Lanes::default(),
            chain: Chain::default(),
            dirty: Dirty::default(),
            pacer: Pacer::default(),
            flush: flush::Scratch::default(),
            wild: Vec::new(),
            looked_at_us: 0,
            counters: Counters::default(),
        }
    }

    /// Adds a client.
    pub fn attach(&mut self, form: Form) -> LaneId {
        self.lanes.add(form)
    }

    /// Removes a client. Costs what it had subscribed and what waits for it.
    pub fn detach(&mut self, lane: LaneId) {
        self.unwatch_all(lane);
        self.chain.clear(self.lanes.hot_mut(lane));
        self.lanes.remove(lane);
    }

    /// Watches a symbol, or changes the terms of one already watched. With a snapshot asked for, the last known update
    /// is queued; when there is none here yet, it is the caller's to bring as [`Arrival::Cached`]: true then.
    pub fn watch(&mut self, lane: LaneId, symbol: Symbol, terms: Terms) -> bool {
        let topic = self.board.open(symbol);
        let sub = match self.lanes.side(lane).find(topic) {
            Some(sub) => sub,
            None => {
                let sub = self.lanes.side_mut(lane).add(topic);
                let position = self.board.watch(topic, Watcher::new(lane, sub));
                self.lanes.side_mut(lane).set_position(sub, position);
                sub
            }
        };
        self.lanes.side_mut(lane).set_wants_snapshot(sub, terms.snapshot);
        let paced = self.pacer.set(lane, sub, terms.min_gap_ms);
        self.board.set_paced(topic, self.lanes.side(lane).position(sub), paced);
        let known = self.board.last(topic).is_some();
        if known && terms.snapshot {
            self.queue(lane, Entry { topic, sub, freshness: Freshness::Snapshot });
        }
        if self.board.is_stale(topic) {
            let item = self.chain.hold(Item::Notice(self.stale_notice(topic, self.looked_at_us)));
            self.tell(lane, sub, item);
            self.chain.unhold_if_unused(item);
        }
        !known
    }

    /// Stops watching a symbol, drops what waits of it. False when it was not watched.
    pub fn unwatch(&mut self, lane: LaneId, symbol: Symbol) -> bool {
        let Some(topic) = self.board.find(symbol) else { return false };
        let Some(sub) = self.lanes.side(lane).find(topic) else { return false };
        self.drop_sub(lane, sub);
        true
    }

    /// Watches every symbol that is published. The last known updates of all topics here are queued.
    pub fn watch_all(&mut self, lane: LaneId, terms: Terms) {
        if !self.lanes.hot(lane).wild {
            self.lanes.hot_mut(lane).wild = true;
            self.wild.push(lane);
            self.board.set_wild(true);
            self.lanes.side_mut(lane).wait_by_topic();
        }
        if terms.snapshot {
            for topic in self.board.topics_with_last() {
                self.queue(lane, Entry { topic, sub: SubId::WILD, freshness: Freshness::Snapshot });
            }
        }
    }

    /// Stops watching everything. Names what was watched by symbol.
    pub fn unwatch_all(&mut self, lane: LaneId) -> Vec<Symbol> {
        let subs: Vec<SubId> = self.lanes.side(lane).subs().collect();
        let symbols = subs.iter().map(|&sub| self.board.symbol(self.lanes.side(lane).topic(sub))).collect();
        for sub in subs {
            self.drop_sub(lane, sub);
        }
        self.lanes.side_mut(lane).release_subs();
        if self.lanes.hot(lane).wild {
            self.lanes.hot_mut(lane).wild = false;
            self.wild.retain(|&other| other != lane);
            self.chain.remove_sub(self.lanes.hot_mut(lane), SubId::WILD);
            if let Some(backlog) = self.lanes.side_mut(lane).backlog_mut() {
                backlog.forget_topics();
            }
            if self.wild.is_empty() {
                self.board.set_wild(false);
            }
        }
        symbols
    }

    /// What a lane watches by name.
    #[must_use]
    pub fn watched(&self, lane: LaneId) -> Vec<Symbol> {
        let side = self.lanes.side(lane);
        side.subs().map(|sub| self.board.symbol(side.topic(sub))).collect()
    }

    /// Whether a lane watches a symbol by name.
    #[must_use]
    pub fn watches(&self, lane: LaneId, symbol: Symbol) -> bool {
        self.board.find(symbol).is_some_and(|topic| self.lanes.side(lane).find(topic).is_some())
    }

    /// Whether a lane watches every symbol.
    #[must_use]
    pub fn watches_all(&self, lane: LaneId) -> bool {
        self.lanes.hot(lane).wild
    }

    /// How many symbols a lane watches by name.
    #[must_use]
    pub fn active(&self, lane: LaneId) -> usize {
        self.lanes.side(lane).active()
    }

    /// Applies an update: makes it the symbol's last and queues it for everyone who is to get it.
    pub fn publish(&mut self, publication: &Arc<Publication>, arrival: Arrival, now_ms: u64) {
        let Some(topic) = self.board.find_hashed(publication.hash(), publication.symbol()) else {
            self.publish_unwatched(publication, arrival);
            return;
        };
        if !self.board.accept(topic, publication, arrival) {
            self.counters.out_of_order += u64::from(arrival == Arrival::Live);
            return;
        }
        if self.board.freshen(topic) {
            let fresh = Reply::Fresh { symbol: publication.symbol() };
            let notice = Arc::new(Notice::new(&stale_kind(publication.symbol()), &fresh.to_json()));
            self.tell_watchers(topic, &notice);
        }
        let freshness = if arrival == Arrival::Live { Freshness::Live } else { Freshness::Snapshot };
        let item = self.chain.hold(Item::Update(Arc::clone(publication)));
        let large = self.dirty.is_large(self.board.audience(topic));
        let (first, then) = self.board.watchers_in_turn(topic);
        for watcher in first.iter().chain(then) {
            let (lane, sub) = (watcher.lane(), watcher.sub());
            if arrival == Arrival::Cached && !self.lanes.side(lane).wants_snapshot(sub) {
                continue;
            }
            if watcher.is_paced() && !self.pacer.may_send(lane, sub, now_ms) {
                continue;
            }
            let hot = self.lanes.hot_mut(lane);
            match hot.state {
                State::Open if !hot.wild => {
                    self.chain.append(hot, item, sub, freshness);
                    self.dirty.mark(hot, lane, large);
                }
                State::Blocked if !hot.wild => {
                    self.counters.conflated += u64::from(self.lanes.side_mut(lane).wait(sub, freshness));
                }
                // A wildcard watcher gets every update once, below.
                State::Open | State::Blocked | State::Closing => {}
            }
        }
        self.deliver_wild(item, Some(topic), freshness);
        self.chain.unhold_if_unused(item);
    }

    /// Queues an item for the wildcard watchers. Without a topic there is no newest update to wait for.
    fn deliver_wild(&mut self, item: ItemId, topic: Option<TopicId>, freshness: Freshness) {
        for &lane in &self.wild {
            let hot = self.lanes.hot_mut(lane);
            match hot.state {
                State::Open => {
                    self.chain.append(hot, item, SubId::WILD, freshness);
                    self.dirty.mark(hot, lane, false);
                }
                State::Blocked => {
                    let backlog = self.lanes.side_mut(lane).open_backlog();
                    let conflated = topic.is_none_or(|topic| backlog.wait_topic(topic, freshness));
                    self.counters.conflated += u64::from(conflated);
                }
                State::Closing => {}
            }
        }
    }

    /// An update of a symbol without a topic: wildcard watchers may still want it.
    fn publish_unwatched(&mut self, publication: &Arc<Publication>, arrival: Arrival) {
        if self.wild.is_empty() || arrival != Arrival::Live {
            self.counters.unwatched += 1;
            return;
        }
        if self.board.len() < MAX_WILD_TOPICS {
            self.board.open(publication.symbol());
            return self.publish(publication, arrival, 0);
        }
        let item = self.chain.hold(Item::Update(Arc::clone(publication)));
        self.deliver_wild(item, None, Freshness::Live);
        self.chain.unhold_if_unused(item);
    }

    /// Queues a notice for every client.
    pub fn notify_all(&mut self, notice: &Arc<Notice>) {
        let item = self.chain.hold(Item::Notice(Arc::clone(notice)));
        for lane in self.lanes.ids() {
            let hot = self.lanes.hot_mut(lane);
            match hot.state {
                State::Open => {
                    self.chain.append(hot, item, SubId::NONE, Freshness::Live);
                    self.dirty.mark(hot, lane, true);
                }
                State::Blocked => self.lanes.side_mut(lane).open_backlog().wait_notice(notice),
                State::Closing => {}
            }
        }
        self.chain.unhold_if_unused(item);
    }

    /// Tells watchers of symbols whose last update arrived more than `after_us` ago that they are stale, once.
    pub fn find_stale(&mut self, now_us: u64, after_us: u64) {
        self.looked_at_us = now_us;
        for topic in self.board.take_stale(now_us.saturating_sub(after_us)) {
            let notice = self.stale_notice(topic, now_us);
            self.tell_watchers(topic, &notice);
        }
    }

    fn stale_notice(&self, topic: TopicId, now_us: u64) -> Arc<Notice> {
        let symbol = self.board.symbol(topic);
        let fresh_us = self.board.last(topic).map_or(now_us, |last| last.fresh_us());
        let stale = Reply::Stale { symbol, age_ms: now_us.saturating_sub(fresh_us) / 1000 };
        Arc::new(Notice::new(&stale_kind(symbol), &stale.to_json()))
    }

    fn tell_watchers(&mut self, topic: TopicId, notice: &Arc<Notice>) {
        let item = self.chain.hold(Item::Notice(Arc::clone(notice)));
        for watcher in self.board.watchers(topic) {
            self.tell(watcher.lane(), watcher.sub(), item);
        }
        for lane in self.wild.clone() {
            self.tell(lane, SubId::WILD, item);
        }
        self.chain.unhold_if_unused(item);
    }

    /// Queues a notice that belongs to a subscription, in its place among the updates.
    fn tell(&mut self, lane: LaneId, sub: SubId, item: ItemId) {
        let (hot, side) = self.lanes.both_mut(lane);
        match hot.state {
            State::Open => {
                self.chain.append(hot, item, sub, Freshness::Live);
                self.dirty.mark(hot, lane, false);
            }
            State::Blocked => {
                if let Item::Notice(notice) = self.chain.item(item) {
                    side.open_backlog().wait_notice(notice);
                }
            }
            State::Closing => {}
        }
    }

    /// Queues a frame for one client, before its updates. The caller bounds what it sends: [`Hub::reply_bytes`].
    pub fn reply(&mut self, lane: LaneId, frame: Box<[u8]>) {
        let (hot, side) = self.lanes.both_mut(lane);
        side.push_reply(frame);
        if side.backlog().is_none() {
            self.dirty.mark(hot, lane, false);
        }
    }

    /// Bytes of replies that wait for one client.
    #[must_use]
    pub fn reply_bytes(&self, lane: LaneId) -> usize {
        self.lanes.side(lane).replies().map(<[u8]>::len).sum()
    }

    /// Nothing more goes to this client but what it was already told, the rest of a cut frame and `close`.
    pub fn close(&mut self, lane: LaneId, close: Box<[u8]>) {
        self.unwatch_all(lane);
        self.chain.clear(self.lanes.hot_mut(lane));
        if let Some(backlog) = self.lanes.side_mut(lane).backlog_mut() {
            backlog.keep_cut_only();
        }
        self.lanes.hot_mut(lane).state = State::Closing;
        self.reply(lane, close);
    }

    /// Lets the pacer send what has become due. Returns when to call again (ms), if anything waits.
    pub fn pace(&mut self, now_ms: u64) -> Option<u64> {
        while let Some((lane, sub)) = self.pacer.pop_due(now_ms) {
            let topic = self.lanes.side(lane).topic(sub);
            self.queue(lane, Entry { topic, sub, freshness: Freshness::Live });
        }
        self.pacer.next_due()
    }

    /// Entries that wait in lanes that are not blocked.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.chain.len()
    }

    /// Whether any lane waits for a flush.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Totals so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Watched symbols here, and the watchers over all of them (wildcards not counted).
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        self.board.census()
    }

    /// Hands out the symbols whose number of watchers changed since the last call, with that number.
    pub fn take_changed(&mut self) -> Vec<(Symbol, u32)> {
        self.board.take_changed()
    }

    /// Whether [`Hub::take_changed`] has something.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.board.has_changed()
    }

    /// Every watched symbol with its number of watchers.
    #[must_use]
    pub fn watch_counts(&self) -> Vec<(Symbol, u32)> {
        self.board.watch_counts()
    }

    /// Queues a topic's last update for one lane.
    fn queue(&mut self, lane: LaneId, entry: Entry) {
        let Some(last) = self.board.last(entry.topic) else { return };
        let hot = self.lanes.hot_mut(lane);
        match hot.state {
            State::Open => {
                let item = self.chain.hold(Item::Update(Arc::clone(last)));
                self.chain.append(hot, item, entry.sub, entry.freshness);
                self.dirty.mark(hot, lane, false);
            }
            State::Blocked if hot.wild => {
                self.lanes.side_mut(lane).open_backlog().wait_topic(entry.topic, entry.freshness);
            }
            State::Blocked => {
                self.lanes.side_mut(lane).wait(entry.sub, entry.freshness);
            }
            State::Closing => {}
        }
    }

    fn drop_sub(&mut self, lane: LaneId, sub: SubId) {
        let side = self.lanes.side_mut(lane);
        let (topic, position) = (side.topic(sub), side.position(sub));
        side.remove(sub);
        self.pacer.remove(lane, sub);
        self.chain.remove_sub(self.lanes.hot_mut(lane), sub);
        if let Some(moved) = self.board.unwatch(topic, position) {
            self.lanes.side_mut(moved.lane()).set_position(moved.sub(), position);
        }
    }
}

/// A newer word on a symbol's freshness takes the place of an older one that waits.
fn stale_kind(symbol: Symbol) -> String {
    format!("stale: {symbol}")
}

/// An update to be queued for one lane.
#[derive(Clone, Copy)]
struct Entry {
    topic: TopicId,
    sub: SubId,
    freshness: Freshness,
}
