//! One budget, a line that can be cut, and another process.

use super::*;
use crate::broker::{BrokerError, Timing, memory};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const fn five_a_minute() -> Window {
    window(60, NonZeroU32::new(5).unwrap())
}

/// The embedded quota behind a line that can be cut without anyone noticing at first.
struct Line {
    quota: Arc<dyn Quota>,
    cut: AtomicBool,
    /// How long an answer to `take` is on its way (ms).
    delay: AtomicU64,
}

impl Line {
    fn quota(&self) -> broker::Result<&Arc<dyn Quota>> {
        let cut = self.cut.load(Ordering::SeqCst);
        if cut { Err(BrokerError::Unavailable("cut".into())) } else { Ok(&self.quota) }
    }
}

#[async_trait]
impl Quota for Line {
    async fn take(&self, budget: &Budget, cost: u32) -> broker::Result<Taken> {
        let taken = self.quota()?.take(budget, cost).await;
        tokio::time::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst))).await;
        taken
    }
    async fn record(&self, budget: &Budget, spent: &[(Duration, u32)]) -> broker::Result<()> {
        self.quota()?.record(budget, spent).await
    }
    async fn hold(&self, budget: &Budget, span: Duration) -> broker::Result<()> {
        self.quota()?.hold(budget, span).await
    }
    async fn ledger(&self, budget: &Budget) -> broker::Result<(Ledger, u64)> {
        self.quota()?.ledger(budget).await
    }
    async fn reset(&self, budget: &Budget) -> broker::Result<()> {
        self.quota()?.reset(budget).await
    }
}

fn limiter() -> (Limiter, Arc<Line>) {
    let broker = memory::start(Timing::default());
    let line = Arc::new(Line { quota: broker.quota.clone(), cut: AtomicBool::new(false), delay: AtomicU64::new(0) });
    let budget = Budget { name: "test".into(), windows: vec![five_a_minute()] };
    (Limiter::new(line.clone(), budget), line)
}

async fn grants(limiter: &Limiter, asked: u32) -> u32 {
    let mut granted = 0;
    for _ in 0..asked {
        granted += u32::from(limiter.take(1).await == Taken::Granted);
    }
    granted
}

