//! What is due when: pings and pongs, slow clients, tokens, drain slots, the ends of closes.

use std::cmp::Reverse;
use std::sync::Arc;

use super::connection::Phase;
use super::desk::LaneDesk;
use super::{DRAINED, SLOW, Shard};
use crate::hub::LaneId;
use crate::protocol::frame;
use crate::protocol::session::{Tick, millis};

/// How often staleness is looked at, as a part of its bound.
const LOOKS_PER_BOUND: u64 = 8;

impl Shard {
    /// Tells watchers of symbols that have become stale.
    pub(super) fn look_for_stale(&mut self) {
        let after_ms = millis(self.parts.stale_after);
        if self.open == 0 || after_ms == 0 {
            self.stale_due_ms = None;
            return;
        }
        let every_ms = (after_ms / LOOKS_PER_BOUND).clamp(50, 5000);
        let due = *self.stale_due_ms.get_or_insert(self.now.mono_ms + every_ms);
        if self.now.mono_ms >= due {
            self.hub.find_stale(self.now.mono_ms * 1000, after_ms * 1000);
            self.stale_due_ms = Some(self.now.mono_ms + every_ms);
        }
    }

    /// Has a connection looked at no later than `due_ms`.
    pub(super) fn schedule(&mut self, lane: LaneId, due_ms: u64) {
        let Some(connection) = self.connections.get_mut(lane.index()).and_then(Option::as_mut) else { return };
        if due_ms < connection.timer_ms {
            connection.timer_ms = due_ms;
            self.timers.push(Reverse((due_ms, lane, connection.generation)));
        }
    }

    pub(super) fn look_at_timers(&mut self) {
        while let Some(&Reverse((due, lane, generation))) = self.timers.peek() {
            if due > self.now.mono_ms {
                break;
            }
            self.timers.pop();
            if let Some(connection) = self.connection(lane)
                && connection.generation == generation
                && connection.timer_ms == due
            {
                connection.timer_ms = u64::MAX;
                self.at_hand = Some(lane);
                self.look_at(lane);
            }
        }
        self.at_hand = None;
    }

    /// Does what is due on a connection and schedules what is next.
    pub(super) fn look_at(&mut self, lane: LaneId) {
        let (rules, now) = (Arc::clone(&self.parts.rules), self.now);
        let slow_ms = millis(self.parts.slow_client_timeout);
        let Some(connection) = self.connections.get_mut(lane.index()).and_then(Option::as_mut) else { return };
        match connection.phase {
            Phase::Closing { deadline_ms, .. } | Phase::Lingering { deadline_ms, .. } => {
                if now.mono_ms >= deadline_ms {
                    self.reset(lane);
                } else {
                    self.schedule(lane, deadline_ms);
                }
                return;
            }
            Phase::Open => {}
        }
        let mut next = u64::MAX;
        if let Some(due) = connection.drain_at_ms {
            if now.mono_ms >= due {
                return self.close(lane, DRAINED);
            }
            next = next.min(due);
        }
        if let Some(since) = connection.blocked_since_ms {
            if now.mono_ms >= since + slow_ms {
                return self.close(lane, SLOW);
            }
            next = next.min(since + slow_ms);
        }
        let blocked = connection.blocked_since_ms.is_some();
        let mut unknown = Vec::new();
        let mut desk = LaneDesk { hub: &mut self.hub, lane, unknown: &mut unknown };
        let tick = connection.session.tick(blocked, &rules, now, &mut desk);
        self.ask_for(unknown);
        match tick {
            Tick::Quiet(due) => next = next.min(due),
            Tick::Ping(due) => {
                next = next.min(due);
                self.hub.reply(lane, frame::ping());
            }
            Tick::Close(close) => return self.close(lane, close),
        }
        self.schedule(lane, next);
    }
}
