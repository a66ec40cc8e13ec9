//! Claims about budgets, some against the naive log of every grant.

use super::*;
use proptest::prelude::*;

fn window(length_ms: u64, limit: u32) -> Window {
    Window { length: Duration::from_millis(length_ms), limit: NonZeroU32::new(limit).unwrap() }
}

fn wait_ms(taken: Taken) -> u64 {
    match taken {
        Taken::Wait(wait) => u64::try_from(wait.as_millis()).unwrap(),
        other => panic!("{other:?} is no wait"),
    }
}

#[test]
fn a_burst_waits_for_the_whole_window() {
    let (mut ledger, windows) = (Ledger::default(), [window(60_000, 5)]);
    for _ in 0..5 {
        assert_eq!(ledger.take(&windows, 1, 1_000), Taken::Granted);
    }
    assert_eq!(wait_ms(ledger.take(&windows, 1, 1_000)), 61_500);
    assert_eq!(wait_ms(ledger.take(&windows, 1, 62_499)), 1);
    assert_eq!(ledger.take(&windows, 5, 62_500), Taken::Granted);
}

#[test]
fn every_window_must_agree_and_none_is_charged_alone() {
    let (mut ledger, windows) = (Ledger::default(), [window(1_000, 1), window(86_400_000, 2)]);
    assert_eq!(ledger.take(&windows, 1, 0), Taken::Granted);
    assert_eq!(wait_ms(ledger.take(&windows, 1, 500)), 525);
    assert_eq!(ledger.levels(&windows, 500)[1].available, 1, "a refusal spends nothing");
    assert_eq!(ledger.take(&windows, 1, 1_025), Taken::Granted);
    // One slot of a day is 22.5 minutes: both units age by the newer one.
    assert_eq!(wait_ms(ledger.take(&windows, 1, 2_050)), 1_025 + 86_402_000 - 2_050);
}

#[test]
fn more_than_the_limit_is_never_granted() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.take(&[window(1_000, 10), window(60_000, 5)], 6, 0), Taken::Never);
    assert_eq!(ledger.take(&[window(1_000, 10), window(60_000, 5)], 5, 0), Taken::Granted);
}

#[test]
fn two_limits_of_one_length_charge_once() {
    let (mut ledger, windows) = (Ledger::default(), [window(1_000, 4), window(1_000, 8)]);
    assert_eq!(ledger.take(&windows, 3, 0), Taken::Granted);
    let available: Vec<u32> = ledger.levels(&windows, 0).iter().map(|level| level.available).collect();
    assert_eq!(available, [1, 5]);
}

#[test]
fn a_hold_grants_nothing_and_is_never_shortened() {
    let (mut ledger, windows) = (Ledger::default(), [window(1_000, 4)]);
    ledger.hold(5_000, 0);
    ledger.hold(1_000, 100);
    assert_eq!(wait_ms(ledger.take(&windows, 1, 100)), 4_900);
    assert_eq!(ledger.levels(&windows, 100)[0].available, 0);
    assert_eq!(ledger.take(&windows, 1, 5_000), Taken::Granted);
}

#[test]
fn a_clock_that_jumps_back_blocks_one_window_at_most() {
    let (mut ledger, windows) = (Ledger::default(), [window(60_000, 1)]);
    assert_eq!(ledger.take(&windows, 1, 1_000_000_000), Taken::Granted);
    ledger.hold(10_000, 1_000_000_000);
    assert_eq!(wait_ms(ledger.take(&windows, 1, 0)), 61_500);
    assert_eq!(ledger.take(&windows, 1, 61_500), Taken::Granted);
}

#[test]
fn what_was_spent_elsewhere_counts() {
    let (mut ledger, windows) = (Ledger::default(), [window(60_000, 5)]);
    ledger.record(&windows, 4, 10_000, 30_000);
    ledger.record(&windows, 3, 20_000, 30_000);
    assert_eq!(ledger.levels(&windows, 30_000)[0].available, 0);
    assert_eq!(wait_ms(ledger.take(&windows, 1, 30_000)), 10_000 + 61_500 - 30_000);
}

