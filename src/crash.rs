//! Keeps a task's work going after a panic in it.
//!
//! A panic is a defect: its hook logs and counts it (`tickcast_panics_total`). What is left to do is to begin the work
//! again, from whatever state is shared. Knows nothing of what the work is.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Before the second try; twice as long before each one after it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Work that went well for this long has not begun to fail.
const SOUND: Duration = Duration::from_secs(60);

/// Does `work` until it returns, beginning again whenever it panics, until `stop`.
pub async fn contain<F: Future<Output = ()>>(name: &str, stop: &CancellationToken, mut work: impl FnMut() -> F) {
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        if AssertUnwindSafe(async { work().await }).catch_unwind().await.is_ok() {
            return;
        }
        if began.elapsed() >= SOUND {
            wait = FIRST_WAIT;
        }
        warn!(task = name, again_in = ?wait, "a task panicked and begins again");
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_begins_again_later_and_later() {
        let (began, stop) = (Instant::now(), CancellationToken::new());
        let mut starts = Vec::new();
        contain("test", &stop, || {
            starts.push(began.elapsed().as_millis());
            let last = starts.len() == 4;
            async move { assert!(last, "not yet") }
        })
        .await;
        assert_eq!(starts, [0, 100, 300, 700]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_heeded_between_two_tries() {
        let stop = CancellationToken::new();
        contain("test", &stop, || {
            stop.cancel();
            async { panic!("always") }
        })
        .await;
    }
}
