//! A token bucket without a clock: so many a second, so many at once.

use super::session::Now;

/// A token bucket's size: so many a second, so many at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Refill.
    pub per_second: u32,
    /// Capacity.
    pub burst: u32,
}

/// What is left of a [`Rate`].
#[derive(Debug)]
pub(super) struct Bucket {
    /// Thousandths that may still be taken.
    credit: u32,
    credited_at_ms: u64,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Now) -> Bucket {
        Bucket { credit: rate.burst.saturating_mul(1000), credited_at_ms: now.mono_ms }
    }

    /// Takes one; false when none is left.
    pub(super) fn spend(&mut self, rate: Rate, now: Now) -> bool {
        let elapsed_ms = now.mono_ms.saturating_sub(self.credited_at_ms);
        let refill = elapsed_ms.saturating_mul(u64::from(rate.per_second));
        let capacity = u64::from(rate.burst.max(1)) * 1000;
        let credit = u64::from(self.credit).saturating_add(refill).min(capacity);
        self.credited_at_ms = now.mono_ms;
        let left = credit.checked_sub(1000);
        self.credit = u32::try_from(left.unwrap_or(credit)).unwrap_or(u32::MAX);
        left.is_some()
    }
}
