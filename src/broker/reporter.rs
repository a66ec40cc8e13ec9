//! What a gateway reports to the [`Registry`](super::Registry), and when.
//!
//! Pure: no broker, no clock, no runtime; time is an argument. Whoever counts subscribers owns one and does three
//! things: [`set`](Reporter::set) a symbol's local count whenever it changes; [`take`](Reporter::take) a report when
//! [`due`](Reporter::due) and hand it to [`Registry::report`](super::Registry::report); tell
//! [`answered`](Reporter::answered) what came of it. One report is under way at a time.
//!
//! It keeps the promises that the registry leaves to its callers: changes are merged for [`MERGE`]; a report is made
//! every [`REPORT_INTERVAL`] although nothing changed, which renews the lease; every symbol is reported again within
//! [`ROUND`], so that a lost key heals; and everything is reported at once after an error or when the registry holds
//! another number of symbols than it was told.
//!
//! **Bounded** by the distinct symbols its owner counts. A symbol without subscribers is forgotten when the registry
//! knows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};

use super::REPORT_INTERVAL;
use crate::market::Symbol;

/// How long a change waits for others, so that a thousand subscriptions are one report.
pub const MERGE: Duration = Duration::from_millis(250);
/// Within which every symbol is reported again. With one interval and the report's own time it stays below the 15 s
/// in which a lost key has to heal.
pub const ROUND: Duration = Duration::from_secs(10);

/// How long after a report that failed the next is tried.
const RETRY: Duration = Duration::from_secs(1);
/// Reports in a round.
const SHARES: usize = 5;
const _: () = assert!(ROUND.as_millis() == REPORT_INTERVAL.as_millis() * SHARES as u128);

/// Decides what to report when.
#[derive(Debug)]
pub struct Reporter {
    symbols: HashMap<Symbol, Count>,
    /// What changed since the last report.
    changed: Vec<Symbol>,
    /// Every symbol of `symbols` once; the next to be reported again is in front.
    round: VecDeque<Symbol>,
    next_share: Option<Instant>,
    /// How many symbols the registry should hold.
    told: u64,
    /// `None`: at once.
    due: Option<Instant>,
    under_way: Option<Vec<(Symbol, u32)>>,
}

/// One symbol's local subscribers.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    now: u32,
    /// As the registry knows it.
    told: u32,
    /// Whether it is in `changed`.
    changed: bool,
}

impl Reporter {
    /// Knows of no subscribers; its first report is due at once and takes the lease.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a reporter is made at one place, on purpose")]
    pub fn new() -> Reporter {
        Reporter {
            symbols: HashMap::new(),
            changed: Vec::new(),
            round: VecDeque::new(),
            next_share: None,
            told: 0,
            due: None,
            under_way: None,
        }
    }

    /// A symbol has this many local subscribers now.
    pub fn set(&mut self, symbol: Symbol, subscribers: u32, now: Instant) {
        let count = self.symbols.entry(symbol).or_insert_with(|| {
            self.round.push_back(symbol);
            Count::default()
        });
        count.now = subscribers;
        if !count.changed {
            count.changed = true;
            self.changed.push(symbol);
            self.due = self.due.map(|due| due.min(now + MERGE));
        }
    }

