//! What the leading process and its helpers say to each other: JSON lines over the helpers' stdin and stdout.
//!
//! A helper's first line in is its job; then come orders, and reports go out. A helper whose stdin ends ends too. Numbers
//! are small and lines few (a report every half second), so nothing here is hot.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Ns};
use crate::latency::Latencies;
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::verify::Tally;

/// How often a helper reports progress.
pub(crate) const PROGRESS_EVERY: Ns = 500_000_000;

/// How often something was seen, by its name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// A swarm's job: be clients `clients` of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SwarmJob {
    pub(crate) clock: Clock,
    pub(crate) target: SocketAddr,
    pub(crate) path: String,
    pub(crate) plan: Plan,
    pub(crate) clients: Range<u32>,
    /// Over how many source addresses all clients are spread.
    pub(crate) sources: u32,
    pub(crate) seq_base: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SwarmOrder {
    Connect(Connect),
    Watch(Watch),
    /// Publishing ended: wait until all has arrived, at most until `deadline`, then report.
    Finish {
        published: u64,
        deadline: Ns,
    },
    /// Close every connection.
    Disconnect,
}

/// Connect every client that is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connect {
    /// New connections per second of this swarm; `None` is as fast as `in_flight` allows.
    pub(crate) per_second: Option<f64>,
    /// How many may be unanswered at a time.
    pub(crate) in_flight: u32,
    /// Whether a client is there once upgraded, or once its subscriptions are acknowledged.
    pub(crate) subscribe: bool,
}

/// Updates are about to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) schedule: Schedule,
    /// What counts: latencies of updates due in it, deliveries received in it.
    pub(crate) window: Range<Ns>,
    /// Clients of this swarm per second that leave and come again.
    pub(crate) reconnects_per_second: f64,
    /// Clients of this swarm per second that unsubscribe and subscribe again.
    pub(crate) resubscribes_per_second: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SwarmReport {
    Progress { connected: u32, updates: u64 },
    Connected(Box<ConnectOutcome>),
    Disconnected,
    Done(Box<SwarmOutcome>),
    Failed(String),
}

/// How connecting went.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ConnectOutcome {
    pub(crate) connected: u64,
    pub(crate) failed: Counts,
    /// From the first attempt to the last answer.
    pub(crate) began: Ns,
    pub(crate) ended: Ns,
    /// From `connect` to 101.
    pub(crate) upgraded: Latencies,
    /// From `connect` to the `subscribed` ack.
    pub(crate) subscribed: Latencies,
}

/// What a swarm saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SwarmOutcome {
    pub(crate) tally: Tally,
    /// From due to received, of updates due in the window, at healthy clients.
    pub(crate) latencies: Latencies,
    /// Updates received in the window, the reads that brought them, and their bytes with frame headers.
    pub(crate) window_updates: u64,
    pub(crate) window_reads: u64,
    pub(crate) window_bytes: u64,
    /// Updates that were marked as the last known quote.
    pub(crate) snapshots: u64,
    /// The sum of what `lagging` messages said.
    pub(crate) told_conflated: u64,
    /// How connections ended that the client did not end: a close code, `eof` or `reset`.
    pub(crate) closes: Counts,
    /// What servers complained of, and what the client did not understand.
    pub(crate) errors: Counts,
    pub(crate) reconnects: u64,
    pub(crate) resubscribes: u64,
    /// From `connect` to the ack, of clients that came again.
    pub(crate) reconnected: Latencies,
    pub(crate) stuck: StuckOutcome,
}

/// What became of the clients that stopped reading.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StuckOutcome {
    pub(crate) clients: u64,
    /// Those whose connection the server ended before publishing did.
    pub(crate) cut: u64,
    /// From the start of publishing to the cut.
    pub(crate) cut_after: Latencies,
    /// How their connections ended, as far as reading on told: a close code, `reset`, `eof`, `open`.
    pub(crate) ends: Counts,
}

