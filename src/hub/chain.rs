//! What waits in the lanes that are not blocked: one linked list per lane, all in one arena.
//!
//! An entry is twelve bytes and is appended without allocating once the arena has grown to the shard's usual turn.
//! Items are counted, without atomics, by the entries that name them. When nothing waits the arena is emptied, and
//! given back if it had grown beyond [`KEPT_ENTRIES`]. Bounded by the shard, which stops feeding the hub at
//! [`super::MAX_QUEUED`].

use std::sync::Arc;

use slab::Slab;

use super::lane::{Hot, SubId};
use crate::protocol::publication::{Freshness, Notice, Publication};

/// No entry: a list's end.
pub(super) const NO_ENTRY: u32 = u32::MAX;
/// Entries whose memory is kept while nothing waits: 64 Ki × 12 bytes = 768 KiB.
const KEPT_ENTRIES: usize = 1 << 16;

const SNAPSHOT: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Entry {
    item: u32,
    /// The subscription, with the snapshot bit.
    sub: u32,
    next: u32,
}

/// What an entry delivers.
pub(super) enum Item {
    Update(Arc<Publication>),
    Notice(Arc<Notice>),
}

struct Held {
    item: Item,
    entries: u32,
}

/// Names a held item.
#[derive(Clone, Copy)]
pub(super) struct ItemId(u32);

#[derive(Default)]
pub(super) struct Chain {
    entries: Vec<Entry>,
    /// Head of the list of free entries.
    free: Option<u32>,
    waiting: usize,
    items: Slab<Held>,
    /// Arrival times (µs) of updates that the last lane has just taken.
    pub(super) finished: Vec<u64>,
}

impl Chain {
    /// Entries waiting.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Takes an item in; entries may name it now.
    pub(super) fn hold(&mut self, item: Item) -> ItemId {
        ItemId(u32::try_from(self.items.insert(Held { item, entries: 0 })).expect("bounded by the entries"))
    }

    /// A held item.
    pub(super) fn item(&self, id: ItemId) -> &Item {
        &self.items[id.0 as usize].item
    }

    /// Forgets an item that no entry named.
    pub(super) fn unhold_if_unused(&mut self, id: ItemId) {
        if self.items[id.0 as usize].entries == 0 {
            self.items.remove(id.0 as usize);
        }
    }

    pub(super) fn append(&mut self, lane: &mut Hot, item: ItemId, sub: SubId, freshness: Freshness) {
        let snapshot = if freshness == Freshness::Snapshot { SNAPSHOT } else { 0 };
        let entry = Entry { item: item.0, sub: sub.0 | snapshot, next: NO_ENTRY };
        let at = match self.free {
            Some(at) => {
                let next = self.entries[at as usize].next;
                self.free = (next != NO_ENTRY).then_some(next);
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("bounded by MAX_QUEUED and one fan-out")
            }
        };
        if lane.tail == NO_ENTRY {
            lane.head = at;
        } else {
            self.entries[lane.tail as usize].next = at;
        }
        lane.tail = at;
        self.waiting += 1;
        self.items[item.0 as usize].entries += 1;
    }

    /// The lane's entries in order.
    pub(super) fn iter(&self, lane: &Hot) -> impl Iterator<Item = (&Item, SubId, Freshness)> + '_ {
        let mut at = lane.head;
        std::iter::from_fn(move || {
            if at == NO_ENTRY {
                return None;
            }
            let entry = self.entries[at as usize];
            at = entry.next;
            Some((&self.items[entry.item as usize].item, SubId(entry.sub & !SNAPSHOT), freshness(entry)))
        })
    }

    /// The lane's first entry.
    pub(super) fn first(&self, lane: &Hot) -> Option<(&Item, SubId, Freshness)> {
        self.iter(lane).next()
    }

    /// Drops the lane's first entry.
    pub(super) fn pop(&mut self, lane: &mut Hot) {
        let at = lane.head;
        debug_assert_ne!(at, NO_ENTRY, "popped only what first() showed");
        let entry = self.entries[at as usize];
        lane.head = entry.next;
        if lane.head == NO_ENTRY {
            lane.tail = NO_ENTRY;
        }
        self.release(at);
    }

    /// Drops all of the lane's entries.
    pub(super) fn clear(&mut self, lane: &mut Hot) {
        while lane.head != NO_ENTRY {
            self.pop(lane);
        }
    }

    /// Drops the lane's entries for one subscription.
    pub(super) fn remove_sub(&mut self, lane: &mut Hot, sub: SubId) {
        let (mut at, mut before) = (lane.head, NO_ENTRY);
        while at != NO_ENTRY {
            let entry = self.entries[at as usize];
            if entry.sub & !SNAPSHOT == sub.0 {
                if before == NO_ENTRY {
                    lane.head = entry.next;
                } else {
                    self.entries[before as usize].next = entry.next;
                }
                if lane.tail == at {
                    lane.tail = before;
                }
                self.release(at);
            } else {
                before = at;
            }
            at = entry.next;
        }
    }

    fn release(&mut self, at: u32) {
        let item = self.entries[at as usize].item as usize;
        let held = &mut self.items[item];
        held.entries -= 1;
        if held.entries == 0
            && let Item::Update(publication) = self.items.remove(item).item
        {
            self.finished.push(publication.received_us());
        }
        self.waiting -= 1;
        if self.waiting == 0 {
            self.free = None;
            self.entries.clear();
            self.entries.shrink_to(KEPT_ENTRIES);
            return;
        }
        self.entries[at as usize].next = self.free.unwrap_or(NO_ENTRY);
        self.free = Some(at);
    }
}

fn freshness(entry: Entry) -> Freshness {
    if entry.sub & SNAPSHOT == 0 { Freshness::Live } else { Freshness::Snapshot }
}
