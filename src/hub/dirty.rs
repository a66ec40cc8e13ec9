//! Which lanes wait for a flush, in two queues that take turns.
//!
//! Lanes made dirty by a large audience are many; a client of a quiet symbol must not wait behind all of them. So they
//! stand in a queue of their own, and each queue is served [`TURN`] lanes at a time. A lane may stand in both; it is
//! clean when the second one finds it.

use std::collections::VecDeque;

use super::lane::{Hot, LaneId, Lanes};

/// Lanes flushed from one queue before the other has its turn.
const TURN: u32 = 64;
/// Queue memory kept while nothing is dirty, in lanes.
const KEPT: usize = 4096;

const IN_SMALL: u8 = 1;
const IN_LARGE: u8 = 2;

#[derive(Default)]
pub(super) struct Dirty {
    small: VecDeque<LaneId>,
    large: VecDeque<LaneId>,
    served: u32,
    serving_large: bool,
}

impl Dirty {
    pub(super) fn mark(&mut self, hot: &mut Hot, lane: LaneId, large: bool) {
        if large {
            if hot.dirty == 0 {
                hot.dirty |= IN_LARGE;
                self.large.push_back(lane);
            }
        } else if hot.dirty & IN_SMALL == 0 {
            hot.dirty |= IN_SMALL;
            self.small.push_back(lane);
        }
    }

    /// The next dirty lane, clean from here on.
    pub(super) fn pop(&mut self, lanes: &mut Lanes) -> Option<LaneId> {
        loop {
            let (first, second) = if self.serving_large {
                (&mut self.large, &mut self.small)
            } else {
                (&mut self.small, &mut self.large)
            };
            let Some(lane) = first.pop_front().or_else(|| second.pop_front()) else {
                self.small.shrink_to(KEPT);
                self.large.shrink_to(KEPT);
                return None;
            };
            self.served += 1;
            if self.served >= TURN {
                self.served = 0;
                self.serving_large = !self.serving_large;
            }
            if lanes.contains(lane) {
                let hot = lanes.hot_mut(lane);
                if std::mem::take(&mut hot.dirty) != 0 {
                    return Some(lane);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}
