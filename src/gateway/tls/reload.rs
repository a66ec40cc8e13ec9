//! Looks at the certificate files now and then.
//!
//! Their contents, not their times: that sees a renewal by copying, by renaming and by Kubernetes' swapped links alike,
//! and two small files every few seconds cost nothing. A pair that is half written is no pair; the next look sees the
//! rest.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Certificate, Seen};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Keeps `certificate` what the files hold, until `stop`.
pub(in crate::gateway) async fn run(certificate: Arc<Certificate>, seen: Seen, stop: CancellationToken) {
    describe_counter!("tickcast_tls_reloads_total", "Changes of the certificate files, by whether they were usable.");
    for outcome in ["ok", "failed"] {
        counter!("tickcast_tls_reloads_total", "outcome" => outcome).increment(0);
    }
    let mut seen = Some(seen);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let looked = Arc::clone(&certificate);
        let look = move || {
            let outcome = looked.look_again(&mut seen);
            (outcome, seen)
        };
        let Ok((outcome, now)) = spawn_blocking(look).await else { return };
        seen = now;
        let Some(outcome) = outcome else { continue };
        let word = if outcome.is_ok() { "ok" } else { "failed" };
        counter!("tickcast_tls_reloads_total", "outcome" => word).increment(1);
        match outcome {
            Ok(()) => info!("the new certificate serves from now on"),
            Err(error) => warn!(%error, "the changed certificate files cannot be used; the old certificate stays"),
        }
    }
}
