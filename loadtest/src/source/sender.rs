//! The floor: a bare sender that only writes ready frames to its sockets. What it costs is what the kernel costs.
//!
//! It stands where gateway, Redis and publisher stand in other runs, and its clients cannot tell: it answers their upgrade
//! and their `subscribe`. Then it builds each update's frame once, as any gateway would, and writes it to each watcher:
//! every frame on its own, or `frames_per_write` gathered into one vectored write. Writes wait when a socket is full, so
//! nothing queues beyond the gathered frames. After the start it reads nothing any more.

use std::io::{IoSlice, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::rc::Rc;

use anyhow::{Context, ensure};

use crate::clock::{Clock, Ns};
use crate::frame::{Opcode, put_unmasked};
use crate::limits;
use crate::schedule::Schedule;
use crate::update::UpdateWriter;
use crate::wire::{PROGRESS_EVERY, SenderJob, SourceOrder, SourceOutcome, SourceReport, report};

use super::audience::{Audience, Member};
use super::orders;

struct Sender {
    clock: Clock,
    frames_per_write: usize,
    writer: UpdateWriter,
    schedule: Schedule,
    window: Range<Ns>,
    members: Vec<Gathering>,
    watchers: Vec<Vec<usize>>,
    payload: Vec<u8>,
    outcome: SourceOutcome,
}

/// A client and the frames that are gathered for its next write.
struct Gathering {
    stream: TcpStream,
    frames: Vec<Rc<[u8]>>,
}

/// Sends by the job and the order on stdin, then keeps the connections until stdin ends.
///
/// # Errors
/// When a client breaks off.
pub(crate) fn run() -> anyhow::Result<()> {
    let job: SenderJob = orders::next()?;
    limits::raise_open_files()?;
    let audience = Audience::listen(job.symbols)?;
    report(&SourceReport::Ready { listening: Some(audience.address()?) })?;
    let Some(order) = audience.gather()? else { return Ok(()) };
    let (SourceOrder::Start { schedule, until, window }, members) = order;
    let mut sender = Sender::new(&job, schedule, window, members)?;
    sender.send(until)?;
    report(&SourceReport::Done(Box::new(std::mem::take(&mut sender.outcome))))?;
    while !orders::have_ended() {
        orders::wait_for_end()?;
    }
    Ok(())
}

impl Sender {
    fn new(job: &SenderJob, schedule: Schedule, window: Range<Ns>, members: Vec<Member>) -> anyhow::Result<Sender> {
        let mut watchers = vec![Vec::new(); job.symbols as usize];
        let mut gatherings = Vec::with_capacity(members.len());
        for (index, member) in members.into_iter().enumerate() {
            for symbol in member.symbols {
                watchers[symbol as usize].push(index);
            }
            gatherings.push(Gathering { stream: member.stream, frames: Vec::new() });
        }
        ensure!(watchers.iter().any(|watchers| !watchers.is_empty()), "nobody subscribed anything");
        Ok(Sender {
            clock: job.clock,
            frames_per_write: job.frames_per_write.max(1),
            writer: UpdateWriter::new(job.bytes, job.seq_base),
            schedule,
            window,
            members: gatherings,
            watchers,
            payload: Vec::new(),
            outcome: SourceOutcome::default(),
        })
    }

    fn send(&mut self, until: Ns) -> anyhow::Result<()> {
        let mut progress_at = 0;
        while self.outcome.published < self.schedule.total {
            let i = self.outcome.published;
            let due = self.schedule.due(i);
            if self.schedule.per_second.is_some() {
                if self.clock.now() < due {
                    self.clock.wait_until(due);
                }
                if self.window.contains(&due) {
                    self.outcome.lateness.record(self.clock.now().saturating_sub(due));
                }
            }
            let now = self.clock.now();
            if self.schedule.per_second.is_none() && now >= until {
                break;
            }
            self.send_update(i, if self.schedule.per_second.is_some() { due } else { now })?;
            if now >= progress_at {
                progress_at = now + PROGRESS_EVERY;
                report(&SourceReport::Progress { published: self.outcome.published })?;
                if orders::have_ended() {
                    return Ok(());
                }
            }
        }
        (0..self.members.len()).try_for_each(|member| self.write_gathered(member))
    }

    fn send_update(&mut self, i: u64, due: Ns) -> anyhow::Result<()> {
        let symbol = self.schedule.symbol(i);
        self.payload.clear();
        self.writer.write(&mut self.payload, symbol, self.schedule.number(i), due);
        let mut frame = Vec::with_capacity(self.payload.len() + 4);
        put_unmasked(&mut frame, Opcode::Text, &self.payload);
        self.outcome.published += 1;
        self.outcome.messages += 1;
        let in_window = self.window.contains(&self.clock.now());
        if self.frames_per_write == 1 {
            for &watcher in &self.watchers[symbol as usize] {
                self.members[watcher].stream.write_all(&frame).context("writing to a client")?;
            }
            let frames = self.watchers[symbol as usize].len() as u64;
            self.count(in_window, frames, frames);
            return Ok(());
        }
        let frame: Rc<[u8]> = frame.into();
        for at in 0..self.watchers[symbol as usize].len() {
            let watcher = self.watchers[symbol as usize][at];
            self.members[watcher].frames.push(Rc::clone(&frame));
            if self.members[watcher].frames.len() == self.frames_per_write {
                self.write_gathered(watcher)?;
            }
        }
        Ok(())
    }

    fn write_gathered(&mut self, member: usize) -> anyhow::Result<()> {
        let Gathering { stream, frames } = &mut self.members[member];
        if frames.is_empty() {
            return Ok(());
        }
        let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        let mut rest = slices.as_mut_slice();
        let mut writes = 0;
        while !rest.is_empty() {
            let sent = stream.write_vectored(rest).context("writing to a client")?;
            IoSlice::advance_slices(&mut rest, sent);
            writes += 1;
        }
        let count = frames.len() as u64;
        frames.clear();
        let in_window = self.window.contains(&self.clock.now());
        self.count(in_window, count, writes);
        Ok(())
    }

    fn count(&mut self, in_window: bool, frames: u64, writes: u64) {
        if in_window {
            self.outcome.window_frames += frames;
            self.outcome.window_writes += writes;
        }
    }
}
