//! How fresh quotes are for a given budget: the schedule against round-robin and the theoretical bound.
//!
//! `cargo bench --bench freshness` prints one JSON line a case:
//!
//! - `ours_s`, `round_robin_s`: the watcher-weighted mean age in seconds (how it is measured: [`simulation`]);
//! - `bound_s`: the least there can be for the case's budget and spread of watchers while demand is constant,
//!   `S²/(2·B·W)`. Demand that changes a little can be served below it (a symbol is polled when it is hot), demand that
//!   changes a lot cannot come near it (nobody knows who will be hot next);
//! - `ours_to_bound`, `ours_to_round_robin`: the ratios;
//! - `us_per_call`: wall time the schedule took to choose and take back one call's symbols (the one figure here that
//!   depends on the machine).
//!
//! The exit code is 1 when a case with a limit misses it: 1.10 × the bound with constant demand, 0.7 × round-robin with
//! changing demand. `tests/freshness.rs` holds the same limits in the suite.

mod simulation;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use simulation::{Change, Policy, Scenario};

const SEED: u64 = 4;

#[derive(Serialize)]
struct Line {
    case: &'static str,
    ours_s: f64,
    bound_s: f64,
    round_robin_s: f64,
    ours_to_bound: f64,
    ours_to_round_robin: f64,
    us_per_call: f64,
}

/// What a case must stay within.
enum Limit {
    ToBound(f64),
    ToRoundRobin(f64),
    /// Shown for what it is.
    None,
}

fn cases() -> Vec<(Scenario, Limit)> {
    let slow = Scenario::zipf("1000_symbols_5_per_min", 5, 1);
    let batched = Scenario::zipf("1000_symbols_120_per_min_batch_8", 120, 8);
    let single = Scenario::zipf("1000_symbols_60_per_min", 60, 1);
    let all_change = |case, of| Scenario { case, change: Change::Swap(1000), ..of };
    vec![
        (slow, Limit::ToBound(1.10)),
        (batched, Limit::ToBound(1.10)),
        (single, Limit::ToBound(1.10)),
        // Each minute all watchers are dealt anew over the symbols.
        (all_change("changing_demand_60_per_min", single), Limit::ToRoundRobin(0.7)),
        (all_change("changing_demand_120_per_min_batch_8", batched), Limit::ToRoundRobin(0.7)),
        // 5 calls against 1,000 changes a minute: what was learnt is worthless before it is used.
        (all_change("changing_demand_5_per_min", slow), Limit::None),
        // Each minute a tenth of the symbols swap their watchers.
        (Scenario { case: "tenth_changes_5_per_min", change: Change::Swap(100), ..slow }, Limit::ToRoundRobin(0.7)),
        // Each minute the watchers of a tenth of the symbols move on to symbols nobody watched.
        (
            Scenario { case: "tenth_moves_on_60_per_min", change: Change::Migrate(100), others: 1000, ..single },
            Limit::ToRoundRobin(0.7),
        ),
        // A minute's calls at once, as a bucket that was full allows.
        (Scenario { case: "bursts_5_per_min", burst: 5, ..slow }, Limit::ToBound(1.10)),
        (Scenario { case: "bursts_60_per_min", burst: 60, ..single }, Limit::ToBound(1.10)),
        // The default least age holds back the 3.9 s that the hottest symbol would get.
        (
            Scenario { case: "min_age_5_s_120_per_min_batch_8", min_age: Duration::from_secs(5), ..batched },
            Limit::ToBound(1.10),
        ),
        (
            Scenario {
                watched: 10_000,
                measured_rounds: 10,
                ..Scenario::zipf("10000_symbols_120_per_min_batch_50", 120, 50)
            },
            Limit::ToBound(1.10),
        ),
    ]
}

/// Adds up what a policy's choices take.
struct Timed<P> {
    policy: P,
    calls: u32,
    spent: Duration,
}

impl<P: Policy> Policy for Timed<P> {
    fn set_demand(&mut self, symbol: usize, watchers: u64, now: Duration) {
        self.policy.set_demand(symbol, watchers, now);
    }

    fn poll(&mut self, max: usize, now: Duration) -> Vec<usize> {
        let began = Instant::now();
        let polled = self.policy.poll(max, now);
        self.spent += began.elapsed();
        self.calls += 1;
        polled
    }
}

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (scenario, limit) in cases() {
        let mut timed = Timed { policy: scenario.ours(), calls: 0, spent: Duration::ZERO };
        let (ours, bound) = (scenario.run(&mut timed, SEED), scenario.bound());
        let round_robin = scenario.run(&mut scenario.round_robin(), SEED);
        let us_per_call = timed.spent.as_secs_f64() * 1e6 / f64::from(timed.calls);
        let rounded = |figure: f64| (figure * 1e4).round() / 1e4;
        let line = Line {
            case: scenario.case,
            ours_s: rounded(ours),
            bound_s: rounded(bound),
            round_robin_s: rounded(round_robin),
            ours_to_bound: rounded(ours / bound),
            ours_to_round_robin: rounded(ours / round_robin),
            us_per_call: rounded(us_per_call),
        };
        println!("{}", serde_json::to_string(&line).expect("numbers and a name are JSON"));
        let (figure, most) = match limit {
            Limit::ToBound(most) => (line.ours_to_bound, most),
            Limit::ToRoundRobin(most) => (line.ours_to_round_robin, most),
            Limit::None => continue,
        };
        if figure > most {
            eprintln!("{}: {figure} is above {most}", scenario.case);
            code = ExitCode::FAILURE;
        }
    }
    code
}
