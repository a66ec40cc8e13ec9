//! What a run stands on: the server under test or the floor's sender, the swarms of clients, and the words to them.
//!
//! A stand is opened for one run and closed after it, so that no run inherits another's backlog; the private Redis alone
//! stays for all. Reports come through one bounded channel; a helper whose reports find it full waits.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use anyhow::{bail, ensure};

use crate::client::connection::sources_for;
use crate::clock::{Clock, Ns, ns, seconds, until};
use crate::host::helper::{Event, Helper, Kind};
use crate::host::interrupt::{Interrupt, LOOK_EVERY};
use crate::host::redis::Redis;
use crate::host::server::{Server, Start};
use crate::limits;
use crate::proc::{family, memory};
use crate::progress::Progress;
use crate::report::FilesReport;
use crate::update::seq_base;
use crate::wire::{
    AttackEnd, AttackJob, AttackReport, Connect, ConnectOutcome, Counts, PublisherJob, SenderJob, SourceOutcome,
    SourceReport, SwarmJob, SwarmOrder, SwarmReport,
};

use super::sample::Cast;
use super::setup::{Host, ServerChoice, Setup};
use super::spec::{Source, Spec};

/// The most sockets one client process gets: below the 20,000 files that a process may often open.
const CLIENTS_PER_SWARM: u32 = 19_000;
const EVENTS_IN_FLIGHT: usize = 256;
const READY_WITHIN: Ns = 10_000_000_000;
/// How long the server may take to close its side of everybody's connection, and how often to look.
const LEFT_WITHIN: Ns = 15_000_000_000;
const LEFT_LOOK: Ns = 20_000_000;
/// Files a server may open meanwhile and keep: a log, a pool's connection.
const OTHER_FILES: usize = 8;
/// Memory has settled when it moved by less than so much in so long; after a while it is taken as it is.
const SETTLED_BYTES: u64 = 64 * 1_024;
const SETTLED_FOR: Ns = 200_000_000;
const SETTLED_WITHIN: Ns = 3_000_000_000;

/// See the module.
pub(crate) struct Stand<'a> {
    pub(crate) clock: Clock,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a Progress,
    pub(crate) server: Option<Server>,
    source: Option<Helper>,
    source_done: bool,
    attacker: Option<Helper>,
    swarms: Vec<Helper>,
    connected: Vec<u32>,
    updates: Vec<u64>,
    events: Receiver<Event>,
    seq_base: u64,
    redis_pid: Option<u32>,
    server_family: Vec<u32>,
    /// How many files the server has open while nobody is connected.
    base_files: usize,
    floor: bool,
    sender: SyncSender<Event>,
}

