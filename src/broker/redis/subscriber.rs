//! The connection that receives messages, and the proof that it does.
//!
//! A connection that looks well may be dead: a partition leaves it open, and a denied SUBSCRIBE is no error to its
//! caller. So nothing is believed but delivery. All channels and one of this process's own are subscribed by a single
//! command, which Redis carries out or refuses as a whole; a nonce is published on the own channel at every interval;
//! what arrives proves all of them. After [`MAX_MISSES`] intervals in which nothing arrived, feeds are told, the
//! connection is dropped and another is dialled. The probe's time is the canary.
//!
//! **The reader never waits.** Messages are taken as they come, in batches, copied out of the client library's read
//! buffer and handed to inboxes that drop their oldest when full. The library's own queue holds [`LIBRARY_QUEUE`]
//! messages for the moments in which this task does not run; what it drops is counted and told as lost.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{Message, Value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::commander::{COMMAND_TIMEOUT, Commander};
use super::health::Health;
use super::link::{Connection, Dialer, describe};
use super::names::Names;
use super::script::PROBE;
use crate::broker::inbox::{ChannelSet, Hub};
use crate::broker::{Channel, Result};

/// Messages the client library holds for us. A single Redis delivers at most 500,000/s to one connection, so this is
/// at least 65 ms in which the task may not run. It costs 5 MiB, and the allocator keeps what a few lost connections had.
const LIBRARY_QUEUE: usize = 32_768;
/// Messages handed on at a time, so that a flood does not keep the probes waiting: about 1 ms.
const MAX_BATCH: usize = 1024;
/// Intervals in a row without any message, after which a connection is taken for dead.
const MAX_MISSES: u32 = 3;
/// How often a probe also writes, at most; the script costs no more commands than the plain probe.
const WRITE_PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// How long what it wrote lives.
const WRITE_PROBE_TTL_MS: i64 = 60_000;

/// Receives messages for the hub.
pub(super) struct Subscriber {
    pub(super) dialer: Arc<Dialer>,
    pub(super) commander: Arc<Commander>,
    pub(super) health: Arc<Health>,
    pub(super) hub: Arc<Hub>,
    pub(super) names: Arc<Names>,
    pub(super) probe_interval: Duration,
}

