//! What this gateway's clients watch, summed over its shards, and the task that reports it to the broker's registry.
//!
//! Shards tell their absolute counts a few times a second; nothing here is touched per delivery. Readers that are not
//! sockets (REST, SSE) count as one source more, through [`Interest::set`]. Bounded by what clients may watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{GatewayId, Registry, Reporter};
use crate::market::Symbol;

/// Counts by symbol and source: each shard is one, so are readers that are not sockets.
#[derive(Default)]
pub struct Interest {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Per symbol, each source's count; a source without watchers is not listed.
    counts: HashMap<Symbol, Vec<(u16, u32)>>,
    changed: HashSet<Symbol>,
}

impl Interest {
    /// Sets one source's counts.
    pub fn set(&self, source: u16, counts: &[(Symbol, u32)]) {
        if counts.is_empty() {
            return;
        }
        let mut state = self.lock();
        for &(symbol, count) in counts {
            let sources = state.counts.entry(symbol).or_default();
            sources.retain(|&(other, _)| other != source);
            if count > 0 {
                sources.push((source, count));
            } else if sources.is_empty() {
                state.counts.remove(&symbol);
            }
            state.changed.insert(symbol);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Sets all of one source's counts to nothing.
    pub(super) fn forget(&self, source: u16) {
        let counted = |(&symbol, sources): (&Symbol, &Vec<(u16, u32)>)| {
            sources.iter().any(|&(other, _)| other == source).then_some((symbol, 0))
        };
        let counts: Vec<(Symbol, u32)> = self.lock().counts.iter().filter_map(counted).collect();
        self.set(source, &counts);
    }

    /// Every symbol with a watcher.
    #[must_use]
    pub fn watched(&self) -> Vec<Symbol> {
        self.lock().counts.keys().copied().collect()
    }

    /// Distinct symbols, and watchers over all of them.
    #[must_use]
    pub fn census(&self) -> (usize, u64) {
        let state = self.lock();
        let watchers = state.counts.values().flatten().map(|&(_, count)| u64::from(count)).sum();
        (state.counts.len(), watchers)
    }

    fn take_changed(&self) -> Vec<(Symbol, u32)> {
        let mut state = self.lock();
        let changed = std::mem::take(&mut state.changed);
        let sum = |symbol| state.counts.get(&symbol).map_or(0, |sources| sources.iter().map(|&(_, count)| count).sum());
        changed.into_iter().map(|symbol| (symbol, sum(symbol))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports `interest` to the registry until `stop`, then takes the gateway out of it. `resumed` fires when the broker
/// came back, so that everything is reported at once.
pub(super) async fn report(
    interest: Arc<Interest>,
    registry: Arc<dyn Registry>,
    gateway: GatewayId,
    resumed: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut reporter = Reporter::new();
    loop {
        for (symbol, count) in interest.take_changed() {
            reporter.set(symbol, count, Instant::now());
        }
        let now = Instant::now();
        if let Some(counts) = reporter.take(now) {
            let held = match registry.report(&gateway, &counts).await {
                Ok(held) => Some(held),
                Err(error) => {
                    debug!(%error, "subscription counts could not be reported");
                    None
                }
            };
            reporter.answered(held, Instant::now());
            continue;
        }
        let due = reporter.due(now).unwrap_or(now);
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = interest.changed.notified() => {}
            () = resumed.notified() => reporter.report_all(),
            () = stop.cancelled() => break,
        }
    }
    if let Err(error) = registry.leave(&gateway).await {
        warn!(%error, "could not leave the registry; the lease will run out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_sources() {
        let interest = Interest::default();
        let symbol = |text| Symbol::parse(text).unwrap();
        interest.set(0, &[(symbol("A"), 2), (symbol("B"), 1)]);
        interest.set(1, &[(symbol("A"), 3)]);
        assert_eq!(interest.census(), (2, 6));
        let mut changed = interest.take_changed();
        changed.sort();
        assert_eq!(changed, [(symbol("A"), 5), (symbol("B"), 1)]);
        interest.set(0, &[(symbol("A"), 0), (symbol("B"), 0)]);
        interest.set(1, &[(symbol("A"), 1)]);
        let mut changed = interest.take_changed();
        changed.sort();
        assert_eq!(changed, [(symbol("A"), 1), (symbol("B"), 0)]);
        assert_eq!((interest.watched(), interest.take_changed()), (vec![symbol("A")], vec![]));
        interest.forget(1);
        assert_eq!((interest.watched(), interest.take_changed()), (vec![], vec![(symbol("A"), 0)]));
    }
}
