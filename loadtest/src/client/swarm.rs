//! Many clients in one thread: the epoll loop, its timers, and what each event does to a client.
//!
//! The swarm owns all its connections and books. It takes orders from stdin and reports on stdout (see [`crate::wire`]).
//! Nothing queues here: what a client does not read waits in the kernel, so the server feels it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context, ensure};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use crate::clock::{Clock, Ns, until};
use crate::frame::{MAX_FRAME_BYTES, Opcode, put_masked};
use crate::limits;
use crate::pacer::Pacer;
use crate::plan::{Planner, Reader};
use crate::wire::{PROGRESS_EVERY, SwarmJob, SwarmOrder, SwarmReport, Watch, report};

use super::connecting::{Step, Wave};
use super::connection::{Connection, Phase, ReadOutcome, source};
use super::handshake;
use super::ledger::{Account, Ledger};
use super::message::{subscribe, unsubscribe};
use super::orders::Orders;
use super::reading::{self, read_frames, read_upgrade};

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

struct Client {
    connection: Option<Connection>,
    account: Account,
    /// How it reads once publishing has begun.
    assigned: Reader,
    /// How it reads now.
    reader: Reader,
    /// Bytes a slow client may still read.
    credit: f64,
    /// A stuck client's connection was seen to end.
    cut: bool,
}

struct Swarm {
    job: SwarmJob,
    clock: Clock,
    poll: Poll,
    request: Vec<u8>,
    buffer: Box<[u8]>,
    clients: Vec<Client>,
    connected: u32,
    ledger: Ledger,
    wave: Option<Wave>,
    watch: Option<Watch>,
    churn: Churn,
    /// When slow clients read next; `None` when there are none.
    slow_tick: Option<Ns>,
    progress_at: Ns,
    finishing: Option<Finishing>,
}

/// Who leaves and comes again.
#[derive(Default)]
struct Churn {
    reconnects: Option<Pacer>,
    resubscribes: Option<Pacer>,
    next: usize,
    /// Clients between leaving and being subscribed again.
    away: u32,
}

struct Finishing {
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

    /// Reads what there is, at most `budget` bytes; how many it were.
    fn read(&mut self, index: usize, budget: usize) -> usize {
        let mut read = 0;
        while read < budget {
            let Some(connection) = &mut self.clients[index].connection else { break };
            let held = connection.carry.len();
            self.buffer[..held].copy_from_slice(&connection.carry);
            let space = (self.buffer.len() - held).min(budget - read);
            match connection.read(&mut self.buffer[held..held + space]) {
                ReadOutcome::Bytes(bytes) => {
                    read += bytes;
                    self.take_in(index, held + bytes);
                    // A short read emptied the socket; what comes later comes with an event of its own.
                    if bytes < space {
                        break;
                    }
                }
                ReadOutcome::Empty => break,
                ReadOutcome::End => self.ended(index, "eof"),
                ReadOutcome::Reset => self.ended(index, "reset"),
            }
        }
        read
    }

    /// Takes in the first `length` bytes of the buffer, which are `index`'s.
    fn take_in(&mut self, index: usize, length: usize) {
        let now = self.clock.now();
        let Some(connection) = &mut self.clients[index].connection else { return };
        let mut used = 0;
        if connection.phase == Phase::Upgrading {
            match read_upgrade(&self.buffer[..length]) {
                Ok(Some(bytes)) => {
                    used = bytes;
                    self.upgraded(index, now);
                }
                Ok(None) => {
                    connection.carry = self.buffer[..length].to_vec();
                    return;
                }
                Err(refused) => return self.ended(index, &refused.to_string()),
            }
        }
        let Client { connection: Some(connection), account, reader, .. } = &mut self.clients[index] else { return };
        let mut acknowledged = false;
        let mut end: Option<String> = None;
        let books = (account, *reader, &mut self.ledger);
        used += read_frames(&self.buffer[used..length], books, now, |event, account, ledger| {
            match event {
                reading::Event::Acknowledged => {
                    account.acknowledged(now, ledger);
                    acknowledged = true;
                }
                reading::Event::Answer(bytes) if connection.send(&bytes).is_ok() => {}
                reading::Event::Answer(_) => end = Some("reset".to_owned()),
                reading::Event::Closed(code) => end = Some(code.map_or("no code".to_owned(), |code| code.to_string())),
                reading::Event::Broken(why) => end = Some(why),
            }
            end.is_none()
        });
        connection.carry.clear();
        connection.carry.extend_from_slice(&self.buffer[used..length]);
        if acknowledged {
            self.acknowledged(index, now);
        }
        if let Some(how) = end {
            self.ended(index, &how);
        }
    }

    fn upgraded(&mut self, index: usize, now: Ns) {
        let Client { connection: Some(connection), account, .. } = &mut self.clients[index] else { return };
        let began = connection.began;
        connection.carry.clear();
        let subscribes = self.wave.as_ref().is_none_or(|wave| wave.order.subscribe) && !account.is_empty();
        if let Some(wave) = &mut self.wave {
            wave.stepped(Step::Upgraded, began, now);
        }
        if !subscribes {
            connection.phase = Phase::Open;
            return self.arrived(now);
        }
        connection.phase = Phase::Subscribing;
        account.asked();
        let mut request = Vec::new();
        put_masked(&mut request, Opcode::Text, subscribe(account.symbols()).as_bytes());
        if connection.send(&request).is_err() {
            self.ended(index, "reset");
        }
    }

