//! What hostile clients do, all of it at once, from a process of its own: see [`kinds`].
//!
//! Each kind has a source address of its own, so that a gateway's limits per address apply as they would to an attacker, and
//! not to the clients that are measured. It keeps to fixed paces: a load test that takes the whole machine measures that.
//! Ends with stdin; what became of each kind is counted and reported at the first line after the job.

mod kinds;
mod socket;

use std::io::BufRead as _;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

use crate::limits;
use crate::wire::{AttackJob, AttackReport, Counts, read_line, report};

/// What all attackers share.
struct Field {
    job: AttackJob,
    over: Mutex<bool>,
    ended: Condvar,
    counts: Mutex<Counts>,
}

impl Field {
    fn goes_on(&self) -> bool {
        !*self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until it is over.
    fn wait(&self, time: Duration) {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ended.wait_timeout_while(over, time, |over| !*over));
    }

    fn end(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    fn count(&self, kind: &str, what: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(format!("{kind}: {what}")).or_default() += 1;
    }
}

/// The helper process.
///
/// # Errors
/// When the leading process is gone, or threads cannot be started.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let job =
        lines.next().context("stdin ended before the job came; this command is for tickcast-loadtest's own use")?;
    let field =
        Field { job: read_line(&job?)?, over: Mutex::new(false), ended: Condvar::new(), counts: Mutex::default() };
    limits::raise_open_files()?;
    std::thread::scope(|scope| {
        for (kind, attack) in (0_u8..).zip(kinds::ALL) {
            let field = &field;
            scope.spawn(move || attack(field, kind));
        }
        drop(lines.next());
        field.end();
    });
    let counts = field.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&AttackReport::Done(counts))
}
