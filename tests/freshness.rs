//! The freshness that `cargo bench --bench freshness` reports, held in the suite: the same simulator, in simulated time
//! and with a fixed seed, over fewer rounds.

#[path = "../benches/freshness/simulation.rs"]
mod simulation;

use simulation::{Change, Scenario};

const SEED: u64 = 4;

fn shortened(scenario: Scenario) -> Scenario {
    Scenario { warm_up_rounds: 5, measured_rounds: 5, ..scenario }
}

#[track_caller]
fn is_within_a_tenth_of_the_bound(scenario: Scenario) {
    let scenario = shortened(scenario);
    let (ours, bound) = (scenario.run(&mut scenario.ours(), SEED), scenario.bound());
    assert!(ours <= 1.10 * bound, "{}: {ours:.2} s against a bound of {bound:.2} s", scenario.case);
    assert!(ours >= 0.99 * bound, "{}: {ours:.2} s is below what is possible, {bound:.2} s", scenario.case);
}

#[track_caller]
fn is_at_most_seven_tenths_of_round_robin(scenario: Scenario) {
    let scenario = shortened(scenario);
    let ours = scenario.run(&mut scenario.ours(), SEED);
    let round_robin = scenario.run(&mut scenario.round_robin(), SEED);
    assert!(ours <= 0.7 * round_robin, "{}: {ours:.2} s against {round_robin:.2} s", scenario.case);
}

#[test]
fn single_calls_come_within_a_tenth_of_the_bound() {
    is_within_a_tenth_of_the_bound(Scenario::zipf("5 a minute", 5, 1));
    is_within_a_tenth_of_the_bound(Scenario::zipf("60 a minute", 60, 1));
}

#[test]
fn batched_calls_come_within_a_tenth_of_the_bound() {
    is_within_a_tenth_of_the_bound(Scenario::zipf("120 a minute of 8", 120, 8));
}

#[test]
fn a_minutes_calls_at_once_come_within_a_tenth_of_the_bound() {
    is_within_a_tenth_of_the_bound(Scenario { burst: 5, ..Scenario::zipf("5 at once", 5, 1) });
    is_within_a_tenth_of_the_bound(Scenario { burst: 60, ..Scenario::zipf("60 at once", 60, 1) });
}

#[test]
fn under_changing_demand_it_stays_well_below_round_robin() {
    let single = Scenario::zipf("60 a minute", 60, 1);
    is_at_most_seven_tenths_of_round_robin(Scenario { change: Change::Swap(1000), ..single });
    is_at_most_seven_tenths_of_round_robin(Scenario { change: Change::Migrate(100), others: 1000, ..single });
    let slow = Scenario::zipf("5 a minute", 5, 1);
    is_at_most_seven_tenths_of_round_robin(Scenario { change: Change::Swap(100), ..slow });
}

#[test]
fn round_robin_is_measured_as_theory_has_it() {
    let scenario = shortened(Scenario::zipf("60 a minute", 60, 1));
    let measured = scenario.run(&mut scenario.round_robin(), SEED);
    assert!((measured - 500.0).abs() < 1.0, "half a round of 1000 s, not {measured:.2} s");
    let ratio = scenario.bound() / measured;
    assert!((0.50..0.52).contains(&ratio), "zipf 1 over 1,000: the bound is 0.51 of it, not {ratio:.3}");
}
