//! Budget arithmetic: at most N in *any* span of a window's length.
//!
//! Vendors count in windows whose phase nobody knows. A token bucket that refills smoothly allows 2N−1 calls across the
//! edge of a fixed window, and a counter per fixed window allows 2N across its own. So spending is kept as a log, and
//! a unit is available again only when it is older than the window: the sliding-window log, quantised so that memory
//! is bounded. Units spent within one slot (1/64 of the window) share one entry, which ages as a whole by its
//! *newest* unit, so that quantising only ever errs towards spending less.
//!
//! The Redis broker's script (`broker/redis/scripts/quota.lua`) mirrors [`Ledger::take`]; a test compares
//! the two.
//!
//! **Limits.** At most [`MAX_ENTRIES`] entries a window, whatever was spent. A clock that jumps back makes entries of
//! "the future" count from now on: never over budget, and never longer than one window blocked. A clock that jumps
//! forward cannot be told from time that passed.
//!
//! **Saturated**, at least 95 % of the limit is usable for windows of 100 ms or more:
//! 1 / (1 + 1/40 guard + 1/64 slot) = 96 %.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// Slots a window is quantised into.
pub const SLOTS: u64 = 64;

/// The most entries one window's log may have: two neighbours together span a slot at least, and the log covers one
/// window, its guard (1/40) and a slot: 2 · (64 · 1.025 + 1) + 2 = 136.
pub const MAX_ENTRIES: usize = 136;

/// What a provider allows one key (or address).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The provider, with a digest of the key where there is one: `massive`, `massive:9f86d081`. The record is
    /// `ratelimit:{name}`.
    pub name: String,
    /// All of them hold at once.
    pub windows: Vec<Window>,
}

/// At most `limit` in any span of `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// One second, one minute or one day, usually. Counted in whole milliseconds, at least one.
    pub length: Duration,
    /// In the vendor's units: calls, credits or weight.
    pub limit: NonZeroU32,
}

/// The answer to a request for `cost` units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Spent: make the call.
    Granted,
    /// Nothing spent; this soon at the earliest is there enough, if nobody else takes it.
    Wait(Duration),
    /// More than a window's whole limit: it will never be granted.
    Never,
}

/// Where one window stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The window.
    pub window: Window,
    /// What could be taken now.
    pub available: u32,
    /// What was taken of it within the window.
    pub spent: u64,
    /// Until all of the limit is available again, if nothing is taken.
    pub full_in: Duration,
}

/// What was spent of one budget: a log per window length, and a hold. Times are milliseconds on the owner's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    logs: BTreeMap<u64, Log>,
    hold: Option<Hold>,
}

/// Units spent, oldest first, as text `first:last:units first:last:units …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log(VecDeque<Entry>);

/// Units spent within one slot of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    first_ms: u64,
    last_ms: u64,
    units: u64,
}

/// Grants nothing until `until_ms`. `set_ms` shows a clock that jumped back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    set_ms: u64,
    until_ms: u64,
}

impl Window {
    /// One that counts what is spent within `length`, and limits nothing.
    #[must_use]
    pub const fn tally(length: Duration) -> Window {
        Window { length, limit: NonZeroU32::MAX }
    }

    /// Whether it only counts.
    #[must_use]
    pub fn is_tally(&self) -> bool {
        self.limit == NonZeroU32::MAX
    }

    /// The length in milliseconds, at least one.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        millis(self.length).max(1)
    }

    /// How long a spent unit counts: the length, and a guard for what lies between a grant and the vendor's counting
    /// of the call. Requests of two grants may travel differently long, so that the vendor sees them closer together
    /// than they were granted; 1/40 of the window, at most 2 s, and 1 ms because times are whole milliseconds.
    #[must_use]
    pub fn keep_ms(&self) -> u64 {
        self.length_ms() + (self.length_ms() / 40).clamp(1, 2000)
    }

    /// How long after its first unit an entry takes more.
    #[must_use]
    pub fn slot_ms(&self) -> u64 {
        self.length_ms().div_ceil(SLOTS)
    }
}

