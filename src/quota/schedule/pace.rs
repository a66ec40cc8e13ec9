//! How fast each caller refreshes, and whether that is fast enough to keep the maximum age.
//!
//! The schedule is told nothing of budgets, so it counts: in the last `max_age`, were there at least as many refreshes
//! as symbols that have to be refreshed in that time? Where not, holding everyone to the maximum would turn the whole
//! budget into round-robin, and the square-root rule alone is the better use of it.

use std::time::Duration;

/// Who asks for symbols: one number per independent budget, the provider's place in the configuration, say. Symbols
/// count towards the one that took them last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u8);

/// A symbol that nobody stretches counts this much; one stretched `n` times, an n-th of it.
pub(super) const WHOLE: u64 = 1 << 16;

/// One lane's counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// What has to be refreshed within the maximum age, in [`WHOLE`]s.
    pub(super) load: u64,
    /// Cold symbols handed out in a row while others waited.
    pub(super) cold_streak: u32,
    /// Refreshes, each fading by `e^(-age / max_age)`.
    refreshes: f64,
    counted_at: Duration,
    started: Option<Duration>,
}

impl Pace {
    pub(super) fn count_refresh(&mut self, max_age: Duration, now: Duration) {
        self.refreshes = self.faded(max_age, now) + 1.0;
        self.counted_at = now;
        self.started.get_or_insert(now);
    }

    /// Whether this lane keeps up with its load; yes until it has been seen for a whole `max_age`.
    pub(super) fn keeps_up(&self, max_age: Duration, now: Duration) -> bool {
        let Some(started) = self.started else { return true };
        let seen = now.saturating_sub(started);
        if seen < max_age {
            return true;
        }
        // Fading weighs a span of `max_age` in all once it has been running for ever; before that, this much of it.
        let weighed = 1.0 - (-ratio(seen, max_age)).exp();
        #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
        let load = self.load as f64 / WHOLE as f64;
        self.faded(max_age, now) >= load * weighed
    }

    fn faded(&self, max_age: Duration, now: Duration) -> f64 {
        self.refreshes * (-ratio(now.saturating_sub(self.counted_at), max_age)).exp()
    }
}

fn ratio(span: Duration, of: Duration) -> f64 {
    span.as_secs_f64() / of.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(100);

    fn refreshing_each(seconds: u64, until: u64, symbols: u64) -> Pace {
        let mut pace = Pace { load: symbols * WHOLE, ..Pace::default() };
        for now in (0..=until).step_by(usize::try_from(seconds).unwrap()) {
            pace.count_refresh(MAX_AGE, Duration::from_secs(now));
        }
        pace
    }

    #[test]
    fn a_lane_keeps_up_when_it_refreshes_as_much_as_its_load() {
        for until in [150, 400, 4000] {
            let now = Duration::from_secs(until);
            assert!(refreshing_each(2, until, 48).keeps_up(MAX_AGE, now), "50 in 100 s are enough for 48");
            assert!(!refreshing_each(2, until, 53).keeps_up(MAX_AGE, now), "50 in 100 s are too few for 53");
        }
    }

    #[test]
    fn a_new_lane_has_the_benefit_of_the_doubt() {
        assert!(Pace { load: 9 * WHOLE, ..Pace::default() }.keeps_up(MAX_AGE, Duration::from_secs(1)));
        assert!(refreshing_each(50, 50, 99).keeps_up(MAX_AGE, Duration::from_secs(99)));
        assert!(!refreshing_each(50, 50, 99).keeps_up(MAX_AGE, Duration::from_secs(101)));
    }
}
