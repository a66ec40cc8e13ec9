//! Budgets in Redis, and what this process has spent of them itself.
//!
//! The record is Redis' (`scripts/quota.lua`), but Redis may lose it: restarted without persistence, flushed, evicted.
//! So each process keeps a shadow of its own grants. Every record has a name; a process that meets another one than it
//! knew says what it has spent before it asks for more, and does so unasked when its connection was made anew. Whoever
//! writes the first new record, knowing that one was lost, holds it for two seconds so that the others can do so too. What
//! a process spent that died together with the record is not known to anyone.
//!
//! There are as many shadows as providers and keys are configured.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;
use hashbrown::HashMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::script::QUOTA;
use super::{Redis, number, parts, text, unexpected};
use crate::broker::{BrokerError, Budget, Quota, Result, Taken, keys};
use crate::quota::Ledger;

/// What this process knows of each budget's record, by name.
#[derive(Default)]
pub(super) struct Shadows {
    start: Option<Instant>,
    budgets: HashMap<String, Shadow>,
}

struct Shadow {
    budget: Budget,
    /// The record's name; empty: never seen.
    record: String,
    /// What this process was granted, on its own clock.
    own: Ledger,
}

/// How often a lost record is told of before the call gives up: it may be lost again meanwhile.
const MAX_ROUNDS: usize = 3;

#[async_trait]
impl Quota for Redis {
    async fn take(&self, budget: &Budget, cost: u32) -> Result<Taken> {
        if budget.windows.iter().any(|window| cost > window.limit.get()) {
            return Ok(Taken::Never);
        }
        let answer = self.quota(budget, "take", vec![i64::from(cost).into()]).await?;
        match text(answer.get(1))?.as_str() {
            "granted" => {
                self.with_shadow(budget, |shadow, now_ms| shadow.own.record(&budget.windows, cost, now_ms, now_ms));
                Ok(Taken::Granted)
            }
            "wait" => Ok(Taken::Wait(Duration::from_millis(number(answer.get(2))?))),
            _ => Err(unexpected(&Value::Array(answer))),
        }
    }

    async fn record(&self, budget: &Budget, spent: &[(Duration, u32)]) -> Result<()> {
        let entries: Vec<(u64, u64)> = spent.iter().map(|(ago, cost)| (millis(*ago), u64::from(*cost))).collect();
        let logs = vec![entries; budget.windows.len()];
        self.quota(budget, "record", logs_told(0, &logs)).await?;
        self.with_shadow(budget, |shadow, now_ms| {
            for (ago, cost) in spent {
                shadow.own.record(&budget.windows, *cost, now_ms.saturating_sub(millis(*ago)), now_ms);
            }
        });
        Ok(())
    }

    async fn hold(&self, budget: &Budget, span: Duration) -> Result<()> {
        self.with_shadow(budget, |shadow, now_ms| shadow.own.hold(millis(span), now_ms));
        self.quota(budget, "hold", vec![millis(span).to_string().into()]).await?;
        Ok(())
    }

    async fn ledger(&self, budget: &Budget) -> Result<(Ledger, u64)> {
        let answer = self.quota(budget, "levels", Vec::new()).await?;
        let now_ms: u64 = number(answer.get(2))?;
        let mut ledger = Ledger::default();
        ledger.hold(number(answer.get(3))?, now_ms);
        for (window, log) in budget.windows.iter().zip(answer.iter().skip(4)) {
            let log = text(Some(log))?.parse().map_err(|_| unexpected(log))?;
            ledger.set_log(window, log);
        }
        Ok((ledger, now_ms))
    }

    async fn reset(&self, budget: &Budget) -> Result<()> {
        self.with_shadow(budget, |shadow, _| shadow.own = Ledger::default());
        self.quota(budget, "reset", Vec::new()).await?;
        Ok(())
    }
}