impl Subscriber {
    /// Keeps a connection while any feed wants one, until told to stop.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut wanted = self.hub.wanted();
        let mut made_before = false;
        loop {
            if *wanted.borrow_and_update() == ChannelSet::NONE {
                self.health.delivery_idle();
                tokio::select! {
                    _ = wanted.wait_for(|wanted| *wanted != ChannelSet::NONE) => {}
                    () = stop.cancelled() => return,
                }
            }
            if !made_before {
                self.health.delivery_starts();
            }
            let failed = |why: &str| self.health.delivery_down(why);
            let Some(mut connection) = self.dialer.dial(LIBRARY_QUEUE, stop, failed).await else { break };
            if made_before {
                self.health.reconnected();
            }
            made_before = true;
            let why = tokio::select! {
                why = self.receive(&mut connection, &mut wanted) => why,
                () = stop.cancelled() => break,
            };
            // In this order, so that whoever is told by its feed finds the status to agree.
            self.health.delivery_down(&why);
            self.hub.prove(ChannelSet::NONE);
        }
        self.hub.prove(ChannelSet::NONE);
    }

    /// Receives until the connection fails or is not proved, and says why.
    async fn receive(&self, connection: &mut Connection, wanted: &mut watch::Receiver<ChannelSet>) -> String {
        let client = connection.client.clone();
        let mut messages = client.message_rx();
        let mut commands = self.commander.connections();
        let mut link = Link { claimed: ChannelSet::NONE, proved: ChannelSet::NONE, needs: 0, probes: Probes::new() };
        let at_first = *wanted.borrow_and_update();
        if let Err(why) = self.follow(&client, at_first, &mut link).await {
            return why;
        }
        let mut tick = interval(self.probe_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut publishing: Option<Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>> = None;
        loop {
            tokio::select! {
                biased;
                why = connection.ended() => return why,
                _ = tick.tick() => {
                    if link.probes.miss() >= MAX_MISSES {
                        return format!("no message within {MAX_MISSES} probes");
                    }
                    if publishing.is_none() {
                        publishing = Some(self.publish_probe(link.probes.next(Instant::now())));
                    }
                }
                _ = answer(&mut publishing), if publishing.is_some() => publishing = None,
                _ = commands.changed() => retry_at_once(&link, &mut tick),
                _ = wanted.changed() => {
                    let now = *wanted.borrow_and_update();
                    if let Err(why) = self.follow(&client, now, &mut link).await {
                        return why;
                    }
                    tick.reset_immediately();
                }
                message = messages.recv() => match message {
                    Ok(first) => self.hand_on(Some(first), &mut messages, &mut link),
                    Err(RecvError::Lagged(lost)) => self.hub.lost(lost),
                    Err(RecvError::Closed) => return "the connection's queue closed".to_owned(),
                },
            }
        }
    }

    /// Subscribes to what is wanted, and to the probes, in one command; unsubscribes from what is not.
    async fn follow(&self, client: &Client, wanted: ChannelSet, link: &mut Link) -> std::result::Result<(), String> {
        let name = |channel| self.names.channel(channel).to_owned();
        let mut names: Vec<String> = wanted.iter().map(name).collect();
        names.push(self.names.probe.clone());
        let dropped: Vec<String> = link.claimed.without(wanted).iter().map(name).collect();
        // Before Redis is told, so that no new feed takes a channel for proved that is just being dropped.
        link.proved = link.proved.only(wanted);
        self.hub.prove(link.proved);
        let commands = async {
            client.subscribe(names).await?;
            if !dropped.is_empty() {
                client.unsubscribe(dropped).await?;
            }
            // The library does not wait for the answer to SUBSCRIBE. A refusal is given to the command after it.
            client.ping::<Value>(None).await
        };
        match timeout(COMMAND_TIMEOUT, commands).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("SUBSCRIBE: {}", describe(&error))),
            Err(_) => return Err(format!("SUBSCRIBE: no answer within {COMMAND_TIMEOUT:?}")),
        }
        link.claimed = wanted;
        link.needs = link.probes.last + 1;
        Ok(())
    }

    fn publish_probe(&self, nonce: Nonce) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        let text = nonce.number.to_string();
        match nonce.kind {
            Kind::Plain => Box::pin(async move {
                let channel = self.names.probe.as_str();
                self.commander.call(|client| async move { client.publish::<Value, _, _>(channel, text).await }).await?;
                Ok(())
            }),
            Kind::Writing => Box::pin(async move {
                let keys = vec![self.names.probe_key.as_str().into()];
                let args = vec![self.names.probe.as_str().into(), text.into(), WRITE_PROBE_TTL_MS.into()];
                let refused = self.commander.eval(&PROBE, keys, args).await?;
                match refused.as_str().filter(|text| !text.is_empty()) {
                    Some(why) => self.commander.note_refused_write(&why),
                    None => self.commander.note_write(),
                }
                Ok(())
            }),
        }
    }

    /// Hands on what has arrived, in order.
    fn hand_on(&self, first: Option<Message>, messages: &mut Receiver<Message>, link: &mut Link) {
        let mut batch = Vec::new();
        let mut lost = 0;
        let mut probe = None;
        let mut next = first;
        while let Some(message) = next.take() {
            link.probes.misses = 0;
            let bytes = message.value.as_bytes().unwrap_or_default();
            if message.channel == self.names.probe {
                probe = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).or(probe);
            } else if let Some(channel) = self.names.channel_of(&message.channel) {
                // A slice would keep the library's whole read buffer alive.
                batch.push((channel, Bytes::copy_from_slice(bytes)));
            }
            while next.is_none() && batch.len() < MAX_BATCH {
                match messages.try_recv() {
                    Ok(message) => next = Some(message),
                    Err(TryRecvError::Lagged(more)) => lost += more,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
        self.prove(probe, link);
        self.deliver(&batch, lost);
    }

    fn deliver(&self, batch: &[(Channel, Bytes)], lost: u64) {
        if lost > 0 {
            self.hub.lost(lost);
        }
        self.hub.deliver(batch);
    }

    /// Any message proves the connection's first SUBSCRIBE; what was added to it later, only a probe published since.
    fn prove(&self, probe: Option<u64>, link: &mut Link) {
        let now = Instant::now();
        if let Some(took) = probe.and_then(|number| link.probes.arrived(number, now)) {
            self.health.canary(took);
        }
        let is_first = link.proved == ChannelSet::NONE && link.needs == 1;
        if link.proved != link.claimed && (is_first || probe.is_some_and(|number| number >= link.needs)) {
            link.proved = link.claimed;
            self.health.delivery_up();
            self.hub.prove(link.proved);
        }
    }
}

/// What is known of a connection.
struct Link {
    /// What Redis was asked for.
    claimed: ChannelSet,
    /// What was seen to arrive.
    proved: ChannelSet,
    /// The first probe that proves what is claimed.
    needs: u64,
    probes: Probes,
}

/// The probes of one connection, by number.
struct Probes {
    last: u64,
    /// When those were published that have not arrived.
    open: VecDeque<(u64, Instant)>,
    misses: u32,
    wrote: Option<Instant>,
}

/// A probe to be published.
#[derive(Clone, Copy)]
struct Nonce {
    number: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Writing,
}

impl Probes {
    fn new() -> Probes {
        Probes { last: 0, open: VecDeque::new(), misses: 0, wrote: None }
    }

    /// An interval is over. Returns how many in a row were without a message.
    fn miss(&mut self) -> u32 {
        if self.last > 0 && !self.open.is_empty() {
            self.misses += 1;
        }
        self.misses
    }

    fn next(&mut self, now: Instant) -> Nonce {
        self.last += 1;
        self.open.truncate(usize::try_from(MAX_MISSES).unwrap_or(0));
        self.open.push_front((self.last, now));
        let is_due = self.wrote.is_none_or(|wrote| now - wrote >= WRITE_PROBE_INTERVAL);
        if is_due {
            self.wrote = Some(now);
        }
        Nonce { number: self.last, kind: if is_due { Kind::Writing } else { Kind::Plain } }
    }

    /// A probe arrived; those before it will not any more. Returns how long it took.
    fn arrived(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let (_, sent) = *self.open.iter().find(|(open, _)| *open == number)?;
        self.open.retain(|(open, _)| *open > number);
        Some(now - sent)
    }
}

async fn answer(publishing: &mut Option<Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>>) -> Result<()> {
    match publishing {
        Some(publishing) => publishing.await,
        None => std::future::pending().await,
    }
}

/// The probe failed while there was no connection for commands; there may be one now.
fn retry_at_once(link: &Link, tick: &mut Interval) {
    if link.proved != link.claimed {
        tick.reset_immediately();
    }
}
