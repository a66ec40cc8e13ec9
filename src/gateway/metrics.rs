//! The gateway's metrics, registered once so that counting costs a few nanoseconds.

use std::time::Duration;

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

use crate::hub::Counters;
use crate::protocol::message::CloseCode;

/// What a shard counts.
pub(super) struct ShardMetrics {
    deliveries: Counter,
    writes: Counter,
    bytes: Counter,
    conflated: Counter,
    out_of_order: Counter,
    counted: Counters,
    fanout: Histogram,
    closes: Vec<(u16, Counter)>,
    closes_other: Counter,
}

impl ShardMetrics {
    pub(super) fn register() -> ShardMetrics {
        describe();
        let close = |code: u16| (code, counter!("tickcast_closes_total", "code" => code.to_string()));
        // 1006 is never on the wire: the connection ended without a close frame.
        let codes = CloseCode::ALL.map(CloseCode::number).into_iter().chain([1006]);
        ShardMetrics {
            deliveries: counter!("tickcast_deliveries_total"),
            writes: counter!("tickcast_writes_total"),
            bytes: counter!("tickcast_sent_bytes_total"),
            conflated: counter!("tickcast_conflated_total"),
            out_of_order: counter!("tickcast_updates_dropped_total", "reason" => "old_seq"),
            counted: Counters::default(),
            fanout: histogram!("tickcast_fanout_seconds"),
            closes: codes.map(close).collect(),
            closes_other: counter!("tickcast_closes_total", "code" => "other"),
        }
    }

    /// Counts what the hub has done since the last call.
    pub(super) fn count(&mut self, now: Counters) {
        let before = std::mem::replace(&mut self.counted, now);
        if before == now {
            return;
        }
        self.deliveries.increment(now.deliveries - before.deliveries);
        self.writes.increment(now.writes - before.writes);
        self.bytes.increment(now.bytes - before.bytes);
        self.conflated.increment(now.conflated - before.conflated);
        self.out_of_order.increment(now.out_of_order - before.out_of_order);
    }

    /// The hub is a new one, which has done nothing yet.
    pub(super) fn start_over(&mut self) {
        self.counted = Counters::default();
    }

    pub(super) fn fanout(&self, taken: Duration) {
        self.fanout.record(taken);
    }

    pub(super) fn closed(&self, code: u16) {
        let counter = self.closes.iter().find(|(known, _)| *known == code).map(|(_, counter)| counter);
        counter.unwrap_or(&self.closes_other).increment(1);
    }
}

/// What the feed counts.
pub(super) struct FeedMetrics {
    pub(super) received: Counter,
    pub(super) notices: Counter,
    pub(super) unwatched: Counter,
    pub(super) conflated: Counter,
    pub(super) lagged: Counter,
    pub(super) age: Histogram,
}

impl FeedMetrics {
    pub(super) fn register() -> FeedMetrics {
        FeedMetrics {
            received: counter!("tickcast_updates_received_total"),
            notices: counter!("tickcast_notices_received_total"),
            unwatched: counter!("tickcast_updates_dropped_total", "reason" => "unwatched"),
            conflated: counter!("tickcast_conflated_total"),
            lagged: counter!("tickcast_feed_lagged_total"),
            age: histogram!("tickcast_update_age_seconds"),
        }
    }
}

/// Sets the gauges; called when somebody asks for the metrics.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
pub(super) fn set_gauges(connections: usize, max_connections: usize, subscriptions: u64, symbols: usize) {
    gauge!("tickcast_connections").set(connections as f64);
    gauge!("tickcast_connections_max").set(max_connections as f64);
    gauge!("tickcast_subscriptions").set(subscriptions as f64);
    gauge!("tickcast_symbols").set(symbols as f64);
}

/// Counts an update that was dropped because it cannot be read.
pub(super) fn dropped(reason: &'static str) {
    counter!("tickcast_updates_dropped_total", "reason" => reason).increment(1);
}

/// Counts a connection that was refused.
pub(super) fn refused(reason: &'static str) {
    counter!("tickcast_connections_refused_total", "reason" => reason).increment(1);
}

fn describe() {
    describe_gauge!("tickcast_connections", Unit::Count, "Open client connections.");
    describe_gauge!("tickcast_connections_max", Unit::Count, "Client connections there may be.");
    describe_gauge!("tickcast_subscriptions", Unit::Count, "Subscriptions over all clients of this gateway.");
    describe_gauge!("tickcast_symbols", Unit::Count, "Distinct symbols with a subscriber on this gateway.");
    describe_counter!("tickcast_connections_refused_total", Unit::Count, "Connections refused before the upgrade.");
    describe_counter!("tickcast_updates_received_total", Unit::Count, "Updates received from the broker.");
    describe_counter!("tickcast_notices_received_total", Unit::Count, "Messages for every client received.");
    describe_counter!("tickcast_updates_dropped_total", Unit::Count, "Updates not delivered to anyone, by reason.");
    describe_counter!("tickcast_deliveries_total", Unit::Count, "Updates handed to client sockets.");
    describe_counter!("tickcast_writes_total", Unit::Count, "Writes made to client sockets.");
    describe_counter!("tickcast_sent_bytes_total", Unit::Bytes, "Bytes written to client sockets.");
    describe_counter!("tickcast_conflated_total", Unit::Count, "Updates that gave way to a newer one of their symbol.");
    describe_counter!("tickcast_control_messages_total", Unit::Count, "Control messages by action and outcome.");
    describe_counter!("tickcast_closes_total", Unit::Count, "Client connections that ended, by close code.");
    describe_counter!(
        "tickcast_feed_lagged_total",
        Unit::Count,
        "Messages missed because the feed was read too slowly."
    );
    describe_histogram!(
        "tickcast_fanout_seconds",
        Unit::Seconds,
        "From an update's receipt to the last write that delivered it."
    );
    describe_histogram!(
        "tickcast_update_age_seconds",
        Unit::Seconds,
        "From an update's own timestamp to its receipt, sampled."
    );
}
