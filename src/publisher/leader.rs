//! Who polls: one publisher leads by lease, the others stand by.
//!
//! A leader renews every [`RENEW`]; a standby asks again when the lease it saw would end. A leader that was killed is
//! therefore followed within [`LEASE`] and the time of one call, well below the 10 s of the contract; one that resigned
//! too. One that was stopped and goes on finds its lease run out, and polls nothing before the broker confirmed it. A broker that cannot be reached changes nothing: the leader goes on polling (its quotes wait in the buffer),
//! the standby stands by, and both ask again with backoff, at once when the broker says it is back.
//!
//! Each run has an owner name of its own, so that a publisher started again never renews its former life's lease: that would
//! keep the epoch and let numbers fall.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::shared::{Role, Shared};
use crate::broker::{BrokerError, Epoch, Lead};
use crate::quota::backoff::Backoff;

/// How long a leader leads without renewing. Two renewals may fail.
pub const LEASE: Duration = Duration::from_secs(6);
/// How often it renews.
pub const RENEW: Duration = Duration::from_secs(2);
/// While the broker is away: often enough that buffered quotes are out within 2 s of its return.
const RETRY: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1), attempts: None };
/// For giving the lease up at the end; it runs out anyway.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests of the outlet that may wait; more of the same say nothing new.
pub(super) const MAX_ASKS: usize = 4;

/// What the outlet found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The broker was away: make sure that we still lead.
    Confirm,
    /// Somebody else publishes with this epoch.
    StepDown(Epoch),
    /// This epoch's numbers are nearly used up.
    NewEpoch(Epoch),
}

/// The lease's keeper.
pub(super) struct Leader {
    shared: Arc<Shared>,
    owner: String,
    asks: mpsc::Receiver<Ask>,
    /// The highest epoch held or seen.
    floor: Epoch,
    renewals: u64,
    failed: u32,
    rng: fastrand::Rng,
}

impl Leader {
    pub(super) fn new(shared: Arc<Shared>, asks: mpsc::Receiver<Ask>) -> Leader {
        let mut rng = fastrand::Rng::new();
        let owner = format!("{}-{:016x}", shared.name, rng.u64(..));
        Leader { shared, owner, asks, floor: Epoch(0), renewals: 0, failed: 0, rng }
    }

    /// Keeps asking until `stop`, then resigns.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut status = self.shared.broker.status.clone();
        let mut status_lives = true;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
                Some(ask) = self.asks.recv() => self.heed(ask).await,
                changed = status.changed(), if status_lives => {
                    status_lives = changed.is_ok();
                    if !status.borrow_and_update().connected || self.failed == 0 {
                        continue;
                    }
                }
            }
            next = Instant::now() + self.ask().await;
        }
        if self.shared.role().is_leading() {
            let resigned = timeout(RESIGN_TIMEOUT, self.shared.broker.leadership.resign(&self.owner)).await;
            debug!(resigned = matches!(resigned, Ok(Ok(()))), "stopped leading");
            self.stand_by();
        }
    }

    async fn heed(&mut self, ask: Ask) {
        match ask {
            Ask::Confirm => {}
            Ask::StepDown(current) => {
                self.floor = self.floor.max(current);
                warn!(epoch = current.0, "another publisher leads by now; standing by");
                self.stand_by();
            }
            Ask::NewEpoch(used) if used == self.floor => {
                info!(epoch = used.0, "this epoch's numbers are nearly used up; taking a new one");
                // Whoever asks for a lease that nobody holds gets a new epoch; so do we, unless a standby is faster.
                drop(self.shared.broker.leadership.resign(&self.owner).await);
            }
            Ask::NewEpoch(_) => {}
        }
    }

    /// Asks for the lease; says when to ask again.
    async fn ask(&mut self) -> Duration {
        let asked = Instant::now();
        match self.shared.broker.leadership.acquire(&self.owner, LEASE, self.floor).await {
            Ok(Lead::Leading(epoch)) => {
                self.failed = 0;
                self.lead(epoch, asked);
                RENEW
            }
            Ok(Lead::Standby { holder, remaining }) => {
                self.failed = 0;
                if self.shared.role().is_leading() {
                    warn!(%holder, "lost the lead; standing by");
                } else {
                    debug!(%holder, "standing by");
                }
                self.stand_by();
                // A little later, or it would still be there.
                remaining.min(LEASE) + Duration::from_millis(20)
            }
            Err(error) => {
                if self.failed == 0 {
                    warn!(%error, leading = self.shared.role().is_leading(), "the lease could not be asked for");
                }
                self.failed = self.failed.saturating_add(1);
                if let (BrokerError::Refused(_), Role::Leading { epoch, .. }) = (&error, self.shared.role()) {
                    // It is there and takes no writes. Publishing may still work, and is fenced.
                    self.lead(epoch, asked);
                }
                let failed = NonZeroU32::new(self.failed).unwrap_or(NonZeroU32::MIN);
                RETRY.wait(failed, &mut self.rng).unwrap_or(RETRY.cap)
            }
        }
    }

    fn lead(&mut self, epoch: Epoch, asked: Instant) {
        if !self.shared.role().is_leading() || epoch != self.floor {
            info!(epoch = epoch.0, owner = %self.owner, "leading");
        }
        self.floor = self.floor.max(epoch);
        self.renewals += 1;
        self.shared.meters.leader.set(1.0);
        self.shared.role.send_replace(Role::Leading { epoch, renewal: self.renewals, until: asked + LEASE });
    }

    fn stand_by(&self) {
        self.shared.meters.leader.set(0.0);
        self.shared.role.send_if_modified(|role| std::mem::replace(role, Role::Standby) != Role::Standby);
    }
}
