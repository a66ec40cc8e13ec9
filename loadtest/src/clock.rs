//! The run's clock: nanoseconds since the run began, the same in every process of it.
//!
//! It counts `CLOCK_MONOTONIC`, which all processes of a machine share and which no time server moves. The epoch is
//! taken once by the process that leads the run and handed to the others.

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

const NS_PER_S: u64 = 1_000_000_000;

/// Nanoseconds since the run's epoch.
pub(crate) type Ns = u64;

/// See the module.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Clock {
    epoch: u64,
}

impl Clock {
    /// A clock that reads 0 now.
    pub(crate) fn start() -> Clock {
        Clock { epoch: monotonic() }
    }

    /// Now.
    pub(crate) fn now(self) -> Ns {
        monotonic().saturating_sub(self.epoch)
    }

    /// Waits until `at`; returns at once when it has passed.
    pub(crate) fn wait_until(self, at: Ns) {
        let until = timespec(self.epoch + at);
        while let Err(Errno::INTR) = clock_nanosleep_absolute(ClockId::Monotonic, &until) {}
    }
}

/// How long until `at`, seen from `now`.
pub(crate) fn until(at: Ns, now: Ns) -> Duration {
    Duration::from_nanos(at.saturating_sub(now))
}

/// A duration as clock ticks; 584 years are enough.
pub(crate) fn ns(duration: Duration) -> Ns {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number of seconds as clock ticks.
pub(crate) fn seconds(seconds: f64) -> Ns {
    ns(Duration::from_secs_f64(seconds.max(0.0)))
}

pub(crate) fn timespec(ns: u64) -> Timespec {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec { tv_sec: part(ns / NS_PER_S), tv_nsec: part(ns % NS_PER_S) }
}

fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec) * NS_PER_S + part(now.tv_nsec)
}