#[tokio::test(start_paused = true)]
async fn losing_the_broker_opens_no_fresh_window() {
    let (limiter, line) = limiter();
    assert_eq!(grants(&limiter, 3).await, 3);
    line.cut.store(true, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 2);
    tokio::time::advance(Duration::from_secs(65)).await;
    assert_eq!(grants(&limiter, 9).await, 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_without_the_broker_is_known_to_it_before_it_grants_more() {
    let (limiter, line) = limiter();
    line.cut.store(true, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 4).await, 4);
    tokio::time::advance(Duration::from_secs(30)).await;
    line.cut.store(false, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 1);
    let other = Limiter::new(line.quota.clone(), limiter.budget.clone());
    assert_eq!(grants(&other, 1).await, 0, "another process sees it too");
    tokio::time::advance(Duration::from_secs(35)).await;
    assert_eq!(grants(&other, 9).await, 4);
}

#[tokio::test(start_paused = true)]
async fn what_others_spent_counts_when_the_broker_is_lost() {
    let (limiter, line) = limiter();
    let other = Limiter::new(line.quota.clone(), limiter.budget.clone());
    assert_eq!(grants(&other, 3).await, 3);
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(grants(&limiter, 1).await, 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    limiter.levels().await;
    line.cut.store(true, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 1, "three of theirs, one of ours");
    tokio::time::advance(Duration::from_secs(42)).await;
    assert_eq!(grants(&limiter, 9).await, 3, "theirs are a minute old");
    line.cut.store(false, Ordering::SeqCst);
    limiter.levels().await;
    assert_eq!(grants(&other, 9).await, 0, "ours are told");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(grants(&other, 9).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_without_the_broker_is_shown_once_it_is_back_and_not_forgotten() {
    let (limiter, line) = limiter();
    line.cut.store(true, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 4).await, 4);
    line.cut.store(false, Ordering::SeqCst);
    let levels = limiter.levels().await;
    assert_eq!((levels[0].spent, levels[0].available), (4, 1));
    line.cut.store(true, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_was_long_on_its_way_is_not_used() {
    let (limiter, line) = limiter();
    line.delay.store(2000, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 1).await, 0);
    line.delay.store(0, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 4, "it was spent all the same");
}

#[tokio::test(start_paused = true)]
async fn a_debt_that_could_not_be_told_is_told_later() {
    let (limiter, line) = limiter();
    line.cut.store(true, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 2).await, 2);
    assert_eq!(grants(&limiter, 2).await, 2, "each take tried to tell and failed");
    line.cut.store(false, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_vendors_wait_stands_when_the_broker_cannot_be_told() {
    let (limiter, line) = limiter();
    line.cut.store(true, Ordering::SeqCst);
    limiter.hold(Duration::from_secs(20)).await;
    line.cut.store(false, Ordering::SeqCst);
    assert_eq!(limiter.take(1).await, Taken::Wait(Duration::from_secs(20)));
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(limiter.take(1).await, Taken::Granted);
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_the_shared_budget_ends_a_wait_that_it_knew_of() {
    let (limiter, line) = limiter();
    limiter.hold(Duration::from_secs(3600)).await;
    assert!(matches!(limiter.take(1).await, Taken::Wait(_)));
    line.reset(limiter.budget()).await.unwrap();
    assert_eq!(limiter.take(1).await, Taken::Granted);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_without_the_broker_is_told_as_finely_as_it_is_known() {
    let (limiter, line) = limiter();
    let budget = Budget { windows: vec![five_a_minute(), Window::tally(DAY)], ..limiter.budget.clone() };
    let limiter = Limiter::new(line.clone(), budget.clone());
    line.cut.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(grants(&limiter, 9).await, 5);
        tokio::time::advance(Duration::from_secs(65)).await;
    }
    assert_eq!(grants(&limiter, 2).await, 2);
    line.cut.store(false, Ordering::SeqCst);
    assert_eq!(grants(&limiter, 9).await, 3, "only what is younger than a minute counts");
    let levels = line.levels(&budget).await.unwrap();
    assert_eq!((levels[0].spent, levels[1].spent), (5, 20));
}

#[tokio::test(start_paused = true)]
async fn a_reset_forgets_what_only_this_process_knows() {
    let (limiter, line) = limiter();
    line.cut.store(true, Ordering::SeqCst);
    limiter.hold(Duration::from_secs(20)).await;
    assert!(limiter.reset().await.is_err());
    assert_eq!(grants(&limiter, 1).await, 0);
    line.cut.store(false, Ordering::SeqCst);
    limiter.reset().await.unwrap();
    assert_eq!(grants(&limiter, 9).await, 5);
}

#[test]
fn a_day_is_counted_where_no_window_does() {
    let budget = |config: &Config, vendor: &[Window]| budget(Name::Finnhub, config, vendor).windows;
    let windows = budget(&Config::default(), &[five_a_minute()]);
    assert!(windows[0].length < DAY && windows[1] == Window::tally(DAY) && windows.len() == 2);
    let day = Config { per_day: NonZeroU32::new(25), ..Config::default() };
    assert!(budget(&day, &[five_a_minute()]).iter().all(|window| !window.is_tally()));
    assert!(budget(&Config::default(), &[]).is_empty(), "what is not limited costs no broker call");
}

#[test]
fn configured_windows_replace_the_vendors_of_the_same_length() {
    let vendor = [window(1, NonZeroU32::MIN), five_a_minute()];
    let config = Config { per_minute: NonZeroU32::new(120), per_day: NonZeroU32::new(800), ..Config::default() };
    let budget = budget(Name::Finnhub, &config, &vendor);
    let limits: Vec<_> = budget.windows.iter().map(|w| (w.length.as_secs(), w.limit.get())).collect();
    assert_eq!((budget.name.as_str(), limits), ("finnhub", vec![(1, 1), (60, 120), (86_400, 800)]));
}

#[test]
fn keys_are_told_apart_and_not_given_away() {
    let name = |key: &str| {
        let config = Config { api_key: Some(key.into()), ..Config::default() };
        budget(Name::Massive, &config, &[]).name
    };
    // The digest in the broker's documentation.
    assert_eq!(name("test"), "massive:9f86d081");
    assert_ne!(name("test"), name("tesu"));
}
