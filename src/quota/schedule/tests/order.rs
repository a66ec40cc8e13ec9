use super::*;

#[test]
fn a_new_symbols_first_watcher_jumps_the_queue() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 1_000_000, at(0));
    schedule.poll(1, Outcome::Refreshed, at(0));
    schedule.watch("TCS", 1, at(100));
    assert_eq!(schedule.next(1, at(100)), ["TCS"]);
    assert_eq!(schedule.next(1, at(100)), ["AAPL"]);
}

#[test]
fn of_new_symbols_the_most_watched_comes_first() {
    let mut schedule = schedule();
    for (name, watchers) in [("A", 2), ("B", 30), ("C", 1)] {
        schedule.watch(name, watchers, at(7));
    }
    assert_eq!(schedule.next(3, at(7)), ["B", "A", "C"]);
}

#[test]
fn a_flood_of_new_symbols_does_not_freeze_the_old_ones() {
    let mut schedule = schedule();
    schedule.watch("OLD", 1, at(0));
    schedule.poll(1, Outcome::Refreshed, at(0));
    for index in 0..100 {
        schedule.set_demand(numbered(index), 1000, at(10)).unwrap();
    }
    let calls: Vec<_> = (0..4).flat_map(|call| schedule.next(1, at(10 + call))).collect();
    assert_eq!(calls.iter().position(|name| name == "OLD"), Some(3), "{calls:?}");
    // The same when a batch holds more than one.
    schedule.refreshed(&["OLD"], at(20));
    assert!(schedule.next(8, at(30)).contains(&"OLD".to_owned()));
}

#[test]
fn nothing_is_handed_out_twice() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 3, at(0));
    assert_eq!(schedule.next(9, at(0)), ["AAPL"]);
    schedule.watch("AAPL", 4, at(1));
    assert!(schedule.next(9, at(60)).is_empty());
    assert_eq!(schedule.counts().in_flight, 1);
}

#[test]
fn a_batch_is_filled_in_the_order_of_watchers_times_age_squared() {
    let mut schedule = schedule();
    for (name, watchers) in [("A", 1), ("B", 4), ("C", 9), ("D", 16)] {
        schedule.watch(name, watchers, at(0));
    }
    schedule.next(4, at(0));
    // Ages 60, 40, 10 and 18 at 100, so age·√w of 60, 80, 30 and 72.
    for (name, fresh) in [("A", 40), ("B", 60), ("C", 90), ("D", 82)] {
        let ages = at(fresh);
        schedule.done(symbol(name), Outcome::NotAsked, ages);
        schedule.refreshed(&[name], ages);
    }
    assert_eq!(schedule.next(3, at(100)), ["B", "D", "A"]);
    assert_eq!(schedule.next(3, at(100)), ["C"]);
}

#[test]
fn only_accepted_symbols_are_handed_out() {
    let mut schedule = schedule();
    for name in ["AAPL", "BTC-USD", "ETH-USD"] {
        schedule.watch(name, 1, at(0));
    }
    let crypto = schedule.next_batch(LANE, 9, at(0), |symbol| symbol.as_str().ends_with("-USD"));
    assert_eq!(crypto, [symbol("BTC-USD"), symbol("ETH-USD")]);
    assert_eq!(schedule.next(9, at(0)), ["AAPL"]);
}
