//! Leadership in memory: for one publisher, or several in one process.

use std::time::Duration;

use async_trait::async_trait;

use super::clock::millis;
use super::{Memory, lock};
use crate::broker::{Epoch, Lead, Leadership, Result};

/// The lease and the highest epoch handed out.
#[derive(Default)]
pub(super) struct Leader {
    pub(super) epoch: u64,
    lease: Option<Lease>,
}

struct Lease {
    owner: String,
    until_ms: u64,
}

#[async_trait]
impl Leadership for Memory {
    async fn acquire(&self, owner: &str, lease: Duration, floor: Epoch) -> Result<Lead> {
        let mut leader = lock(&self.leader);
        let now_ms = self.clock.now_ms();
        let holder = leader.lease.as_ref().filter(|lease| lease.until_ms > now_ms);
        let stays = match holder {
            Some(held) if held.owner != owner => {
                let remaining = Duration::from_millis(held.until_ms - now_ms);
                return Ok(Lead::Standby { holder: held.owner.clone(), remaining });
            }
            Some(_) => leader.epoch == floor.0,
            None => false,
        };
        if !stays {
            leader.epoch = self.clock.epoch_s().max(leader.epoch + 1).max(floor.0 + 1);
        }
        leader.lease = Some(Lease { owner: owner.to_owned(), until_ms: now_ms + millis(lease) });
        Ok(Lead::Leading(Epoch(leader.epoch)))
    }

    async fn resign(&self, owner: &str) -> Result<()> {
        let mut leader = lock(&self.leader);
        leader.lease.take_if(|lease| lease.owner == owner);
        Ok(())
    }
}
