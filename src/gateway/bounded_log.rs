//! A log line at a bounded rate, for what others can cause as often as they like.

use std::time::{Duration, Instant};

/// At most one line in this span.
const SPAN: Duration = Duration::from_secs(5);

/// Decides whether a line may be written.
#[derive(Debug, Default)]
pub(super) struct BoundedLog {
    last: Option<Instant>,
    suppressed: u64,
}

impl BoundedLog {
    /// `Some` when a line may be written now, with how many were not since the last.
    pub(super) fn may_log(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < SPAN) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}
