//! Who watches what: the registry's rules as plain state, which the Redis scripts (`redis/scripts/registry.lua`) follow.
//!
//! A symbol is *watched* while its sum over the live gateways is above zero. It is *active* from the announcement of
//! its first watcher to the announcement that the last has left, which waits the leave delay, except when a gateway
//! drained or died. Owned by the embedded broker; bounded by what its gateways report.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};

use super::clock::millis;
use crate::broker::GatewayId;
use crate::broker::config::Timing;
use crate::market::Symbol;

/// The registry's state.
pub(super) struct Watchers {
    timing: Timing,
    gateways: HashMap<GatewayId, Gateway>,
    totals: HashMap<Symbol, u64>,
    active: HashSet<Symbol>,
    /// Active symbols without watchers: when they are announced as gone, and who had the last watcher.
    leaving: HashMap<Symbol, (u64, GatewayId)>,
    by_time: BTreeSet<(u64, Symbol)>,
    /// What the current call has to announce.
    changes: Vec<Change>,
}

struct Gateway {
    lease_until_ms: u64,
    counts: HashMap<Symbol, u32>,
}

/// Something to announce.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) action: Action,
    pub(super) symbol: Symbol,
    pub(super) count: u64,
    pub(super) gateway: GatewayId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Subscribe,
    Unsubscribe,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Action::Subscribe => "subscribe",
            Action::Unsubscribe => "unsubscribe",
        }
    }
}

/// Whether the last watcher's leaving waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Delayed,
    AtOnce,
}

impl Watchers {
    pub(super) fn new(timing: Timing) -> Watchers {
        Watchers {
            timing,
            gateways: HashMap::new(),
            totals: HashMap::new(),
            active: HashSet::new(),
            leaving: HashMap::new(),
            by_time: BTreeSet::new(),
            changes: Vec::new(),
        }
    }

    /// Renews the lease and sets counts. Returns how many symbols are held for the gateway.
    pub(super) fn report(&mut self, id: &GatewayId, counts: &[(Symbol, u32)], now_ms: u64) -> (u64, Vec<Change>) {
        self.expire(now_ms);
        let lease_until_ms = now_ms + millis(self.timing.lease);
        let gateway = self.gateways.entry_ref(id).or_insert(Gateway { lease_until_ms, counts: HashMap::new() });
        gateway.lease_until_ms = lease_until_ms;
        for (symbol, count) in counts {
            self.set(id, *symbol, *count, Leaving::Delayed, now_ms);
        }
        self.announce_due(now_ms);
        let held = self.gateways.get(id).map_or(0, |gateway| gateway.counts.len());
        (held as u64, std::mem::take(&mut self.changes))
    }

    /// Removes a drained gateway; what it had, or had last, is announced at once.
    pub(super) fn leave(&mut self, id: &GatewayId, now_ms: u64) -> Vec<Change> {
        self.remove(id, now_ms);
        let last = self.leaving.iter().filter(|(_, (_, gateway))| gateway == id);
        let symbols: Vec<Symbol> = last.map(|(symbol, _)| *symbol).collect();
        for symbol in symbols {
            self.announce_gone(symbol);
        }
        self.sweep(now_ms)
    }

    /// Subtracts expired gateways and announces the symbols whose delay is over.
    pub(super) fn sweep(&mut self, now_ms: u64) -> Vec<Change> {
        self.expire(now_ms);
        self.announce_due(now_ms);
        std::mem::take(&mut self.changes)
    }

    /// Every watched symbol with its watchers.
    pub(super) fn totals(&self) -> impl Iterator<Item = (Symbol, u64)> + '_ {
        self.totals.iter().map(|(symbol, total)| (*symbol, *total))
    }

    fn expire(&mut self, now_ms: u64) {
        let expired = self.gateways.iter().filter(|(_, gateway)| gateway.lease_until_ms <= now_ms);
        let expired: Vec<GatewayId> = expired.map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.remove(&id, now_ms);
        }
    }

    fn remove(&mut self, id: &GatewayId, now_ms: u64) {
        let Some(gateway) = self.gateways.get(id) else { return };
        let symbols: Vec<Symbol> = gateway.counts.keys().copied().collect();
        for symbol in symbols {
            self.set(id, symbol, 0, Leaving::AtOnce, now_ms);
        }
        self.gateways.remove(id);
    }

    fn set(&mut self, id: &GatewayId, symbol: Symbol, count: u32, leaving: Leaving, now_ms: u64) {
        let Some(gateway) = self.gateways.get_mut(id) else { return };
        let own = if count == 0 { gateway.counts.remove(&symbol) } else { gateway.counts.insert(symbol, count) };
        let before = self.totals.get(&symbol).copied().unwrap_or(0);
        let total = before - u64::from(own.unwrap_or(0)) + u64::from(count);
        if total == 0 {
            self.totals.remove(&symbol)
        } else {
            self.totals.insert(symbol, total)
        };
        match (before, total) {
            (0, 1..) => {
                self.stay(symbol);
                if self.active.insert(symbol) {
                    self.changes.push(Change { action: Action::Subscribe, symbol, count: total, gateway: id.clone() });
                }
            }
            (1.., 0) => {
                let at_ms = now_ms + millis(self.timing.leave_delay);
                self.leaving.insert(symbol, (at_ms, id.clone()));
                self.by_time.insert((at_ms, symbol));
                if leaving == Leaving::AtOnce {
                    self.announce_gone(symbol);
                }
            }
            _ => {}
        }
    }

    fn stay(&mut self, symbol: Symbol) -> Option<GatewayId> {
        let (at_ms, gateway) = self.leaving.remove(&symbol)?;
        self.by_time.remove(&(at_ms, symbol));
        Some(gateway)
    }

    fn announce_due(&mut self, now_ms: u64) {
        while let Some((at_ms, symbol)) = self.by_time.first().copied()
            && at_ms <= now_ms
        {
            self.announce_gone(symbol);
        }
    }

    fn announce_gone(&mut self, symbol: Symbol) {
        let Some(gateway) = self.stay(symbol) else { return };
        self.active.remove(&symbol);
        self.changes.push(Change { action: Action::Unsubscribe, symbol, count: 0, gateway });
    }
}
