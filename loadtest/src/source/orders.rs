//! A source's stdin: its job, then the order to start; its end is the order to stop.

use std::io::{self, BufRead};
use std::os::fd::AsFd;

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::wire::read_line;

/// Waits for the next line.
pub(crate) fn next<T: DeserializeOwned>() -> anyhow::Result<T> {
    let mut line = String::new();
    let bytes = io::stdin().lock().read_line(&mut line).context("stdin")?;
    ensure!(bytes > 0, "stdin ended; this command is for tickcast-loadtest's own use");
    read_line(&line)
}

/// Whether the leading process has ended or closed the pipe. Nothing is ordered after the start, so anything readable
/// is the end.
pub(crate) fn have_ended() -> bool {
    let stdin = io::stdin();
    let mut files = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
    poll(&mut files, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Waits until the leading process has ended or closed the pipe.
pub(crate) fn wait_for_end() -> anyhow::Result<()> {
    let stdin = io::stdin();
    let mut files = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
    match poll(&mut files, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
}