/// A publisher's job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublisherJob {
    pub(crate) clock: Clock,
    pub(crate) redis: RedisAddress,
    pub(crate) channel: String,
    pub(crate) bytes: usize,
    pub(crate) seq_base: u64,
    /// Subscribe as well, and measure how long Redis alone takes.
    pub(crate) probe: bool,
}

/// Where a Redis listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedisAddress {
    pub(crate) socket: SocketAddr,
    pub(crate) password: Option<String>,
}

/// The job of the floor's bare sender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SenderJob {
    pub(crate) clock: Clock,
    pub(crate) symbols: u32,
    pub(crate) bytes: usize,
    pub(crate) seq_base: u64,
    /// Frames of one client gathered into one write.
    pub(crate) frames_per_write: usize,
}

/// To a publisher or sender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SourceOrder {
    /// Publish by this timetable; without a rate, until `until`.
    Start { schedule: Schedule, until: Ns, window: Range<Ns> },
}

/// From a publisher or sender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SourceReport {
    /// A publisher is connected; a sender listens here.
    Ready {
        listening: Option<SocketAddr>,
    },
    Progress {
        published: u64,
    },
    Done(Box<SourceOutcome>),
    Failed(String),
}

/// How publishing went.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SourceOutcome {
    /// Updates published.
    pub(crate) published: u64,
    pub(crate) messages: u64,
    /// The fewest subscribers that Redis said got a message.
    pub(crate) fewest_receivers: Option<u64>,
    /// How late messages were written, against their timetable.
    pub(crate) lateness: Latencies,
    /// From due to received by a plain Redis subscriber.
    pub(crate) redis: Latencies,
    /// Frames and writes of a bare sender within the window.
    pub(crate) window_frames: u64,
    pub(crate) window_writes: u64,
}

/// The job of hostile clients.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttackJob {
    pub(crate) target: SocketAddr,
    pub(crate) path: String,
    /// How many there are to subscribe to.
    pub(crate) symbols: u32,
}

/// To hostile clients: enough.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttackEnd;

/// From hostile clients.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AttackReport {
    /// What became of each kind of them, and how often.
    Done(Counts),
}

/// Writes `message` as a line to stdout.
///
/// # Errors
/// When the leading process is gone.
pub(crate) fn report<T: Serialize>(message: &T) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()?;
    Ok(())
}

/// Reads one line as a message.
///
/// # Errors
/// When it is none, which would be a mistake of this program.
pub(crate) fn read_line<T: DeserializeOwned>(line: &str) -> anyhow::Result<T> {
    serde_json::from_str(line).map_err(|error| anyhow::anyhow!("not a message ({error}): {line}"))
}

/// Adds `more` to `counts`.
pub(crate) fn add_counts(counts: &mut Counts, more: &Counts) {
    for (name, count) in more {
        *counts.entry(name.clone()).or_default() += count;
    }
}

impl SwarmOutcome {
    pub(crate) fn merge(&mut self, other: &SwarmOutcome) {
        self.tally.merge(&other.tally);
        self.latencies.merge(&other.latencies);
        self.window_updates += other.window_updates;
        self.window_reads += other.window_reads;
        self.window_bytes += other.window_bytes;
        self.snapshots += other.snapshots;
        self.told_conflated += other.told_conflated;
        add_counts(&mut self.closes, &other.closes);
        add_counts(&mut self.errors, &other.errors);
        self.reconnects += other.reconnects;
        self.resubscribes += other.resubscribes;
        self.reconnected.merge(&other.reconnected);
        self.stuck.clients += other.stuck.clients;
        self.stuck.cut += other.stuck.cut;
        self.stuck.cut_after.merge(&other.stuck.cut_after);
        add_counts(&mut self.stuck.ends, &other.stuck.ends);
    }
}

impl ConnectOutcome {
    pub(crate) fn merge(&mut self, other: &ConnectOutcome) {
        self.connected += other.connected;
        add_counts(&mut self.failed, &other.failed);
        self.began = if self.began == 0 { other.began } else { self.began.min(other.began) };
        self.ended = self.ended.max(other.ended);
        self.upgraded.merge(&other.upgraded);
        self.subscribed.merge(&other.subscribed);
    }
}
