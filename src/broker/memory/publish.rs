//! Publishing in memory.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Memory, lock};
use crate::broker::{BrokerError, Channel, Epoch, Outgoing, Publish, Result, Stored, join, keys};

#[async_trait]
impl Publish for Memory {
    async fn publish(&self, updates: &[Outgoing], fence: Epoch) -> Result<Stored> {
        let mut leader = lock(&self.leader);
        leader.admit(fence)?;
        let Some(message) = join(updates) else { return Ok(Stored::Yes) };
        let mut stored = Stored::Yes;
        let now_ms = self.clock.now_ms();
        let mut store = lock(&self.store);
        for update in updates {
            if store.set(&keys::quote(update.symbol), update.json.clone(), Some(update.ttl), now_ms).is_err() {
                stored = Stored::No;
            }
        }
        drop(store);
        self.hub.deliver(&[(Channel::Updates, message)]);
        Ok(stored)
    }

    async fn send(&self, channel: Channel, message: &[u8]) -> Result<u64> {
        Ok(self.hub.deliver(&[(channel, Bytes::copy_from_slice(message))]))
    }
}

impl super::leadership::Leader {
    /// Lets the leader through. A record behind its epoch was lost, and is caught up, so that the epochs between stay
    /// shut out.
    fn admit(&mut self, fence: Epoch) -> Result<()> {
        if fence.0 < self.epoch {
            return Err(BrokerError::Fenced { current: self.epoch });
        }
        self.epoch = fence.0;
        Ok(())
    }
}
