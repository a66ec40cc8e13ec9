use super::*;

#[test]
fn the_least_age_counts_from_the_call_not_from_its_answer() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 3, at(0));
    schedule.next(1, at(0));
    schedule.refreshed(&["AAPL"], at(2));
    assert_eq!(schedule.next_due(at(2)), Some(at(3)));
    assert!(schedule.next(1, at(4)).is_empty());
    assert_eq!(schedule.next(1, at(5)), ["AAPL"], "a cycle of the least age finds it ripe each time");
}

/// Runs one call a second for `seconds` and returns the greatest age seen of each symbol after the first third.
fn oldest(schedule: &mut Schedule, symbols: u64, seconds: u64) -> Vec<u64> {
    let (mut fresh, mut oldest) =
        (vec![0; usize::try_from(symbols).unwrap()], vec![0; usize::try_from(symbols).unwrap()]);
    for now in 0..seconds {
        for (fresh, oldest) in fresh.iter().zip(&mut oldest) {
            if now > seconds / 3 {
                *oldest = (now - fresh).max(*oldest);
            }
        }
        for name in schedule.poll(1, Outcome::Refreshed, at(now)) {
            fresh[name[1..].parse::<usize>().unwrap()] = now;
        }
    }
    oldest
}

#[test]
fn nobody_gets_older_than_the_maximum_when_the_budget_allows_it() {
    for (symbols, max_age) in [(50, 120), (100, 120), (118, 120)] {
        let mut schedule = Schedule::new(Config { min_age: at(1), max_age: at(max_age), ..config() });
        for index in 0..symbols {
            schedule.set_demand(numbered(index), if index == 0 { 1_000_000 } else { 1 }, at(0)).unwrap();
        }
        let oldest = oldest(&mut schedule, symbols, 2000);
        assert!(oldest.iter().all(|age| *age <= max_age), "{symbols} symbols: {oldest:?}");
    }
}

#[test]
fn what_the_maximum_leaves_goes_by_the_rule() {
    let mut schedule = Schedule::new(Config { min_age: at(1), max_age: at(120), ..config() });
    for index in 0..50 {
        schedule.set_demand(numbered(index), if index == 0 { 1_000_000 } else { 1 }, at(0)).unwrap();
    }
    // 49 symbols each 108 s need 0.45 calls a second; the hot one gets the rest.
    assert!(oldest(&mut schedule, 50, 2000)[0] <= 4);
}

#[test]
fn where_the_maximum_cannot_be_kept_the_rule_alone_decides() {
    let mut schedule = Schedule::new(Config { min_age: at(1), max_age: at(60), ..config() });
    for index in 0..100 {
        schedule.set_demand(numbered(index), if index == 0 { 10_000 } else { 1 }, at(0)).unwrap();
    }
    // S = 100 + 99: the hot one each 2 s, the others each 199 s. Round-robin would make 100 s of both.
    let oldest = oldest(&mut schedule, 100, 3000);
    assert!(oldest[0] <= 4, "{oldest:?}");
    assert!(oldest[1..].iter().all(|age| (190..=210).contains(age)), "{oldest:?}");
}

#[test]
fn one_lanes_plenty_does_not_hide_anothers_want() {
    let mut schedule = Schedule::new(Config { min_age: at(1), max_age: at(60), ..config() });
    for index in 0..100 {
        schedule.set_demand(numbered(index), if index == 0 { 10_000 } else { 1 }, at(0)).unwrap();
    }
    for index in 100..110 {
        schedule.set_demand(numbered(index), 1, at(0)).unwrap();
    }
    let is_slow = |symbol: Symbol| symbol.as_str()[1..].parse::<u64>().unwrap() < 100;
    let mut hot = 0;
    for now in 0..2000 {
        for symbol in schedule.next_batch(Lane(1), 10, at(now), |symbol| !is_slow(symbol)) {
            schedule.done(symbol, Outcome::Refreshed, at(now));
        }
        for symbol in schedule.next_batch(Lane(0), 1, at(now), is_slow) {
            hot += u64::from(now >= 1000 && symbol == numbered(0));
            schedule.done(symbol, Outcome::Refreshed, at(now));
        }
    }
    assert!(hot > 450, "the hot one was polled {hot} times in 1000 s, not each second time");
    schedule.check();
}

#[test]
fn a_closed_markets_symbols_wait_longer_and_weigh_less() {
    let mut schedule = schedule();
    for name in ["CLOSED", "OPEN"] {
        schedule.watch(name, 1, at(0));
        schedule.set_stretch(symbol(name), NonZeroU32::new(if name == "OPEN" { 1 } else { 12 }).unwrap(), at(0));
    }
    schedule.poll(2, Outcome::Refreshed, at(0));
    assert_eq!(schedule.poll(2, Outcome::Refreshed, at(5)), ["OPEN"]);
    assert_eq!(schedule.next(2, at(59)), ["OPEN"]);
    schedule.refreshed(&["OPEN"], at(60));
    assert_eq!(schedule.next(1, at(66)), ["OPEN"], "6 s against a twelfth of 66 s");
    schedule.set_stretch(symbol("CLOSED"), NonZeroU32::MIN, at(66));
    assert_eq!(schedule.next(1, at(66)), ["CLOSED"], "the market opened");
    schedule.check();
}

#[test]
fn what_another_process_refreshed_is_as_old_as_its_call_was() {
    let mut schedule = schedule();
    schedule.inherit(symbol("NOBODYS"), at(90), at(100));
    for name in ["OLD", "NEW", "NONE", "WANTED", "OUT"] {
        schedule.watch(name, 1, at(100));
    }
    schedule.refresh(symbol("WANTED"), at(100)).unwrap();
    assert_eq!(schedule.next_batch(LANE, 1, at(100), |name| name == symbol("OUT")).len(), 1);
    for (name, asked) in [("OLD", 50), ("NEW", 97), ("WANTED", 97), ("OUT", 97)] {
        schedule.inherit(symbol(name), at(asked), at(100));
    }
    assert_eq!(schedule.counts(), Counts { watched: 5, cold: 2, waiting: 3, in_flight: 1 });
    let mut cold = schedule.poll(2, Outcome::Refreshed, at(100));
    cold.sort_unstable();
    assert_eq!(cold, ["NONE", "WANTED"]);
    assert_eq!(schedule.poll(9, Outcome::Refreshed, at(100)), ["OLD"]);
    schedule.inherit(symbol("OLD"), at(60), at(101));
    assert_eq!(schedule.next_due(at(101)), Some(at(1)), "NEW rests until 102; older news of OLD changes nothing");
}