    /// When [`take`](Self::take) has something: at once before the first report, `None` while one is under way.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.under_way.is_some() { None } else { Some(self.due.unwrap_or(now)) }
    }

    /// The counts to report, if a report is due. They may be empty: then the report renews the lease.
    pub fn take(&mut self, now: Instant) -> Option<Vec<(Symbol, u32)>> {
        if self.due(now)? > now {
            return None;
        }
        let mut counts = Vec::with_capacity(self.changed.len());
        for symbol in std::mem::take(&mut self.changed) {
            let count = self.symbols.get_mut(&symbol).expect("a symbol leaves only when it is not in `changed`");
            count.changed = false;
            counts.push((symbol, count.now));
        }
        if self.next_share.is_none_or(|at| at <= now) {
            self.next_share = Some(now + REPORT_INTERVAL);
            self.append_share(&mut counts);
        }
        self.due = Some(now + REPORT_INTERVAL);
        self.under_way = Some(counts.clone());
        Some(counts)
    }

    /// What came of the report: how many symbols the registry holds for this gateway; `None` after an error.
    pub fn answered(&mut self, held: Option<u64>, now: Instant) {
        let Some(counts) = self.under_way.take() else { return };
        for (symbol, reported) in counts {
            self.note(symbol, reported);
        }
        if held != Some(self.told) {
            self.report_all();
        }
        self.due = match held {
            None => Some(now + RETRY),
            Some(_) if !self.changed.is_empty() => Some(now + MERGE),
            Some(_) => self.due,
        };
    }

    /// Everything is to be reported at once, the broker having come back, say.
    pub fn report_all(&mut self) {
        for (symbol, count) in &mut self.symbols {
            if !count.changed {
                count.changed = true;
                self.changed.push(*symbol);
            }
        }
        self.due = None;
    }

    fn note(&mut self, symbol: Symbol, reported: u32) {
        let count = self.symbols.get_mut(&symbol).expect("a symbol stays while its report is under way");
        match (count.told, reported) {
            (0, 1..) => self.told += 1,
            (1.., 0) => self.told -= 1,
            _ => {}
        }
        count.told = reported;
    }

    /// Adds the symbols whose turn it is; forgets those that nobody has, the registry included.
    fn append_share(&mut self, counts: &mut Vec<(Symbol, u32)>) {
        let fresh: HashSet<Symbol> = counts.iter().map(|(symbol, _)| *symbol).collect();
        for _ in 0..self.round.len().div_ceil(SHARES) {
            let Some(symbol) = self.round.pop_front() else { break };
            let count = self.symbols[&symbol];
            if fresh.contains(&symbol) || count.changed {
                self.round.push_back(symbol);
            } else if count.now == 0 && count.told == 0 {
                self.symbols.remove(&symbol);
            } else {
                self.round.push_back(symbol);
                counts.push((symbol, count.now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    /// Takes every report due until `end` and answers it as a registry that loses nothing would.
    fn run(reporter: &mut Reporter, held: &mut HashMap<Symbol, u32>, mut now: Instant, end: Instant) -> Vec<Instant> {
        let mut reports = Vec::new();
        while let Some(due) = reporter.due(now).filter(|due| *due <= end) {
            now = now.max(due);
            for (symbol, count) in reporter.take(now).unwrap() {
                if count == 0 {
                    held.remove(&symbol)
                } else {
                    held.insert(symbol, count)
                };
            }
            reporter.answered(Some(held.len() as u64), now);
            reports.push(now);
        }
        reports
    }

    #[test]
    fn a_report_is_made_every_interval_although_nothing_changed() {
        let (start, mut held) = (Instant::now(), HashMap::new());
        let reports = run(&mut Reporter::new(), &mut held, start, start + Duration::from_secs(9));
        let seconds: Vec<u64> = reports.iter().map(|at| (*at - start).as_secs()).collect();
        assert_eq!(seconds, [0, 2, 4, 6, 8]);
    }

    #[test]
    fn changes_are_merged() {
        let (start, mut reporter) = (Instant::now(), Reporter::new());
        reporter.take(start);
        reporter.answered(Some(0), start);
        let later = start + Duration::from_millis(100);
        reporter.set(symbol("A"), 1, later);
        reporter.set(symbol("B"), 2, later + MERGE / 2);
        reporter.set(symbol("A"), 3, later + MERGE / 2);
        assert_eq!(reporter.due(later), Some(later + MERGE));
        assert_eq!(reporter.take(later), None);
        assert_eq!(reporter.take(later + MERGE), Some(vec![(symbol("A"), 3), (symbol("B"), 2)]));
        assert_eq!(reporter.due(later + MERGE), None, "one at a time");
    }

    #[test]
    fn everything_is_reported_again_when_the_registry_holds_another_number() {
        let (start, mut held, mut reporter) = (Instant::now(), HashMap::new(), Reporter::new());
        for text in ["A", "B", "C"] {
            reporter.set(symbol(text), 1, start);
        }
        run(&mut reporter, &mut held, start, start);
        assert_eq!(held.len(), 3);
        held.clear();
        run(&mut reporter, &mut held, start, start + REPORT_INTERVAL + MERGE);
        assert_eq!(held.len(), 3);
    }

    #[test]
    fn everything_is_reported_again_after_an_error_but_not_at_once() {
        let (start, mut reporter) = (Instant::now(), Reporter::new());
        reporter.set(symbol("A"), 1, start);
        reporter.take(start);
        reporter.answered(None, start);
        assert_eq!(reporter.due(start), Some(start + RETRY));
        assert_eq!(reporter.take(start + RETRY), Some(vec![(symbol("A"), 1)]));
    }

    #[test]
    fn every_symbol_is_reported_again_within_a_round() {
        let (start, mut held, mut reporter) = (Instant::now(), HashMap::new(), Reporter::new());
        for number in 0..103 {
            reporter.set(symbol(&format!("S{number}")), 1, start);
        }
        run(&mut reporter, &mut held, start, start);
        // Counts of the same number that are all wrong: only the round can heal them.
        held.values_mut().for_each(|count| *count = 7);
        run(&mut reporter, &mut held, start, start + ROUND);
        assert!(held.values().all(|count| *count == 1));
    }

    #[test]
    fn symbols_that_nobody_has_are_forgotten() {
        let (start, mut held, mut reporter) = (Instant::now(), HashMap::new(), Reporter::new());
        reporter.set(symbol("A"), 1, start);
        run(&mut reporter, &mut held, start, start);
        reporter.set(symbol("A"), 0, start);
        run(&mut reporter, &mut held, start, start + ROUND * 2);
        assert!(held.is_empty() && reporter.symbols.is_empty() && reporter.round.is_empty());
    }
}