impl<'a> Stand<'a> {
    /// Starts the server (or the sender) and the swarms.
    pub(crate) fn open(spec: &Spec, setup: &'a Setup, host: &'a Host) -> anyhow::Result<Stand<'a>> {
        let (sender, events) = sync_channel(EVENTS_IN_FLIGHT);
        let mut stand = Stand {
            clock: Clock::start(),
            interrupt: &host.interrupt,
            progress: &host.progress,
            server: None,
            source: None,
            source_done: false,
            attacker: None,
            swarms: Vec::new(),
            connected: Vec::new(),
            updates: Vec::new(),
            events,
            seq_base: seq_base(),
            redis_pid: host.redis.as_ref().and_then(|redis| redis.pid),
            server_family: Vec::new(),
            base_files: 0,
            floor: spec.is_floor(),
            sender,
        };
        let target = match spec.source {
            Source::Floor { frames_per_write } => stand.start_sender(spec, setup, frames_per_write)?,
            Source::Redis => {
                let server = start_server(spec, setup, host)?;
                server.ensure_room_for(spec.plan.clients)?;
                stand.server_family = server.family();
                let target = stand.server.insert(server).target;
                if let Some(redis) = &host.redis {
                    stand.wait_for_subscription(setup, redis)?;
                }
                target
            }
        };
        stand.base_files = family::open_files(&stand.server_family);
        stand.start_swarms(spec, setup, target)?;
        Ok(stand)
    }

    fn start_sender(
        &mut self,
        spec: &Spec,
        setup: &Setup,
        frames_per_write: usize,
    ) -> anyhow::Result<std::net::SocketAddr> {
        let job = SenderJob {
            clock: self.clock,
            symbols: spec.plan.symbols,
            bytes: spec.feed.bytes,
            seq_base: self.seq_base,
            frames_per_write,
        };
        let events = self.sender.clone();
        let helper = Helper::start(Kind::Sender, &job, setup.pins.server.as_ref(), events, Event::Source)?;
        self.server_family = vec![helper.pid()];
        self.source = Some(helper);
        match self.wait_for(self.clock.now() + READY_WITHIN, "the sender is not ready")? {
            Event::Source(SourceReport::Ready { listening: Some(address) }) => Ok(address),
            other => bail!("the sender says {other:?} instead of where it listens"),
        }
    }

    fn start_swarms(&mut self, spec: &Spec, setup: &Setup, target: std::net::SocketAddr) -> anyhow::Result<()> {
        let clients = spec.plan.clients;
        if clients == 0 {
            return Ok(());
        }
        let files = u32::try_from(limits::raise_open_files()?.saturating_sub(100)).unwrap_or(u32::MAX);
        let per_swarm = CLIENTS_PER_SWARM.min(files).max(1);
        let swarms = clients.div_ceil(per_swarm).max(setup.workers).min(clients);
        for swarm in 0..swarms {
            let share = |part: u32| u32::try_from(u64::from(clients) * u64::from(part) / u64::from(swarms));
            let job = SwarmJob {
                clock: self.clock,
                target,
                path: setup.path.clone(),
                plan: spec.plan.clone(),
                clients: share(swarm)?..share(swarm + 1)?,
                sources: sources_for(clients),
                seq_base: self.seq_base,
            };
            let index = swarm as usize;
            let wrap = move |report| Event::Swarm(index, report);
            let events = self.sender.clone();
            self.swarms.push(Helper::start(Kind::Swarm, &job, setup.pins.client.as_ref(), events, wrap)?);
        }
        self.connected = vec![0; self.swarms.len()];
        self.updates = vec![0; self.swarms.len()];
        Ok(())
    }

    /// Waits until the server is on the channel.
    fn wait_for_subscription(&mut self, setup: &Setup, redis: &Redis) -> anyhow::Result<()> {
        let deadline = self.clock.now() + READY_WITHIN;
        while redis.subscribers(&setup.channel)? == 0 {
            ensure!(
                self.clock.now() < deadline,
                "nobody subscribes the channel {} at {}: does the server listen to another one (--channel)?",
                setup.channel,
                redis.address.socket
            );
            self.pass(ns(LOOK_EVERY))?;
        }
        Ok(())
    }

    /// The server's memory once it no longer changes: what it has started lazily is there.
    pub(crate) fn settled_memory(&mut self) -> anyhow::Result<Option<u64>> {
        let deadline = self.clock.now() + SETTLED_WITHIN;
        let mut before = self.memory();
        loop {
            self.pass(SETTLED_FOR)?;
            let now = self.memory();
            let moved = before.zip(now).map_or(0, |(before, now)| before.abs_diff(now));
            if moved < SETTLED_BYTES || self.clock.now() >= deadline {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Lets time pass; an error when the server or a helper dies in it.
    fn pass(&mut self, time: Ns) -> anyhow::Result<()> {
        let until = self.clock.now() + time;
        while self.next(until)?.is_some() {}
        Ok(())
    }

    /// Starts the publisher and waits until it is ready.
    pub(crate) fn start_publisher(&mut self, spec: &Spec, setup: &Setup, redis: &Redis) -> anyhow::Result<()> {
        let job = PublisherJob {
            clock: self.clock,
            redis: redis.address.clone(),
            channel: setup.channel.clone(),
            bytes: spec.feed.bytes,
            seq_base: self.seq_base,
            probe: spec.feed.probe_redis,
        };
        let events = self.sender.clone();
        let pin = setup.pins.client.as_ref();
        self.source = Some(Helper::start(Kind::Publisher, &job, pin, events, Event::Source)?);
        match self.wait_for(self.clock.now() + READY_WITHIN, "the publisher is not ready")? {
            Event::Source(SourceReport::Ready { listening: None }) => Ok(()),
            other => bail!("the publisher says {other:?} instead of being ready"),
        }
    }

    /// Lets hostile clients loose.
    pub(crate) fn start_attack(&mut self, spec: &Spec, setup: &Setup) -> anyhow::Result<()> {
        let Some(server) = &self.server else { bail!("a floor has no server to attack") };
        let job = AttackJob { target: server.target, path: setup.path.clone(), symbols: spec.plan.symbols };
        let (events, pin) = (self.sender.clone(), setup.pins.client.as_ref());
        self.attacker = Some(Helper::start(Kind::Attacker, &job, pin, events, Event::Attack)?);
        Ok(())
    }

    /// Calls them back; what became of them.
    pub(crate) fn end_attack(&mut self) -> anyhow::Result<Counts> {
        let Some(attacker) = &mut self.attacker else { return Ok(Counts::new()) };
        attacker.order(&AttackEnd)?;
        let deadline = self.clock.now() + READY_WITHIN;
        loop {
            if let Event::Attack(AttackReport::Done(counts)) = self.wait_for(deadline, "hostile clients do not end")? {
                self.attacker = None;
                return Ok(counts);
            }
        }
    }

    /// The server's open files now and before anybody connected, where its process is known.
    pub(crate) fn files(&self) -> Option<FilesReport> {
        let left = family::open_files(&self.server_family);
        (!self.server_family.is_empty()).then_some(FilesReport { base: self.base_files, left })
    }

    /// Who is who, for CPU accounting.
    pub(crate) fn cast(&self) -> Cast {
        Cast {
            server: self.server_family.clone(),
            clients: self.swarms.iter().map(Helper::pid).collect(),
            publisher: self.source.as_ref().filter(|_| !self.floor).map(Helper::pid),
            redis: self.redis_pid.filter(|_| !self.floor),
            attacker: self.attacker.as_ref().map(Helper::pid),
        }
    }

    /// The server's memory now.
    pub(crate) fn memory(&self) -> Option<u64> {
        memory::pss(&self.server_family)
    }

    /// Waits until the server has closed its side of everybody's connection. Not for a server whose process is not known, nor for
    /// the bare sender, which keeps its side open.
    pub(crate) fn wait_until_all_left(&mut self) -> anyhow::Result<()> {
        if self.floor {
            return Ok(());
        }
        let deadline = self.clock.now() + LEFT_WITHIN;
        while !self.server_family.is_empty() && family::open_files(&self.server_family) > self.base_files + OTHER_FILES
        {
            if self.clock.now() >= deadline {
                break;
            }
            self.pass(LEFT_LOOK)?;
        }
        Ok(())
    }

    pub(crate) fn order_source<T: serde::Serialize>(&mut self, order: &T) -> anyhow::Result<()> {
        self.source.as_mut().map_or(Ok(()), |source| source.order(order))
    }

    pub(crate) fn order_swarms(&mut self, order: &SwarmOrder) -> anyhow::Result<()> {
        self.swarms.iter_mut().try_for_each(|swarm| swarm.order(order))
    }

    /// How many client processes share the work.
    pub(crate) fn swarms(&self) -> u32 {
        u32::try_from(self.swarms.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Connects everybody; waits until all have an answer.
    pub(crate) fn connect(&mut self, spec: &Spec, subscribe: bool) -> anyhow::Result<ConnectOutcome> {
        let order = SwarmOrder::Connect(Connect {
            per_second: spec.connect.per_second.map(|rate| rate / f64::from(self.swarms())),
            in_flight: spec.connect.in_flight.div_ceil(self.swarms()),
            subscribe,
        });
        self.order_swarms(&order)?;
        let mut outcome = ConnectOutcome::default();
        let mut waiting = self.swarms.len();
        let deadline = self.clock.now() + seconds(spec.connect.timeout_s);
        while waiting > 0 {
            match self.next(deadline)? {
                Some(Event::Swarm(_, SwarmReport::Connected(part))) => {
                    outcome.merge(&part);
                    waiting -= 1;
                }
                Some(_) => {}
                None => bail!(
                    "only {} of {} clients connected within {} s",
                    self.connected.iter().sum::<u32>(),
                    spec.plan.clients,
                    spec.connect.timeout_s
                ),
            }
            self.progress.show(u64::from(self.connected.iter().sum::<u32>()), "");
        }
        Ok(outcome)
    }

    /// Disconnects everybody.
    pub(crate) fn disconnect(&mut self) -> anyhow::Result<()> {
        self.order_swarms(&SwarmOrder::Disconnect)?;
        let deadline = self.clock.now() + READY_WITHIN;
        for _ in 0..self.swarms.len() {
            while !matches!(
                self.wait_for(deadline, "clients do not disconnect")?,
                Event::Swarm(_, SwarmReport::Disconnected)
            ) {}
        }
        Ok(())
    }

    /// Waits until `at`, seeing to reports meanwhile; the source's outcome if it came.
    pub(crate) fn wait_until(&mut self, at: Ns) -> anyhow::Result<Option<SourceOutcome>> {
        while let Some(event) = self.next(at)? {
            if let Event::Source(SourceReport::Done(outcome)) = event {
                return Ok(Some(*outcome));
            }
        }
        Ok(None)
    }

    /// All updates that all clients have seen so far.
    pub(crate) fn updates_seen(&self) -> u64 {
        self.updates.iter().sum()
    }

    /// The next report that matters; an error naming `what` when none comes by `deadline`.
    pub(crate) fn wait_for(&mut self, deadline: Ns, what: &str) -> anyhow::Result<Event> {
        match self.next(deadline)? {
            Some(event) => Ok(event),
            None => bail!("{what}"),
        }
    }

    /// The next report other than of progress; `None` at `deadline`.
    pub(crate) fn next(&mut self, deadline: Ns) -> anyhow::Result<Option<Event>> {
        loop {
            self.interrupt.check()?;
            let now = self.clock.now();
            match self.events.recv_timeout(until(deadline, now).min(LOOK_EVERY)) {
                Ok(Event::Swarm(swarm, SwarmReport::Progress { connected, updates })) => {
                    self.connected[swarm] = connected;
                    self.updates[swarm] = updates;
                }
                Ok(Event::Source(SourceReport::Progress { .. })) => {}
                Ok(Event::Source(SourceReport::Done(outcome))) => {
                    self.source_done = true;
                    return Ok(Some(Event::Source(SourceReport::Done(outcome))));
                }
                Ok(Event::Gone { kind: Kind::Publisher, .. }) if self.source_done => {}
                Ok(Event::Gone { kind: Kind::Attacker, .. }) if self.attacker.is_none() => {}
                Ok(Event::Gone { kind, why }) => {
                    if let Some(server) = &mut self.server {
                        server.ensure_alive()?;
                    }
                    bail!("a {} failed: {why}", kind.name());
                }
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if let Some(server) = &mut self.server {
                        server.ensure_alive()?;
                    }
                }
            }
            if self.clock.now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Ends everything; what was wrong with the server's end.
    pub(crate) fn close(self) -> anyhow::Result<Option<String>> {
        drop((self.swarms, self.source));
        self.server.map_or(Ok(None), |server| server.stop(self.interrupt))
    }
}

fn start_server(spec: &Spec, setup: &Setup, host: &Host) -> anyhow::Result<Server> {
    let Some(redis) = &host.redis else { bail!("no Redis for the server") };
    match &setup.server {
        ServerChoice::Command(command) => {
            let mut environment = spec.server_env.clone();
            environment.extend(setup.server_env.clone());
            let start = Start {
                command,
                environment: &environment,
                channel: &setup.channel,
                redis,
                directory: host.directory.path(),
                pin: setup.pins.server.as_ref(),
            };
            Server::start(&start, &host.interrupt)
        }
        ServerChoice::Running { target, ops, pid } => Server::at(*target, *ops, *pid),
    }
}
