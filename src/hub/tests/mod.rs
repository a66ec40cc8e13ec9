//! What the hub promises, one by one and against a model: sockets are byte vectors with room for so many bytes, clients read what arrived.

mod claims;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use super::*;
use crate::protocol::frame;

/// A shard's worth of lanes with pretended sockets.
struct World {
    hub: Hub,
    watched: Arc<Watched>,
    sockets: BTreeMap<LaneId, Socket>,
    seq: u64,
    now_ms: u64,
}

#[derive(Default)]
struct Socket {
    room: usize,
    bytes: Vec<u8>,
    was_blocked: bool,
    closed: bool,
    /// The next write finds the connection gone.
    breaks: bool,
}

impl World {
    fn new() -> World {
        let watched = Arc::new(Watched::new(DefaultHashBuilder::default()));
        World { hub: Hub::new(watched.clone()), watched, sockets: BTreeMap::new(), seq: 0, now_ms: 0 }
    }

    fn connect(&mut self) -> LaneId {
        let lane = self.hub.attach(Form::default());
        self.sockets.insert(lane, Socket { room: usize::MAX, ..Socket::default() });
        lane
    }

    fn publication(&self, symbol: &str, seq: u64) -> Arc<Publication> {
        let symbol = Symbol::parse(symbol).unwrap();
        let json = format!(r#"{{"symbol":"{symbol}","seq":{seq},"pad":"{}"}}"#, "x".repeat((seq % 40) as usize));
        Arc::new(Publication::new(symbol, Some(seq), &json, self.watched.hash(symbol), 0))
    }

    fn publish(&mut self, symbol: &str) -> u64 {
        self.seq += 1;
        let publication = self.publication(symbol, self.seq);
        self.hub.publish(&publication, Arrival::Live, self.now_ms);
        self.seq
    }

    /// Flushes all dirty lanes.
    fn flush(&mut self) {
        while let Some((lane, flush)) = self.hub.flush_next(|lane, slices| {
            let socket = self.sockets.get_mut(&lane).unwrap();
            write(socket, slices)
        }) {
            self.note(lane, &flush);
        }
    }

    /// The client reads: its socket has room again.
    fn read(&mut self, lane: LaneId, room: usize) {
        let socket = self.sockets.get_mut(&lane).unwrap();
        socket.room = room;
        let flush = self.hub.flush_lane(lane, |slices| write(socket, slices));
        self.note(lane, &flush);
    }

    fn note(&mut self, lane: LaneId, flush: &Flush) {
        let socket = self.sockets.get_mut(&lane).unwrap();
        match flush {
            Flush::Clean => {}
            Flush::Blocked { .. } => socket.was_blocked = true,
            Flush::Closed => socket.closed = true,
            Flush::Failed(_) => {
                self.hub.detach(lane);
                self.sockets.remove(&lane);
            }
        }
    }

    /// The messages a client has got, whole ones only.
    fn messages(&self, lane: LaneId) -> Vec<serde_json::Value> {
        let mut bytes = &self.sockets[&lane].bytes[..];
        let mut messages = Vec::new();
        while bytes.len() > 1 {
            let head = frame::payload_offset(bytes);
            let length = match head {
                2 => usize::from(bytes[1]),
                4 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
                _ => unreachable!("no message here is that long"),
            };
            let Some(payload) = bytes.get(head..head + length) else { break };
            if bytes[0] == 0x81 {
                messages.push(serde_json::from_slice(payload).unwrap());
            }
            bytes = &bytes[head + length..];
        }
        messages
    }

    fn seqs(&self, lane: LaneId, symbol: &str) -> Vec<u64> {
        let messages = self.messages(lane);
        messages.iter().filter(|m| m["symbol"] == symbol).map(|m| m["seq"].as_u64().unwrap()).collect()
    }
}

fn write(socket: &mut Socket, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    assert!(!socket.closed, "nothing is written after the close");
    if socket.breaks {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let mut taken = 0;
    for slice in slices {
        let fits = slice.len().min(socket.room - taken);
        socket.bytes.extend_from_slice(&slice[..fits]);
        taken += fits;
    }
    socket.room -= taken;
    if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
}

fn symbol(name: &str) -> Symbol {
    Symbol::parse(name).unwrap()
}

const LIVE_ONLY: Terms = Terms { min_gap_ms: 0, snapshot: false };