    fn acknowledged(&mut self, index: usize, now: Ns) {
        let Some(connection) = &mut self.clients[index].connection else { return };
        if connection.phase != Phase::Subscribing {
            return;
        }
        connection.phase = Phase::Open;
        let began = connection.began;
        match &mut self.wave {
            Some(wave) => wave.stepped(Step::Subscribed, began, now),
            None => self.ledger.outcome.reconnected.record(now - began),
        }
        self.arrived(now);
    }

    /// A client is where it should be.
    fn arrived(&mut self, now: Ns) {
        self.connected += 1;
        match &mut self.wave {
            Some(wave) => wave.arrived(now),
            None => self.churn.away -= 1,
        }
    }

    /// A connection ended that this client did not end.
    fn ended(&mut self, index: usize, how: &str) {
        let now = self.clock.now();
        let client = &mut self.clients[index];
        let Some(connection) = client.connection.take() else { return };
        client.account.left(client.reader, now, &mut self.ledger);
        if connection.phase == Phase::Open {
            self.connected -= 1;
            let outcome = &mut self.ledger.outcome;
            let counts = if client.reader == Reader::Stuck { &mut outcome.stuck.ends } else { &mut outcome.closes };
            *counts.entry(how.to_owned()).or_default() += 1;
            return;
        }
        let reason = connection.error().map_or_else(|| how.to_owned(), |error| error.to_string());
        match &mut self.wave {
            Some(wave) => wave.failed(reason, now),
            None => {
                self.churn.away -= 1;
                self.ledger.error(&format!("reconnect: {reason}"));
            }
        }
    }

    fn connect_more(&mut self, now: Ns) {
        while let Some(index) = self.wave.as_mut().and_then(|wave| wave.next(now)) {
            if let Err(error) = self.open(index as usize)
                && let Some(wave) = &mut self.wave
            {
                wave.failed(format!("connect: {error}"), now);
            }
        }
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let source = source(self.job.clients.start + to_u32(index), self.job.sources, self.job.target);
        let registry = self.poll.registry();
        let now = self.clock.now();
        let connection = Connection::open(self.job.target, source, &self.request, registry, Token(index), now)?;
        self.clients[index].connection = Some(connection);
        Ok(())
    }

    fn churn(&mut self, now: Ns) {
        while self.churn.reconnects.as_mut().is_some_and(|pacer| pacer.take(now)) {
            if let Some(index) = self.next_to_churn() {
                self.leave(index, now);
                self.churn.away += 1;
                self.ledger.outcome.reconnects += 1;
                if let Err(error) = self.open(index) {
                    self.churn.away -= 1;
                    self.ledger.error(&format!("reconnect: {error}"));
                }
            }
        }
        while self.churn.resubscribes.as_mut().is_some_and(|pacer| pacer.take(now)) {
            let Some(index) = self.next_to_churn() else { continue };
            let Client { connection: Some(connection), account, .. } = &mut self.clients[index] else { continue };
            account.asked_again(now, &mut self.ledger);
            let mut requests = Vec::new();
            put_masked(&mut requests, Opcode::Text, unsubscribe(account.symbols()).as_bytes());
            put_masked(&mut requests, Opcode::Text, subscribe(account.symbols()).as_bytes());
            self.ledger.outcome.resubscribes += 1;
            if connection.send(&requests).is_err() {
                self.ended(index, "reset");
            }
        }
    }

    /// The next healthy connected client, in turn.
    fn next_to_churn(&mut self) -> Option<usize> {
        let count = self.clients.len();
        let turn = (self.churn.next..self.churn.next + count).map(|index| index % count);
        let is_open = |client: &Client| client.connection.as_ref().is_some_and(|c| c.phase == Phase::Open);
        let index = turn.into_iter().find(|&index| {
            let client = &self.clients[index];
            client.reader == Reader::Healthy && !client.account.is_empty() && is_open(client)
        })?;
        self.churn.next = index + 1;
        Some(index)
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
                self.read(index, usize::MAX);
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

    /// Says good-bye to the server and drops the connection.
    fn leave(&mut self, index: usize, now: Ns) {
        let client = &mut self.clients[index];
        let Some(mut connection) = client.connection.take() else { return };
        client.account.left(client.reader, now, &mut self.ledger);
        self.connected -= u32::from(connection.phase == Phase::Open);
        let mut goodbye = Vec::new();
        put_masked(&mut goodbye, Opcode::Close, &1000u16.to_be_bytes());
        // A connection that no longer takes the good-bye has ended already, which is what is wanted.
        drop(connection.send(&goodbye));
    }

    fn disconnect(&mut self, now: Ns) {
        self.wave = None;
        (0..self.clients.len()).for_each(|index| self.leave(index, now));
    }
}

fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("the job counts clients in 32 bits")
}
