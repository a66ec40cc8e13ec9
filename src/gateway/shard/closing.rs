//! How connections end: our closes, theirs, the goodbye after them, and drains.

use std::collections::BinaryHeap;
use std::time::Duration;

use tracing::{debug, info};

use super::connection::Phase;
use super::socket::Goodbye;
use super::{CLOSE_GRACE_MS, LEAVING, Shard};
use crate::hub::LaneId;
use crate::protocol::frame;
use crate::protocol::message::{Close, CloseCode, ErrorCode};
use crate::protocol::reply::{Reply, Stamp, Status};
use crate::protocol::session::millis;

impl Shard {
    /// Closes from our side.
    pub(super) fn close(&mut self, lane: LaneId, close: Close) {
        if close.code == CloseCode::TooBig {
            let limit = self.parts.rules.read.message_bytes;
            let message = format!("{}: a message has at most {limit} bytes", close.reason);
            let error = Reply::Error { code: ErrorCode::MessageTooBig, message: &message, id: None };
            self.hub.reply(lane, frame::text(&error.to_json()));
        }
        if let Some(connection) = self.connection(lane)
            && !matches!(close.code, CloseCode::Restart | CloseCode::GoingAway)
        {
            let (client, peer) = (&connection.client_id, connection.peer);
            info!(%client, %peer, code = close.code.number(), reason = close.reason, "closing");
        }
        self.hub.close(lane, frame::close(close));
        self.closing(lane, close.code.number());
    }

    pub(super) fn closing(&mut self, lane: LaneId, code: u16) {
        let deadline_ms = self.now.mono_ms + CLOSE_GRACE_MS;
        if let Some(connection) = self.connection(lane) {
            connection.phase = Phase::Closing { code, deadline_ms };
            self.schedule(lane, deadline_ms);
        }
    }

    /// The close frame is out: nothing more is sent, what still comes is thrown away until the peer is done, so that
    /// the kernel does not answer it with a reset that would take the close frame back.
    pub(super) fn linger(&mut self, lane: LaneId) {
        let deadline_ms = self.now.mono_ms + CLOSE_GRACE_MS;
        let Some(connection) = self.connection(lane) else { return };
        let Phase::Closing { code, .. } = connection.phase else { return };
        match connection.socket.finish() {
            Ok(Goodbye::Said) => {}
            Ok(Goodbye::Waiting) => return self.blocked(lane, 0),
            Err(_) => return self.end(lane, code),
        }
        connection.phase = Phase::Lingering { code, deadline_ms, discarded: 0 };
        connection.read_paused = false;
        self.schedule(lane, deadline_ms);
        self.unread.push(lane);
    }

    /// Ends a connection that does not end by itself.
    pub(super) fn reset(&mut self, lane: LaneId) {
        if let Some(connection) = self.connection(lane) {
            let code = connection.phase.code();
            // Without it the kernel would keep what is unsent for minutes. Failing to set it only means that it does.
            let _ = socket2::SockRef::from(connection.socket.stream()).set_linger(Some(Duration::ZERO));
            self.end(lane, code);
        }
    }

    /// Forgets a connection. `code` counts unless a close was under way.
    pub(super) fn end(&mut self, lane: LaneId, code: u16) {
        let Some(mut connection) = self.connections[lane.index()].take() else { return };
        let code = match connection.phase {
            Phase::Open => code,
            Phase::Closing { code, .. } | Phase::Lingering { code, .. } => code,
        };
        // The kernel forgets a closed descriptor anyway.
        let _ = self.poll.registry().deregister(connection.socket.stream_mut());
        self.hub.detach(lane);
        self.open -= 1;
        self.inbox.ended();
        self.metrics.closed(code);
        debug!(client = %connection.client_id, peer = %connection.peer, code, "disconnected");
        if self.open == 0 {
            self.connections = Vec::new();
            self.timers = BinaryHeap::new();
        }
    }

    pub(super) fn close_all(&mut self) {
        let lanes: Vec<LaneId> = self.connections.iter().flatten().map(|connection| connection.lane).collect();
        for &lane in &lanes {
            self.close(lane, LEAVING);
        }
        while self.flush_one() {}
        for lane in lanes {
            self.end(lane, LEAVING.code.number());
        }
        self.metrics.count(self.hub.counters());
    }

    pub(super) fn drain(&mut self, window: Duration) {
        let window_ms = millis(window);
        self.drain_until_ms = Some(self.now.mono_ms + window_ms);
        let lanes: Vec<LaneId> = self.connections.iter().flatten().map(|connection| connection.lane).collect();
        let count = lanes.len().max(1) as u64;
        for (at, lane) in (0u64..).zip(lanes) {
            // The middles of even slots; where a client stands among them is as random as its connection was.
            self.give_slot(lane, window_ms * (2 * at + 1) / (2 * count));
        }
    }

    pub(super) fn give_slot(&mut self, lane: LaneId, wait_ms: u64) {
        let due = self.now.mono_ms + wait_ms;
        let notice = Reply::Status {
            status: Status::Draining,
            reason: Some("server restarts"),
            provider: None,
            symbols: vec![],
            reconnect_in_ms: Some(wait_ms),
            timestamp: Stamp(self.now.wall),
        };
        let Some(connection) = self.connection(lane) else { return };
        if connection.phase != Phase::Open || connection.drain_at_ms.is_some() {
            return;
        }
        connection.drain_at_ms = Some(due);
        self.hub.reply(lane, frame::text(&notice.to_json()));
        self.schedule(lane, due);
    }
}
