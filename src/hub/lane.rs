//! One client's lane: what it watches and what waits for it.
//!
//! Split by how often it is touched: twelve hot bytes per delivery, the rest per request or when the socket is full.
//! A blocked lane's backlog is bounded by what the client watches (one mark per symbol), [`MAX_WAITING_NOTICES`]
//! notices, and the replies that the gateway lets through.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;

use super::board::TopicId;
use super::chain::NO_ENTRY;
use crate::protocol::publication::{Form, Freshness, Notice, Publication};

/// Notices that wait for a blocked client, one per kind; the oldest kind gives way.
pub(super) const MAX_WAITING_NOTICES: usize = 16;

/// Names a lane while its client is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(u32);

impl LaneId {
    /// A small number, unique among the attached lanes, reused after [`super::Hub::detach`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A subscription's place in its lane; stays the same while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubId(pub(super) u32);

impl SubId {
    /// Not by a subscription: a notice.
    pub(super) const NONE: SubId = SubId((1 << 30) - 1);
    /// By the wildcard.
    pub(super) const WILD: SubId = SubId((1 << 30) - 2);
}

/// Whether and how a lane takes updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Entries are appended to its chain.
    Open,
    /// Its socket is full: symbols are marked in its backlog.
    Blocked,
    /// Nothing more is taken; blocked or not.
    Closing,
}

/// What a delivery touches.
pub(super) struct Hot {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) state: State,
    pub(super) form: Form,
    pub(super) wild: bool,
    /// Which dirty queues hold the lane; see `dirty`.
    pub(super) dirty: u8,
}

/// The rest of a lane.
#[derive(Default)]
pub(super) struct Side {
    subs: Vec<Sub>,
    active: u32,
    #[expect(clippy::box_collection, reason = "eight bytes instead of 32 in every idle lane")]
    replies: Option<Box<VecDeque<Box<[u8]>>>>,
    backlog: Option<Box<Backlog>>,
}

#[derive(Clone, Copy)]
struct Sub {
    topic: TopicId,
    position: u32,
    flags: u8,
}

const WANTS_SNAPSHOT: u8 = 1;
/// An update waits in the backlog.
const WAITING: u8 = 2;
/// The backlog's queue names this place, whether or not an update still waits.
const QUEUED: u8 = 4;
/// What waits is to be sent as a snapshot.
const AS_SNAPSHOT: u8 = 8;

/// What waits for a blocked client.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) cut: Option<Cut>,
    pub(super) notices: VecDeque<Arc<Notice>>,
    pub(super) queue: VecDeque<Pending>,
    topics: HashMap<TopicId, Freshness>,
    /// Updates that gave way since the client was last told.
    pub(super) conflated: u64,
}

/// A frame that was written in part; its rest must follow before anything else.
pub(super) struct Cut {
    pub(super) frame: CutFrame,
    pub(super) offset: usize,
}

pub(super) enum CutFrame {
    Reply(Box<[u8]>),
    Update(Arc<Publication>, Form, Freshness),
    Notice(Arc<Notice>),
}

impl CutFrame {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            CutFrame::Reply(frame) => frame,
            CutFrame::Update(publication, form, freshness) => publication.frame(*form, *freshness),
            CutFrame::Notice(notice) => &notice.frame,
        }
    }
}

/// Whose newest update waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {
    Sub(SubId),
    Topic(TopicId),
}

impl Side {
    /// Where the lane watches a topic. A scan: at most the symbols per client, eight to a cache line.
    pub(super) fn find(&self, topic: TopicId) -> Option<SubId> {
        self.subs.iter().position(|sub| sub.topic == topic).map(sub_id)
    }

    pub(super) fn add(&mut self, topic: TopicId) -> SubId {
        self.active += 1;
        let sub = Sub { topic, position: 0, flags: 0 };
        if self.subs.len() >= self.active as usize
            && let Some(free) = self.find(TopicId::NONE)
        {
            let place = self.place(free);
            *place = Sub { flags: place.flags & QUEUED, ..sub };
            return free;
        }
        if self.subs.len() == self.subs.capacity() {
            // Half as much again: doubling would leave a third of what idle clients cost unused.
            self.subs.reserve_exact((self.subs.len() / 2).max(3));
        }
        self.subs.push(sub);
        sub_id(self.subs.len() - 1)
    }

    pub(super) fn remove(&mut self, sub: SubId) {
        self.active -= 1;
        let place = self.place(sub);
        *place = Sub { topic: TopicId::NONE, position: 0, flags: place.flags & QUEUED };
    }

