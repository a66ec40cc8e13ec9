use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Demand(u64, u64),
    Replace(Vec<(u64, u64)>),
    Pin(u64),
    Refresh(u64),
    Stretch(u64, u32),
    Poll(u8, usize, u64),
    Done(usize, Outcome),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u64..20;
    let outcome = prop::sample::select(vec![
        Outcome::Refreshed,
        Outcome::Refreshed,
        Outcome::NoData,
        Outcome::Unknown,
        Outcome::Failed,
        Outcome::NotAsked,
    ]);
    prop_oneof![
        4 => (id.clone(), prop::sample::select(vec![0, 0, 1, 2, 7, 100, u64::MAX])).prop_map(|(s, w)| Step::Demand(s, w)),
        1 => prop::collection::vec((id.clone(), 0u64..5), 0..20).prop_map(Step::Replace),
        1 => (0u64..2).prop_map(Step::Pin),
        1 => id.clone().prop_map(Step::Refresh),
        1 => (id, 1u32..20).prop_map(|(s, stretch)| Step::Stretch(s, stretch)),
        6 => (0u8..3, 0usize..6, 1u64..4).prop_map(|(lane, max, every)| Step::Poll(lane, max, every)),
        6 => (0usize..8, outcome).prop_map(|(index, outcome)| Step::Done(index, outcome)),
        4 => (0u64..200).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens: nothing unwatched, nothing twice, nothing too early, nothing unaccepted, and no one lost.
    #[test]
    fn it_keeps_its_promises_under_any_history(tight: bool, steps in prop::collection::vec(step(), 1..300)) {
        let config = Config { capacity: NonZeroUsize::new(if tight { 16 } else { 20 }).unwrap(), ..config() };
        let mut schedule = Schedule::new(config);
        let mut now = Duration::ZERO;
        let mut watchers = BTreeMap::<Symbol, u64>::new();
        let (mut pinned, mut asked_for) = (BTreeSet::new(), BTreeSet::new());
        let mut in_flight = Vec::<(Symbol, Duration)>::new();
        let mut not_before = BTreeMap::<Symbol, Duration>::new();
        for step in steps {
            match step {
                Step::Demand(index, count) => {
                    if schedule.set_demand(numbered(index), count, now).is_ok() {
                        watchers.insert(numbered(index), count);
                    }
                }
                Step::Replace(demand) => {
                    let demand: BTreeMap<_, _> = demand.into_iter().map(|(index, count)| (numbered(index), count)).collect();
                    schedule.replace_demand(demand.clone(), now);
                    watchers = demand;
                }
                Step::Pin(index) => {
                    if schedule.pin(numbered(index), now).is_ok() {
                        pinned.insert(numbered(index));
                    }
                }
                Step::Refresh(index) => {
                    if schedule.refresh(numbered(index), now).is_ok() {
                        asked_for.insert(numbered(index));
                        not_before.remove(&numbered(index));
                    }
                }
                Step::Stretch(index, stretch) => {
                    schedule.set_stretch(numbered(index), NonZeroU32::new(stretch).unwrap(), now);
                }
                Step::Poll(lane, max, every) => {
                    let accept = |symbol: Symbol| symbol.as_str()[1..].parse::<u64>().unwrap() % every == 0;
                    in_flight.retain(|(_, asked)| now < *asked + config.lease);
                    let batch = schedule.next_batch(Lane(lane), max, now, accept);
                    prop_assert!(batch.len() <= max);
                    for symbol in batch {
                        let wanted = watchers.get(&symbol).is_some_and(|count| *count > 0);
                        prop_assert!(wanted || pinned.contains(&symbol) || asked_for.contains(&symbol), "{} is unwatched", symbol);
                        prop_assert!(accept(symbol));
                        prop_assert!(in_flight.iter().all(|(other, _)| *other != symbol), "{} is in flight", symbol);
                        prop_assert!(not_before.get(&symbol).is_none_or(|until| *until <= now), "{} is too early", symbol);
                        in_flight.push((symbol, now));
                    }
                }
                Step::Done(index, outcome) => {
                    if index < in_flight.len() {
                        let (symbol, asked) = in_flight.remove(index);
                        schedule.done(symbol, outcome, now);
                        let rest = match outcome {
                            Outcome::Refreshed => asked + config.min_age,
                            Outcome::NoData => (asked + config.min_age).max(now + config.rest_no_data),
                            Outcome::Unknown => now + config.rest_unknown,
                            Outcome::Failed => now + config.rest_failed,
                            Outcome::NotAsked => now,
                        };
                        if outcome != Outcome::NotAsked {
                            asked_for.remove(&symbol);
                        }
                        not_before.insert(symbol, rest);
                    }
                }
                Step::Pass(seconds) => now += at(seconds),
            }
            schedule.check();
            if tight {
                // What it had to forget for want of room comes back as new, in the same step perhaps.
                not_before.clear();
            }
        }
        // Everybody comes back in the end, and then everybody known and watched is handed out.
        now += at(100_000);
        let handed_out: BTreeSet<_> = schedule.next_batch(LANE, usize::MAX, now, super::any).into_iter().collect();
        let wanted: BTreeSet<_> = schedule.entries.iter().filter(|(_, entry)| entry.demand() > 0).map(|(symbol, _)| *symbol).collect();
        prop_assert_eq!(handed_out, wanted);
    }
}
