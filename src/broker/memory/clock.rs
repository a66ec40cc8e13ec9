//! The embedded broker's clock: milliseconds since 1970, advancing with tokio's time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::broker::EPOCH_ORIGIN_S;

/// Read once from the system, then only ever forward, at tokio's pace.
pub(super) struct Clock {
    start: Instant,
    start_unix: Duration,
}

impl Clock {
    pub(super) fn new() -> Clock {
        let start_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), start_unix }
    }

    pub(super) fn now_ms(&self) -> u64 {
        millis(self.start_unix + self.start.elapsed())
    }

    /// Seconds since 2026-01-01 UTC.
    pub(super) fn epoch_s(&self) -> u64 {
        (self.now_ms() / 1000).saturating_sub(EPOCH_ORIGIN_S)
    }
}

/// Whole milliseconds, far below where sums would overflow.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}