    /// Gives the memory of dropped subscriptions back. Only when all are dropped.
    pub(super) fn release_subs(&mut self) {
        debug_assert_eq!(self.active, 0, "places of live subscriptions must not move");
        self.subs = Vec::new();
        if let Some(backlog) = &mut self.backlog {
            backlog.queue.retain(|pending| matches!(pending, Pending::Topic(_)));
        }
    }

    pub(super) fn subs(&self) -> impl Iterator<Item = SubId> + '_ {
        let live = self.subs.iter().enumerate().filter(|(_, sub)| sub.topic != TopicId::NONE);
        live.map(|(index, _)| sub_id(index))
    }

    pub(super) fn active(&self) -> usize {
        self.active as usize
    }

    pub(super) fn topic(&self, sub: SubId) -> TopicId {
        self.subs[sub.0 as usize].topic
    }

    pub(super) fn position(&self, sub: SubId) -> u32 {
        self.subs[sub.0 as usize].position
    }

    pub(super) fn set_position(&mut self, sub: SubId, position: u32) {
        self.place(sub).position = position;
    }

    pub(super) fn wants_snapshot(&self, sub: SubId) -> bool {
        self.subs[sub.0 as usize].flags & WANTS_SNAPSHOT != 0
    }

    pub(super) fn set_wants_snapshot(&mut self, sub: SubId, wants: bool) {
        let place = self.place(sub);
        place.flags = if wants { place.flags | WANTS_SNAPSHOT } else { place.flags & !WANTS_SNAPSHOT };
    }

    /// What waits for a subscription, if anything does: its topic, and how to send it.
    pub(super) fn waiting(&self, sub: SubId) -> Option<(TopicId, Freshness)> {
        let place = self.subs.get(sub.0 as usize)?;
        let freshness = if place.flags & AS_SNAPSHOT != 0 { Freshness::Snapshot } else { Freshness::Live };
        (place.flags & WAITING != 0 && place.topic != TopicId::NONE).then_some((place.topic, freshness))
    }

    /// The queue no longer names this place.
    pub(super) fn sent(&mut self, sub: SubId) {
        if let Some(place) = self.subs.get_mut(sub.0 as usize) {
            place.flags &= !(WAITING | QUEUED | AS_SNAPSHOT);
        }
    }

    pub(super) fn replies(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.replies.iter().flat_map(|queue| queue.iter().map(|frame| &**frame))
    }

    /// Whether neither replies nor a backlog wait.
    pub(super) fn is_quiet(&self) -> bool {
        self.replies.is_none() && self.backlog.is_none()
    }

    pub(super) fn pop_reply(&mut self) -> Option<Box<[u8]>> {
        let queue = self.replies.as_mut()?;
        let frame = queue.pop_front();
        if queue.is_empty() {
            self.replies = None;
        }
        frame
    }

    pub(super) fn push_reply(&mut self, frame: Box<[u8]>) {
        self.replies.get_or_insert_default().push_back(frame);
    }

    pub(super) fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_deref()
    }

    pub(super) fn backlog_mut(&mut self) -> Option<&mut Backlog> {
        self.backlog.as_deref_mut()
    }

    pub(super) fn open_backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    pub(super) fn close_backlog(&mut self) {
        self.backlog = None;
    }

    /// Marks that a subscription's newest update waits. True when an older one gave way.
    pub(super) fn wait(&mut self, sub: SubId, freshness: Freshness) -> bool {
        let backlog = self.backlog.get_or_insert_default();
        let place = &mut self.subs[sub.0 as usize];
        let waited = place.flags & WAITING != 0;
        if place.flags & QUEUED == 0 {
            backlog.queue.push_back(Pending::Sub(sub));
        }
        place.flags |= WAITING | QUEUED;
        match freshness {
            // What is sent then was published live, whatever waited before.
            Freshness::Live => place.flags &= !AS_SNAPSHOT,
            Freshness::Snapshot if !waited => place.flags |= AS_SNAPSHOT,
            Freshness::Snapshot => {}
        }
        let conflated = waited && freshness == Freshness::Live;
        backlog.conflated += u64::from(conflated);
        conflated
    }

    /// The lane has become a wildcard watcher: what waits for a subscription waits for its topic from now on, so that
    /// no update waits twice.
    pub(super) fn wait_by_topic(&mut self) {
        let Some(backlog) = &mut self.backlog else { return };
        for pending in std::mem::take(&mut backlog.queue) {
            match pending {
                Pending::Topic(_) => backlog.queue.push_back(pending),
                Pending::Sub(sub) => {
                    if let Some(place) = self.subs.get_mut(sub.0 as usize) {
                        if place.flags & WAITING != 0 && place.topic != TopicId::NONE {
                            let snapshot = place.flags & AS_SNAPSHOT != 0;
                            let freshness = if snapshot { Freshness::Snapshot } else { Freshness::Live };
                            backlog.wait_topic(place.topic, freshness);
                        }
                        place.flags &= !(WAITING | QUEUED | AS_SNAPSHOT);
                    }
                }
            }
        }
    }

    fn place(&mut self, sub: SubId) -> &mut Sub {
        &mut self.subs[sub.0 as usize]
    }
}