impl Ledger {
    /// Takes `cost` from every window, or nothing from any.
    pub fn take(&mut self, windows: &[Window], cost: u32, now_ms: u64) -> Taken {
        if windows.iter().any(|window| cost > window.limit.get()) {
            return Taken::Never;
        }
        let mut wait_ms = self.held_ms(now_ms);
        for window in windows {
            let log = self.aged(window, now_ms);
            wait_ms = wait_ms.max(log.wait_ms(window, cost, now_ms));
        }
        if wait_ms > 0 {
            return Taken::Wait(Duration::from_millis(wait_ms));
        }
        self.spend(windows, cost, now_ms);
        Taken::Granted
    }

    /// Records `cost` units that were spent at `at_ms` without asking, over the limit or not.
    pub fn record(&mut self, windows: &[Window], cost: u32, at_ms: u64, now_ms: u64) {
        // A clock that jumped back is noticed by whatever is asked first.
        self.held_ms(now_ms);
        let at_ms = at_ms.min(now_ms);
        for window in distinct(windows) {
            let log = self.aged(&window, now_ms);
            if cost > 0 && at_ms + window.keep_ms() > now_ms {
                log.insert(&window, Entry { first_ms: at_ms, last_ms: at_ms, units: cost.into() });
            }
        }
    }

    /// Grants nothing for the next `span_ms`. Never shortens an earlier hold.
    pub fn hold(&mut self, span_ms: u64, now_ms: u64) {
        let until_ms = now_ms + self.held_ms(now_ms).max(span_ms.min(1 << 50));
        self.hold = Some(Hold { set_ms: now_ms, until_ms });
    }

    /// Where each window stands, in order.
    pub fn levels(&mut self, windows: &[Window], now_ms: u64) -> Vec<Level> {
        let held_ms = self.held_ms(now_ms);
        let level = |window: &Window| {
            let log = self.aged(window, now_ms);
            let spent = log.units();
            let free = window.limit.get().saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX));
            Level {
                window: *window,
                available: if held_ms > 0 { 0 } else { free },
                spent,
                full_in: Duration::from_millis(log.empty_in_ms(window, now_ms).max(held_ms)),
            }
        };
        windows.iter().map(level).collect()
    }

    /// Whether forgetting this ledger changes nothing.
    pub fn is_idle(&mut self, windows: &[Window], now_ms: u64) -> bool {
        self.held_ms(now_ms) == 0 && windows.iter().all(|window| self.aged(window, now_ms).0.is_empty())
    }

    /// The log of one window length, by milliseconds; to be written down elsewhere.
    #[must_use]
    pub fn log(&self, window: &Window) -> Option<&Log> {
        self.logs.get(&window.length_ms())
    }

    /// Replaces the log of one window length, as read from elsewhere.
    pub fn set_log(&mut self, window: &Window, log: Log) {
        self.logs.insert(window.length_ms(), log);
    }

    /// The same on another clock, which says `there_ms` when this one's owner's says `here_ms`.
    #[must_use]
    pub fn on_clock(&self, here_ms: u64, there_ms: u64) -> Ledger {
        let moved = |at_ms: u64| (at_ms + there_ms).saturating_sub(here_ms);
        let entry = |entry: &Entry| Entry {
            first_ms: moved(entry.first_ms),
            last_ms: moved(entry.last_ms),
            units: entry.units,
        };
        let log = |(length, log): (&u64, &Log)| (*length, Log(log.0.iter().map(entry).collect()));
        let hold = self.hold.map(|hold| Hold { set_ms: moved(hold.set_ms), until_ms: moved(hold.until_ms) });
        Ledger { logs: self.logs.iter().map(log).collect(), hold }
    }

    /// Until the hold ends.
    pub fn held_ms(&mut self, now_ms: u64) -> u64 {
        let Some(hold) = &mut self.hold else { return 0 };
        if hold.set_ms > now_ms {
            *hold = Hold { set_ms: now_ms, until_ms: now_ms + (hold.until_ms - hold.set_ms) };
        }
        let left_ms = hold.until_ms.saturating_sub(now_ms);
        if left_ms == 0 {
            self.hold = None;
        }
        left_ms
    }

    fn spend(&mut self, windows: &[Window], cost: u32, now_ms: u64) {
        if cost > 0 {
            for window in distinct(windows) {
                self.logs.entry(window.length_ms()).or_default().append(&window, cost, now_ms);
            }
        }
    }

    fn aged(&mut self, window: &Window, now_ms: u64) -> &mut Log {
        let log = self.logs.entry(window.length_ms()).or_default();
        log.age(window, now_ms);
        log
    }
}

