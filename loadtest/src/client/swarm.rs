//! Many clients in one thread: the epoll loop, its timers, and what each event does to a client.
//!
//! The swarm owns all its connections and books. It takes orders from stdin and reports on stdout (see [`crate::wire`]).
//! Nothing queues here: what a client does not read waits in the kernel, so the server feels it.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, ensure};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use crate::clock::{Clock, Ns, until};
use crate::frame::MAX_FRAME_BYTES;
use crate::limits;
use crate::pacer::Pacer;
use crate::plan::{Planner, Reader};
use crate::wire::{PROGRESS_EVERY, SwarmJob, SwarmOrder, SwarmReport, Watch, report};

use super::connecting::Wave;
use super::connection::Connection;
use super::handshake;
use super::ledger::{Account, Ledger};
use super::orders::Orders;

const EVENTS_PER_WAKE: usize = 4_096;
const CONTROL: Token = Token(usize::MAX);
/// One frame's carried beginning and a read of at least the same size.
const BUFFER_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// How often slow clients read a little.
const SLOW_TICK: Ns = 50_000_000;
/// After everything has arrived, how long to watch for what should not come.
const QUIET: Ns = 250_000_000;
/// Descriptors a swarm needs beside its sockets.
const SPARE_FILES: u64 = 32;

pub(super) struct Client {
    pub(super) connection: Option<Connection>,
    pub(super) account: Account,
    /// How it reads once publishing has begun.
    pub(super) assigned: Reader,
    /// How it reads now.
    pub(super) reader: Reader,
    /// Bytes a slow client may still read.
    pub(super) credit: f64,
    /// A stuck client's connection was seen to end.
    pub(super) cut: bool,
}

pub(super) struct Swarm {
    pub(super) job: SwarmJob,
    pub(super) clock: Clock,
    pub(super) poll: Poll,
    pub(super) request: Vec<u8>,
    pub(super) buffer: Box<[u8]>,
    pub(super) clients: Vec<Client>,
    pub(super) connected: u32,
    pub(super) ledger: Ledger,
    pub(super) wave: Option<Wave>,
    pub(super) watch: Option<Watch>,
    pub(super) churn: Churn,
    /// When slow clients read next; `None` when there are none.
    pub(super) slow_tick: Option<Ns>,
    pub(super) progress_at: Ns,
    pub(super) finishing: Option<Finishing>,
}

/// Who leaves and comes again.
#[derive(Default)]
pub(super) struct Churn {
    pub(super) reconnects: Option<Pacer>,
    pub(super) resubscribes: Option<Pacer>,
    pub(super) next: usize,
    /// Clients between leaving and being subscribed again.
    pub(super) away: u32,
}

pub(super) struct Finishing {
    deadline: Ns,
    quiet_until: Option<Ns>,
}

/// Runs a swarm by orders on stdin until stdin ends.
///
/// # Errors
/// When the process cannot have as many sockets as it has clients, or its pipes break.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut orders = Orders::stdin()?;
    let job: SwarmJob = orders.first()?;
    let mut swarm = Swarm::new(job, &mut orders)?;
    let mut events = Events::with_capacity(EVENTS_PER_WAKE);
    // Orders may have come in one read with the job.
    let mut ordered = true;
    loop {
        if std::mem::take(&mut ordered) {
            let received = orders.read()?;
            received.orders.into_iter().try_for_each(|order| swarm.obey(order))?;
            if received.ended {
                return Ok(());
            }
        }
        swarm.tick()?;
        match swarm.poll.poll(&mut events, swarm.timeout()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.context("epoll")?,
        }
        for event in &events {
            match event.token() {
                CONTROL => ordered = true,
                Token(index) => swarm.event(index, event),
            }
        }
    }
}

impl Swarm {
    fn new(job: SwarmJob, orders: &mut Orders) -> anyhow::Result<Swarm> {
        let clients = u64::from(job.clients.end - job.clients.start);
        let limit = limits::raise_open_files()?;
        ensure!(
            clients + SPARE_FILES <= limit,
            "{clients} clients need {} open files and this process may have {limit}: use more --workers or raise `ulimit -n`",
            clients + SPARE_FILES
        );
        let poll = Poll::new()?;
        orders.register(poll.registry(), CONTROL, Interest::READABLE)?;
        let mut planner = Planner::new(&job.plan);
        let client = |index| Client {
            connection: None,
            account: Account::new(&planner.symbols_of(index)),
            assigned: job.plan.bad_readers.reader(index),
            reader: Reader::Healthy,
            credit: 0.0,
            cut: false,
        };
        let clients = job.clients.clone().map(client).collect();
        Ok(Swarm {
            clock: job.clock,
            poll,
            request: handshake::request(job.target, &job.path),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            clients,
            connected: 0,
            ledger: Ledger::new(job.seq_base),
            wave: None,
            watch: None,
            churn: Churn::default(),
            slow_tick: None,
            progress_at: 0,
            finishing: None,
            job,
        })
    }

