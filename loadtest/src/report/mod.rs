//! What a run found, in the shape of the JSON output. [`text`] says it to people, [`table`] puts many side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latency::Percentiles;
use crate::proc::cpu::Cpu;
use crate::proc::machine::Machine;
use crate::run::spec::Spec;
use crate::verify::Tally;
use crate::wire::Counts;

pub(crate) mod table;
pub(crate) mod text;

/// One invocation: all its runs and what follows from them together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) tool: String,
    /// What was measured, in one word: the table's column.
    pub(crate) label: String,
    pub(crate) scenario: Option<String>,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) redis: Option<String>,
    /// Cores the server and the rest were pinned to.
    pub(crate) pinned: Pinned,
    pub(crate) runs: Vec<RunReport>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) search: Option<SearchReport>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pinned {
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) redis: Option<String>,
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunReport {
    pub(crate) spec: Spec,
    pub(crate) connect: Option<ConnectReport>,
    pub(crate) storm: Vec<StormReport>,
    pub(crate) publish: Option<PublishReport>,
    pub(crate) delivery: Option<DeliveryReport>,
    pub(crate) cpu: Option<CpuReport>,
    pub(crate) memory: MemoryReport,
    /// The server's open files, where its process is known.
    #[serde(default)]
    pub(crate) files: Option<FilesReport>,
    /// What became of hostile clients.
    #[serde(default)]
    pub(crate) attack: Counts,
    /// How much the server's own counters grew.
    pub(crate) counters: BTreeMap<String, f64>,
    /// Why the figures do not count: the load test was the limit.
    pub(crate) invalid: Vec<String>,
    /// Why they do not count either: others had the machine.
    pub(crate) disturbed: Vec<String>,
    /// What the server should have kept and did not.
    pub(crate) violated: Vec<String>,
    /// What one should know when reading the figures.
    pub(crate) notes: Vec<String>,
}

/// How connecting went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConnectReport {
    pub(crate) connected: u64,
    pub(crate) failed: Counts,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// The server's CPU per connection, in microseconds.
    pub(crate) cpu_us: Option<Split>,
    /// From `connect` to 101, and to the `subscribed` ack.
    pub(crate) upgraded: Option<Percentiles>,
    pub(crate) subscribed: Option<Percentiles>,
}

/// One wave of a storm, and the leaving after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StormReport {
    pub(crate) subscribed: bool,
    pub(crate) connect: ConnectReport,
    /// Share of one core that the clients used.
    pub(crate) client_core_share: f64,
    /// Until the server had closed its side of all, and its CPU for that per connection.
    pub(crate) leaving_seconds: f64,
    pub(crate) leaving_cpu_us: Option<Split>,
}

/// How publishing went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PublishReport {
    pub(crate) updates: u64,
    pub(crate) messages: u64,
    pub(crate) fewest_receivers: Option<u64>,
    pub(crate) lateness: Option<Percentiles>,
    pub(crate) redis: Option<Percentiles>,
}

/// What arrived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeliveryReport {
    pub(crate) window_s: f64,
    /// In the window.
    pub(crate) deliveries: u64,
    pub(crate) per_second: f64,
    pub(crate) latency: Option<Percentiles>,
    /// How many updates one client read brought: how well writes were gathered.
    pub(crate) updates_per_read: f64,
    pub(crate) bytes_per_second: f64,
    /// Over the whole run.
    pub(crate) tally: Tally,
    pub(crate) snapshots: u64,
    pub(crate) told_conflated: u64,
    pub(crate) closes: Counts,
    pub(crate) errors: Counts,
    pub(crate) reconnects: u64,
    pub(crate) resubscribes: u64,
    pub(crate) reconnected: Option<Percentiles>,
    pub(crate) stuck: Option<StuckReport>,
}

/// What became of clients that stopped reading.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StuckReport {
    pub(crate) clients: u64,
    pub(crate) cut: u64,
    pub(crate) cut_after: Option<Percentiles>,
    pub(crate) ends: Counts,
}

/// A cost in user space and in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Split {
    pub(crate) user: f64,
    pub(crate) sys: f64,
    pub(crate) total: f64,
}

