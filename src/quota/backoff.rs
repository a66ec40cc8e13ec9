//! How long to wait before asking again: exponential backoff with full jitter, `Retry-After`, and the small jitters
//! that keep processes from calling in step.
//!
//! Full jitter is `random_between(0, min(cap, base · 2^retry))`: Marc Brooker, "Exponential Backoff And Jitter", AWS
//! Architecture Blog, 2015, where it spends the fewest calls of the variants compared. It may wait almost nothing; what
//! a vendor demands by `Retry-After` is a floor on top of it.
//!
//! It does not know what failed. No state: the caller counts its attempts. Every wait has a cap.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

/// Retries of one kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The most that the first retry waits.
    pub base: Duration,
    /// The most that any retry waits.
    pub cap: Duration,
    /// Attempts in all, the first one included; `None` never gives up.
    pub attempts: Option<NonZeroU32>,
}

impl Backoff {
    /// A vendor call: 5 attempts (SPEC §6), so four waits of at most 0.5, 1, 2 and 4 s: 7.5 s in all, 3.75 s on
    /// average, which keeps a call within two cycles.
    pub const CALL: Backoff = Backoff {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(20),
        attempts: Some(NonZeroU32::MIN.saturating_add(4)),
    };

    /// A lost broker: for ever, at most 5 s apart (SPEC §6).
    pub const RECONNECT: Backoff =
        Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5), attempts: None };

    /// How long to wait after `failed` attempts have failed, or `None` when that was the last.
    #[must_use]
    pub fn wait(&self, failed: NonZeroU32, rng: &mut fastrand::Rng) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| failed >= attempts) {
            return None;
        }
        Some(Jitter { least: Duration::ZERO, most: self.ceiling(failed) }.pick(rng))
    }

    /// [`wait`](Self::wait) after an answer that says when to come back: never before `retry_after`, and a little
    /// later ([`Jitter::EMPTY_BUCKET`]), since vendors round down to whole seconds and everyone else was told the same.
    #[must_use]
    pub fn wait_at_least(
        &self,
        failed: NonZeroU32,
        retry_after: Duration,
        rng: &mut fastrand::Rng,
    ) -> Option<Duration> {
        let own = self.wait(failed, rng)?;
        Some(own.max(retry_after.saturating_add(Jitter::EMPTY_BUCKET.pick(rng))))
    }

    fn ceiling(&self, failed: NonZeroU32) -> Duration {
        let doublings = failed.get() - 1;
        // 2^31 times any base above 3 ns is beyond every sensible cap; the shift must not overflow.
        self.base.saturating_mul(1 << doublings.min(31)).min(self.cap)
    }
}

/// A span from which a wait is picked evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter {
    /// Inclusive.
    pub least: Duration,
    /// Inclusive.
    pub most: Duration,
}

impl Jitter {
    /// Before asking an empty bucket again (SPEC §6).
    pub const EMPTY_BUCKET: Jitter = Jitter { least: Duration::from_millis(700), most: Duration::from_millis(1300) };
    /// Between the pages of one answer (SPEC §6).
    pub const BETWEEN_PAGES: Jitter = Jitter { least: Duration::from_millis(250), most: Duration::from_millis(500) };

