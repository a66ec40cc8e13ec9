//! One provider's budget: shared by all processes through the broker, local while the broker is away.
//!
//! The local ledger also records what the shared budget granted this process, so that losing the broker does not open
//! a fresh window; and what was spent locally is recorded in the shared budget before anything more is asked of it.
//! This process alone therefore never exceeds the limit, through any outage. Other processes are not seen
//! while the broker is away: only a leader polls, and it was the leader before.
//!
//! Away is what a command says that is not answered. The broker's status would not do: it also tells of deliveries, and
//! while those alone begin or fail, what is spent locally is spent twice.
//!
//! Memory is bounded by the ledger's ([`MAX_ENTRIES`](crate::quota::window::MAX_ENTRIES) a window).

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::config::{Config, Name};
use crate::broker::{self, Quota};
use crate::quota::{Budget, Ledger, Level, Taken, Window};

/// What "today" is: the last 24 hours, as for the vendors' windows of a day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Asks for the right to make calls.
pub struct Limiter {
    quota: Arc<dyn Quota>,
    budget: Budget,
    started: Instant,
    local: Mutex<Local>,
    /// Held while the shared budget is told what was spent without it, so that nobody asks it before it knows.
    settling: tokio::sync::Mutex<()>,
}

/// Owned by the [`Limiter`].
#[derive(Default)]
struct Local {
    /// Everything this process spent, and holds.
    spent: Ledger,
    /// What of it the shared budget has not heard of.
    owed: Ledger,
    /// How many grants are in `owed`.
    debts: u64,
    /// The shared budget has not heard of the hold in `spent`, so it stands here whatever that says.
    hold_untold: bool,
}

impl Limiter {
    /// A limiter of `budget`; one without windows grants everything.
    #[must_use]
    pub fn new(quota: Arc<dyn Quota>, budget: Budget) -> Limiter {
        Limiter {
            quota,
            budget,
            started: Instant::now(),
            local: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
        }
    }

    /// The budget.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes `cost`, or says how long to wait.
    pub async fn take(&self, cost: u32) -> Taken {
        if self.budget.windows.is_empty() {
            return Taken::Granted;
        }
        if let Some(wait) = self.untold_hold() {
            return Taken::Wait(wait);
        }
        match self.take_shared(cost).await {
            Ok(taken) => {
                if taken == Taken::Granted {
                    let now_ms = self.now_ms();
                    self.local().spent.record(&self.budget.windows, cost, now_ms, now_ms);
                }
                taken
            }
            Err(_) => self.take_local(cost),
        }
    }

