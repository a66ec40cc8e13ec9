//! Who watches what: which symbols each client subscribes, and which clients read badly.
//!
//! Pure and deterministic: the answer for client `i` depends on the plan and its seed alone, so that every worker
//! process, and the floor's bare sender, come to the same one without talking to each other.

use serde::{Deserialize, Serialize};

/// The most symbols a plan may have: they are named with five digits.
pub(crate) const MAX_SYMBOLS: u32 = 100_000;

/// The subscriptions of all clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How many clients connect.
    pub(crate) clients: u32,
    /// How many symbols are published.
    pub(crate) symbols: u32,
    /// How many symbols each client subscribes.
    pub(crate) per_client: u32,
    /// How the subscriptions are spread over the symbols.
    pub(crate) spread: Spread,
    /// Another seed, other subscriptions.
    pub(crate) seed: u64,
    /// Clients that do not read as they should.
    pub(crate) bad_readers: BadReaders,
}

/// Which symbols are wanted how much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spread {
    /// Each symbol as much as any other.
    Uniform,
    /// The `k`-th most wanted (from 1) in proportion to `1 / k^s`, as with real tickers.
    Zipf(f64),
}

/// The share of clients that read too slowly or not at all, scattered evenly over all clients.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct BadReaders {
    /// Share that stops reading altogether once publishing begins.
    pub(crate) stuck: f64,
    /// Share that reads at `slow_bytes_per_s`.
    pub(crate) slow: f64,
    /// What a slow client reads.
    pub(crate) slow_bytes_per_s: u32,
}

/// How one client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// All there is, at once.
    Healthy,
    /// At a given number of bytes per second.
    Slow,
    /// Not at all.
    Stuck,
}

impl BadReaders {
    /// How client `index` reads.
    pub(crate) fn reader(&self, index: u32) -> Reader {
        let bad = self.stuck + self.slow;
        let Some(nth) = pick(f64::from(index), bad) else { return Reader::Healthy };
        match pick(nth, self.stuck / bad) {
            Some(_) => Reader::Stuck,
            None => Reader::Slow,
        }
    }
}

/// When `index` is among the `share` picked evenly from 0, 1, 2, …: how many were picked before it.
fn pick(index: f64, share: f64) -> Option<f64> {
    // The small shift keeps 100 × 0.01 at 1 whatever the rounding.
    let picked_before = (index * share + 1e-9).floor();
    let picked_with = ((index + 1.0) * share + 1e-9).floor();
    (picked_with > picked_before).then_some(picked_before)
}

/// A plan made ready to be asked for many clients.
pub(crate) struct Planner<'a> {
    plan: &'a Plan,
    weights: Vec<f64>,
    keys: Vec<(f64, u32)>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Planner<'a> {
        let stride = stride(plan.symbols);
        let weight = |symbol: u32| match plan.spread {
            Spread::Uniform => 1.0,
            Spread::Zipf(exponent) => f64::from(rank(symbol, stride, plan.symbols) + 1).powf(-exponent),
        };
        Planner { plan, weights: (0..plan.symbols).map(weight).collect(), keys: Vec::new() }
    }

    /// The symbols of client `index`, distinct and ascending.
    ///
    /// Drawn one after the other in proportion to their weights, without putting back: the symbols with the smallest
    /// `Exp(1)/weight` (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).
    pub(crate) fn symbols_of(&mut self, index: u32) -> Vec<u32> {
        let wanted = self.plan.per_client.min(self.plan.symbols) as usize;
        if wanted == self.weights.len() {
            return (0..self.plan.symbols).collect();
        }
        let mut random = fastrand::Rng::with_seed(self.plan.seed ^ (u64::from(index) + 1).wrapping_mul(GOLDEN));
        self.keys.clear();
        self.keys.extend(self.weights.iter().zip(0..).map(|(weight, symbol)| {
            let exponential = -(1.0 - random.f64()).ln();
            (exponential / weight, symbol)
        }));
        if wanted > 0 {
            self.keys.select_nth_unstable_by(wanted - 1, |a, b| a.0.total_cmp(&b.0));
        }
        let mut symbols: Vec<u32> = self.keys[..wanted].iter().map(|&(_, symbol)| symbol).collect();
        symbols.sort_unstable();
        symbols
    }
}

/// How wanted a symbol is, from 0. Symbols are published in the order of their numbers; were that the order of their ranks, most of
/// a round's deliveries would come in its first moments.
fn rank(symbol: u32, stride: u32, symbols: u32) -> u32 {
    let rank = u64::from(symbol) * u64::from(stride) % u64::from(symbols.max(1));
    u32::try_from(rank).expect("below a u32")
}

