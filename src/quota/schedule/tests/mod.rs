//! Claims about the schedule, by what they are about.

mod ages;
mod demand;
mod history;
mod order;
mod outcomes;

use std::collections::BTreeMap;

use super::*;

const LANE: Lane = Lane(0);

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn symbol(name: &str) -> Symbol {
    Symbol::parse(name).unwrap()
}

fn numbered(index: u64) -> Symbol {
    symbol(&format!("S{index}"))
}

fn any(_: Symbol) -> bool {
    true
}

fn config() -> Config {
    Config { min_age: at(5), max_age: at(300), capacity: NonZeroUsize::new(1000).unwrap(), ..Config::default() }
}

fn schedule() -> Schedule {
    Schedule::new(config())
}

impl Schedule {
    fn watch(&mut self, name: &str, watchers: u64, now: Duration) {
        self.set_demand(symbol(name), watchers, now).unwrap();
    }

    fn next(&mut self, max: usize, now: Duration) -> Vec<String> {
        self.next_batch(LANE, max, now, any).iter().map(ToString::to_string).collect()
    }

    /// Polls up to `max` and has them answered with `outcome` at once.
    fn poll(&mut self, max: usize, outcome: Outcome, now: Duration) -> Vec<String> {
        let batch = self.next_batch(LANE, max, now, any);
        for symbol in &batch {
            self.done(*symbol, outcome, now);
        }
        batch.iter().map(ToString::to_string).collect()
    }

    fn refreshed(&mut self, names: &[&str], now: Duration) {
        for name in names {
            self.done(symbol(name), Outcome::Refreshed, now);
        }
    }

    /// Every entry is where it belongs and nowhere else, and the loads are what they should be.
    fn check(&self) {
        let (mut places, mut loads) = ([0; 5], BTreeMap::new());
        for (symbol, entry) in &self.entries {
            let (index, there) = match entry.place {
                Place::Cold { .. } => (0, true),
                Place::Warm { deadline, .. } => (1, self.deadlines.contains(&(deadline, *symbol))),
                Place::Resting { until } => (2, self.timers.contains(&(until, *symbol))),
                Place::InFlight { until } => (3, self.timers.contains(&(until, *symbol))),
                Place::Idle { until } => (4, self.idle.contains(&(until, *symbol))),
            };
            assert!(there, "{symbol} is not at {:?}", entry.place);
            places[index] += 1;
            assert_eq!(entry.flight.is_some(), index == 3);
            assert!(index == 3 || (entry.demand() == 0) == (index == 4), "{symbol} is at {:?}", entry.place);
            if let Some(lane) = entry.lane {
                *loads.entry(lane).or_insert(0) += entry.load();
            }
        }
        let [cold, warm, resting, in_flight, idle] = places;
        assert_eq!((cold, warm, idle), (self.cold.len(), self.warm.len(), self.idle.len()));
        assert_eq!((warm, resting + in_flight), (self.deadlines.len(), self.timers.len()));
        assert_eq!(in_flight, self.in_flight);
        for (index, pace) in (0..).zip(&self.lanes) {
            assert_eq!(pace.load, loads.get(&Lane(index)).copied().unwrap_or(0), "lane {index}");
        }
    }
}
