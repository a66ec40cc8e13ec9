//! One wave of connects: whose turn it is, at which pace, and how it went.

use std::ops::Range;

use crate::clock::Ns;
use crate::pacer::Pacer;
use crate::wire::{Connect, ConnectOutcome};

/// See the module. The swarm owns it while the wave lasts.
pub(crate) struct Wave {
    pub(crate) order: Connect,
    waiting: Range<u32>,
    pacer: Option<Pacer>,
    in_flight: u32,
    outcome: ConnectOutcome,
}

/// How far one client of the wave came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Upgraded,
    Subscribed,
}

impl Wave {
    /// A wave of the clients `0..clients`.
    pub(crate) fn new(order: Connect, clients: u32, now: Ns) -> Wave {
        let pacer = order.per_second.and_then(|per_second| Pacer::new(per_second, now));
        let outcome = ConnectOutcome { began: now, ended: now, ..ConnectOutcome::default() };
        Wave { order, waiting: 0..clients, pacer, in_flight: 0, outcome }
    }

    /// The client whose turn to connect is now.
    pub(crate) fn next(&mut self, now: Ns) -> Option<u32> {
        if self.in_flight >= self.order.in_flight || self.waiting.is_empty() {
            return None;
        }
        if !self.pacer.as_mut().is_none_or(|pacer| pacer.take(now)) {
            return None;
        }
        self.in_flight += 1;
        self.waiting.next()
    }

    /// When to look again, if not upon an answer.
    pub(crate) fn wake_at(&self) -> Option<Ns> {
        let may_start = self.in_flight < self.order.in_flight && !self.waiting.is_empty();
        self.pacer.filter(|_| may_start).map(|pacer| pacer.next())
    }

    /// A client that began at `began` made a step.
    pub(crate) fn stepped(&mut self, step: Step, began: Ns, now: Ns) {
        match step {
            Step::Upgraded => self.outcome.upgraded.record(now - began),
            Step::Subscribed => self.outcome.subscribed.record(now - began),
        }
    }

    /// A client is where the wave wants it.
    pub(crate) fn arrived(&mut self, now: Ns) {
        self.outcome.connected += 1;
        self.answered(now);
    }

    /// A client was refused or broke off.
    pub(crate) fn failed(&mut self, reason: String, now: Ns) {
        *self.outcome.failed.entry(reason).or_default() += 1;
        self.answered(now);
    }

    fn answered(&mut self, now: Ns) {
        self.in_flight -= 1;
        self.outcome.ended = now;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    pub(crate) fn into_outcome(self) -> ConnectOutcome {
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(per_second: Option<f64>, in_flight: u32) -> Wave {
        Wave::new(Connect { per_second, in_flight, subscribe: true }, 5, 0)
    }

    #[test]
    fn no_more_than_the_allowed_are_unanswered() {
        let mut wave = wave(None, 2);
        assert_eq!((wave.next(1), wave.next(1), wave.next(1)), (Some(0), Some(1), None));
        wave.arrived(2);
        assert_eq!((wave.next(2), wave.next(2)), (Some(2), None));
        wave.failed("HTTP 503".to_owned(), 3);
        wave.arrived(4);
        assert_eq!((wave.next(5), wave.next(5), wave.is_over()), (Some(3), Some(4), false));
        wave.arrived(6);
        wave.arrived(7);
        assert!(wave.is_over());
        let outcome = wave.into_outcome();
        assert_eq!((outcome.connected, outcome.failed["HTTP 503"], outcome.ended), (4, 1, 7));
    }

    #[test]
    fn a_pace_is_kept_and_says_when_to_look_again() {
        let mut wave = wave(Some(1_000.0), 100);
        assert_eq!((wave.next(0), wave.next(0)), (Some(0), None));
        assert_eq!(wave.wake_at(), Some(1_000_000));
        assert_eq!(wave.next(1_000_000), Some(1));
    }
}
