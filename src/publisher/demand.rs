//! Who wants quotes of what: the registry's counts and events, pinned symbols, and how they become what is polled.
//!
//! Events tell at once that a symbol is watched or no longer is; the registry's whole list, read now and then, heals
//! what events missed. A symbol missing from that list may be in its leave delay and come back without an event, so it
//! is dropped only when an event says so or it was missing for [`LINGER`].
//!
//! Pure; its owner is the cycle. Bounded by [`MAX_WATCHED`]; what is watched beyond is not polled, and counted.

use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

use crate::broker::LEAVE_DELAY;
use crate::market::Symbol;

/// Symbols known to be watched; the schedule's own bound.
pub const MAX_WATCHED: usize = 100_000;
/// How long a symbol may be missing from the registry's list before it counts as left.
pub const LINGER: Duration = Duration::from_secs(LEAVE_DELAY.as_secs() + 5);

/// What changed for one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub symbol: Symbol,
    /// Its watchers now.
    pub watchers: u64,
    /// It had none before.
    pub is_new: bool,
}

/// Who wants what.
#[derive(Debug, Default)]
pub struct Demand {
    watched: HashMap<Symbol, Watch>,
    /// What events changed since the list that is under way was asked for: it may be older than they are.
    touched: Option<HashSet<Symbol>>,
    refused: u64,
}

#[derive(Debug, Clone, Copy)]
struct Watch {
    watchers: u64,
    missing_since: Option<Duration>,
}

/// An event on the subscriptions channel.
#[derive(Deserialize)]
struct Event {
    action: Action,
    symbol: Symbol,
    #[serde(default)]
    count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Subscribe,
    Unsubscribe,
}

impl Demand {
    /// Takes in an event. `None` when it is none, or changes nothing.
    pub fn event(&mut self, payload: &[u8]) -> Option<Change> {
        let Event { action, symbol, count } = serde_json::from_slice(payload).ok()?;
        if let Some(touched) = &mut self.touched {
            touched.insert(symbol);
        }
        match action {
            Action::Subscribe => self.set(symbol, count.max(1)),
            Action::Unsubscribe => {
                self.watched.remove(&symbol)?;
                Some(Change { symbol, watchers: 0, is_new: false })
            }
        }
    }

    /// The registry's list is being asked for: events from now on may be newer than it is.
    pub fn begin_list(&mut self) {
        self.touched = Some(HashSet::new());
    }

    /// Takes in the registry's list, or `None` when it could not be had. Returns what changed.
    pub fn end_list(&mut self, list: Option<Vec<(Symbol, u64)>>, now: Duration) -> Vec<Change> {
        let touched = self.touched.take().unwrap_or_default();
        let Some(list) = list else { return vec![] };
        let listed: HashMap<Symbol, u64> = list.into_iter().filter(|(_, watchers)| *watchers > 0).collect();
        let mut changes = Vec::new();
        self.watched.retain(|symbol, watch| {
            if listed.contains_key(symbol) || touched.contains(symbol) {
                watch.missing_since = None;
                return true;
            }
            let since = *watch.missing_since.get_or_insert(now);
            let stays = now.saturating_sub(since) < LINGER;
            if !stays {
                changes.push(Change { symbol: *symbol, watchers: 0, is_new: false });
            }
            stays
        });
        let news = listed.into_iter().filter(|(symbol, _)| !touched.contains(symbol));
        changes.extend(news.filter_map(|(symbol, watchers)| self.set(symbol, watchers)));
        changes
    }

    /// Whether `symbol` is watched.
    #[must_use]
    pub fn contains(&self, symbol: Symbol) -> bool {
        self.watched.contains_key(&symbol)
    }

    /// Symbols watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// How often a symbol was refused for want of room.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn set(&mut self, symbol: Symbol, watchers: u64) -> Option<Change> {
        if let Some(watch) = self.watched.get_mut(&symbol) {
            watch.missing_since = None;
            let before = std::mem::replace(&mut watch.watchers, watchers);
            return (before != watchers).then_some(Change { symbol, watchers, is_new: false });
        }
        if self.watched.len() == MAX_WATCHED {
            self.refused += 1;
            return None;
        }
        self.watched.insert(symbol, Watch { watchers, missing_since: None });
        Some(Change { symbol, watchers, is_new: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    fn event(demand: &mut Demand, action: &str, text: &str, count: u64) -> Option<Change> {
        demand.event(format!(r#"{{"action":"{action}","symbol":"{text}","count":{count},"gateway":"g"}}"#).as_bytes())
    }

    fn list(demand: &mut Demand, list: &[(&str, u64)], seconds: u64) -> Vec<Change> {
        demand.begin_list();
        let list = list.iter().map(|(text, count)| (symbol(text), *count)).collect();
        demand.end_list(Some(list), Duration::from_secs(seconds))
    }

    #[test]
    fn events_tell_of_a_symbols_first_and_last_watcher() {
        let mut demand = Demand::default();
        let change = |text, watchers, is_new| Some(Change { symbol: symbol(text), watchers, is_new });
        assert_eq!(event(&mut demand, "subscribe", "A", 1), change("A", 1, true));
        assert_eq!(event(&mut demand, "subscribe", "A", 1), None);
        assert_eq!(event(&mut demand, "unsubscribe", "A", 0), change("A", 0, false));
        assert_eq!(event(&mut demand, "unsubscribe", "A", 0), None);
        assert_eq!(demand.event(b"{\"action\":\"other\",\"symbol\":\"A\"}"), None);
        assert_eq!(demand.event(b"\xff"), None);
        assert!(demand.is_empty());
    }

    #[test]
    fn the_list_heals_what_events_missed() {
        let mut demand = Demand::default();
        assert_eq!(
            list(&mut demand, &[("A", 3), ("B", 0)], 0),
            [Change { symbol: symbol("A"), watchers: 3, is_new: true }]
        );
        assert_eq!(list(&mut demand, &[("A", 4)], 1), [Change { symbol: symbol("A"), watchers: 4, is_new: false }]);
        demand.begin_list();
        assert_eq!(demand.end_list(None, Duration::ZERO), []);
        assert_eq!(demand.len(), 1);
    }

    #[test]
    fn a_symbol_in_its_leave_delay_is_not_dropped() {
        let mut demand = Demand::default();
        list(&mut demand, &[("A", 1)], 0);
        assert_eq!(list(&mut demand, &[], 10), []);
        assert_eq!(list(&mut demand, &[("A", 1)], 20), [], "it came back without an event");
        assert_eq!(list(&mut demand, &[], 30), []);
        assert_eq!(list(&mut demand, &[], 45), [Change { symbol: symbol("A"), watchers: 0, is_new: false }]);
    }

    #[test]
    fn an_event_is_newer_than_the_list_that_was_under_way() {
        let mut demand = Demand::default();
        list(&mut demand, &[("A", 1), ("B", 1)], 0);
        demand.begin_list();
        event(&mut demand, "unsubscribe", "A", 0);
        event(&mut demand, "subscribe", "C", 2);
        assert_eq!(demand.end_list(Some(vec![(symbol("A"), 1), (symbol("B"), 1)]), Duration::from_secs(60)), []);
        assert_eq!(demand.len(), 2);
    }
}
