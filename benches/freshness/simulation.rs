//! A publisher in simulated time: symbols with watchers, a budget of calls, and a policy that says whom to call for.
//!
//! **How age is measured.** A symbol's age is the time since its last refresh; of one that was never refreshed, the time
//! since it was first watched. Only watched symbols count, each as often as it has watchers, at every moment: the mean
//! is `∫ Σ wᵢ·ageᵢ dt / ∫ Σ wᵢ dt`, integrated exactly between events. Calls are answered at once, so that the figures
//! compare with a bound that knows no latency.
//!
//! **Warm-up.** At the start every symbol is cold and everything before the steady state would count for or against a
//! policy by accident. Time is told in rounds, one round being what round-robin needs to refresh everyone once; the
//! least watched of zipf 1 over 1,000 symbols is refreshed about every second round. Ages count after
//! `warm_up_rounds`, for `measured_rounds`.

use std::num::NonZeroUsize;
use std::time::Duration;

use tickcast::market::Symbol;
use tickcast::quota::schedule::{Config, Lane, Outcome, Schedule};

/// Whom to call for.
pub(crate) trait Policy {
    /// Sets a symbol's watchers.
    fn set_demand(&mut self, symbol: usize, watchers: u64, now: Duration);
    /// Up to `max` symbols, which are refreshed at `now`.
    fn poll(&mut self, max: usize, now: Duration) -> Vec<usize>;
}

/// The schedule under test.
pub(crate) struct Ours {
    schedule: Schedule,
    symbols: Vec<Symbol>,
}

impl Ours {
    fn new(count: usize, min_age: Duration) -> Ours {
        let capacity = NonZeroUsize::new(count).expect("a simulation has symbols");
        let symbols = (0..count).map(|index| Symbol::parse(&format!("S{index}")).expect("a valid symbol")).collect();
        Ours { schedule: Schedule::new(Config { min_age, capacity, ..Config::default() }), symbols }
    }

    fn index(symbol: Symbol) -> usize {
        symbol.as_str()[1..].parse().expect("named by `new`")
    }
}

impl Policy for Ours {
    fn set_demand(&mut self, symbol: usize, watchers: u64, now: Duration) {
        self.schedule.set_demand(self.symbols[symbol], watchers, now).expect("there is room for all");
    }

    fn poll(&mut self, max: usize, now: Duration) -> Vec<usize> {
        let batch = self.schedule.next_batch(Lane(0), max, now, |_| true);
        for symbol in &batch {
            self.schedule.done(*symbol, Outcome::Refreshed, now);
        }
        batch.into_iter().map(Ours::index).collect()
    }
}

/// What is commonly done instead: every watched symbol in turn.
pub(crate) struct RoundRobin {
    watchers: Vec<u64>,
    next: usize,
}

impl RoundRobin {
    fn new(count: usize) -> RoundRobin {
        RoundRobin { watchers: vec![0; count], next: 0 }
    }
}

impl Policy for RoundRobin {
    fn set_demand(&mut self, symbol: usize, watchers: u64, _now: Duration) {
        self.watchers[symbol] = watchers;
    }

    fn poll(&mut self, max: usize, _now: Duration) -> Vec<usize> {
        let count = self.watchers.len();
        let turn: Vec<_> =
            (0..count).map(|step| (self.next + step) % count).filter(|i| self.watchers[*i] > 0).take(max).collect();
        if let Some(last) = turn.last() {
            self.next = (last + 1) % count;
        }
        turn
    }
}

/// How demand changes.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// Not at all.
    Never,
    /// Each minute this many thousandths of the symbols swap their watchers with one picked at random.
    Swap(usize),
    /// Each minute this many thousandths of the watched symbols lose all their watchers to unwatched ones.
    Migrate(usize),
}

/// What is simulated.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Its name in the output.
    pub(crate) case: &'static str,
    /// Watched symbols; symbol of rank k has a k-th of the first one's watchers (zipf 1).
    pub(crate) watched: usize,
    /// Symbols never or not always watched.
    pub(crate) others: usize,
    /// Calls a minute.
    pub(crate) calls_per_minute: u32,
    /// How many of them are made at once.
    pub(crate) burst: u32,
    /// Symbols a call.
    pub(crate) batch: usize,
    /// The schedule's least age.
    pub(crate) min_age: Duration,
    /// How demand changes.
    pub(crate) change: Change,
    /// Simulated before ages count, in rounds of round-robin.
    pub(crate) warm_up_rounds: u32,
    /// Simulated while ages count, in rounds of round-robin.
    pub(crate) measured_rounds: u32,
}

impl Scenario {
    /// 1,000 symbols, zipf 1, constant demand, evenly spaced calls.
    pub(crate) const fn zipf(case: &'static str, calls_per_minute: u32, batch: usize) -> Scenario {
        Scenario {
            case,
            watched: 1000,
            others: 0,
            calls_per_minute,
            burst: 1,
            batch,
            min_age: Duration::from_secs(1),
            change: Change::Never,
            warm_up_rounds: 10,
            measured_rounds: 20,
        }
    }

    fn watchers(&self) -> Vec<u64> {
        let most = 10 * self.watched as u64;
        let ranked = (1..=self.watched as u64).map(|rank| (most + rank / 2) / rank);
        ranked.chain(std::iter::repeat_n(0, self.others)).collect()
    }

