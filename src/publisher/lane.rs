//! One provider's turn: when its next cycle begins, and what holds it back.
//!
//! Cycles begin on a grid of the interval; one that is missed is not made up for. A cycle hands out batches until none
//! is left to hand out; a provider that is out of budget (or open, or parked) is left alone until it said to come back,
//! and then goes on with the symbols that matter most by then.
//!
//! Pure but for its meters; its owner is the cycle. At most [`MAX_FETCHES`] fetches of one provider are under way; what is
//! due beyond them waits in the schedule.

use std::time::Duration;

use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::answer::Answer;
use super::meters::LaneMeters;
use super::shared::Cost;
use crate::provider;

/// Fetches of one provider under way at once: 16 answers of 0.3 s are 53 a second, more than any vendor allows.
pub(super) const MAX_FETCHES: usize = 16;

/// See the module.
pub(super) struct Lane {
    provider: provider::Name,
    interval: Duration,
    next_cycle: Instant,
    /// The present cycle may have more to hand out.
    is_open: bool,
    cycle_began: Option<Instant>,
    /// The present cycle's trace, once somebody was asked in it.
    trace: Option<Span>,
    held_until: Option<Instant>,
    in_flight: usize,
    /// Since the last cycle's end: what a newcomer cost between two cycles is in the second.
    cost: Cost,
    meters: LaneMeters,
}

impl Lane {
    pub(super) fn new(provider: provider::Name, interval: Duration, now: Instant) -> Lane {
        Lane {
            provider,
            interval,
            next_cycle: now,
            is_open: false,
            cycle_began: None,
            trace: None,
            held_until: None,
            in_flight: 0,
            cost: Cost::default(),
            meters: LaneMeters::new(provider),
        }
    }

    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// From the next cycle on, which begins one new interval from now at the latest.
    pub(super) fn set_interval(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.next_cycle = self.next_cycle.min(now + interval);
    }

    /// Begins all anew: somebody else polled meanwhile.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.next_cycle, self.is_open, self.cycle_began) = (now, false, None);
        (self.trace, self.cost) = (None, Cost::default());
    }

    /// Begins a cycle, and ends a hold, if it is time.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        if self.next_cycle > now {
            return;
        }
        let missed = (now - self.next_cycle).as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
        self.next_cycle += self.interval * steps;
        self.is_open = true;
        self.cycle_began.get_or_insert(now);
    }

    /// Whether the provider is left alone.
    pub(super) const fn is_held(&self) -> bool {
        self.held_until.is_some()
    }

    /// How many more batches may be handed out now.
    pub(super) const fn room(&self) -> usize {
        if self.held_until.is_some() { 0 } else { MAX_FETCHES - self.in_flight }
    }

    /// There is something to hand out.
    pub(super) const fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether the cycle may have more to hand out.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// There is nothing left to hand out. What the cycle cost, if this ended one that cost something.
    #[must_use]
    pub(super) fn close(&mut self, now: Instant) -> Option<Cost> {
        self.is_open = false;
        self.end_cycle(now)
    }

    /// A fetch begins. What traces it as a part of the cycle, if one is under way.
    pub(super) fn begin_fetch(&mut self) -> Span {
        self.in_flight += 1;
        if self.cycle_began.is_none() {
            return Span::none();
        }
        let provider = self.provider.as_str();
        let cycle = || {
            info_span!(
                target: "traces", parent: None, "cycle",
                provider, calls.expected = Empty, calls.actual = Empty,
            )
        };
        self.trace.get_or_insert_with(cycle).clone()
    }

    /// A fetch ended, at this cost. What the cycle cost, if this ended one that cost something.
    #[must_use]
    pub(super) fn end_fetch(&mut self, cost: Cost, now: Instant) -> Option<Cost> {
        self.in_flight -= 1;
        self.meters.expected(cost.expected);
        self.cost.expected += cost.expected;
        self.cost.actual += cost.actual;
        self.end_cycle(now)
    }

    /// A symbol went on to another provider, after this answer.
    pub(super) fn passed_on(&self, answer: Answer) {
        self.meters.passed_on(answer);
    }

    /// Leaves the provider alone for so long.
    pub(super) fn hold(&mut self, span: Duration, now: Instant) {
        let until = now + span;
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
    }

    /// When something is to be done next.
    pub(super) fn wake_at(&self) -> Instant {
        match self.held_until {
            Some(held) if self.is_open => held,
            Some(_) | None => self.next_cycle,
        }
    }

    fn end_cycle(&mut self, now: Instant) -> Option<Cost> {
        if self.is_open || self.in_flight > 0 {
            return None;
        }
        self.meters.cycle(now - self.cycle_began.take()?);
        let cost = std::mem::take(&mut self.cost);
        if let Some(trace) = self.trace.take() {
            trace.record("calls.expected", cost.expected).record("calls.actual", cost.actual);
        }
        (cost != Cost::default()).then_some(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_costs_what_its_fetches_and_the_newcomers_before_it_did() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut lane = Lane::new(provider::Name::Massive, 10 * second, now);
        let cost = |expected, actual| Cost { expected, actual };
        lane.turn(now);
        assert!(lane.is_open());
        lane.begin_fetch();
        lane.begin_fetch();
        assert_eq!(lane.close(now), None, "answers are on their way");
        assert_eq!(lane.end_fetch(cost(1, 1), now), None);
        assert_eq!(lane.end_fetch(cost(1, 3), now + second), Some(cost(2, 4)));
        // a newcomer between two cycles
        lane.open();
        lane.begin_fetch();
        assert_eq!(lane.close(now + 2 * second), None);
        assert_eq!(lane.end_fetch(cost(1, 1), now + 3 * second), None);
        lane.turn(now + 10 * second);
        assert!(lane.is_open());
        assert_eq!(lane.close(now + 10 * second), Some(cost(1, 1)));
        lane.turn(now + 20 * second);
        assert!(lane.is_open());
        assert_eq!(lane.close(now + 20 * second), None, "nobody was asked");
    }
}
