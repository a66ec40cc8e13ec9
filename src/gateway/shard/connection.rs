//! One client's socket and what belongs to it. Owned by its shard.

use std::fmt;
use std::net::{IpAddr as Peer, TcpStream};

use bytes::Bytes;
use rustls::ServerConnection;
use serde::Serialize;

use super::socket::Socket;
use crate::gateway::admission::Permit;
use crate::hub::{Hub, LaneId};
use crate::protocol::auth::Access;
use crate::protocol::message::Selection;
use crate::protocol::publication::{Coding, Form};
use crate::protocol::reader::Reader;
use crate::protocol::session::{Now, Session};

/// A connection as the front door hands it over: upgraded, non-blocking, and nothing sent yet but the 101.
pub(in crate::gateway) struct Adopted {
    pub(in crate::gateway) stream: TcpStream,
    /// Set when TLS was agreed on.
    pub(in crate::gateway) tls: Option<Box<ServerConnection>>,
    /// What was read beyond the request.
    pub(in crate::gateway) early: Bytes,
    pub(in crate::gateway) client_id: ClientId,
    pub(in crate::gateway) form: Form,
    /// The symbols of the URL.
    pub(in crate::gateway) wanted: Selection,
    pub(in crate::gateway) access: Access,
    pub(in crate::gateway) peer: Peer,
    pub(in crate::gateway) permit: Permit,
}

/// What stays of an [`Adopted`] connection for as long as it lives.
pub(super) struct Settled {
    pub(super) coding: Coding,
    pub(super) client_id: ClientId,
    pub(super) peer: Peer,
    pub(super) permit: Permit,
}

/// A client's name: its own choice, or a random one. It identifies nothing and need not be unique.
#[derive(Debug, Clone)]
pub(in crate::gateway) enum ClientId {
    Given(Box<str>),
    Random(u64),
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientId::Given(name) => f.write_str(name),
            ClientId::Random(number) => write!(f, "client_{number:016x}"),
        }
    }
}

/// How far a connection's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Talking.
    Open,
    /// The close frame is on its way.
    Closing { code: u16, deadline_ms: u64 },
    /// The close frame is out; waiting for the peer to end.
    Lingering { code: u16, deadline_ms: u64, discarded: u32 },
}

impl Phase {
    pub(super) fn code(self) -> u16 {
        match self {
            Phase::Open => 1006,
            Phase::Closing { code, .. } | Phase::Lingering { code, .. } => code,
        }
    }
}

pub(super) struct Connection {
    pub(super) lane: LaneId,
    /// Tells this connection from an earlier one on the same lane.
    pub(super) generation: u32,
    pub(super) socket: Socket,
    pub(super) session: Session,
    pub(super) reader: Reader,
    /// Whether it may send compressed messages.
    pub(super) coding: Coding,
    pub(super) client_id: ClientId,
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    /// Since when its socket has taken nothing while something waits.
    pub(super) blocked_since_ms: Option<u64>,
    /// The peer has said that nothing more will come; what lies in the socket is still to be read.
    pub(super) read_closed: bool,
    /// Its requests are not read until its replies are written.
    pub(super) read_paused: bool,
    /// When a draining gateway closes it.
    pub(super) drain_at_ms: Option<u64>,
    /// When it is looked at next.
    pub(super) timer_ms: u64,
    opened_ms: u64,
    _permit: Permit,
}

impl Connection {
    /// The session and the rest of what was adopted, on its lane.
    pub(super) fn new(
        lane: LaneId,
        generation: u32,
        socket: Socket,
        session: Session,
        adopted: Settled,
        now: Now,
    ) -> Connection {
        Connection {
            lane,
            generation,
            socket,
            session,
            reader: Reader::default(),
            coding: adopted.coding,
            client_id: adopted.client_id,
            peer: adopted.peer,
            phase: Phase::Open,
            blocked_since_ms: None,
            read_closed: false,
            read_paused: false,
            drain_at_ms: None,
            timer_ms: u64::MAX,
            opened_ms: now.mono_ms,
            _permit: adopted.permit,
        }
    }

    pub(super) fn describe(&self, hub: &Hub, now_ms: u64) -> Description {
        Description {
            client_id: self.client_id.to_string(),
            peer: self.peer.to_string(),
            open_s: now_ms.saturating_sub(self.opened_ms) / 1000,
            symbols: hub.active(self.lane),
            wildcard: hub.watches_all(self.lane),
            blocked_ms: self.blocked_since_ms.map(|since| now_ms.saturating_sub(since)),
            closing: self.phase != Phase::Open,
        }
    }
}

/// A connection as the ops port's `/connections` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// Its `clientId`.
    pub client_id: String,
    /// Its address.
    pub peer: String,
    /// Since how many seconds.
    pub open_s: u64,
    /// Symbols it watches.
    pub symbols: usize,
    /// Whether it watches all symbols.
    pub wildcard: bool,
    /// For how long its socket has taken nothing while something waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_ms: Option<u64>,
    /// Whether its close is under way.
    pub closing: bool,
}
