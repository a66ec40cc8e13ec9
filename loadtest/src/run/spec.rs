//! One run, fully described: what is in here and the server decide its outcome, and it goes into the report whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::schedule::Schedule;

/// See the module. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The row of a table this is.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) plan: Plan,
    /// What is published.
    pub(crate) feed: Feed,
    pub(crate) connect: Connecting,
    /// Connects and disconnects everybody again and again instead of publishing.
    pub(crate) storm: Option<Storm>,
    /// Clients per second that leave and come again, that unsubscribe and subscribe again.
    pub(crate) reconnects_per_second: f64,
    pub(crate) resubscribes_per_second: f64,
    /// Hostile clients do their worst from before the first update until the window ends.
    #[serde(default)]
    pub(crate) attacked: bool,
    /// How long all are connected before anything is published.
    pub(crate) idle_s: f64,
    /// Published before anything is measured.
    pub(crate) warmup_s: f64,
    /// Measured.
    pub(crate) duration_s: f64,
    /// How long after the last update its delivery is waited for.
    pub(crate) drain_s: f64,
    /// Added to a started server's environment.
    pub(crate) server_env: BTreeMap<String, String>,
    pub(crate) promises: Promises,
}

/// Who sends the updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A publisher, through Redis and the server.
    Redis,
    /// The bare sender, in the place of all three.
    Floor {
        /// Frames per write.
        frames_per_write: usize,
    },
}

/// What is published, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Feed {
    pub(crate) pace: Pace,
    /// Updates per message.
    pub(crate) cycle: u32,
    /// Bytes per update.
    pub(crate) bytes: usize,
    /// Whether a Redis subscriber measures Redis' own latency.
    pub(crate) probe_redis: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pace {
    /// Nothing.
    Silent,
    /// Updates per second, whatever comes.
    PerSecond(f64),
    /// As fast as it goes; for the bare sender alone.
    Unpaced,
}

/// How clients connect before the work begins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connecting {
    /// New connections per second, over all; `None` is as fast as `in_flight` allows.
    pub(crate) per_second: Option<f64>,
    /// How many may be unanswered at a time, over all.
    pub(crate) in_flight: u32,
    pub(crate) timeout_s: f64,
}

/// How often everybody connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Storm {
    /// Each is one wave of upgrades alone and one of upgrades with subscriptions.
    pub(crate) rounds: u32,
}

/// What a run must keep, or it ends with exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Promises {
    /// Gaps that the server announced (`lagging`) are no fault.
    pub(crate) allow_conflation: bool,
    /// At most, from due to received.
    pub(crate) p99_ms: Option<f64>,
    /// At most, from due to a plain Redis subscriber.
    pub(crate) redis_p99_ms: Option<f64>,
    /// The server's own `tickcast_updates_received_total` must grow by what was published.
    pub(crate) counted_by_server: bool,
}

impl Spec {
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.source, Source::Floor { .. })
    }

    /// The timetable from `start`; `None` when nothing is published.
    pub(crate) fn schedule(&self, start: u64) -> Option<Schedule> {
        let Plan { symbols, .. } = self.plan;
        let cycle = self.feed.cycle.max(1);
        let (per_second, total) = match self.feed.pace {
            Pace::Silent => return None,
            Pace::PerSecond(rate) => (Some(rate), whole_cycles(rate * (self.warmup_s + self.duration_s), cycle)),
            Pace::Unpaced => (None, u64::from(u32::MAX)),
        };
        Some(Schedule { start, per_second, cycle, symbols, total })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates and the value is not negative"
)]
fn whole_cycles(updates: f64, cycle: u32) -> u64 {
    let cycle = u64::from(cycle);
    ((updates.round() as u64).max(1)).div_ceil(cycle) * cycle
}
