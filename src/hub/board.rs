//! Symbol → topic: its last update and its watchers. Owned by the hub; bounded by what clients may watch.

use std::sync::Arc;

use hashbrown::{HashSet, HashTable};
use slab::Slab;

use super::Arrival;
use super::filter::Watched;
use super::lane::{LaneId, SubId};
use crate::market::Symbol;
use crate::protocol::publication::Publication;

/// A topic's place on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TopicId(pub(super) u32);

impl TopicId {
    /// No topic: a free place among a lane's subscriptions.
    pub(super) const NONE: TopicId = TopicId(u32::MAX);

    fn index(self) -> usize {
        self.0 as usize
    }
}

struct Topic {
    symbol: Symbol,
    hash: u64,
    last: Option<Arc<Publication>>,
    watchers: Vec<Watcher>,
    /// Who is first in the next fan-out.
    turn: usize,
    /// Its watchers were told that nothing has come for too long.
    stale: bool,
}

/// One lane's subscription, as the topic sees it: eight bytes, read once per delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watcher {
    lane: LaneId,
    sub: u32,
}

const PACED: u32 = 1 << 31;

impl Watcher {
    pub(super) fn new(lane: LaneId, sub: SubId) -> Watcher {
        Watcher { lane, sub: sub.0 }
    }

    pub(super) fn lane(self) -> LaneId {
        self.lane
    }

    pub(super) fn sub(self) -> SubId {
        SubId(self.sub & !PACED)
    }

    pub(super) fn is_paced(self) -> bool {
        self.sub & PACED != 0
    }
}

pub(super) struct Board {
    topics: Slab<Topic>,
    index: HashTable<TopicId>,
    watched: Arc<Watched>,
    /// Symbols whose number of watchers changed since it was last asked for.
    changed: HashSet<Symbol>,
    /// Watchers over all topics.
    watchers: usize,
    /// Topics with at least one watcher.
    watched_topics: usize,
    /// Whether topics without watchers are kept, for wildcard watchers.
    wild: bool,
}

impl Board {
    pub(super) fn new(watched: Arc<Watched>) -> Board {
        Board {
            topics: Slab::new(),
            index: HashTable::new(),
            watched,
            changed: HashSet::new(),
            watchers: 0,
            watched_topics: 0,
            wild: false,
        }
    }

    pub(super) fn find(&self, symbol: Symbol) -> Option<TopicId> {
        self.find_hashed(self.watched.hash(symbol), symbol)
    }

    pub(super) fn find_hashed(&self, hash: u64, symbol: Symbol) -> Option<TopicId> {
        self.index.find(hash, |topic| self.topics[topic.index()].symbol == symbol).copied()
    }

    /// The symbol's topic, made if there is none.
    pub(super) fn open(&mut self, symbol: Symbol) -> TopicId {
        let hash = self.watched.hash(symbol);
        if let Some(topic) = self.find_hashed(hash, symbol) {
            return topic;
        }
        let index = self.topics.insert(Topic { symbol, hash, last: None, watchers: Vec::new(), turn: 0, stale: false });
        let topic = TopicId(u32::try_from(index).expect("memory ends before 2^32 topics"));
        self.index.insert_unique(hash, topic, |topic| self.topics[topic.index()].hash);
        topic
    }

    /// Adds a watcher; returns its position.
    pub(super) fn watch(&mut self, id: TopicId, watcher: Watcher) -> u32 {
        let topic = &mut self.topics[id.index()];
        if topic.watchers.is_empty() {
            self.watched.raise(topic.hash);
            self.watched_topics += 1;
        }
        topic.watchers.push(watcher);
        self.watchers += 1;
        self.changed.insert(topic.symbol);
        u32::try_from(topic.watchers.len() - 1).expect("there are fewer connections than 2^32")
    }

    /// Removes the watcher at a position. Returns the one that took its place.
    pub(super) fn unwatch(&mut self, id: TopicId, position: u32) -> Option<Watcher> {
        let topic = &mut self.topics[id.index()];
        topic.watchers.swap_remove(position as usize);
        self.watchers -= 1;
        self.changed.insert(topic.symbol);
        let moved = topic.watchers.get(position as usize).copied();
        if topic.watchers.is_empty() {
            self.watched.lower(topic.hash);
            self.watched_topics -= 1;
            if !self.wild {
                self.drop_topic(id);
            }
        } else if topic.watchers.len() * 4 < topic.watchers.capacity() {
            let enough = topic.watchers.len() * 2;
            topic.watchers.shrink_to(enough);
        }
        moved
    }

