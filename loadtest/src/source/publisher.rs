//! The publisher: writes updates to Redis by an open-loop timetable.
//!
//! Each update carries the time it was *due*, so that a publisher or a Redis that falls behind shows as latency instead of
//! hiding it (no coordinated omission); how late messages were written is reported, since a late publisher makes a run invalid. One
//! pipelined connection, one thread, no waiting for replies. What Redis does not take waits in one buffer of at most
//! [`UNSENT_BYTES`]; after that updates are written late, and show as such.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::clock::{Ns, timespec};
use crate::schedule::Schedule;
use crate::update::UpdateWriter;
use crate::wire::{PROGRESS_EVERY, PublisherJob, SourceOrder, SourceOutcome, SourceReport, report};

use super::orders;
use super::probe::Probe;
use super::redis::{connect_redis, write_some};
use super::resp::{Reply, put_command, read_reply};

/// Bytes that may wait for Redis' socket.
const UNSENT_BYTES: usize = 1 << 20;
/// Messages that are due within this time go out together, so that a high rate does not cost the core that publisher, Redis
/// and clients share a wake-up a message. Latency counts from when each was due all the same.
const GRAIN: Ns = 1_000_000;
/// How long Redis may take to answer the last messages.
const LAST_REPLIES: Ns = 10_000_000_000;

struct Publisher {
    job: PublisherJob,
    stream: TcpStream,
    writer: UpdateWriter,
    schedule: Schedule,
    window: Range<Ns>,
    payload: Vec<u8>,
    unsent: Vec<u8>,
    replies: Vec<u8>,
    answered: u64,
    outcome: SourceOutcome,
}

/// Publishes by the job and the order on stdin.
///
/// # Errors
/// When Redis refuses or breaks off.
pub(crate) fn run() -> anyhow::Result<()> {
    let job: PublisherJob = orders::next()?;
    let stream = connect_redis(&job.redis)?;
    stream.set_nonblocking(true)?;
    let probe = if job.probe { Some(Probe::start(&job.redis, &job.channel, job.clock)?) } else { None };
    report(&SourceReport::Ready { listening: None })?;
    let SourceOrder::Start { schedule, window, until: _ } = orders::next()?;
    if let Some(probe) = &probe {
        probe.watch(window.clone());
    }
    let mut publisher = Publisher {
        writer: UpdateWriter::new(job.bytes, job.seq_base),
        job,
        stream,
        schedule,
        window,
        payload: Vec::new(),
        unsent: Vec::new(),
        replies: Vec::new(),
        answered: 0,
        outcome: SourceOutcome::default(),
    };
    publisher.publish()?;
    let mut outcome = publisher.outcome;
    if let Some(probe) = probe {
        outcome.redis = probe.finish()?;
    }
    report(&SourceReport::Done(Box::new(outcome)))
}

impl Publisher {
    fn publish(&mut self) -> anyhow::Result<()> {
        let clock = self.job.clock;
        let mut progress_at = clock.now();
        let give_up = self.schedule.end() + LAST_REPLIES;
        loop {
            let now = clock.now();
            self.write_due(now)?;
            self.read_replies()?;
            let all_written = self.outcome.published == self.schedule.total;
            if all_written && self.answered == self.outcome.messages {
                return Ok(());
            }
            if now > give_up.max(self.schedule.due(self.outcome.published.max(1) - 1) + LAST_REPLIES) {
                bail!("Redis did not take or answer all messages in time");
            }
            if now >= progress_at {
                progress_at = now + PROGRESS_EVERY;
                report(&SourceReport::Progress { published: self.outcome.published })?;
                if orders::have_ended() {
                    return Ok(());
                }
            }
            let may_write = !all_written && self.unsent.len() < UNSENT_BYTES;
            if may_write && self.unsent.is_empty() {
                clock.wait_until(self.schedule.due(self.outcome.published).max(now + GRAIN).min(progress_at));
            } else {
                self.wait(progress_at)?;
            }
        }
    }

    /// Writes the messages that are due by now.
    fn write_due(&mut self, now: Ns) -> anyhow::Result<()> {
        self.writer.set_wall_clock(Timestamp::now());
        while self.outcome.published < self.schedule.total && self.unsent.len() < UNSENT_BYTES {
            let due = self.schedule.due(self.outcome.published);
            if due > now {
                break;
            }
            self.put_message(due);
            if self.window.contains(&due) {
                self.outcome.lateness.record(self.job.clock.now() - due);
            }
        }
        write_some(&mut self.stream, &mut self.unsent)
    }

    /// Appends the next message: one update, or an array of a cycle.
    fn put_message(&mut self, due: Ns) {
        let first = self.outcome.published;
        let end = (first + u64::from(self.schedule.cycle)).min(self.schedule.total);
        self.payload.clear();
        for i in first..end {
            if self.schedule.cycle > 1 {
                self.payload.push(if i == first { b'[' } else { b',' });
            }
            self.writer.write(&mut self.payload, self.schedule.symbol(i), self.schedule.number(i), due);
        }
        if self.schedule.cycle > 1 {
            self.payload.push(b']');
        }
        put_command(&mut self.unsent, &[b"PUBLISH", self.job.channel.as_bytes(), &self.payload]);
        self.outcome.published = end;
        self.outcome.messages += 1;
    }

    fn read_replies(&mut self) -> anyhow::Result<()> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("Redis closed the publisher's connection"),
                Ok(bytes) => self.replies.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading from Redis"),
            }
        }
        let mut used = 0;
        while let Some((reply, bytes)) = read_reply(&self.replies[used..])? {
            used += bytes;
            self.answered += 1;
            match reply {
                Reply::Number(receivers) => {
                    let receivers = u64::try_from(receivers).unwrap_or(0);
                    let fewest = &mut self.outcome.fewest_receivers;
                    *fewest = Some(fewest.map_or(receivers, |fewest| fewest.min(receivers)));
                }
                Reply::Error(text) => bail!("Redis refuses PUBLISH: {}", String::from_utf8_lossy(text)),
                other => bail!("Redis answers PUBLISH with {other:?}"),
            }
        }
        self.replies.drain(..used);
        Ok(())
    }

    /// Waits for a reply or room for what is unsent, until `at` at most.
    fn wait(&self, at: Ns) -> anyhow::Result<()> {
        let interest = if self.unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut files = [PollFd::from_borrowed_fd(self.stream.as_fd(), interest)];
        let timeout = timespec(at.saturating_sub(self.job.clock.now()));
        match poll(&mut files, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("poll"),
        }
    }
}
