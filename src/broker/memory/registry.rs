//! The registry in memory: locks, tells [`Watchers`](super::watchers::Watchers) the time, publishes what changed.

use async_trait::async_trait;
use bytes::Bytes;

use super::watchers::Change;
use super::{Memory, lock};
use crate::broker::{Channel, GatewayId, Registry, Result};
use crate::market::Symbol;

#[async_trait]
impl Registry for Memory {
    async fn report(&self, gateway: &GatewayId, counts: &[(Symbol, u32)]) -> Result<u64> {
        let mut watchers = lock(&self.watchers);
        let (held, changes) = watchers.report(gateway, counts, self.clock.now_ms());
        self.announce(&changes);
        Ok(held)
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        let mut watchers = lock(&self.watchers);
        let changes = watchers.leave(gateway, self.clock.now_ms());
        self.announce(&changes);
        Ok(())
    }

    async fn watched(&self) -> Result<Vec<(Symbol, u64)>> {
        let mut watchers = lock(&self.watchers);
        let changes = watchers.sweep(self.clock.now_ms());
        self.announce(&changes);
        Ok(watchers.totals().collect())
    }
}

impl Memory {
    /// Called with the watchers locked, so that events come in the order of what they tell.
    fn announce(&self, changes: &[Change]) {
        let messages: Vec<_> = changes.iter().map(|change| (Channel::Subscriptions, message(change))).collect();
        self.hub.deliver(&messages);
    }
}

fn message(Change { action, symbol, count, gateway }: &Change) -> Bytes {
    let gateway = serde_json::Value::from(&*gateway.0);
    let action = action.name();
    format!(r#"{{"action":"{action}","symbol":"{symbol}","count":{count},"gateway":{gateway}}}"#).into()
}
