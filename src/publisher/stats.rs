//! What a publisher shows of itself: the `publisher` object of `/stats` and `/health`, and of `tickcast control status`.
//!
//! A snapshot takes a few locks for a few moves and asks nobody; budgets are as they were last read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::shared::{LaneBoard, Role, Shared};

pub use super::shared::Cost;
use crate::broker;
use crate::protocol::control::State;
use crate::provider::meters::window_name;
use crate::provider::{Name, Status};
use crate::quota::{Level, breaker};

/// Sees a publisher from outside. Cheap to clone; outlives it.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// A publisher at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// `running`, or `paused` when everything is.
    pub state: &'static str,
    /// Whether it polls; the others stand by.
    pub leader: bool,
    /// Who it is.
    pub name: String,
    /// What its numbers begin with, while it leads.
    pub epoch: Option<u64>,
    /// What is paused, and since when; `null` until that was read.
    pub paused: Option<State>,
    /// Symbols polled: watched, pinned and indices.
    pub symbols: usize,
    /// Of the watched ones, those no provider has.
    pub unserved: usize,
    /// Quotes waiting to be published.
    pub buffered: usize,
    /// Updates published since the start.
    pub published: u64,
    /// Quotes that said nothing new.
    pub unchanged: u64,
    /// Since the last publish.
    pub last_publish_age_ms: Option<u64>,
    /// By name.
    pub providers: BTreeMap<&'static str, ProviderStats>,
}

/// The few words of it that `/health` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `running`, or `paused` when everything is.
    pub state: &'static str,
    /// Whether it polls; the others stand by.
    pub leader: bool,
    /// Symbols polled.
    pub symbols: usize,
    /// Quotes waiting to be published.
    pub buffered: usize,
    /// Since the last publish.
    pub last_publish_age_ms: Option<u64>,
    /// Providers whose breaker is not closed, or that are parked.
    pub troubled: Vec<&'static str>,
}

/// One provider at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProviderStats {
    /// `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// What is left of it.
    #[serde(flatten)]
    pub budget: ProviderBudget,
    /// Expected and actual.
    pub calls: Calls,
    /// Symbols ready to be polled that wait for their turn.
    pub queued: usize,
    /// Requests under way.
    pub in_flight: u64,
    /// Why it is not asked at all, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<Parked>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// One provider's budget at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProviderBudget {
    /// By window; none where nothing limits it.
    pub budget: BTreeMap<String, BudgetStats>,
    /// Units spent in the last 24 hours, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent_today: Option<u64>,
}

/// One window of a budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetStats {
    /// Units left.
    pub available: u32,
    /// Units in all.
    pub capacity: u32,
    /// Units that become available again in a minute, on average.
    pub refill_per_minute: f64,
    /// Until all are available again, if none is spent.
    pub full_in_s: f64,
}

/// What polling cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Since the start.
    #[serde(flatten)]
    pub total: Cost,
    /// Of the last whole cycle in which it was asked, and of what newcomers were asked for since the one before.
    pub last_cycle: Option<Cost>,
}

/// One provider's budget, and what polling it costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spending {
    /// What is left.
    #[serde(flatten)]
    pub budget: ProviderBudget,
    /// Expected and actual.
    pub calls: Calls,
}

/// Why a provider is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// In words.
    pub why: String,
    /// For how much longer.
    pub for_s: u64,
}

impl Handle {
    /// How it is doing now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.0;
        let paused = shared.paused.borrow().clone();
        let role = shared.role();
        let last = *shared.last_publish.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            state: if paused.as_ref().is_some_and(State::is_all_paused) { "paused" } else { "running" },
            leader: role.is_leading(),
            name: shared.name.clone(),
            epoch: match role {
                Role::Leading { epoch, .. } => Some(epoch.0),
                Role::Standby => None,
            },
            paused,
            symbols: shared.watched.load(Ordering::Relaxed),
            unserved: shared.unserved.load(Ordering::Relaxed),
            buffered: shared.buffered(),
            published: shared.published.load(Ordering::Relaxed),
            unchanged: shared.unchanged.load(Ordering::Relaxed),
            last_publish_age_ms: last.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
            providers: shared.lanes.iter().map(|lane| (lane.provider.name().as_str(), lane.stats())).collect(),
        }
    }

    /// In a few words.
    #[must_use]
    pub fn health(&self) -> Health {
        let Stats { state, leader, symbols, buffered, last_publish_age_ms, providers, .. } = self.stats();
        let is_troubled = |provider: &ProviderStats| provider.parked.is_some() || provider.breaker != "closed";
        let troubled = providers.iter().filter(|(_, provider)| is_troubled(provider)).map(|(name, _)| *name).collect();
        Health { state, leader, symbols, buffered, last_publish_age_ms, troubled }
    }

    /// Brings those gauges up to date that change by time alone: breakers that are half-open by now.
    pub fn set_gauges(&self) {
        for lane in &self.0.lanes {
            drop(lane.provider.status());
        }
    }

    /// Each provider's budget, read now, and what polling it costs: an answer from the broker for each.
    pub async fn budgets(&self) -> BTreeMap<&'static str, Spending> {
        let mut budgets = BTreeMap::new();
        for lane in &self.0.lanes {
            lane.provider.read_budget().await;
            let status = lane.provider.status();
            let spending = Spending { budget: ProviderBudget::from(&status), calls: lane.calls(&status) };
            budgets.insert(lane.provider.name().as_str(), spending);
        }
        budgets
    }

    /// Forgets what was spent of a provider's budget. `None` when there is no such provider here, or nothing limits it.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn reset_budget(&self, name: Name) -> Option<broker::Result<()>> {
        let lane = self.0.lanes.iter().find(|lane| lane.provider.name() == name)?;
        lane.provider.budget()?;
        Some(lane.provider.reset_budget().await)
    }

    /// Whether it polls.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0.role().is_leading()
    }
}

impl LaneBoard {
    fn stats(&self) -> ProviderStats {
        let status = self.provider.status();
        ProviderStats {
            breaker: status.breaker.unwrap_or(breaker::State::Closed).as_str(),
            budget: ProviderBudget::from(&status),
            calls: self.calls(&status),
            queued: self.queued.load(Ordering::Relaxed),
            in_flight: status.in_flight,
            parked: status.parked.map(|(why, left)| Parked { why, for_s: left.as_secs() }),
            last_failure: status.last_failure,
        }
    }

    fn calls(&self, status: &Status) -> Calls {
        let total = Cost { expected: self.expected.load(Ordering::Relaxed), actual: status.calls };
        Calls { total, last_cycle: self.last_cycle() }
    }
}

impl From<&Status> for ProviderBudget {
    fn from(status: &Status) -> ProviderBudget {
        let window = |level: &Level| (window_name(&level.window), BudgetStats::from(level));
        ProviderBudget { budget: status.budget.iter().map(window).collect(), spent_today: status.spent_today }
    }
}

impl From<&Level> for BudgetStats {
    fn from(level: &Level) -> BudgetStats {
        let capacity = level.window.limit.get();
        let minutes = level.window.length.as_secs_f64() / 60.0;
        BudgetStats {
            available: level.available,
            capacity,
            refill_per_minute: (f64::from(capacity) / minutes * 1000.0).round() / 1000.0,
            full_in_s: (level.full_in.as_secs_f64() * 10.0).round() / 10.0,
        }
    }
}
