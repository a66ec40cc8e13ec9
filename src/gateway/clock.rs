//! The process's clocks, read at the edges and handed to the pure floors as numbers.

use std::time::Instant;

use jiff::Timestamp;

use crate::protocol::session::Now;

/// A monotonic clock that counts from the gateway's start. Copied to whoever needs the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Counts from now.
    #[must_use]
    pub(super) fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Microseconds since the start.
    #[must_use]
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start.
    #[must_use]
    pub(super) fn millis(&self) -> u64 {
        self.micros() / 1000
    }

    /// Both clocks.
    #[must_use]
    pub(super) fn now(&self) -> Now {
        Now { mono_ms: self.millis(), wall: Timestamp::now() }
    }
}