#[derive(Debug, Clone)]
enum Op {
    Take { after_ms: u64, cost: u32 },
    Saturate { ms: u64 },
    Record { ago_ms: u64, cost: u32 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0u64..3_000, 0u32..6).prop_map(|(after_ms, cost)| Op::Take { after_ms, cost }),
        1 => (0u64..5_000).prop_map(|ms| Op::Saturate { ms }),
        1 => (0u64..3_000, 1u32..3).prop_map(|(ago_ms, cost)| Op::Record { ago_ms, cost }),
    ];
    prop::collection::vec(op, 1..60)
}

/// The naive log: every grant with its time.
fn most_in_any_span(grants: &[(u64, u32)], length_ms: u64) -> u32 {
    // A span is fullest when it begins at a grant. Grants are whole milliseconds, so a real span of this length
    // may hold two whose numbers differ by the length.
    let within = |from: u64| grants.iter().filter(move |(at, _)| (from..=from + length_ms).contains(at));
    grants.iter().map(|(from, _)| within(*from).map(|(_, cost)| cost).sum()).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn no_span_of_any_window_ever_holds_more_than_its_limit(
        ops in ops(), short in (1u64..2_000, 1u32..20), long in (1_000u64..20_000, 1u32..40),
    ) {
        let windows = [window(short.0, short.1), window(long.0, long.1)];
        let (mut ledger, mut grants, mut now) = (Ledger::default(), Vec::new(), 10_000);
        for op in ops {
            match op {
                Op::Take { after_ms, cost } => {
                    now += after_ms;
                    if ledger.take(&windows, cost, now) == Taken::Granted {
                        grants.push((now, cost));
                    }
                }
                Op::Saturate { ms } => {
                    for at in now..=now + ms {
                        while ledger.take(&windows, 1, at) == Taken::Granted {
                            grants.push((at, 1));
                        }
                    }
                    now += ms;
                }
                Op::Record { .. } => {}
            }
            for log in ledger.logs.values() {
                prop_assert!(log.0.len() <= MAX_ENTRIES, "{} entries", log.0.len());
                prop_assert_eq!(&log.to_string().parse::<Log>().unwrap(), log);
            }
        }
        for window in windows {
            let most = most_in_any_span(&grants, window.length_ms());
            prop_assert!(most <= window.limit.get(), "{} in {:?}", most, window);
        }
    }

    #[test]
    fn a_wait_is_exactly_as_long_as_it_must_be(ops in ops(), length_ms in 1u64..5_000, limit in 1u32..20) {
        let windows = [window(length_ms, limit), window(length_ms * 3, limit * 2)];
        let (mut ledger, mut now) = (Ledger::default(), 10_000);
        for op in ops {
            match op {
                Op::Take { after_ms, cost } => {
                    now += after_ms;
                    if let Taken::Wait(wait) = ledger.clone().take(&windows, cost, now) {
                        let at = now + u64::try_from(wait.as_millis()).unwrap();
                        prop_assert!(matches!(ledger.clone().take(&windows, cost, at - 1), Taken::Wait(_)));
                        prop_assert_eq!(ledger.clone().take(&windows, cost, at), Taken::Granted);
                    }
                    ledger.take(&windows, cost, now);
                }
                Op::Record { ago_ms, cost } => ledger.record(&windows, cost, now - ago_ms, now),
                Op::Saturate { ms } => now += ms,
            }
            for log in ledger.logs.values() {
                prop_assert!(log.0.len() <= MAX_ENTRIES, "{} entries", log.0.len());
                prop_assert!(log.0.iter().is_sorted_by_key(|entry| entry.last_ms));
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn demand_without_end_gets_95_percent(
        length_ms in 100u64..2_000, limit in 1u32..200, step_ms in 1u64..5, cost in 1u32..4,
    ) {
        let limit = limit.max(cost) / cost * cost;
        let (mut ledger, windows) = (Ledger::default(), [window(length_ms, limit)]);
        let (mut spent, end_ms) = (0, length_ms * 20);
        for now in 0..end_ms {
            // A few at a time, so that the budget is not spent as one burst.
            for _ in 0..step_ms {
                if ledger.take(&windows, cost, now) == Taken::Granted {
                    spent += u64::from(cost);
                }
            }
        }
        // The asker itself may be too slow for large limits.
        let asked = (end_ms * step_ms * u64::from(cost)).min(20 * u64::from(limit));
        prop_assert!(spent * 100 >= asked * 95, "{spent} of {asked}");
    }
}