    /// Grants nothing for `span`: the vendor said so. Where the shared budget could be told, an operator's reset of it
    /// ends the hold; otherwise it stands here.
    pub async fn hold(&self, span: Duration) {
        let told = self.quota.hold(&self.budget, span).await.is_ok();
        let mut local = self.local();
        local.spent.hold(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), self.now_ms());
        local.hold_untold |= !told;
    }

    /// Where each window stands.
    pub async fn levels(&self) -> Vec<Level> {
        if self.settle().await.is_ok()
            && let Ok(levels) = self.quota.levels(&self.budget).await
        {
            return levels;
        }
        let now_ms = self.now_ms();
        self.local().spent.levels(&self.budget.windows, now_ms)
    }

    /// Forgets what was spent, and any hold, here and for everyone.
    ///
    /// # Errors
    /// When the broker does not: nothing was forgotten then.
    pub async fn reset(&self) -> broker::Result<()> {
        if self.budget.windows.is_empty() {
            return Ok(());
        }
        // who tells the shared budget now has taken our debts with it
        let _settling = self.settling.lock().await;
        self.quota.reset(&self.budget).await?;
        *self.local() = Local::default();
        Ok(())
    }

    /// How long to wait when a vendor says "too many" and not until when: the longest window up to a minute. A longer
    /// one is said in so many words (and is [`QuotaExhausted`](super::Failure::QuotaExhausted)).
    #[must_use]
    pub fn usual_wait(&self) -> Duration {
        const MINUTE: Duration = Duration::from_secs(60);
        self.budget
            .windows
            .iter()
            .map(|window| window.length)
            .filter(|&length| length <= MINUTE)
            .max()
            .unwrap_or(MINUTE)
    }

    async fn take_shared(&self, cost: u32) -> broker::Result<Taken> {
        self.settle().await?;
        self.quota.take(&self.budget, cost).await
    }

    /// Tells the shared budget what was spent without it.
    async fn settle(&self) -> broker::Result<()> {
        if self.local().debts == 0 {
            return Ok(());
        }
        let _settling = self.settling.lock().await;
        let (owed, debts) = {
            let mut local = self.local();
            (std::mem::take(&mut local.owed), local.debts)
        };
        let now_ms = self.now_ms();
        let spent = spendings(&owed, &self.budget.windows, now_ms);
        let record: Vec<(Duration, u32)> =
            spent.iter().map(|&(ago_ms, units)| (Duration::from_millis(ago_ms), saturated(units))).collect();
        if record.is_empty() {
            self.local().debts -= debts;
            return Ok(());
        }
        let told = self.quota.record(&self.budget, &record).await;
        let mut local = self.local();
        if told.is_ok() {
            local.debts -= debts;
        } else {
            for (ago_ms, units) in spent {
                local.owed.record(&self.budget.windows, saturated(units), now_ms.saturating_sub(ago_ms), now_ms);
            }
        }
        told
    }

    fn untold_hold(&self) -> Option<Duration> {
        let now_ms = self.now_ms();
        let mut local = self.local();
        let held_ms = local.spent.held_ms(now_ms);
        local.hold_untold &= held_ms > 0;
        local.hold_untold.then(|| Duration::from_millis(held_ms))
    }

    fn take_local(&self, cost: u32) -> Taken {
        let now_ms = self.now_ms();
        let mut local = self.local();
        let taken = local.spent.take(&self.budget.windows, cost, now_ms);
        if taken == Taken::Granted {
            local.owed.record(&self.budget.windows, cost, now_ms, now_ms);
            local.debts += 1;
        }
        taken
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each spending of a ledger, as exactly as it knows, oldest first: how long ago (ms), and how much. A short window's log
/// is finer and forgets sooner: what a longer one adds to it is what it has forgotten, and so is older than it keeps.
fn spendings(ledger: &Ledger, windows: &[Window], now_ms: u64) -> Vec<(u64, u64)> {
    let mut by_length: Vec<&Window> = windows.iter().collect();
    by_length.sort_by_key(|window| window.length);
    let mut newest_first: Vec<(u64, u64)> = Vec::new();
    let (mut known, mut forgotten_ms) = (0, 0);
    for window in by_length {
        let log: Vec<(u64, u64)> = ledger.log(window).into_iter().flat_map(|log| log.spent(now_ms)).collect();
        let mut skipped = 0;
        for &(ago_ms, units) in log.iter().rev() {
            let new = (skipped + units).saturating_sub(known).min(units);
            skipped += units;
            if new > 0 {
                newest_first.push((ago_ms.max(forgotten_ms), new));
            }
        }
        known = known.max(skipped);
        forgotten_ms = window.keep_ms();
    }
    newest_first.reverse();
    newest_first
}

/// The budget of one provider and key: the vendor's windows, or the configured ones where there are any. What is spent in
/// a day is counted where no window does.
#[must_use]
pub fn budget(name: Name, config: &Config, vendor: &[Window]) -> Budget {
    let configured: Vec<Window> = [(1, config.per_second), (60, config.per_minute), (86_400, config.per_day)]
        .into_iter()
        .filter_map(|(seconds, limit)| limit.map(|limit| window(seconds, limit)))
        .collect();
    let mut windows = configured.clone();
    windows.extend(vendor.iter().filter(|window| configured.iter().all(|own| own.length != window.length)));
    if !windows.is_empty() && windows.iter().all(|window| window.length != DAY) {
        windows.push(Window::tally(DAY));
    }
    windows.sort_by_key(|window| window.length);
    let name = match &config.api_key {
        Some(key) => format!("{name}:{}", digest(key)),
        None => name.to_string(),
    };
    Budget { name, windows }
}

fn saturated(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// At most `limit` in any `seconds`.
#[must_use]
pub const fn window(seconds: u64, limit: NonZeroU32) -> Window {
    Window { length: Duration::from_secs(seconds), limit }
}

/// Tells keys apart in Redis without giving them away: the first 32 bits of SHA-256.
fn digest(key: &SecretString) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.expose_secret().as_bytes());
    digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{BrokerError, Timing, memory};
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicBool, Ordering};

    const fn five_a_minute() -> Window {
        window(60, NonZeroU32::new(5).unwrap())
    }

    /// The embedded quota behind a line that can be cut without anyone noticing at first.
    struct Line {
        quota: Arc<dyn Quota>,
        cut: AtomicBool,
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
            self.quota()?.take(budget, cost).await
        }
        async fn record(&self, budget: &Budget, spent: &[(Duration, u32)]) -> broker::Result<()> {
            self.quota()?.record(budget, spent).await
        }
        async fn hold(&self, budget: &Budget, span: Duration) -> broker::Result<()> {
            self.quota()?.hold(budget, span).await
        }
        async fn levels(&self, budget: &Budget) -> broker::Result<Vec<Level>> {
            self.quota()?.levels(budget).await
        }
        async fn reset(&self, budget: &Budget) -> broker::Result<()> {
            self.quota()?.reset(budget).await
        }
    }

    fn limiter() -> (Limiter, Arc<Line>) {
        let broker = memory::start(Timing::default());
        let line = Arc::new(Line { quota: broker.quota.clone(), cut: AtomicBool::new(false) });
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
    async fn what_was_spent_without_the_broker_is_shown_once_it_is_back() {
        let (limiter, line) = limiter();
        line.cut.store(true, Ordering::SeqCst);
        assert_eq!(grants(&limiter, 4).await, 4);
        line.cut.store(false, Ordering::SeqCst);
        let levels = limiter.levels().await;
        assert_eq!((levels[0].spent, levels[0].available), (4, 1));
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
}