/// CPU in the window. Shares are of one core.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CpuReport {
    pub(crate) window_s: f64,
    /// The server with its children; absent when its process is not known.
    pub(crate) server: Option<ServerCpu>,
    /// Each client process.
    pub(crate) clients: Vec<f64>,
    /// The publisher; absent when the server is the source itself.
    pub(crate) publisher: Option<f64>,
    pub(crate) redis: Option<f64>,
    pub(crate) cores: Vec<CoreReport>,
    /// What other processes, and interrupts, took.
    pub(crate) others: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ServerCpu {
    pub(crate) share: f64,
    /// Microseconds per delivery in the window.
    pub(crate) per_delivery_us: Option<Split>,
    /// Microseconds per published update in the window.
    pub(crate) per_update_us: Option<Split>,
    /// The busiest threads.
    pub(crate) threads: Vec<ThreadReport>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ThreadReport {
    pub(crate) name: String,
    pub(crate) share: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CoreReport {
    pub(crate) busy: f64,
    pub(crate) stolen: f64,
}

/// The server's memory (PSS, bytes) at the moments of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct MemoryReport {
    /// Ready, nobody connected.
    pub(crate) base: Option<u64>,
    /// Everybody connected and subscribed.
    pub(crate) connected: Option<u64>,
    /// After the idle time.
    pub(crate) idle: Option<u64>,
    /// When the window began, and when it ended.
    pub(crate) window_start: Option<u64>,
    pub(crate) window_end: Option<u64>,
    /// Everything delivered.
    pub(crate) drained: Option<u64>,
    /// Everybody gone.
    pub(crate) left: Option<u64>,
    /// (seconds into the window, bytes), for long windows.
    pub(crate) trend: Vec<(f64, u64)>,
    /// Beyond the base, after the idle time or else after connecting.
    pub(crate) per_connection: Option<f64>,
}

/// The server's open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilesReport {
    /// Ready, nobody connected.
    pub(crate) base: usize,
    /// Everybody gone.
    pub(crate) left: usize,
}

/// A figure that follows from several runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) bound: Option<Bound>,
}

/// What a figure should be. For orientation: it depends on the machine, so missing it is no violation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The highest rate that was good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SearchReport {
    /// Updates per second, and the deliveries per second they made; 0 when not even the first was good.
    pub(crate) rate: f64,
    pub(crate) deliveries_per_second: f64,
    /// Why the next higher one was not.
    pub(crate) limited_by: Vec<String>,
    /// The load test itself was the limit: the server may carry more.
    pub(crate) lower_bound: bool,
    /// Steps during which others had the machine: the server may carry more.
    pub(crate) disturbed_steps: usize,
    pub(crate) steps: Vec<StepReport>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepReport {
    pub(crate) rate: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) server_share: f64,
    pub(crate) client_share: f64,
    pub(crate) updates_per_read: f64,
    pub(crate) good: bool,
    pub(crate) why_not: Vec<String>,
}

impl Split {
    /// `cpu` divided over `count`, in microseconds.
    pub(crate) fn per(cpu: Cpu, count: u64) -> Option<Split> {
        let each = |seconds: f64| round3(seconds * 1e6 / count as f64);
        (count > 0).then(|| Split { user: each(cpu.user_s), sys: each(cpu.sys_s), total: each(cpu.total_s()) })
    }
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

impl Report {
    pub(crate) fn is_violated(&self) -> bool {
        self.runs.iter().any(|run| !run.violated.is_empty())
    }

    pub(crate) fn is_invalid(&self) -> bool {
        self.runs.iter().any(|run| !run.invalid.is_empty() || !run.disturbed.is_empty())
    }
}

impl RunReport {
    /// CPU per delivery, in microseconds.
    pub(crate) fn per_delivery_us(&self) -> Option<f64> {
        Some(self.cpu.as_ref()?.server.as_ref()?.per_delivery_us?.total)
    }

    /// CPU per published update, in microseconds.
    pub(crate) fn per_update_us(&self) -> Option<f64> {
        Some(self.cpu.as_ref()?.server.as_ref()?.per_update_us?.total)
    }

    pub(crate) fn latency(&self) -> Option<Percentiles> {
        self.delivery.as_ref()?.latency
    }
}

/// To three digits after the point: no figure here is better than that.
pub(crate) fn round3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
