//! Bytes to clients: one write per dirty lane, and what its outcome means for the connection.

use std::io;
use std::time::Duration;

use mio::{Interest as Wish, Token};

use super::{FLUSHES_PER_TURN, Shard};
use crate::hub::{Flush, LaneId};
use crate::protocol::session::millis;

impl Shard {
    pub(super) fn flush(&mut self) {
        if !self.hub.is_dirty() {
            self.dirty_since_ms = None;
            return;
        }
        let window = millis(self.parts.flush_window);
        if window > 0 {
            let since = *self.dirty_since_ms.get_or_insert(self.now.mono_ms);
            if self.now.mono_ms < since + window {
                return;
            }
        }
        for _ in 0..FLUSHES_PER_TURN {
            if !self.flush_one() {
                break;
            }
        }
        // What does not fit into this turn goes out in the next, not after another window.
        if !self.hub.is_dirty() {
            self.dirty_since_ms = None;
        }
        self.hub.take_flush_stats(&mut self.stats);
        if !self.stats.finished_us.is_empty() {
            let now_us = self.parts.clock.micros();
            for &received_us in &self.stats.finished_us {
                self.metrics.fanout(Duration::from_micros(now_us.saturating_sub(received_us)));
            }
        }
    }

    pub(super) fn flush_one(&mut self) -> bool {
        let (connections, at_hand) = (&mut self.connections, &mut self.at_hand);
        let flushed = self.hub.flush_next(|lane, slices| {
            *at_hand = Some(lane);
            match &mut connections[lane.index()] {
                Some(connection) => connection.socket.write(slices),
                None => Err(io::ErrorKind::NotConnected.into()),
            }
        });
        let Some((lane, flush)) = flushed else { return false };
        self.after_flush(lane, &flush);
        true
    }

    pub(super) fn on_writable(&mut self, lane: LaneId) {
        let Some(connection) = self.connections[lane.index()].as_mut() else { return };
        if connection.blocked_since_ms.is_none() {
            return;
        }
        match connection.socket.push() {
            Ok(true) => {}
            Ok(false) => return self.blocked(lane, 0),
            Err(_) => return self.end(lane, 1006),
        }
        let flush = self.hub.flush_lane(lane, |slices| connection.socket.write(slices));
        self.after_flush(lane, &flush);
    }

    pub(super) fn after_flush(&mut self, lane: LaneId, flush: &Flush) {
        let Some(connection) = self.connections.get_mut(lane.index()).and_then(Option::as_mut) else { return };
        match flush {
            Flush::Clean | Flush::Closed if connection.socket.is_behind() => self.blocked(lane, 0),
            Flush::Clean | Flush::Closed => {
                if connection.blocked_since_ms.take().is_some() && !self.wish(lane, Wish::READABLE) {
                    return;
                }
                if matches!(flush, Flush::Closed) {
                    return self.linger(lane);
                }
                if let Some(connection) = self.connection(lane)
                    && std::mem::take(&mut connection.read_paused)
                {
                    self.unread.push(lane);
                }
            }
            Flush::Blocked { taken } => self.blocked(lane, *taken),
            Flush::Failed(_) => self.end(lane, 1006),
        }
    }

    /// The socket is full, having taken so many bytes of frames this time: come back when it is writable.
    pub(super) fn blocked(&mut self, lane: LaneId, taken: usize) {
        let now_ms = self.now.mono_ms;
        let slow_ms = millis(self.parts.slow_client_timeout);
        let Some(connection) = self.connection(lane) else { return };
        let progressed = connection.socket.take_progress() || taken > 0;
        match connection.blocked_since_ms {
            None => {
                connection.blocked_since_ms = Some(now_ms);
                if self.wish(lane, Wish::READABLE | Wish::WRITABLE) {
                    self.schedule(lane, now_ms + slow_ms);
                }
            }
            Some(_) if progressed => connection.blocked_since_ms = Some(now_ms),
            Some(_) => {}
        }
    }

    /// Says which events of a socket are wanted. False: the connection is gone.
    pub(super) fn wish(&mut self, lane: LaneId, wish: Wish) -> bool {
        let registry = self.poll.registry();
        let Some(connection) = self.connections.get_mut(lane.index()).and_then(Option::as_mut) else { return false };
        if registry.reregister(connection.socket.stream_mut(), Token(lane.index()), wish).is_ok() {
            return true;
        }
        self.end(lane, 1006);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::shard::crash::tests::parts;
    use crate::protocol::publication::{Coding, Dialect, Form};

    #[test]
    fn all_that_waited_for_a_window_goes_out_after_it_over_as_many_turns_as_it_takes() {
        let window = Duration::from_secs(3600);
        let (mut shard, _inbox) = Shard::new(crate::gateway::shard::Parts { flush_window: window, ..parts() }).unwrap();
        // Their sockets are gone, so that each takes one failed write.
        for _ in 0..=FLUSHES_PER_TURN {
            let lane = shard.hub.attach(Form { dialect: Dialect::default(), coding: Coding::Plain });
            shard.connections.push(None);
            shard.hub.reply(lane, Box::from(*b"x"));
        }
        shard.flush();
        assert!(shard.dirty_since_ms.is_some() && shard.timeout() > Some(window / 2), "it gathers");
        shard.now.mono_ms += millis(window);
        shard.flush();
        assert!(shard.hub.is_dirty(), "more than a turn's worth waited");
        shard.flush();
        assert!(!shard.hub.is_dirty() && shard.dirty_since_ms.is_none());
    }
}
