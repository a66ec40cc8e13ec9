use super::*;

#[test]
fn a_failed_call_leaves_age_and_cold_as_they_were() {
    let mut schedule = schedule();
    schedule.watch("NEW", 1, at(0));
    assert_eq!(schedule.poll(1, Outcome::Failed, at(0)), ["NEW"]);
    assert_eq!(schedule.next_due(at(0)), Some(at(1)));
    assert!(schedule.next(1, at(0)).is_empty());
    assert_eq!(schedule.poll(1, Outcome::NotAsked, at(1)), ["NEW"]);
    assert_eq!(schedule.counts().cold, 1, "its watchers still have nothing");
    assert_eq!(schedule.next(1, at(1)), ["NEW"], "a call never made costs no rest");
}

#[test]
fn a_symbol_without_data_is_asked_ever_more_rarely() {
    let mut schedule = schedule();
    schedule.watch("EMPTY", 1, at(0));
    let mut asked = Vec::new();
    for now in 0..4000 {
        if !schedule.poll(1, Outcome::NoData, at(now)).is_empty() {
            asked.push(now);
        }
    }
    assert_eq!(asked, [0, 10, 30, 70, 150, 310, 630, 1270, 2550]);
    assert_eq!(schedule.counts().cold, 0, "it had its turn at the head of the queue");
}

#[test]
fn an_unknown_symbol_is_parked_until_somebody_asks_for_it() {
    let mut schedule = schedule();
    schedule.watch("TYPO", 5, at(0));
    schedule.poll(1, Outcome::Unknown, at(0));
    // Leaving and coming back does not buy a call.
    schedule.watch("TYPO", 0, at(1));
    schedule.watch("TYPO", 5, at(1000));
    assert!(schedule.next(1, at(3599)).is_empty());
    assert_eq!(schedule.next_due(at(3599)), Some(at(1)));
    schedule.refresh(symbol("TYPO"), at(3599)).unwrap();
    assert_eq!(schedule.poll(1, Outcome::Unknown, at(3599)), ["TYPO"]);
    assert_eq!(schedule.next(1, at(7199)), ["TYPO"]);
}

#[test]
fn a_symbol_lost_in_flight_comes_back() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 1, at(0));
    schedule.next(1, at(0));
    assert_eq!(schedule.next_due(at(0)), Some(at(120)));
    assert!(schedule.next(1, at(119)).is_empty());
    assert_eq!(schedule.next(1, at(120)), ["AAPL"]);
}

#[test]
fn a_quote_that_came_along_unasked_counts() {
    let mut schedule = schedule();
    schedule.watch("AAPL", 1, at(0));
    schedule.refreshed(&["AAPL", "NEVERHEARDOF"], at(0));
    assert!(schedule.next(1, at(4)).is_empty());
    assert_eq!(schedule.next(1, at(5)), ["AAPL"]);
}