    fn drop_topic(&mut self, id: TopicId) {
        let topic = self.topics.remove(id.index());
        if let Ok(entry) = self.index.find_entry(topic.hash, |&other| other == id) {
            entry.remove();
        }
        if self.topics.is_empty() {
            self.topics = Slab::new();
            self.index = HashTable::new();
        }
    }

    pub(super) fn set_paced(&mut self, id: TopicId, position: u32, paced: bool) {
        let watcher = &mut self.topics[id.index()].watchers[position as usize];
        watcher.sub = if paced { watcher.sub | PACED } else { watcher.sub & !PACED };
    }

    /// Keeps topics without watchers from now on, or drops them.
    pub(super) fn set_wild(&mut self, wild: bool) {
        self.wild = wild;
        self.watched.set_all(wild);
        if !wild {
            let idle: Vec<TopicId> = self.ids().filter(|id| self.topics[id.index()].watchers.is_empty()).collect();
            for id in idle {
                self.drop_topic(id);
            }
        }
    }

    /// Makes `publication` the topic's last update, if it may be.
    pub(super) fn accept(&mut self, id: TopicId, publication: &Arc<Publication>, arrival: Arrival) -> bool {
        let topic = &mut self.topics[id.index()];
        if let Some(last) = &topic.last {
            let newer = match arrival {
                Arrival::Live => match (publication.seq(), last.seq()) {
                    (Some(seq), Some(last)) => seq > last,
                    _ => true,
                },
                Arrival::Cached | Arrival::Recovered => publication.is_newer_than(last),
            };
            if !newer {
                return false;
            }
        }
        topic.last = Some(Arc::clone(publication));
        true
    }

    /// The watchers as they are now.
    pub(super) fn watchers(&self, id: TopicId) -> Vec<Watcher> {
        self.topics[id.index()].watchers.clone()
    }

    /// The watchers in fan-out order: another one is first each time.
    pub(super) fn watchers_in_turn(&mut self, id: TopicId) -> (&[Watcher], &[Watcher]) {
        let topic = &mut self.topics[id.index()];
        let count = topic.watchers.len();
        topic.turn = if count == 0 { 0 } else { (topic.turn + count / 16 + 1) % count };
        let (after, before) = topic.watchers.split_at(topic.turn);
        (before, after)
    }

    /// Topics whose last update is older than `bound_us` and whose watchers do not know; they are told now.
    pub(super) fn take_stale(&mut self, bound_us: u64) -> Vec<TopicId> {
        let mut stale = Vec::new();
        for (index, topic) in &mut self.topics {
            let old = topic.last.as_ref().is_some_and(|last| last.fresh_us() < bound_us && !last.is_of_closed_market());
            if old && !topic.stale && !topic.watchers.is_empty() {
                topic.stale = true;
                stale.push(TopicId(u32::try_from(index).expect("checked when it was opened")));
            }
        }
        stale
    }

    /// Whether the topic's watchers were told that it is stale.
    pub(super) fn is_stale(&self, id: TopicId) -> bool {
        self.topics[id.index()].stale
    }

    /// The topic is fresh. True when its watchers believed otherwise.
    pub(super) fn freshen(&mut self, id: TopicId) -> bool {
        std::mem::take(&mut self.topics[id.index()].stale)
    }

    pub(super) fn audience(&self, id: TopicId) -> usize {
        self.topics[id.index()].watchers.len()
    }

    pub(super) fn symbol(&self, id: TopicId) -> Symbol {
        self.topics[id.index()].symbol
    }

    pub(super) fn last(&self, id: TopicId) -> Option<&Arc<Publication>> {
        self.topics.get(id.index())?.last.as_ref()
    }

    pub(super) fn topics_with_last(&self) -> Vec<TopicId> {
        self.ids().filter(|&id| self.last(id).is_some()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn census(&self) -> (usize, usize) {
        (self.watched_topics, self.watchers)
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_changed(&mut self) -> Vec<(Symbol, u32)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|symbol| (symbol, self.find(symbol).map_or(0, |id| self.count(id)))).collect()
    }

    pub(super) fn watch_counts(&self) -> Vec<(Symbol, u32)> {
        let counts = self.ids().map(|id| (self.symbol(id), self.count(id)));
        counts.filter(|&(_, count)| count > 0).collect()
    }

    fn count(&self, id: TopicId) -> u32 {
        u32::try_from(self.audience(id)).unwrap_or(u32::MAX)
    }

    fn ids(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.topics.iter().map(|(index, _)| TopicId(u32::try_from(index).expect("checked when it was opened")))
    }
}
