//! What the readers' seat counts.

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, gauge};

use super::board::Counts;

/// Registered once.
pub(super) struct ReaderMetrics {
    delivered: Counter,
    conflated: Counter,
    too_slow: Counter,
}

impl ReaderMetrics {
    pub(super) fn register() -> ReaderMetrics {
        describe();
        ReaderMetrics {
            delivered: counter!("tickcast_sse_deliveries_total"),
            conflated: counter!("tickcast_sse_conflated_total"),
            too_slow: counter!("tickcast_sse_too_slow_total"),
        }
    }

    /// Counts what the board has done so far.
    pub(super) fn count(&self, totals: Counts) {
        self.delivered.absolute(totals.delivered);
        self.conflated.absolute(totals.conflated);
        self.too_slow.absolute(totals.too_slow);
    }
}

/// Sets the gauges; called when somebody asks for the metrics.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
pub(super) fn set_gauges(held: usize, streams: usize) {
    gauge!("tickcast_held_symbols").set(held as f64);
    gauge!("tickcast_sse_clients").set(streams as f64);
}

fn describe() {
    describe_gauge!("tickcast_held_symbols", Unit::Count, "Symbols watched for REST requests of the last minute.");
    describe_gauge!("tickcast_sse_clients", Unit::Count, "Open SSE streams.");
    describe_counter!("tickcast_sse_deliveries_total", Unit::Count, "Updates handed to SSE streams.");
    describe_counter!(
        "tickcast_sse_conflated_total",
        Unit::Count,
        "Updates that gave way to a newer one of their symbol because an SSE reader was slow."
    );
    describe_counter!("tickcast_sse_too_slow_total", Unit::Count, "SSE streams cut because their reader took nothing.");
}