impl Backlog {
    /// Marks that a topic's newest update waits for the wildcard. True when an older one gave way.
    pub(super) fn wait_topic(&mut self, topic: TopicId, freshness: Freshness) -> bool {
        let new = !self.topics.contains_key(&topic);
        if new {
            self.queue.push_back(Pending::Topic(topic));
        }
        if new || freshness == Freshness::Live {
            self.topics.insert(topic, freshness);
        }
        let conflated = !new && freshness == Freshness::Live;
        self.conflated += u64::from(conflated);
        conflated
    }

    /// How a topic's update that still waits for the wildcard is to be sent.
    pub(super) fn waits_for(&self, topic: TopicId) -> Option<Freshness> {
        self.topics.get(&topic).copied()
    }

    pub(super) fn sent_topic(&mut self, topic: TopicId) {
        self.topics.remove(&topic);
    }

    /// The wildcard was dropped.
    pub(super) fn forget_topics(&mut self) {
        self.topics = HashMap::new();
        self.queue.retain(|pending| matches!(pending, Pending::Sub(_)));
    }

    /// The lane is closing: only the rest of a cut frame still goes.
    pub(super) fn keep_cut_only(&mut self) {
        *self = Backlog { cut: self.cut.take(), ..Backlog::default() };
    }

    pub(super) fn wait_notice(&mut self, notice: &Arc<Notice>) {
        self.notices.retain(|waiting| waiting.kind != notice.kind);
        if self.notices.len() == MAX_WAITING_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(Arc::clone(notice));
    }
}

/// All lanes of a hub.
#[derive(Default)]
pub(super) struct Lanes {
    /// Indexed like `sides`; a place without a side is free.
    hot: Vec<Hot>,
    sides: Slab<Side>,
}

impl Lanes {
    pub(super) fn add(&mut self, form: Form) -> LaneId {
        let index = self.sides.insert(Side::default());
        let hot = Hot { head: NO_ENTRY, tail: NO_ENTRY, state: State::Open, form, wild: false, dirty: 0 };
        match self.hot.get_mut(index) {
            Some(place) => *place = hot,
            None => self.hot.push(hot),
        }
        LaneId(u32::try_from(index).expect("there are fewer connections than 2^32"))
    }

    pub(super) fn remove(&mut self, lane: LaneId) {
        self.sides.remove(lane.index());
        // Whatever queue still names the lane finds it clean.
        self.hot[lane.index()].dirty = 0;
        if self.sides.is_empty() {
            self.sides = Slab::new();
            self.hot = Vec::new();
        }
    }

    pub(super) fn contains(&self, lane: LaneId) -> bool {
        self.sides.contains(lane.index())
    }

    pub(super) fn hot(&self, lane: LaneId) -> &Hot {
        &self.hot[lane.index()]
    }

    pub(super) fn hot_mut(&mut self, lane: LaneId) -> &mut Hot {
        &mut self.hot[lane.index()]
    }

    pub(super) fn side(&self, lane: LaneId) -> &Side {
        &self.sides[lane.index()]
    }

    pub(super) fn side_mut(&mut self, lane: LaneId) -> &mut Side {
        &mut self.sides[lane.index()]
    }

    pub(super) fn both_mut(&mut self, lane: LaneId) -> (&mut Hot, &mut Side) {
        (&mut self.hot[lane.index()], &mut self.sides[lane.index()])
    }

    pub(super) fn ids(&self) -> Vec<LaneId> {
        self.sides.iter().map(|(index, _)| LaneId(u32::try_from(index).expect("checked when it was added"))).collect()
    }
}

fn sub_id(index: usize) -> SubId {
    SubId(u32::try_from(index).expect("bounded by the symbols per client"))
}