    /// One of it, to the microsecond.
    #[must_use]
    pub fn pick(&self, rng: &mut fastrand::Rng) -> Duration {
        let (least, most) = (micros(self.least), micros(self.most));
        Duration::from_micros(rng.u64(least..=most.max(least)))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The longest `Retry-After` that is obeyed. A vendor that demands more is asked once an hour, which no budget notices
/// and which finds a mistaken header (a year, a clock in another century) out.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The wait in a `Retry-After` field: delay-seconds or an HTTP-date in any of its three forms (RFC 9110 §10.2.3,
/// §5.6.7), at most [`LONGEST_RETRY_AFTER`]; a date that is past is no wait. `None` when it is neither.
#[must_use]
pub fn retry_after(field: &str, now: Timestamp) -> Option<Duration> {
    let field = field.trim();
    if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number is still a demand to stay away.
        let seconds = field.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(field).ok()?;
    let Ok(date) = Timestamp::try_from(date) else { return Some(LONGEST_RETRY_AFTER) };
    let wait = Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn times(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    fn now() -> Timestamp {
        "1994-11-06T08:49:07Z".parse().unwrap()
    }

    #[test]
    fn it_gives_up_after_the_last_attempt() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert!(Backoff::CALL.wait(times(4), &mut rng).is_some());
        assert_eq!(Backoff::CALL.wait(times(5), &mut rng), None);
        assert_eq!(Backoff::CALL.wait_at_least(times(5), Duration::from_secs(1), &mut rng), None);
        assert!(Backoff::RECONNECT.wait(times(u32::MAX), &mut rng).is_some());
    }

    #[test]
    fn waits_fill_the_whole_span_from_nothing_to_the_ceiling() {
        let mut rng = fastrand::Rng::with_seed(2);
        let waits: Vec<_> = (0..2000).map(|_| Backoff::CALL.wait(times(3), &mut rng).unwrap()).collect();
        let ceiling = Duration::from_secs(2);
        assert!(waits.iter().all(|wait| *wait <= ceiling));
        assert!(waits.iter().any(|wait| *wait < ceiling / 20), "full jitter starts at zero");
        assert!(waits.iter().any(|wait| *wait > ceiling * 19 / 20));
        let mean = waits.iter().sum::<Duration>() / 2000;
        assert!(mean > ceiling * 9 / 20 && mean < ceiling * 11 / 20, "mean {mean:?} of an even spread");
    }

    #[test]
    fn retry_after_takes_seconds_and_every_form_of_date() {
        let thirty = Some(Duration::from_secs(30));
        for field in [
            "30",
            " 30 ",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(retry_after(field, now()), thirty, "{field}");
        }
        assert_eq!(retry_after("0", now()), Some(Duration::ZERO));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now()), Some(Duration::ZERO));
    }

    #[test]
    fn a_huge_retry_after_is_capped_and_a_senseless_one_ignored() {
        for field in ["86400", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(retry_after(field, now()), Some(LONGEST_RETRY_AFTER), "{field}");
        }
        for field in ["", "soon", "-5", "1.5", "+3", "Sun, 06 Nov 1994", "Mon, 40 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(field, now()), None, "{field}");
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_the_ceiling(seed: u64, failed in 1u32.., base_ms in 0u64..100_000, cap_ms in 0u64..100_000) {
            let (base, cap) = (Duration::from_millis(base_ms), Duration::from_millis(cap_ms));
            let wait = Backoff { base, cap, attempts: None }.wait(times(failed), &mut fastrand::Rng::with_seed(seed));
            prop_assert!(wait.unwrap() <= cap.min(base.saturating_mul(1 << (failed - 1).min(31))));
        }

        #[test]
        fn what_a_vendor_demands_is_a_floor(seed: u64, failed in 1u32..5, seconds in 0u64..4000) {
            let demanded = Duration::from_secs(seconds);
            let wait = Backoff::CALL.wait_at_least(times(failed), demanded, &mut fastrand::Rng::with_seed(seed)).unwrap();
            prop_assert!(wait >= demanded + Jitter::EMPTY_BUCKET.least);
        }

        #[test]
        fn a_jitter_stays_in_its_span(seed: u64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            for jitter in [Jitter::EMPTY_BUCKET, Jitter::BETWEEN_PAGES] {
                let picked = jitter.pick(&mut rng);
                prop_assert!((jitter.least..=jitter.most).contains(&picked));
            }
        }

        #[test]
        fn no_field_makes_it_panic(field in "\\PC{0,40}") {
            prop_assert!(retry_after(&field, now()).is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
        }
    }
}
