//! When each update is due: the open-loop timetable of a run.
//!
//! Update `i` (from 0) belongs to symbol `i mod symbols` and is that symbol's `i div symbols`-th. Updates are published in
//! messages of `cycle`, each due when its first update would be if they went singly. Pure: the publisher
//! and every client know the whole timetable in advance, which is what makes loss countable without talking.

use serde::{Deserialize, Serialize};

use crate::clock::Ns;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// When the first message is due.
    pub(crate) start: Ns,
    /// Updates per second; `None` is as fast as it goes, and then nothing is due at a known time.
    pub(crate) per_second: Option<f64>,
    /// Updates per message.
    pub(crate) cycle: u32,
    /// How many symbols take turns.
    pub(crate) symbols: u32,
    /// How many updates there are.
    pub(crate) total: u64,
}

impl Schedule {
    /// When update `i` is due.
    pub(crate) fn due(&self, i: u64) -> Ns {
        self.message_due(i / u64::from(self.cycle))
    }

    fn message_due(&self, message: u64) -> Ns {
        let Some(per_second) = self.per_second else { return self.start };
        self.start + to_ns(message as f64 * f64::from(self.cycle) / per_second * 1e9)
    }

    /// When the last update has been due for one message's time.
    pub(crate) fn end(&self) -> Ns {
        self.message_due(self.total.div_ceil(u64::from(self.cycle)))
    }

    /// Whose update `i` is.
    pub(crate) fn symbol(&self, i: u64) -> u32 {
        u32::try_from(i % u64::from(self.symbols)).expect("below a u32")
    }

    /// Its number among its symbol's updates, from 0.
    pub(crate) fn number(&self, i: u64) -> u32 {
        saturated(i / u64::from(self.symbols))
    }

    /// How many of the first `published` updates are `symbol`'s.
    pub(crate) fn published_of(&self, symbol: u32, published: u64) -> u32 {
        let symbols = u64::from(self.symbols);
        saturated((published + symbols - 1).saturating_sub(u64::from(symbol)) / symbols)
    }

    /// The number of `symbol`'s first update that is due after `time`, whether or not there is one: whoever subscribed
    /// at `time` must get this one and all that follow.
    pub(crate) fn first_due_after(&self, symbol: u32, time: Ns) -> u32 {
        if time < self.start {
            return 0;
        }
        let Some(per_second) = self.per_second else { return u32::MAX };
        let cycle = u64::from(self.cycle);
        let elapsed_s = (time - self.start) as f64 / 1e9;
        let mut message = to_ns(elapsed_s * per_second / f64::from(self.cycle)).saturating_sub(1);
        while self.message_due(message) <= time {
            message += 1;
        }
        self.published_of(symbol, message * cycle)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates and the value is not negative"
)]
fn to_ns(value: f64) -> u64 {
    value as u64
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(per_second: f64, cycle: u32, symbols: u32) -> Schedule {
        Schedule { start: 1_000, per_second: Some(per_second), cycle, symbols, total: 1_000_000 }
    }

    #[test]
    fn singles_are_due_one_by_one_and_cycles_together() {
        let singles = schedule(1_000.0, 1, 10);
        assert_eq!((singles.due(0), singles.due(1), singles.due(25)), (1_000, 1_001_000, 25_001_000));
        let cycles = schedule(1_000.0, 500, 500);
        assert_eq!((cycles.due(0), cycles.due(499), cycles.due(500)), (1_000, 1_000, 500_001_000));
    }

    #[test]
    fn every_update_belongs_to_one_symbol_and_has_the_next_number() {
        let schedule = schedule(1.0, 1, 3);
        let all: Vec<_> = (0..7).map(|i| (schedule.symbol(i), schedule.number(i))).collect();
        assert_eq!(all, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]);
        for published in 0..7u64 {
            for symbol in 0..3 {
                let counted = (0..published).map(|i| u32::from(schedule.symbol(i) == symbol)).sum::<u32>();
                assert_eq!(schedule.published_of(symbol, published), counted, "{symbol} of {published}");
            }
        }
    }

    #[test]
    fn the_first_update_due_after_a_moment_is_the_one_a_search_finds() {
        for schedule in [schedule(625.0, 1, 500), schedule(333.3, 7, 5), schedule(1e6, 100, 3), schedule(0.7, 1, 2)] {
            for time in [0, 999, 1_000, 1_001, 1_601_000, 3_210_987_654, 10_000_000_000] {
                for symbol in 0..schedule.symbols.min(3) {
                    let numbers = (0u64..).map(|number| number * u64::from(schedule.symbols) + u64::from(symbol));
                    let searched = numbers.zip(0u32..).find(|&(i, _)| schedule.due(i) > time).unwrap().1;
                    assert_eq!(schedule.first_due_after(symbol, time), searched, "{schedule:?} {symbol} after {time}");
                }
            }
        }
    }

    #[test]
    fn without_a_rate_only_those_who_came_before_the_start_are_owed_everything() {
        let schedule = Schedule { per_second: None, ..schedule(1.0, 1, 2) };
        assert_eq!((schedule.first_due_after(1, 999), schedule.first_due_after(1, 1_000)), (0, u32::MAX));
    }
}