impl Redis {
    /// Says what this process has spent whenever the connection was made anew.
    pub(super) async fn keep_shadows(&self, stop: &CancellationToken) {
        let mut connections = self.commander.connections();
        loop {
            tokio::select! {
                changed = connections.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            if connections.borrow_and_update().is_none() {
                continue;
            }
            for budget in self.spent_budgets() {
                // Taking nothing tells whether the record is the one that is known. A failure is met by the next take.
                tokio::select! {
                    told = self.take(&budget, 0) => drop(told),
                    () = stop.cancelled() => return,
                }
            }
        }
    }

    /// Calls the script; first tells what this process has spent, when the record is not the one that it knows.
    async fn quota(&self, budget: &Budget, verb: &str, more: Vec<Value>) -> Result<Vec<Value>> {
        for _ in 0..MAX_ROUNDS {
            let answer = self.quota_once(budget, verb, more.clone()).await?;
            if text(answer.get(1))? != "lost" {
                return Ok(answer);
            }
            let told = self.with_shadow(budget, |shadow, now_ms| {
                shadow.own.levels(&budget.windows, now_ms);
                let spent = |window| shadow.own.log(window).map(|log| log.spent(now_ms).collect()).unwrap_or_default();
                let logs: Vec<Vec<(u64, u64)>> = budget.windows.iter().map(spent).collect();
                logs_told(shadow.own.held_ms(now_ms), &logs)
            });
            self.quota_once(budget, "tell", told).await?;
        }
        Err(BrokerError::Unavailable("the budget's record is lost again and again".into()))
    }

    async fn quota_once(&self, budget: &Budget, verb: &str, more: Vec<Value>) -> Result<Vec<Value>> {
        let known = self.with_shadow(budget, |shadow, _| shadow.record.clone());
        let keys = vec![self.names.key(&[keys::RATELIMIT_PREFIX, &budget.name].concat()).into()];
        let mut args: Vec<Value> = vec!["".into(), known.into(), budget.windows.len().to_string().into()];
        for window in &budget.windows {
            args.push(window.length_ms().to_string().into());
            args.push(i64::from(window.limit.get()).into());
        }
        args.push(verb.into());
        args.extend(more);
        let answer = parts(self.commander.eval(&QUOTA, keys, args).await?)?;
        let (name, outcome) = (text(answer.first())?, text(answer.get(1))?);
        if !matches!(outcome.as_str(), "lost" | "levels") {
            self.with_shadow(budget, |shadow, _| shadow.record = name);
        }
        Ok(answer)
    }

    fn spent_budgets(&self) -> Vec<Budget> {
        let shadows = self.shadows.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shadows.budgets.values().filter(|shadow| !shadow.record.is_empty());
        known.map(|shadow| shadow.budget.clone()).collect()
    }

    fn with_shadow<T>(&self, budget: &Budget, call: impl FnOnce(&mut Shadow, u64) -> T) -> T {
        let mut shadows = self.shadows.lock().unwrap_or_else(PoisonError::into_inner);
        let start = *shadows.start.get_or_insert_with(Instant::now);
        // Counted from a day-long past, so that what was spent before the first call has a time too.
        let now_ms = millis(start.elapsed() + Duration::from_secs(2 * 86_400));
        let new = || Shadow { budget: budget.clone(), record: String::new(), own: Ledger::default() };
        let shadow = shadows.budgets.entry_ref(budget.name.as_str()).or_insert_with(new);
        if shadow.budget.windows != budget.windows {
            shadow.budget = budget.clone();
        }
        call(shadow, now_ms)
    }
}

/// How long it is held, then of each window how many entries, how long ago and how much each.
fn logs_told(held_ms: u64, logs: &[Vec<(u64, u64)>]) -> Vec<Value> {
    let mut args: Vec<Value> = vec![held_ms.to_string().into()];
    for log in logs {
        args.push(log.len().to_string().into());
        args.extend(log.iter().flat_map(|(ago_ms, units)| [ago_ms.to_string().into(), units.to_string().into()]));
    }
    args
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}
