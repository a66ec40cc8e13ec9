//! The bare sender's clients until it starts: accepted, upgraded, asked for their symbols.
//!
//! Only our own clients connect here, so the handshake is answered without being checked. One client's input is bounded by
//! its two requests; more than [`MAX_INPUT`] bytes is refused.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::handshake::ACCEPT;
use crate::frame::{Opcode, put_unmasked, unmask};
use crate::update::symbol_number;
use crate::wire::SourceOrder;

use super::orders;

const LISTENER: Token = Token(usize::MAX);
const CONTROL: Token = Token(usize::MAX - 1);
const BACKLOG: i32 = 4_096;
/// A request for a thousand symbols has ten thousand bytes.
const MAX_INPUT: usize = 256 * 1024;
/// How long a write to one client may wait once sending has begun.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that has subscribed.
pub(crate) struct Member {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) symbols: Vec<u32>,
}

/// See the module.
pub(crate) struct Audience {
    poll: Poll,
    listener: TcpListener,
    symbols: u32,
    guests: HashMap<Token, Guest>,
    accepted: usize,
}

struct Guest {
    stream: TcpStream,
    input: Vec<u8>,
    upgraded: bool,
    symbols: Vec<u32>,
}

#[derive(Deserialize)]
struct Subscribe<'a> {
    #[serde(borrow)]
    symbols: Vec<&'a str>,
}

impl Audience {
    /// Listens on a free port of loopback, for subscribers of `symbols` symbols.
    pub(crate) fn listen(symbols: u32) -> anyhow::Result<Audience> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let stdin = std::os::fd::AsRawFd::as_raw_fd(&io::stdin());
        poll.registry().register(&mut SourceFd(&stdin), CONTROL, Interest::READABLE)?;
        Ok(Audience { poll, listener, symbols, guests: HashMap::new(), accepted: 0 })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Lets clients in until the order to start comes; `None` when stdin ended instead.
    pub(crate) fn gather(mut self) -> anyhow::Result<Option<(SourceOrder, Vec<Member>)>> {
        let mut events = Events::with_capacity(1_024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("epoll")?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    CONTROL => {
                        let Ok(order) = orders::next() else { return Ok(None) };
                        return Ok(Some((order, self.into_members()?)));
                    }
                    token => self.hear(token)?,
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => return Err(error).context("accepting a client"),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.accepted);
            self.accepted += 1;
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.guests.insert(token, Guest { stream, input: Vec::new(), upgraded: false, symbols: Vec::new() });
        }
    }

    fn hear(&mut self, token: Token) -> anyhow::Result<()> {
        let Some(guest) = self.guests.get_mut(&token) else { return Ok(()) };
        if !guest.read()? {
            self.guests.remove(&token);
            return Ok(());
        }
        guest.answer(self.symbols)
    }

    fn into_members(self) -> anyhow::Result<Vec<Member>> {
        let member = |guest: Guest| -> anyhow::Result<Member> {
            let stream = std::net::TcpStream::from(std::os::fd::OwnedFd::from(guest.stream));
            stream.set_nonblocking(false)?;
            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok(Member { stream, symbols: guest.symbols })
        };
        let mut guests: Vec<_> = self.guests.into_iter().collect();
        guests.sort_unstable_by_key(|(token, _)| *token);
        guests.into_iter().map(|(_, guest)| member(guest)).collect()
    }
}

impl Guest {
    /// Reads what there is; whether the client is still there.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(bytes) => self.input.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(false),
            }
            ensure!(self.input.len() <= MAX_INPUT, "a client sent more than {MAX_INPUT} bytes");
        }
        Ok(true)
    }

    fn answer(&mut self, symbols: u32) -> anyhow::Result<()> {
        if !self.upgraded {
            let Some(head) = memchr::memmem::find(&self.input, b"\r\n\r\n") else { return Ok(()) };
            self.input.drain(..head + 4);
            self.upgraded = true;
            let consent = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            );
            self.stream.write_all(consent.as_bytes())?;
        }
        while let Some((payload, bytes)) = unmask(&self.input) {
            self.input.drain(..bytes);
            let Ok(request) = serde_json::from_slice::<Subscribe<'_>>(&payload) else { continue };
            for name in request.symbols {
                match symbol_number(name) {
                    Some(symbol) if symbol < symbols => self.symbols.push(symbol),
                    _ => bail!("{name} is not a symbol of this run"),
                }
            }
            let mut ack = Vec::new();
            put_unmasked(&mut ack, Opcode::Text, br#"{"type":"subscribed","symbols":[]}"#);
            self.stream.write_all(&ack)?;
        }
        Ok(())
    }
}
