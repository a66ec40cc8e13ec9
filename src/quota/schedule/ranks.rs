//! Waiting symbols, so ordered that the most urgent one is found without sorting them.
//!
//! Urgency is `weight · age²`, which grows with time at a different speed for every weight, so no single ordered list
//! stays ordered. But among symbols of one weight it is simply the oldest. So symbols are put into classes of (nearly)
//! equal weight, each ordered by age, and the most urgent of all is the most urgent of the classes' heads: a heap over
//! at most [`MAX_CLASSES`] heads, whatever the number of symbols.
//!
//! It does not know why a symbol waits. Its size is bounded by the schedule that owns it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, btree_set};
use std::time::Duration;

use crate::market::Symbol;

/// Steps per doubling of the weight. A class spans at most 1/8 of its weight, so √weight is off by 3 % at most, which
/// costs the mean age less than 0.1 % (it is flat around its least).
const STEPS: u64 = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// 64-bit weights: 16 exact small ones, 8 for each of the 60 doublings above.
const MAX_CLASSES: u16 = 16 + 60 * 8;
const _: () = assert!(Class::of(u64::MAX).0 == MAX_CLASSES - 1);

/// Weights that are treated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u16);

impl Class {
    /// The class of a weight: its leading four bits and how far they are shifted.
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_CLASSES, as asserted above")]
    pub(super) const fn of(weight: u64) -> Class {
        let Some(shift) = (u64::BITS - weight.leading_zeros()).checked_sub(STEP_BITS + 1) else {
            return Class(weight as u16);
        };
        Class((shift as u64 * STEPS + (weight >> shift)) as u16)
    }

    /// The middle of its weights.
    const fn weight(self) -> u64 {
        let class = self.0 as u64;
        let Some(shift) = (class / STEPS).checked_sub(1) else { return class };
        let least = (class - shift * STEPS) << shift;
        least + ((1 << shift) >> 1)
    }
}

/// Symbols by class, then by the time their age counts from.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    /// Only classes with symbols in them.
    classes: BTreeMap<Class, BTreeSet<(Duration, Symbol)>>,
    len: usize,
}

impl Ranks {
    pub(super) fn insert(&mut self, class: Class, since: Duration, symbol: Symbol) {
        let added = self.classes.entry(class).or_default().insert((since, symbol));
        debug_assert!(added, "{symbol} waits already");
        self.len += 1;
    }

    pub(super) fn remove(&mut self, class: Class, since: Duration, symbol: Symbol) {
        let Some(members) = self.classes.get_mut(&class) else {
            debug_assert!(false, "{symbol} does not wait in its class");
            return;
        };
        let removed = members.remove(&(since, symbol));
        debug_assert!(removed, "{symbol} does not wait");
        if members.is_empty() {
            self.classes.remove(&class);
        }
        self.len -= 1;
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// All of them, most urgent first; equally urgent ones by name. Lazy: asking for the next k costs
    /// `classes + k · log(classes)`.
    pub(super) fn by_urgency(&self, now: Duration) -> ByUrgency<'_> {
        let mut lists = Vec::with_capacity(self.classes.len());
        let mut heads = Vec::with_capacity(self.classes.len());
        for (class, members) in &self.classes {
            let mut members = members.iter();
            if let Some(&(since, symbol)) = members.next() {
                heads.push(Head { urgency: urgency(*class, now, since), symbol: Reverse(symbol), list: lists.len() });
                lists.push((*class, members));
            }
        }
        ByUrgency { heads: heads.into(), lists, now }
    }
}

/// `weight · age²` (Vaidya & Hameed). The millisecond added to the age puts the heavier first among those that came
/// this instant. An age counts up to 34 years: 2^40 ms squared leaves 48 bits for the weight, more than any has.
fn urgency(class: Class, now: Duration, since: Duration) -> u128 {
    const OLDEST_MS: u128 = 1 << 40;
    let age_ms = (now.saturating_sub(since).as_millis() + 1).min(OLDEST_MS);
    u128::from(class.weight()).saturating_mul(age_ms * age_ms)
}

/// See [`Ranks::by_urgency`].
pub(super) struct ByUrgency<'a> {
    heads: BinaryHeap<Head>,
    lists: Vec<(Class, btree_set::Iter<'a, (Duration, Symbol)>)>,
    now: Duration,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    urgency: u128,
    symbol: Reverse<Symbol>,
    list: usize,
}

impl Iterator for ByUrgency<'_> {
    type Item = Symbol;

    fn next(&mut self) -> Option<Symbol> {
        let mut head = self.heads.peek_mut()?;
        let Reverse(symbol) = head.symbol;
        let (class, members) = &mut self.lists[head.list];
        if let Some(&(since, next)) = members.next() {
            // Replaced in place: the heap sinks it when `head` is dropped.
            head.urgency = urgency(*class, self.now, since);
            head.symbol = Reverse(next);
        } else {
            std::collections::binary_heap::PeekMut::pop(head);
        }
        Some(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn symbol(index: usize) -> Symbol {
        Symbol::parse(&format!("S{index}")).unwrap()
    }

    #[test]
    fn small_weights_are_exact() {
        for weight in 0..16 {
            assert_eq!(Class::of(weight).weight(), weight);
        }
    }

    proptest! {
        #[test]
        fn a_class_spans_an_eighth_at_most_and_keeps_the_order_of_weights(shifted: u64, other: u64, shift in 0u32..64, other_shift in 0u32..64) {
            let (low, high) = {
                let (a, b) = (shifted >> shift, other >> other_shift);
                (a.min(b), a.max(b))
            };
            prop_assert!(Class::of(low) <= Class::of(high));
            let middle = Class::of(high).weight();
            prop_assert_eq!(Class::of(middle), Class::of(high));
            prop_assert!(middle.abs_diff(high) <= high / 8);
        }

        #[test]
        fn they_come_in_the_order_of_weight_times_age_squared(
            waiting in prop::collection::vec((1u64..1_000_000, 0u64..100_000), 0..200),
        ) {
            let now = Duration::from_millis(100_000);
            let mut ranks = Ranks::default();
            for (index, (weight, since)) in waiting.iter().enumerate() {
                ranks.insert(Class::of(*weight), Duration::from_millis(*since), symbol(index));
            }
            prop_assert_eq!(ranks.len(), waiting.len());
            let urgencies: Vec<_> = ranks
                .by_urgency(now)
                .map(|symbol| {
                    let (weight, since) = waiting[symbol.as_str()[1..].parse::<usize>().unwrap()];
                    urgency(Class::of(weight), now, Duration::from_millis(since))
                })
                .collect();
            prop_assert_eq!(urgencies.len(), waiting.len());
            prop_assert!(urgencies.is_sorted_by(|a, b| a >= b));
            for (index, (weight, since)) in waiting.iter().enumerate() {
                ranks.remove(Class::of(*weight), Duration::from_millis(*since), symbol(index));
            }
            prop_assert!(ranks.len() == 0 && ranks.classes.is_empty());
        }
    }
}