impl Log {
    /// Forgets what no longer counts, and brings what lies in the future back to now.
    fn age(&mut self, window: &Window, now_ms: u64) {
        if self.0.back().is_some_and(|newest| newest.last_ms > now_ms) {
            for entry in &mut self.0 {
                entry.last_ms = entry.last_ms.min(now_ms);
                entry.first_ms = entry.first_ms.min(now_ms);
            }
            self.join(window);
        }
        while self.0.front().is_some_and(|entry| entry.last_ms + window.keep_ms() <= now_ms) {
            self.0.pop_front();
        }
    }

    fn units(&self) -> u64 {
        self.0.iter().map(|entry| entry.units).sum()
    }

    /// Until `cost` fits below the limit. Entries end in order, so the first one whose end frees enough decides.
    fn wait_ms(&self, window: &Window, cost: u32, now_ms: u64) -> u64 {
        let mut excess = (self.units() + u64::from(cost)).saturating_sub(window.limit.get().into());
        let mut wait_ms = 0;
        for entry in &self.0 {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(entry.units);
            wait_ms = entry.last_ms + window.keep_ms() - now_ms;
        }
        wait_ms
    }

    fn empty_in_ms(&self, window: &Window, now_ms: u64) -> u64 {
        self.0.back().map_or(0, |newest| newest.last_ms + window.keep_ms() - now_ms)
    }

    fn append(&mut self, window: &Window, cost: u32, now_ms: u64) {
        match self.0.back_mut() {
            Some(newest) if now_ms - newest.first_ms < window.slot_ms() => {
                newest.last_ms = now_ms;
                newest.units += u64::from(cost);
            }
            _ => self.0.push_back(Entry { first_ms: now_ms, last_ms: now_ms, units: cost.into() }),
        }
    }

    /// Puts units spent earlier in their place.
    fn insert(&mut self, window: &Window, entry: Entry) {
        let place = self.0.partition_point(|other| other.last_ms <= entry.last_ms);
        self.0.insert(place, entry);
        self.join(window);
    }

    /// Joins neighbours that fit into one slot, so that the log stays bounded.
    fn join(&mut self, window: &Window) {
        let mut joined: VecDeque<Entry> = VecDeque::with_capacity(self.0.len());
        for entry in self.0.drain(..) {
            match joined.back_mut() {
                Some(older) if entry.last_ms - older.first_ms.min(entry.first_ms) < window.slot_ms() => {
                    older.first_ms = older.first_ms.min(entry.first_ms);
                    older.last_ms = entry.last_ms;
                    older.units += entry.units;
                }
                _ => joined.push_back(entry),
            }
        }
        self.0 = joined;
    }

    /// How long ago (ms) how much was spent, oldest first.
    pub fn spent(&self, now_ms: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(move |entry| (now_ms.saturating_sub(entry.last_ms), entry.units))
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, entry) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{}:{}:{}", entry.first_ms, entry.last_ms, entry.units)?;
        }
        Ok(())
    }
}

/// The text is no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a log of `first:last:units` entries")]
pub struct BadLog;

impl FromStr for Log {
    type Err = BadLog;
    fn from_str(text: &str) -> Result<Log, BadLog> {
        let entry = |entry: &str| -> Option<Entry> {
            let mut numbers = entry.split(':').map(|number| number.parse::<u64>().ok());
            let entry = Entry { first_ms: numbers.next()??, last_ms: numbers.next()??, units: numbers.next()?? };
            (numbers.next().is_none() && entry.first_ms <= entry.last_ms).then_some(entry)
        };
        let log: Option<VecDeque<Entry>> = text.split_ascii_whitespace().map(entry).collect();
        log.filter(|log| log.len() <= MAX_ENTRIES).map(Log).ok_or(BadLog)
    }
}

/// Windows of one length share one log, so each length is written once.
fn distinct(windows: &[Window]) -> impl Iterator<Item = Window> + '_ {
    let first = |(i, window): &(usize, &Window)| windows[..*i].iter().all(|w| w.length_ms() != window.length_ms());
    windows.iter().enumerate().filter(first).map(|(_, window)| *window)
}

/// Whole milliseconds, far below where sums would overflow.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

#[cfg(test)]
mod tests;
