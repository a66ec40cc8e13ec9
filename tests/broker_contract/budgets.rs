//! Claims about budgets.

use crate::*;

contract! {
    a_budget_is_granted_up_to_its_limit
    every_window_must_agree
    more_than_the_limit_is_never_granted
    a_wait_is_kept
    a_hold_grants_nothing
    a_reset_forgets
    what_was_spent_while_away_counts
    budgets_do_not_touch_each_other
    ;
}

async fn available(bench: &Bench, budget: &Budget) -> Vec<u32> {
    bench.broker.quota.levels(budget).await.unwrap().iter().map(|level| level.available).collect()
}

async fn a_budget_is_granted_up_to_its_limit(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("massive", &[(60_000, 5)]));
    let levels = quota.levels(&budget).await.unwrap();
    assert_eq!((levels[0].available, levels[0].full_in), (5, Duration::ZERO));
    assert_eq!(quota.take(&budget, 3).await, Ok(Taken::Granted));
    assert_eq!(quota.take(&budget, 2).await, Ok(Taken::Granted));
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("all of it is spent") };
    assert!(wait > Duration::from_secs(55) && wait < Duration::from_secs(63), "{wait:?}");
    let levels = quota.levels(&budget).await.unwrap();
    assert_eq!((levels[0].window, levels[0].available), (budget.windows[0], 0));
    assert!(levels[0].full_in > Duration::from_secs(55));
}

async fn every_window_must_agree(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("alphavantage", &[(60_000, 2), (86_400_000, 25)]));
    assert_eq!(quota.take(&budget, 2).await, Ok(Taken::Granted));
    for _ in 0..3 {
        assert!(matches!(quota.take(&budget, 1).await, Ok(Taken::Wait(_))));
    }
    assert_eq!(available(&bench, &budget).await, [0, 23], "a refusal spends nothing");
}

async fn more_than_the_limit_is_never_granted(bench: Bench) {
    let budget = budget("twelvedata", &[(60_000, 8), (86_400_000, 800)]);
    assert_eq!(bench.broker.quota.take(&budget, 9).await, Ok(Taken::Never));
    assert_eq!(bench.broker.quota.take(&budget, 8).await, Ok(Taken::Granted));
}

async fn a_wait_is_kept(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("finnhub", &[(200, 2)]));
    assert_eq!(quota.take(&budget, 2).await, Ok(Taken::Granted));
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("all of it is spent") };
    assert!(wait <= Duration::from_millis(205), "{wait:?}");
    tokio::time::sleep(wait).await;
    bench.until("it is granted", async || quota.take(&budget, 1).await == Ok(Taken::Granted)).await;
}

async fn a_hold_grants_nothing(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("nse", &[(1_000, 20)]));
    quota.hold(&budget, Duration::from_secs(60)).await.unwrap();
    quota.hold(&budget, Duration::from_secs(1)).await.unwrap();
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("it is held") };
    assert!(wait > Duration::from_secs(50), "{wait:?}");
    assert_eq!(available(&bench, &budget).await, [0]);
}

async fn a_reset_forgets(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("nse", &[(60_000, 20)]));
    quota.take(&budget, 20).await.unwrap();
    quota.hold(&budget, Duration::from_secs(60)).await.unwrap();
    quota.reset(&budget).await.unwrap();
    assert_eq!(available(&bench, &budget).await, [20]);
    assert_eq!(quota.take(&budget, 20).await, Ok(Taken::Granted));
}

async fn what_was_spent_while_away_counts(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("yahoo", &[(60_000, 5)]));
    let spent = [(Duration::from_secs(30), 4), (Duration::from_secs(50), 3), (Duration::from_secs(70), 9)];
    quota.record(&budget, &spent).await.unwrap();
    assert_eq!(available(&bench, &budget).await, [0]);
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("7 of 5 are spent") };
    assert!(wait > Duration::from_secs(2) && wait < Duration::from_secs(12), "the oldest three free enough: {wait:?}");
}

async fn budgets_do_not_touch_each_other(bench: Bench) {
    let (one, two) = (budget("massive:1", &[(60_000, 1)]), budget("massive:2", &[(60_000, 1)]));
    assert_eq!(bench.broker.quota.take(&one, 1).await, Ok(Taken::Granted));
    assert_eq!(bench.broker.quota.take(&two, 1).await, Ok(Taken::Granted));
}