    /// One round of round-robin.
    fn round(&self) -> Duration {
        Duration::from_secs_f64(self.watched as f64 / self.refreshes_per_second())
    }

    fn refreshes_per_second(&self) -> f64 {
        f64::from(self.calls_per_minute) * self.batch as f64 / 60.0
    }

    /// The least mean age there can be with constant demand: `S²/(2·B·W)`.
    pub(crate) fn bound(&self) -> f64 {
        let watchers = self.watchers();
        let roots: f64 = watchers.iter().map(|w| (*w as f64).sqrt()).sum();
        let all: u64 = watchers.iter().sum();
        roots * roots / (2.0 * self.refreshes_per_second() * all as f64)
    }

    /// The schedule, for this scenario.
    pub(crate) fn ours(&self) -> Ours {
        Ours::new(self.watched + self.others, self.min_age)
    }

    /// Round-robin, for this scenario.
    pub(crate) fn round_robin(&self) -> RoundRobin {
        RoundRobin::new(self.watched + self.others)
    }

    /// The mean age in seconds that `policy` achieves.
    pub(crate) fn run(&self, policy: &mut dyn Policy, seed: u64) -> f64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(self.watched + self.others);
        // Rank says nothing about a symbol's place in the alphabet.
        let mut watchers = self.watchers();
        rng.shuffle(&mut watchers);
        for (symbol, count) in watchers.iter().enumerate() {
            world.set_demand(policy, symbol, *count, Duration::ZERO);
        }
        let spacing = Duration::from_secs(60) * self.burst / self.calls_per_minute;
        let (start, end) =
            (self.round() * self.warm_up_rounds, self.round() * (self.warm_up_rounds + self.measured_rounds));
        let (mut next_call, mut next_change, mut measuring) = (Duration::ZERO, Duration::from_secs(60), false);
        loop {
            let now = next_call.min(next_change);
            if !measuring && now >= start {
                world.restart(start);
                measuring = true;
            }
            if now >= end {
                return world.mean_age(end);
            }
            if next_change <= now {
                self.change_demand(&mut world, policy, now, &mut rng);
                next_change += Duration::from_secs(60);
            } else {
                for _ in 0..self.burst {
                    for symbol in policy.poll(self.batch, now) {
                        world.refresh(symbol, now);
                    }
                }
                next_call += spacing;
            }
        }
    }

    fn change_demand(&self, world: &mut World, policy: &mut dyn Policy, now: Duration, rng: &mut fastrand::Rng) {
        let count = self.watched + self.others;
        let (thousandths, from): (usize, fn(u64) -> bool) = match self.change {
            Change::Never => return,
            Change::Swap(thousandths) => (thousandths, |watchers| watchers > 0),
            Change::Migrate(thousandths) => (thousandths, |watchers| watchers == 0),
        };
        for _ in 0..self.watched * thousandths / 1000 {
            let pick = |world: &World, rng: &mut fastrand::Rng, wanted: fn(u64) -> bool| loop {
                let symbol = rng.usize(..count);
                if wanted(world.watchers[symbol]) {
                    return symbol;
                }
            };
            let (one, other) = (pick(world, rng, |watchers| watchers > 0), pick(world, rng, from));
            let (of_one, of_other) = (world.watchers[one], world.watchers[other]);
            world.set_demand(policy, one, of_other, now);
            world.set_demand(policy, other, of_one, now);
        }
    }
}

/// Who watches what, how old it is, and the integral so far.
struct World {
    watchers: Vec<u64>,
    fresh_at: Vec<Option<Duration>>,
    counted_to: Vec<Duration>,
    weighted_age: f64,
    weight: f64,
}

impl World {
    fn new(count: usize) -> World {
        World {
            watchers: vec![0; count],
            fresh_at: vec![None; count],
            counted_to: vec![Duration::ZERO; count],
            weighted_age: 0.0,
            weight: 0.0,
        }
    }

    fn set_demand(&mut self, policy: &mut dyn Policy, symbol: usize, watchers: u64, now: Duration) {
        self.count_to(symbol, now);
        self.watchers[symbol] = watchers;
        if watchers > 0 {
            self.fresh_at[symbol].get_or_insert(now);
        }
        policy.set_demand(symbol, watchers, now);
    }

    fn refresh(&mut self, symbol: usize, now: Duration) {
        self.count_to(symbol, now);
        self.fresh_at[symbol] = Some(now);
    }

    /// Adds what a symbol's age came to since it was last counted: a trapezium, since ages grow evenly.
    fn count_to(&mut self, symbol: usize, now: Duration) {
        let (from, watchers) = (self.counted_to[symbol], self.watchers[symbol] as f64);
        self.counted_to[symbol] = now;
        let Some(fresh_at) = self.fresh_at[symbol].filter(|_| watchers > 0.0) else { return };
        let span = (now - from).as_secs_f64();
        let middle = (from + (now - from) / 2 - fresh_at).as_secs_f64();
        self.weighted_age += watchers * middle * span;
        self.weight += watchers * span;
    }

    fn restart(&mut self, now: Duration) {
        for symbol in 0..self.watchers.len() {
            self.count_to(symbol, now.max(self.counted_to[symbol]));
        }
        (self.weighted_age, self.weight) = (0.0, 0.0);
    }

    fn mean_age(&mut self, end: Duration) -> f64 {
        for symbol in 0..self.watchers.len() {
            self.count_to(symbol, end);
        }
        self.weighted_age / self.weight
    }
}
