//! An attacker's connection: blocking, with short time-outs, and no manners.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::handshake;
use crate::frame::{Opcode, next_frame};

use super::Field;

/// For any single read or write.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a client that never reads takes at most before its window closes.
const NARROW_BYTES: usize = 4_096;

/// See the module.
pub(super) struct Attacker(TcpStream);

/// Whether the receive buffer is as small as can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Usual,
    Narrow,
}

impl Attacker {
    /// Connects from the address of this kind of attack.
    pub(super) fn connect(field: &Field, kind: u8, window: Window) -> io::Result<Attacker> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        if window == Window::Narrow {
            socket.set_recv_buffer_size(NARROW_BYTES)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 66, kind + 1), 0)).into())?;
        socket.connect_timeout(&field.job.target.into(), PATIENCE)?;
        Ok(Attacker(socket.into()))
    }

    /// Asks for the upgrade, with these headers more. The words for a refusal.
    pub(super) fn upgrade(&mut self, field: &Field, more_headers: &str) -> Result<(), String> {
        let mut request = handshake::request(field.job.target, &field.job.path);
        request.truncate(request.len() - 2);
        request.extend_from_slice(more_headers.as_bytes());
        request.extend_from_slice(b"\r\n");
        self.0.write_all(&request).map_err(|error| error.kind().to_string())?;
        let mut head = vec![0; handshake::MAX_HEAD_BYTES];
        let mut length = 0;
        loop {
            match self.0.read(&mut head[length..]) {
                Ok(0) => return Err("closed in the handshake".to_owned()),
                Ok(read) => length += read,
                Err(error) => return Err(error.kind().to_string()),
            }
            match handshake::read_response(&head[..length]) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(refused) => return Err(refused.to_string()),
            }
        }
    }

    /// Sends; false when the server has had enough.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Whether the server has closed its side, found out without reading.
    pub(super) fn is_cut(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let seen = poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0);
        seen && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    /// Reads on until the connection ends, for up to a second: what it ended with.
    pub(super) fn end(mut self) -> String {
        let (mut unread, mut chunk) = (Vec::new(), [0; 16 * 1024]);
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            match self.0.read(&mut chunk) {
                Ok(0) => return "eof".to_owned(),
                Ok(read) => unread.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return "reset".to_owned(),
            }
            let mut at = 0;
            while let Ok(Some(frame)) = next_frame(&unread[at..]) {
                at += frame.bytes;
                if let (Opcode::Close, [high, low, ..]) = (frame.opcode, frame.payload) {
                    return format!("closed with {}", u16::from_be_bytes([*high, *low]));
                }
            }
            unread.drain(..at);
        }
        "still open".to_owned()
    }
}
