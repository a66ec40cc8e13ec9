//! Bytes from clients: into the reader, through the session, onto the hub.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::connection::Phase;
use super::desk::LaneDesk;
use super::socket::Got;
use super::{LINGER_BYTES, MAX_REPLY_BYTES, Shard};
use crate::hub::LaneId;
use crate::protocol::deflate::compress;
use crate::protocol::frame;
use crate::protocol::message::Close;
use crate::protocol::publication::Coding;
use crate::protocol::reader::Inbound;
use crate::protocol::session::Talk;

impl Shard {
    pub(super) fn read(&mut self, lane: LaneId) {
        self.at_hand = Some(lane);
        let Some(connection) = self.connections.get_mut(lane.index()).and_then(Option::as_mut) else { return };
        if connection.lane != lane || connection.read_paused {
            return;
        }
        match connection.socket.read(&mut self.receive) {
            Ok(Got::Nothing) => {}
            Ok(Got::Bytes { length, more }) => {
                self.understand(lane, length);
                if let Some(connection) = self.connection(lane)
                    && (more || connection.read_closed)
                {
                    self.unread.push(lane);
                }
            }
            Ok(Got::End) | Err(_) => return self.end(lane, 1006),
        }
        if let Some(connection) = self.connection(lane)
            && connection.socket.is_behind()
        {
            self.blocked(lane, 0);
        }
    }

    /// Reads the first `length` bytes of the receive buffer as this client's.
    pub(super) fn understand(&mut self, lane: LaneId, length: usize) {
        let rules = Arc::clone(&self.parts.rules);
        let now = self.now;
        let Some(connection) = self.connections[lane.index()].as_mut() else { return };
        match &mut connection.phase {
            Phase::Open => {}
            Phase::Closing { .. } => return,
            Phase::Lingering { discarded, .. } => {
                *discarded = discarded.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
                if *discarded > LINGER_BYTES {
                    self.reset(lane);
                }
                return;
            }
        }
        let mut unknown = Vec::new();
        let mut goodbye = None;
        let coding = connection.coding;
        let (session, hub) = (&mut connection.session, &mut self.hub);
        let outcome = connection.reader.read(&mut self.receive[..length], &rules.read, coding, |inbound| {
            let mut desk = LaneDesk { hub, lane, unknown: &mut unknown };
            match inbound {
                Inbound::Text(text) if rules.talk == Talk::Echo => hub.reply(lane, echo_text(text, coding)),
                Inbound::Binary(bytes) if rules.talk == Talk::Echo => hub.reply(lane, echo_binary(bytes, coding)),
                Inbound::Text(text) => {
                    return session.on_text(text, &rules, now, &mut desk).map_break(|close| {
                        goodbye = Some(Goodbye::Ours(close));
                    });
                }
                Inbound::Binary(_) => {} // the reader refuses them
                Inbound::Ping(payload) => {
                    let flow = session.on_control(&rules, now);
                    if flow.is_continue() {
                        hub.reply(lane, frame::pong(payload));
                    }
                    return flow.map_break(|close| goodbye = Some(Goodbye::Ours(close)));
                }
                Inbound::Pong => {
                    return session.on_control(&rules, now).map_break(|close| goodbye = Some(Goodbye::Ours(close)));
                }
                Inbound::Close(code) => goodbye = Some(Goodbye::Theirs(code)),
            }
            ControlFlow::Continue(())
        });
        if let Err(close) = outcome {
            goodbye = Some(Goodbye::Ours(close));
        }
        let hurried = connection.session.take_hurried();
        self.ask_for(unknown);
        match goodbye {
            None => {
                if hurried {
                    self.look_at(lane);
                }
                if self.hub.reply_bytes(lane) > MAX_REPLY_BYTES
                    && let Some(connection) = self.connection(lane)
                {
                    connection.read_paused = true;
                }
            }
            Some(Goodbye::Ours(close)) => self.close(lane, close),
            Some(Goodbye::Theirs(code)) => {
                self.hub.close(lane, frame::close_echo(code));
                self.closing(lane, code.unwrap_or(1005));
            }
        }
    }
}

fn echo_text(text: &str, coding: Coding) -> Box<[u8]> {
    match coding {
        Coding::Plain => frame::text(text),
        Coding::Deflate => frame::deflated_text(&compress(text.as_bytes())),
    }
}

fn echo_binary(bytes: &[u8], coding: Coding) -> Box<[u8]> {
    match coding {
        Coding::Plain => frame::binary(bytes),
        Coding::Deflate => frame::deflated_binary(&compress(bytes)),
    }
}

/// How a conversation ends.
enum Goodbye {
    Ours(Close),
    Theirs(Option<u16>),
}
