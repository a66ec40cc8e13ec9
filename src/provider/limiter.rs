//! One provider's budget: shared by all processes through the broker, local while the broker is away.
//!
//! The local ledger also holds what the shared budget granted, to this process and, as of the last look at it
//! ([`Limiter::levels`], which the leader takes when it begins and then every few seconds), to all others; so losing the
//! broker does not open a fresh window, not even right after a take-over. What was spent locally is recorded in the
//! shared budget before anything more is asked of it. So a leader never exceeds the limit, through any outage. What
//! others spend while the broker is away is not seen: only a leader polls, and it was the leader before.
//!
//! A grant is for now. When it was long on its way ([`LATE`]: a slow broker, a process that was stopped), the
//! vendor would count the call in another window than the budget did; it is then spent for nothing.
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

/// From asking to a grant that is no longer used: less than the guard of a window of a minute (1.5 s), which is there for
/// the way from here to the vendor.
const LATE: Duration = Duration::from_secs(1);
/// Where this process' clock starts: so far from 0 that what others spent before it began has a time too.
const START: Duration = Duration::from_secs(2 * 86_400);

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
    /// Everything known to be spent, and held.
    spent: Ledger,
    /// What the shared budget granted to this process.
    granted: Ledger,
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
        let asked = Instant::now();
        match self.take_shared(cost).await {
            Ok(Taken::Granted) => {
                let now_ms = self.now_ms();
                let mut local = self.local();
                local.spent.record(&self.budget.windows, cost, now_ms, now_ms);
                local.granted.record(&self.budget.windows, cost, now_ms, now_ms);
                if asked.elapsed() < LATE { Taken::Granted } else { Taken::Wait(Duration::ZERO) }
            }
            Ok(taken) => taken,
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

    /// Where each window stands. Tells the shared budget what was spent without it, and remembers what that says, for
    /// when the broker is away.
    pub async fn levels(&self) -> Vec<Level> {
        let asked_ms = self.now_ms();
        if self.settle().await.is_ok()
            && let Ok((mut ledger, told_ms)) = self.quota.ledger(&self.budget).await
        {
            self.learn(&ledger, told_ms, asked_ms);
            return ledger.levels(&self.budget.windows, told_ms);
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

    /// Takes the shared budget's word for what was spent. What was granted since it was asked may be in it or not; it is
    /// counted once more.
    fn learn(&self, shared: &Ledger, told_ms: u64, asked_ms: u64) {
        let mut local = self.local();
        if local.debts > 0 || local.hold_untold {
            return;
        }
        let now_ms = self.now_ms();
        let windows = &self.budget.windows;
        let granted = spendings(&local.granted, windows, now_ms);
        local.spent = shared.on_clock(told_ms, now_ms);
        for (ago_ms, units) in granted.into_iter().filter(|(ago_ms, _)| now_ms - ago_ms >= asked_ms) {
            local.spent.record(windows, saturated(units), now_ms - ago_ms, now_ms);
        }
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
        u64::try_from((START + self.started.elapsed()).as_millis()).unwrap_or(u64::MAX)
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
mod tests;
