//! Budgets in memory: one [`Ledger`] a budget. There are as many as providers and keys are configured.

use std::time::Duration;

use async_trait::async_trait;
use hashbrown::HashMap;

use super::clock::millis;
use super::{Memory, lock};
use crate::broker::{Budget, Quota, Result, Taken};
use crate::quota::Ledger;

/// What was spent, by the budget's name.
pub(super) type Ledgers = HashMap<String, Ledger>;

#[async_trait]
impl Quota for Memory {
    async fn take(&self, budget: &Budget, cost: u32) -> Result<Taken> {
        Ok(self.with_ledger(budget, |ledger, now_ms| ledger.take(&budget.windows, cost, now_ms)))
    }

    async fn record(&self, budget: &Budget, spent: &[(Duration, u32)]) -> Result<()> {
        self.with_ledger(budget, |ledger, now_ms| {
            for (ago, cost) in spent {
                ledger.record(&budget.windows, *cost, now_ms.saturating_sub(millis(*ago)), now_ms);
            }
        });
        Ok(())
    }

    async fn hold(&self, budget: &Budget, span: Duration) -> Result<()> {
        self.with_ledger(budget, |ledger, now_ms| ledger.hold(millis(span), now_ms));
        Ok(())
    }

    async fn ledger(&self, budget: &Budget) -> Result<(Ledger, u64)> {
        Ok(self.with_ledger(budget, |ledger, now_ms| (ledger.clone(), now_ms)))
    }

    async fn reset(&self, budget: &Budget) -> Result<()> {
        lock(&self.ledgers).remove(&budget.name);
        Ok(())
    }
}

impl Memory {
    fn with_ledger<T>(&self, budget: &Budget, call: impl FnOnce(&mut Ledger, u64) -> T) -> T {
        let mut ledgers = lock(&self.ledgers);
        call(ledgers.entry_ref(budget.name.as_str()).or_default(), self.clock.now_ms())
    }
}
