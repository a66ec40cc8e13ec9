//! What the inbox brings: orders, connections, updates.

use std::sync::Arc;

use mio::{Interest as Wish, Token};
use tracing::debug;

use super::Shard;
use super::connection::{Adopted, Connection, Settled};
use super::desk::LaneDesk;
use super::socket::Socket;
use crate::gateway::inbox::{Order, TakeUpdates, Waiting};
use crate::hub::{Arrival, LaneId, MAX_QUEUED};
use crate::market::Symbol;
use crate::protocol::message::Selection;
use crate::protocol::reply::Status;
use crate::protocol::session::{Session, Talk};

impl Shard {
    pub(super) fn take_inbox(&mut self) {
        let room = self.hub.queued() < MAX_QUEUED && !self.taken.has_updates();
        let room = if room { TakeUpdates::Yes } else { TakeUpdates::No };
        self.look_again = room == TakeUpdates::No;
        self.inbox.take(&mut self.taken, room);
        while let Some(order) = self.taken.orders.pop_front() {
            self.obey(order);
        }
        while let Some(adopted) = self.taken.adopted.pop_front() {
            self.adopt(adopted);
            self.at_hand = None;
        }
        let now_ms = self.now.mono_ms;
        while self.hub.queued() < MAX_QUEUED
            && let Some(waiting) = self.taken.queue.pop_front()
        {
            match waiting {
                Waiting::Batch(batch) => {
                    for publication in batch.iter() {
                        self.hub.publish(publication, Arrival::Live, now_ms);
                    }
                }
                Waiting::Notice(notice) => self.hub.notify_all(&notice),
            }
        }
        if self.taken.queue.is_empty() {
            for (_, publication) in self.taken.newest.take().iter_mut().flat_map(|newest| newest.drain()) {
                self.hub.publish(&publication, Arrival::Live, now_ms);
            }
            for notice in self.taken.notices.drain(..) {
                self.hub.notify_all(&notice);
            }
            for (publication, arrival) in self.taken.cached.drain(..) {
                self.hub.publish(&publication, arrival, now_ms);
            }
        }
        self.pace_due_ms = self.hub.pace(now_ms);
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Status(status, notice) => {
                self.standing.retain(|(standing, _)| !ends(status, *standing) && *standing != status);
                if matches!(status, Status::Degraded | Status::Paused) {
                    self.standing.push((status, Arc::clone(&notice)));
                }
                self.hub.notify_all(&notice);
            }
            Order::Drain { window } => self.drain(window),
            Order::Stop => self.stopping = true,
            #[cfg(test)]
            Order::Panic => panic!("asked to"),
            Order::Report(answer) => {
                self.report_interest();
                let _ = answer.send(());
            }
            Order::Describe(answer) => {
                let now_ms = self.now.mono_ms;
                let describe = |connection: &Connection| connection.describe(&self.hub, now_ms);
                // Nobody waits for the answer any more: nothing to do about it.
                let _ = answer.send(self.connections.iter().flatten().map(describe).collect());
            }
        }
    }

    pub(super) fn adopt(&mut self, adopted: Adopted) {
        let lane = self.hub.attach(adopted.form);
        let Adopted { stream, tls, early, client_id, form, wanted, access, peer, permit } = adopted;
        let mut stream = mio::net::TcpStream::from_std(stream);
        if let Err(error) = self.poll.registry().register(&mut stream, Token(lane.index()), Wish::READABLE) {
            debug!(%error, client = %client_id, "a socket could not be registered");
            self.inbox.ended();
            self.hub.detach(lane);
            return;
        }
        let session = Session::new(access, &self.parts.rules, self.now);
        self.generation = self.generation.wrapping_add(1);
        let settled = Settled { coding: form.coding, client_id, peer, permit };
        let connection = Connection::new(lane, self.generation, Socket::new(stream, tls), session, settled, self.now);
        debug!(client = %connection.client_id, %peer, shard = self.parts.index, "connected");
        if self.connections.len() <= lane.index() {
            self.connections.resize_with(lane.index() + 1, || None);
        }
        self.connections[lane.index()] = Some(connection);
        self.open += 1;
        self.at_hand = Some(lane);
        self.greet(lane, wanted);
        if !early.is_empty() {
            let length = early.len().min(self.receive.len());
            self.receive[..length].copy_from_slice(&early[..length]);
            self.understand(lane, length);
        }
        if self.connection(lane).is_some_and(|connection| connection.socket.reads_ahead()) {
            self.unread.push(lane);
        }
        if let Some(until) = self.drain_until_ms {
            let left = until.saturating_sub(self.now.mono_ms);
            self.give_slot(lane, fastrand::u64(0..=left));
        }
        self.look_at(lane);
    }

    pub(super) fn greet(&mut self, lane: LaneId, wanted: Selection) {
        if self.parts.rules.talk == Talk::Echo {
            return;
        }
        let (rules, now) = (Arc::clone(&self.parts.rules), self.now);
        let mut unknown = Vec::new();
        if let Some(connection) = self.connections[lane.index()].as_mut() {
            let mut desk = LaneDesk { hub: &mut self.hub, lane, unknown: &mut unknown };
            let name = connection.client_id.to_string();
            connection.session.greet(&name, wanted, &rules, now, &mut desk);
        }
        for (_, notice) in &self.standing {
            self.hub.reply(lane, notice.frame.clone());
        }
        self.ask_for(unknown);
    }

    /// Asks the feed for the cached quotes of symbols nobody watched here before.
    pub(super) fn ask_for(&self, unknown: Vec<Symbol>) {
        if !unknown.is_empty() {
            self.parts.snapshots.ask(self.parts.index, unknown);
        }
    }
}

/// Whether a status ends a standing one.
fn ends(status: Status, standing: Status) -> bool {
    matches!((status, standing), (Status::Ok, Status::Degraded) | (Status::Resumed, Status::Paused))
}
