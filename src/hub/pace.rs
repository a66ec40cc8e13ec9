//! `max_rate`: at most one update per symbol and span, the newest.
//!
//! Only paced subscriptions have an entry here; all others cost nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::lane::{LaneId, SubId};

struct Pace {
    gap_ms: u32,
    next_ms: u64,
    waiting: bool,
}

#[derive(Default)]
pub(super) struct Pacer {
    paces: HashMap<(LaneId, SubId), Pace>,
    /// When a waiting update may go. Entries of subscriptions that are gone are skipped when their time comes.
    due: BinaryHeap<Reverse<(u64, LaneId, SubId)>>,
}

impl Pacer {
    /// Sets a subscription's least span between updates; 0 is none. Returns whether it is paced.
    pub(super) fn set(&mut self, lane: LaneId, sub: SubId, gap_ms: u32) -> bool {
        if gap_ms == 0 {
            self.paces.remove(&(lane, sub));
            return false;
        }
        let pace = self.paces.entry((lane, sub)).or_insert(Pace { gap_ms, next_ms: 0, waiting: false });
        pace.gap_ms = gap_ms;
        true
    }

    pub(super) fn remove(&mut self, lane: LaneId, sub: SubId) {
        self.paces.remove(&(lane, sub));
        if self.paces.is_empty() {
            self.due = BinaryHeap::new();
        }
    }

    /// Whether an update may go now; if not, the newest goes when its time comes.
    pub(super) fn may_send(&mut self, lane: LaneId, sub: SubId, now_ms: u64) -> bool {
        let Some(pace) = self.paces.get_mut(&(lane, sub)) else { return true };
        if now_ms >= pace.next_ms && !pace.waiting {
            pace.next_ms = now_ms + u64::from(pace.gap_ms);
            return true;
        }
        if !pace.waiting {
            pace.waiting = true;
            self.due.push(Reverse((pace.next_ms, lane, sub)));
        }
        false
    }

    /// A subscription whose waiting update may go now.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(LaneId, SubId)> {
        while let Some(&Reverse((due, lane, sub))) = self.due.peek() {
            if due > now_ms {
                return None;
            }
            self.due.pop();
            if let Some(pace) = self.paces.get_mut(&(lane, sub))
                && pace.waiting
                && pace.next_ms == due
            {
                pace.waiting = false;
                pace.next_ms = now_ms + u64::from(pace.gap_ms);
                return Some((lane, sub));
            }
        }
        None
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|&Reverse((due, _, _))| due)
    }
}
