//! Orders from the leading process, read from stdin without waiting.

use std::io::{self, ErrorKind, Read as _};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use serde::de::DeserializeOwned;

use crate::wire::{SwarmOrder, read_line};

/// The pipe and the line that is not whole yet.
pub(crate) struct Orders {
    pipe: Receiver,
    partial: Vec<u8>,
}

/// What came.
pub(crate) struct Received {
    pub(crate) orders: Vec<SwarmOrder>,
    /// The leading process is gone, or has finished.
    pub(crate) ended: bool,
}

impl Orders {
    pub(crate) fn stdin() -> anyhow::Result<Orders> {
        let pipe = io::stdin().as_fd().try_clone_to_owned().context("stdin")?;
        Ok(Orders { pipe: Receiver::from(pipe), partial: Vec::new() })
    }

    /// The first line; waits for it.
    pub(crate) fn first<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        loop {
            if let Some(line) = self.take_line() {
                return read_line(&line);
            }
            if self.fill()? == 0 {
                bail!("stdin ended before the job came; this command is for tickcast-loadtest's own use");
            }
        }
    }

    /// From here on reads do not wait.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.pipe.set_nonblocking(true)?;
        registry.register(&mut self.pipe, token, interest)
    }

    /// All orders that have come.
    pub(crate) fn read(&mut self) -> anyhow::Result<Received> {
        let mut ended = false;
        loop {
            match self.fill() {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("stdin"),
            }
        }
        let mut orders = Vec::new();
        while let Some(line) = self.take_line() {
            orders.push(read_line(&line)?);
        }
        Ok(Received { orders, ended })
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 4_096];
        loop {
            match self.pipe.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(bytes) => {
                    self.partial.extend_from_slice(&chunk[..bytes]);
                    return Ok(bytes);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = memchr::memchr(b'\n', &self.partial)?;
        let line = self.partial.drain(..=end).collect::<Vec<u8>>();
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}