    fn obey(&mut self, order: SwarmOrder) -> anyhow::Result<()> {
        let now = self.clock.now();
        match order {
            SwarmOrder::Connect(order) => {
                self.wave = Some(Wave::new(order, to_u32(self.clients.len()), now));
            }
            SwarmOrder::Watch(watch) => {
                self.ledger.watch(&watch);
                let start = watch.schedule.start;
                self.churn.reconnects = Pacer::new(watch.reconnects_per_second, start);
                self.churn.resubscribes = Pacer::new(watch.resubscribes_per_second, start);
                for client in &mut self.clients {
                    client.reader = client.assigned;
                    self.ledger.outcome.stuck.clients += u64::from(client.reader == Reader::Stuck);
                }
                let any_slow = self.clients.iter().any(|client| client.reader == Reader::Slow);
                self.slow_tick = any_slow.then_some(start);
                self.watch = Some(watch);
            }
            SwarmOrder::Finish { published, deadline } => self.finish(published, deadline),
            SwarmOrder::Disconnect => {
                self.disconnect(now);
                report(&SwarmReport::Disconnected)?;
            }
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let now = self.clock.now();
        let finishing = self.finishing.as_ref().map(|finishing| finishing.quiet_until.unwrap_or(finishing.deadline));
        let timers = [
            Some(self.progress_at),
            self.wave.as_ref().and_then(Wave::wake_at),
            self.churn.reconnects.map(|pacer| pacer.next()),
            self.churn.resubscribes.map(|pacer| pacer.next()),
            self.slow_tick,
            finishing,
        ];
        timers.into_iter().flatten().min().map(|at| until(at, now))
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        self.connect_more(now);
        self.churn(now);
        self.read_slowly(now);
        if now >= self.progress_at {
            self.progress_at = now + PROGRESS_EVERY;
            let updates = self.ledger.outcome.tally.arrived + self.ledger.outcome.tally.early;
            report(&SwarmReport::Progress { connected: self.connected, updates })?;
        }
        if let Some(wave) = self.wave.take_if(|wave| wave.is_over()) {
            report(&SwarmReport::Connected(Box::new(wave.into_outcome())))?;
        }
        self.finish_when_settled(now)
    }

    fn event(&mut self, index: usize, event: &Event) {
        let finishing = self.finishing.is_some();
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(connection) = &mut client.connection else { return };
        if event.is_writable() && connection.flush().is_err() {
            return self.ended(index, "reset");
        }
        match client.reader {
            Reader::Healthy => drop(self.read(index, usize::MAX)),
            Reader::Slow | Reader::Stuck if finishing => drop(self.read(index, usize::MAX)),
            Reader::Slow => {}
            Reader::Stuck => {
                let over = event.is_error() || event.is_read_closed() || event.is_write_closed();
                if over && !std::mem::replace(&mut client.cut, true) {
                    let start = self.watch.as_ref().map_or(0, |watch| watch.schedule.start);
                    self.ledger.outcome.stuck.cut += 1;
                    self.ledger.outcome.stuck.cut_after.record(self.clock.now().saturating_sub(start));
                }
            }
        }
    }

    fn read_slowly(&mut self, now: Ns) {
        if self.slow_tick.is_none_or(|at| now < at) {
            return;
        }
        let earned = f64::from(self.job.plan.bad_readers.slow_bytes_per_s) * SLOW_TICK as f64 / 1e9;
        self.slow_tick = Some(now + SLOW_TICK);
        for index in 0..self.clients.len() {
            if self.clients[index].reader == Reader::Slow {
                let credit = self.clients[index].credit + earned;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates at 0")]
                let read = self.read(index, credit as usize);
                self.clients[index].credit = (credit - read as f64).min(20.0 * earned);
            }
        }
    }

    fn finish(&mut self, published: u64, deadline: Ns) {
        let readers = self.clients.iter().filter(|client| client.reader != Reader::Stuck);
        self.ledger.finish(published, readers.map(|client| &client.account));
        self.churn = Churn { away: self.churn.away, ..Churn::default() };
        self.slow_tick = None;
        self.finishing = Some(Finishing { deadline, quiet_until: None });
        for index in 0..self.clients.len() {
            if self.clients[index].reader != Reader::Healthy {
                // To the very end: what tells of it may have come long ago, and will not be told again.
                while self.read(index, usize::MAX) > 0 {}
            }
        }
    }

    fn finish_when_settled(&mut self, now: Ns) -> anyhow::Result<()> {
        let Some(finishing) = &mut self.finishing else { return Ok(()) };
        if finishing.quiet_until.is_none() && self.ledger.is_settled_up() && self.churn.away == 0 {
            finishing.quiet_until = Some((now + QUIET).min(finishing.deadline));
        }
        if now < finishing.quiet_until.unwrap_or(finishing.deadline) {
            return Ok(());
        }
        self.finishing = None;
        for client in &mut self.clients {
            if client.connection.is_none() {
                continue;
            }
            client.account.finished(client.reader, &mut self.ledger);
            if client.reader == Reader::Stuck {
                *self.ledger.outcome.stuck.ends.entry("open".to_owned()).or_default() += 1;
            }
        }
        for _ in 0..self.churn.away {
            self.ledger.error("reconnect: not subscribed again by the end");
        }
        report(&SwarmReport::Done(Box::new(std::mem::take(&mut self.ledger.outcome))))
    }
}

pub(super) fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("the job counts clients in 32 bits")
}
