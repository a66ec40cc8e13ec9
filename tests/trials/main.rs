//! Trials: real processes and real sockets against a vendor that counts, falls ill or answers late, while things are
//! killed, stopped and started again.
//!
//! The soak is short here; at its full length it is
//! `TICKCAST_SOAK_S=300 cargo test --test trials soak -- --nocapture`, and the ill vendor with the breaker's real times
//! `TICKCAST_BREAKER_S=60 cargo test --test trials sickness -- --nocapture` (six minutes).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod fencing;
mod massive;
mod sickness;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod watcher;

use std::time::Duration;

/// A span from the environment, in seconds, or the usual one.
fn span(name: &str, usual: Duration) -> Duration {
    std::env::var(name).map_or(usual, |text| Duration::from_secs(text.parse().expect("whole seconds")))
}
