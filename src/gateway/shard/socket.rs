//! A connection's bytes under its shard: bare TCP, or TLS over it.
//!
//! Both look alike from above: a write takes a flush's slices and says how many bytes it took, a read fills the shard's
//! buffer. TLS encrypts one record's worth at a time and no more until the socket has taken it ([`RECORD_BYTES`]), so
//! that stale quotes wait in the hub, where newer ones replace them. What the kernel has not taken of a record is kept
//! here; the shard asks ([`Socket::is_behind`]) and comes back when the socket is writable. It knows no frames.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::ServerConnection;

/// Plain bytes that may wait as ciphertext: one record (RFC 8446 §5.1), as much as the kernel keeps unsent.
const RECORD_BYTES: usize = 16 * 1024;
/// Reads of at most 4 KiB ciphertext in one turn: four times what fills the receive buffer, so that records without
/// content hold nobody up.
const READS_PER_TURN: usize = 64;

/// A client's socket.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

pub(super) struct Tls {
    stream: TcpStream,
    connection: Box<ServerConnection>,
    /// Whether the kernel has taken anything since [`Socket::take_progress`].
    progressed: bool,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// Nothing has come; an event will tell when it does.
    Nothing,
    /// These many bytes, possibly none.
    Bytes {
        length: usize,
        /// Read again: no event will tell of the rest.
        more: bool,
    },
    /// Nothing will come any more.
    End,
}

/// Whether a socket has said goodbye.
pub(super) enum Goodbye {
    Said,
    /// It waits until the socket is writable.
    Waiting,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, tls: Option<Box<ServerConnection>>) -> Socket {
        match tls {
            None => Socket::Plain(stream),
            Some(mut connection) => {
                connection.set_buffer_limit(Some(RECORD_BYTES));
                Socket::Tls(Box::new(Tls { stream, connection, progressed: false }))
            }
        }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(tls) => &tls.stream,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(tls) => &mut tls.stream,
        }
    }

    /// One write system call; under TLS one for each record.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => write(stream, slices),
            Socket::Tls(tls) => tls.write(slices),
        }
    }

    /// Fills `into`, or takes what there is.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Got> {
        match self {
            Socket::Plain(stream) => match stream.read(into) {
                Ok(0) => Ok(Got::End),
                Ok(length) => Ok(Got::Bytes { length, more: length == into.len() }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Got::Bytes { length: 0, more: true }),
                Err(error) => Err(error),
            },
            Socket::Tls(tls) => tls.read(into),
        }
    }

    /// Whether bytes wait here that count as written above.
    pub(super) fn is_behind(&self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Tls(tls) => tls.connection.wants_write(),
        }
    }

    /// Whether the kernel has taken anything of what waits here since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Tls(tls) => std::mem::take(&mut tls.progressed),
        }
    }

    /// Sends what waits here. Whether nothing does any more.
    pub(super) fn push(&mut self) -> io::Result<bool> {
        match self {
            Socket::Plain(_) => Ok(true),
            Socket::Tls(tls) => tls.push(),
        }
    }

    /// Whether bytes may have been read that no event will tell of.
    pub(super) fn reads_ahead(&self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Tls(_) => true,
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) -> io::Result<Goodbye> {
        if let Socket::Tls(tls) = self {
            tls.connection.send_close_notify();
            if !tls.push()? {
                return Ok(Goodbye::Waiting);
            }
        }
        self.stream().shutdown(Shutdown::Write)?;
        Ok(Goodbye::Said)
    }
}

impl Tls {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.push()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut taken = self.connection.writer().write_vectored(slices)?;
        while self.push()? && taken < offered {
            let more = self.connection.writer().write_vectored(&after(slices, taken))?;
            if more == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            taken += more;
        }
        Ok(taken)
    }

    fn push(&mut self) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => self.progressed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<Got> {
        let got = self.decrypt(into);
        // The answer to a key update, or the alert that says what was wrong. A full socket takes it later.
        self.push()?;
        got
    }

    fn decrypt(&mut self, into: &mut [u8]) -> io::Result<Got> {
        let mut length = 0;
        for _ in 0..READS_PER_TURN {
            match self.connection.reader().read(&mut into[length..]) {
                Ok(0) if length == 0 => return Ok(Got::End),
                Ok(0) => return Ok(Got::Bytes { length, more: true }),
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer has gone without a goodbye of TLS; frames tell whether that was too early.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && length == 0 => return Ok(Got::End),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(Got::Bytes { length, more: true });
                }
                Err(error) => return Err(error),
            }
            if length == into.len() {
                return Ok(Got::Bytes { length, more: true });
            }
            match self.connection.read_tls(&mut self.stream) {
                Ok(_) => {
                    self.connection.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && length == 0 => return Ok(Got::Nothing),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Got::Bytes { length, more: false });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Got::Bytes { length, more: true })
    }
}

fn write(stream: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        let written = match slices {
            [one] => stream.write(one),
            many => stream.write_vectored(many),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What is left of `slices` after their first `taken` bytes.
fn after<'a>(slices: &'a [IoSlice<'_>], mut taken: usize) -> Vec<IoSlice<'a>> {
    let mut rest = Vec::with_capacity(slices.len());
    for slice in slices {
        let skipped = taken.min(slice.len());
        taken -= skipped;
        if skipped < slice.len() {
            rest.push(IoSlice::new(&slice[skipped..]));
        }
    }
    rest
}
