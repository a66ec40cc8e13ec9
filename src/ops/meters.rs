//! The metrics that belong to the process rather than to one of its parts: the broker as it says it is, and the version.
//!
//! Follows [`Status`]; a status that is replaced before it was seen is lost, which costs a probe of the canary's
//! histogram and nothing else. It knows no broker.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::Status;

/// Handles for what the broker says of itself.
pub(super) struct BrokerMeters {
    connected: Gauge,
    writable: Gauge,
    reconnects: Counter,
    canary: Histogram,
    counted: Option<Duration>,
}

impl BrokerMeters {
    /// Registers; the recorder has to be installed by then.
    pub(super) fn register() -> BrokerMeters {
        describe_gauge!("tickcast_build_info", Unit::Count, "1; the version is its label.");
        describe_gauge!(
            "tickcast_broker_connected",
            Unit::Count,
            "1 while the broker is there, commands and delivery."
        );
        describe_gauge!("tickcast_broker_writable", Unit::Count, "0 while the broker refuses writes.");
        describe_counter!("tickcast_broker_reconnects_total", Unit::Count, "Links to the broker that were made again.");
        describe_histogram!(
            "tickcast_broker_canary_seconds",
            Unit::Seconds,
            "A probe's way through the broker and back."
        );
        gauge!("tickcast_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        BrokerMeters {
            connected: gauge!("tickcast_broker_connected"),
            writable: gauge!("tickcast_broker_writable"),
            reconnects: counter!("tickcast_broker_reconnects_total"),
            canary: histogram!("tickcast_broker_canary_seconds"),
            counted: None,
        }
    }

    /// Follows the broker's status until `stop`.
    pub(super) async fn follow(mut self, mut status: watch::Receiver<Status>, stop: CancellationToken) {
        loop {
            let now = status.borrow_and_update().clone();
            self.note(&now);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = status.changed() => if changed.is_err() { return },
            }
        }
    }

    fn note(&mut self, status: &Status) {
        self.connected.set(if status.connected { 1.0 } else { 0.0 });
        self.writable.set(if status.writable { 1.0 } else { 0.0 });
        self.reconnects.absolute(status.reconnects);
        // The last probe's time stays in the status until the next one; each is counted once.
        if let Some(canary) = status.canary.filter(|canary| self.counted != Some(*canary)) {
            self.canary.record(canary);
            self.counted = Some(canary);
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::broker::Kind;

    #[test]
    fn the_brokers_word_becomes_metrics_and_a_probe_counts_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        let status = |connected, canary_ms| Status {
            kind: Kind::Redis,
            connected,
            writable: true,
            canary: Some(Duration::from_millis(canary_ms)),
            reconnects: 2,
            problem: None,
        };
        with_local_recorder(&recorder, || {
            let mut meters = BrokerMeters::register();
            meters.note(&status(true, 5));
            meters.note(&status(false, 5));
            meters.note(&status(false, 7));
        });
        let text = shown.render();
        for line in [
            "tickcast_broker_connected 0",
            "tickcast_broker_writable 1",
            "tickcast_broker_reconnects_total 2",
            "tickcast_broker_canary_seconds_count 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