/// A step that visits every number below `symbols` once, neighbours far apart: near the golden section, and coprime.
fn stride(symbols: u32) -> u32 {
    let coprime = |stride: &u32| {
        let (mut a, mut b) = (*stride, symbols);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let golden = u32::try_from(u64::from(symbols) * 618 / 1_000).expect("below a u32").max(1);
    (golden..).find(coprime).unwrap_or(1)
}

/// 2^64 divided by the golden ratio: spreads consecutive client numbers over all seeds.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(clients: u32, symbols: u32, per_client: u32, spread: Spread) -> Plan {
        Plan { clients, symbols, per_client, spread, seed: 1, bad_readers: BadReaders::default() }
    }

    fn watchers(plan: &Plan) -> Vec<u32> {
        let mut planner = Planner::new(plan);
        let mut watchers = vec![0; plan.symbols as usize];
        for client in 0..plan.clients {
            for symbol in planner.symbols_of(client) {
                watchers[symbol as usize] += 1;
            }
        }
        watchers
    }

    #[test]
    fn each_client_gets_the_asked_number_of_distinct_symbols() {
        for spread in [Spread::Uniform, Spread::Zipf(1.0), Spread::Zipf(3.0)] {
            for per_client in [0, 1, 20, 499, 500, 600] {
                let plan = plan(3, 500, per_client, spread);
                let mut planner = Planner::new(&plan);
                for client in 0..3 {
                    let symbols = planner.symbols_of(client);
                    assert_eq!(symbols.len(), per_client.min(500) as usize);
                    assert!(symbols.windows(2).all(|pair| pair[0] < pair[1]), "ascending, so distinct: {symbols:?}");
                    assert!(symbols.iter().all(|&symbol| symbol < 500));
                }
            }
        }
    }

    #[test]
    fn a_client_has_the_same_symbols_whoever_asks() {
        let plan = plan(100, 500, 20, Spread::Zipf(1.0));
        let mut all = Planner::new(&plan);
        let in_turn: Vec<_> = (0..100).map(|client| all.symbols_of(client)).collect();
        assert_eq!(Planner::new(&plan).symbols_of(73), in_turn[73]);
        assert_ne!(in_turn[72], in_turn[73]);
        let reseeded = Plan { seed: 2, ..plan };
        assert_ne!(Planner::new(&reseeded).symbols_of(73), in_turn[73]);
    }

    #[test]
    fn zipf_makes_the_first_symbol_twice_as_wanted_as_the_second() {
        let mut watchers = watchers(&plan(60_000, 100, 1, Spread::Zipf(1.0)));
        let most_wanted = watchers.iter().position(|count| watchers.iter().all(|other| count >= other));
        assert_eq!(most_wanted.map(|symbol| rank(u32::try_from(symbol).unwrap(), stride(100), 100)), Some(0));
        watchers.sort_unstable_by(|a, b| b.cmp(a));
        // One draw each: the share of rank k is (1/k) / H(100), with H(100) = 5.187.
        for (rank, &count) in watchers.iter().enumerate().take(5) {
            let share = f64::from(count) / 60_000.0;
            let expected = 1.0 / ((rank + 1) as f64 * 5.187);
            assert!((share / expected - 1.0).abs() < 0.06, "rank {rank}: {share} against {expected}");
        }
    }

    #[test]
    fn every_symbol_has_a_rank_of_its_own_and_the_wanted_ones_are_scattered() {
        for symbols in [1, 2, 3, 10, 97, 500, 1_000, MAX_SYMBOLS] {
            let mut ranks: Vec<u32> = (0..symbols).map(|symbol| rank(symbol, stride(symbols), symbols)).collect();
            if symbols == 500 {
                let wanted = |half: &[u32]| half.iter().filter(|rank| **rank < 50).count();
                assert!((20..=30).contains(&wanted(&ranks[..250])), "{ranks:?}");
            }
            ranks.sort_unstable();
            assert!(ranks.into_iter().eq(0..symbols), "{symbols}");
        }
    }

    #[test]
    fn uniform_wants_every_symbol_alike() {
        let watchers = watchers(&plan(20_000, 50, 5, Spread::Uniform));
        for count in watchers {
            assert!((1_800..2_200).contains(&count), "about 2,000 each: {count}");
        }
    }

    #[test]
    fn bad_readers_are_as_many_as_asked_and_scattered() {
        let bad = BadReaders { stuck: 0.01, slow: 0.02, slow_bytes_per_s: 1 };
        let readers: Vec<_> = (0..1_000).map(|index| bad.reader(index)).collect();
        let count = |wanted| readers.iter().filter(|&&reader| reader == wanted).count();
        assert_eq!((count(Reader::Stuck), count(Reader::Slow)), (10, 20));
        assert!(readers[..500].contains(&Reader::Stuck) && readers[500..].contains(&Reader::Stuck));
        let none = BadReaders::default();
        assert!((0..1_000).all(|index| none.reader(index) == Reader::Healthy));
    }
}
