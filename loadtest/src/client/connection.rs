//! One client's socket: bound to its source address, connected without waiting, written to rarely.
//!
//! Knows nothing of updates. What a full socket does not take waits in `unsent`; a client sends a request or two and
//! answers pings, so that stays a few hundred bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Ns;

/// Where a connection is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Until the server's 101.
    Upgrading,
    /// Until the `subscribed` ack.
    Subscribing,
    Open,
}

/// What a client's way to the server is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Loopback as it is.
    Wide,
    /// With the segments of a real network and a small window. A receiver opens its window a segment at a time at least, and
    /// loopback's have 64 KiB: a slow reader would take nothing for half a minute and then all of that.
    Narrow,
}

const NARROW_BUFFER_BYTES: usize = 8 * 1_024;
const ETHERNET_MSS: u32 = 1_460;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) phase: Phase,
    /// When `connect` was called.
    pub(crate) began: Ns,
    /// The beginning of a frame whose end has not come.
    pub(crate) carry: Vec<u8>,
    unsent: Vec<u8>,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Empty,
    /// The server closed.
    End,
    /// The connection broke.
    Reset,
}

impl Connection {
    /// Begins to connect and, as loopback often has it connected already, to send `request`.
    pub(crate) fn open(
        target: SocketAddr,
        (source, link): (Option<IpAddr>, Link),
        request: &[u8],
        (registry, token): (&Registry, Token),
        now: Ns,
    ) -> io::Result<Connection> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if link == Link::Narrow {
            socket.set_recv_buffer_size(NARROW_BUFFER_BYTES)?;
            socket.set_tcp_mss(ETHERNET_MSS)?;
        }
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let unsent = request.to_vec();
        let mut connection = Connection { stream, phase: Phase::Upgrading, began: now, carry: Vec::new(), unsent };
        connection.flush()?;
        Ok(connection)
    }

    /// Sends `bytes`, now or when the socket takes them.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.shrink_to(0);
        Ok(())
    }

    /// Reads once.
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => ReadOutcome::End,
                Ok(bytes) => ReadOutcome::Bytes(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    ReadOutcome::Empty
                }
                Err(_) => ReadOutcome::Reset,
            };
        }
    }

    /// What the socket reports as its error, when connecting failed.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.stream.take_error().ok().flatten()
    }
}

/// How many source addresses are used as long as they do.
const SOURCES: u32 = 250;
/// How many clients share one at most: the gateway's default `limits.connect_burst`, below its `connections_per_ip`.
const CLIENTS_PER_SOURCE: u32 = 100;

/// Over how many addresses `clients` are spread.
pub(crate) fn sources_for(clients: u32) -> u32 {
    clients.clamp(1, SOURCES).max(clients.div_ceil(CLIENTS_PER_SOURCE))
}

/// The address client `index` connects from: 127.0.0.1, 127.0.0.2, … in turn, so that neighbours differ. `None` when the
/// target is not on loopback: then the system chooses.
pub(crate) fn source(index: u32, sources: u32, target: SocketAddr) -> Option<IpAddr> {
    let IpAddr::V4(address) = target.ip() else { return None };
    let base = u32::from(Ipv4Addr::new(127, 0, 0, 0));
    // x.x.x.0 and x.x.x.255 are left out.
    let host = index % sources;
    address.is_loopback().then(|| Ipv4Addr::from(base + host / 254 * 256 + host % 254 + 1).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_on_few_enough_addresses() {
        let target = "127.0.0.1:8081".parse().unwrap();
        assert_eq!((sources_for(0), sources_for(7), sources_for(10_000), sources_for(30_000)), (1, 7, 250, 300));
        let at = |index, sources| source(index, sources, target).unwrap().to_string();
        assert_eq!(
            (at(0, 40).as_str(), at(39, 40).as_str(), at(40, 40).as_str()),
            ("127.0.0.1", "127.0.0.40", "127.0.0.1")
        );
        assert_eq!((at(253, 300).as_str(), at(254, 300).as_str()), ("127.0.0.254", "127.0.1.1"));
        assert_eq!(source(0, 40, "192.0.2.1:80".parse().unwrap()), None);
        assert_eq!(source(0, 40, "[::1]:80".parse().unwrap()), None);
    }
}
