//! Numbers updates so that they only rise: `seq = epoch · 2²⁴ + counter`.
//!
//! The epoch is the leader's, seconds since 2026-01-01 UTC or more, and higher at every take-over; so numbers rise
//! over restarts and from one leader to the next. A `seq` is exact in a JavaScript number (2⁵³) while the epoch is below
//! 2²⁹, which is until 2043. A counter that grew into the epoch's bits could meet the next leader's numbers; so a new
//! epoch is asked for when [`LOW`] numbers are left, and nothing is numbered when none is.
//!
//! Pure; its owner is whoever publishes.

use crate::broker::Epoch;

/// Numbers in one epoch: at 600 updates/s they last for almost 8 hours.
const NUMBERS: u64 = 1 << 24;
/// A new epoch is asked for when this many numbers are left: 10 s at 100,000 updates/s.
pub const LOW: u64 = 1 << 20;

/// The numbers of one publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    epoch: Epoch,
    used: u64,
}

impl Default for Sequence {
    /// Has no epoch, and thus no numbers.
    fn default() -> Sequence {
        Sequence { epoch: Epoch(0), used: NUMBERS }
    }
}

impl Sequence {
    /// Goes on in `epoch`. One that is not above the present one changes nothing: numbers never fall.
    pub const fn enter(&mut self, epoch: Epoch) {
        if epoch.0 > self.epoch.0 {
            *self = Sequence { epoch, used: 0 };
        }
    }

    /// The first of `count` consecutive numbers; `None` when there are not as many left in this epoch.
    pub fn take(&mut self, count: usize) -> Option<u64> {
        let count = u64::try_from(count).ok().filter(|&count| count <= self.left())?;
        let first = self.epoch.0 * NUMBERS + self.used;
        self.used += count;
        Some(first)
    }

    /// Whether it is time for a new epoch.
    #[must_use]
    pub const fn is_low(&self) -> bool {
        self.left() < LOW
    }

    const fn left(&self) -> u64 {
        NUMBERS - self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_epoch_times_two_to_the_24_plus_a_counter() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(1), None);
        sequence.enter(Epoch(256));
        assert_eq!(
            (sequence.take(1), sequence.take(3), sequence.take(1)),
            (Some(1 << 32), Some((1 << 32) + 1), Some((1 << 32) + 4))
        );
    }

    #[test]
    fn the_counter_never_reaches_the_epochs_bits() {
        let mut sequence = Sequence::default();
        sequence.enter(Epoch(1));
        let many = usize::try_from(NUMBERS - 1).unwrap();
        assert_eq!(sequence.take(many), Some(1 << 24));
        assert!(sequence.is_low());
        assert_eq!((sequence.take(2), sequence.take(1), sequence.take(1)), (None, Some((2 << 24) - 1), None));
        sequence.enter(Epoch(2));
        assert_eq!(sequence.take(1), Some(2 << 24));
        assert!(!sequence.is_low());
    }

    #[test]
    fn the_last_number_before_2043_is_exact_in_javascript() {
        let mut sequence = Sequence::default();
        sequence.enter(Epoch((1 << 29) - 1));
        assert!(sequence.take(usize::try_from(NUMBERS).unwrap()).unwrap() + NUMBERS - 1 < 1 << 53);
    }

    proptest! {
        #[test]
        fn numbers_only_rise(steps in prop::collection::vec((0u64..50, 0usize..6_000_000), 1..60)) {
            let (mut sequence, mut last) = (Sequence::default(), None);
            for (epoch, count) in steps {
                sequence.enter(Epoch(epoch));
                if let Some(first) = sequence.take(count) {
                    prop_assert!(last.is_none_or(|last| first > last || count == 0));
                    if count > 0 {
                        last = Some(first + count as u64 - 1);
                    }
                }
            }
        }
    }
}
