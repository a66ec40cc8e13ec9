use super::*;

#[test]
fn nobody_watching_means_no_call() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 3, at(0));
    schedule.watch("AAPL", 0, at(0));
    schedule.watch("MSFT", 3, at(0));
    schedule.poll(2, Outcome::Refreshed, at(0));
    schedule.watch("MSFT", 0, at(1));
    assert!(schedule.next(10, at(100)).is_empty());
    assert_eq!(schedule.next_due(at(100)), None);
    assert_eq!(schedule.counts(), Counts::default());
}

#[test]
fn demand_that_returns_soon_goes_on_where_it_was() {
    let mut schedule = schedule();
    for name in ["GONE", "KEPT", "OTHER"] {
        schedule.watch(name, 1, at(0));
    }
    schedule.poll(3, Outcome::Refreshed, at(0));
    schedule.watch("GONE", 0, at(100));
    schedule.watch("GONE", 1, at(399));
    schedule.refreshed(&["OTHER"], at(350));
    // Neither ahead of who is as old, nor behind who is younger.
    assert_eq!(schedule.next(3, at(400)), ["GONE", "KEPT", "OTHER"]);
}

#[test]
fn demand_that_returns_late_is_new() {
    let mut schedule = schedule();
    schedule.watch("GONE", 1, at(0));
    schedule.watch("KEPT", 1000, at(0));
    schedule.poll(2, Outcome::Refreshed, at(0));
    schedule.watch("GONE", 0, at(100));
    schedule.watch("GONE", 1, at(400));
    assert_eq!(schedule.counts().cold, 1);
    assert_eq!(schedule.next(1, at(400)), ["GONE"]);
}

#[test]
fn a_page_reload_neither_costs_a_call_nor_gains_a_place() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 1, at(0));
    schedule.poll(1, Outcome::Refreshed, at(0));
    schedule.watch("AAPL", 0, at(1));
    schedule.watch("AAPL", 1, at(2));
    assert!(schedule.next(1, at(4)).is_empty());
    assert_eq!(schedule.next_due(at(4)), Some(at(1)));
}

#[test]
fn a_refresh_polls_once_whoever_watches() {
    let mut schedule = schedule();
    schedule.refresh(symbol("NOBODYS"), at(0)).unwrap();
    schedule.refresh(symbol("FAILING"), at(0)).unwrap();
    schedule.poll(1, Outcome::Failed, at(0));
    schedule.watch("WATCHED", 1, at(0));
    schedule.poll(2, Outcome::Refreshed, at(0));
    schedule.refresh(symbol("WATCHED"), at(1)).unwrap();
    assert_eq!(schedule.poll(9, Outcome::Refreshed, at(1)), ["WATCHED"], "whatever the least age");
    assert_eq!(schedule.poll(9, Outcome::Refreshed, at(60)), ["WATCHED"]);
}

#[test]
fn a_pinned_symbol_counts_as_watched_by_one() {
    let mut schedule = schedule();
    schedule.pin(symbol("SPX"), at(0)).unwrap();
    schedule.watch("SPX", 0, at(0));
    assert_eq!(schedule.poll(1, Outcome::Refreshed, at(0)), ["SPX"]);
    assert_eq!(schedule.poll(1, Outcome::Refreshed, at(5)), ["SPX"]);
}

#[test]
fn replacing_demand_unwatches_whoever_is_not_named() {
    let mut schedule = schedule();
    let named = |names: &[&str]| names.iter().map(|name| (symbol(name), 1)).collect::<Vec<_>>();
    schedule.pin(symbol("SPX"), at(0)).unwrap();
    assert_eq!(schedule.replace_demand(named(&["AAPL", "MSFT"]), at(0)), 0);
    schedule.poll(3, Outcome::Refreshed, at(0));
    assert_eq!(schedule.replace_demand(named(&["MSFT", "TCS"]), at(10)), 0);
    assert_eq!(schedule.next(9, at(10)), ["TCS", "MSFT", "SPX"]);
}

#[test]
fn at_capacity_it_forgets_the_unwatched_before_it_refuses_the_new() {
    let mut schedule = Schedule::new(Config { capacity: NonZeroUsize::new(2).unwrap(), ..config() });
    schedule.watch("A", 1, at(0));
    schedule.watch("B", 1, at(0));
    schedule.poll(2, Outcome::Refreshed, at(0));
    assert_eq!(schedule.set_demand(symbol("C"), 1, at(1)), Err(Full(NonZeroUsize::new(2).unwrap())));
    assert_eq!(schedule.replace_demand([("A", 1), ("B", 1), ("C", 1)].map(|(name, w)| (symbol(name), w)), at(1)), 1);
    schedule.watch("A", 0, at(1));
    schedule.watch("C", 1, at(2));
    assert_eq!(schedule.next(9, at(2)), ["C"]);
    assert_eq!(schedule.entries.len(), 2);
    schedule.check();
}
