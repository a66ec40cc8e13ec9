//! A provider's circuit breaker: after a run of failures nobody calls for a while, then exactly one call tries.
//!
//! Closed → open at [`Config::failures`] consecutive failures → half-open [`Config::open_for`] later → closed when the
//! trial succeeds, open for the whole span again when it fails. Being rate limited says nothing about a provider's
//! health ([`Outcome::Neutral`]): it neither opens, closes nor extends a run.
//!
//! It does not know providers, HTTP or what counts as a failure; the caller classifies. State belongs to whoever owns
//! the [`Breaker`]. It queues nothing: who may not call is told when to ask again. A trial whose caller vanished holds
//! the place for `open_for` at most.

use std::num::NonZeroU32;
use std::time::Duration;

/// When to open and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Opens at this many failures in a row.
    pub failures: NonZeroU32,
    /// From opening to the trial. Also how long a trial may stay without an answer before another one is let through.
    pub open_for: Duration,
}

impl Default for Config {
    /// 5 failures, 60 s (SPEC §6).
    fn default() -> Config {
        Config { failures: NonZeroU32::MIN.saturating_add(4), open_for: Duration::from_secs(60) }
    }
}

/// What `/stats` and `breaker_state` show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// No calls.
    Open,
    /// One trial may go, or is under way.
    HalfOpen,
}

impl State {
    /// The name in `/stats`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
        }
    }
}

/// What a call said about the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered as it should.
    Success,
    /// Broken, unreachable, too slow, or it answered with rubbish.
    Failure,
    /// Nothing about its health: rate limited, refused our key or plan, cancelled by us.
    Neutral,
}

/// The right to make one call; give it back with its outcome.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit not given back with `record` leaves a trial without an answer"]
pub struct Permit {
    epoch: u64,
}

/// [`Breaker::admit`]'s answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Call.
    Go(Permit),
    /// Do not; ask again after this long.
    Wait(Duration),
}

/// One provider's breaker.
#[derive(Debug)]
pub struct Breaker {
    config: Config,
    circuit: Circuit,
    /// Rises with every change of circuit, so that answers to calls from before it are told apart and ignored: a late
    /// success must not close what five failures opened.
    epoch: u64,
}

#[derive(Debug, Clone, Copy)]
enum Circuit {
    Closed { failures: u32 },
    Open { until: Duration },
    Trial { until: Duration },
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub const fn new(config: Config) -> Breaker {
        Breaker { config, circuit: Circuit::Closed { failures: 0 }, epoch: 0 }
    }

    /// Whether a call may be made at `now`.
    pub fn admit(&mut self, now: Duration) -> Admission {
        match self.circuit {
            Circuit::Closed { .. } => {}
            Circuit::Open { until } | Circuit::Trial { until } if now < until => {
                return Admission::Wait(until - now);
            }
            Circuit::Open { .. } | Circuit::Trial { .. } => {
                self.turn(Circuit::Trial { until: now + self.config.open_for });
            }
        }
        Admission::Go(Permit { epoch: self.epoch })
    }

    /// Takes a permit back with what the call said.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is used up; it must not be recorded twice")]
    pub fn record(&mut self, permit: Permit, outcome: Outcome, now: Duration) {
        if permit.epoch != self.epoch {
            return;
        }
        let open = Circuit::Open { until: now + self.config.open_for };
        match (self.circuit, outcome) {
            (Circuit::Closed { failures }, Outcome::Failure) => {
                let failures = failures + 1;
                if failures >= self.config.failures.get() {
                    self.turn(open);
                } else {
                    self.circuit = Circuit::Closed { failures };
                }
            }
            (Circuit::Closed { .. }, Outcome::Success) => self.circuit = Circuit::Closed { failures: 0 },
            (Circuit::Trial { .. }, Outcome::Success) => self.turn(Circuit::Closed { failures: 0 }),
            (Circuit::Trial { .. }, Outcome::Failure) => self.turn(open),
            // The trial said nothing: the next one may go at once (its budget holds it back where it must wait).
            (Circuit::Trial { .. }, Outcome::Neutral) => self.turn(Circuit::Open { until: now }),
            (Circuit::Closed { .. }, Outcome::Neutral) | (Circuit::Open { .. }, _) => {}
        }
    }

    /// The state at `now`.
    #[must_use]
    pub fn state(&self, now: Duration) -> State {
        match self.circuit {
            Circuit::Closed { .. } => State::Closed,
            Circuit::Open { until } if now < until => State::Open,
            Circuit::Open { .. } | Circuit::Trial { .. } => State::HalfOpen,
        }
    }

    /// How long [`admit`](Self::admit) would say to wait; zero when a call may go. Changes nothing, so a router can
    /// look before it takes from a budget.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        match self.circuit {
            Circuit::Closed { .. } => Duration::ZERO,
            Circuit::Open { until } | Circuit::Trial { until } => until.saturating_sub(now),
        }
    }

    fn turn(&mut self, circuit: Circuit) {
        self.circuit = circuit;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn permit(breaker: &mut Breaker, now: Duration) -> Permit {
        match breaker.admit(now) {
            Admission::Go(permit) => permit,
            Admission::Wait(wait) => panic!("not admitted, wait {wait:?}"),
        }
    }

    fn call(breaker: &mut Breaker, outcome: Outcome, now: Duration) {
        let permit = permit(breaker, now);
        breaker.record(permit, outcome, now);
    }

    fn opened_at(now: Duration) -> Breaker {
        let mut breaker = Breaker::new(Config::default());
        for _ in 0..5 {
            call(&mut breaker, Outcome::Failure, now);
        }
        breaker
    }

    #[test]
    fn it_opens_at_the_fifth_failure_in_a_row_and_not_before() {
        let mut breaker = Breaker::new(Config::default());
        for _ in 0..4 {
            call(&mut breaker, Outcome::Failure, at(0));
        }
        call(&mut breaker, Outcome::Success, at(0));
        for _ in 0..4 {
            call(&mut breaker, Outcome::Failure, at(1));
        }
        assert_eq!(breaker.state(at(1)), State::Closed);
        call(&mut breaker, Outcome::Failure, at(1));
        assert_eq!(breaker.state(at(1)), State::Open);
        assert_eq!(breaker.admit(at(31)), Admission::Wait(at(30)));
    }

    #[test]
    fn rate_limiting_is_no_failure_and_no_success() {
        let mut breaker = Breaker::new(Config::default());
        for _ in 0..4 {
            call(&mut breaker, Outcome::Failure, at(0));
        }
        for _ in 0..100 {
            call(&mut breaker, Outcome::Neutral, at(0));
        }
        assert_eq!(breaker.state(at(0)), State::Closed);
        call(&mut breaker, Outcome::Failure, at(0));
        assert_eq!(breaker.state(at(0)), State::Open);
    }

    #[test]
    fn half_open_lets_exactly_one_trial_through() {
        let mut breaker = opened_at(at(0));
        assert_eq!(breaker.state(at(59)), State::Open);
        assert_eq!(breaker.state(at(60)), State::HalfOpen);
        let trial = permit(&mut breaker, at(60));
        assert_eq!(breaker.admit(at(70)), Admission::Wait(at(50)));
        breaker.record(trial, Outcome::Success, at(71));
        assert_eq!(breaker.state(at(71)), State::Closed);
        assert_eq!(breaker.wait(at(71)), Duration::ZERO);
    }

    #[test]
    fn a_failed_trial_opens_for_the_whole_span_again() {
        let mut breaker = opened_at(at(0));
        call(&mut breaker, Outcome::Failure, at(65));
        assert_eq!(breaker.state(at(65)), State::Open);
        assert_eq!(breaker.wait(at(66)), at(59));
    }

    #[test]
    fn a_trial_that_was_rate_limited_says_nothing_and_leaves_room_for_the_next() {
        let mut breaker = opened_at(at(0));
        call(&mut breaker, Outcome::Neutral, at(60));
        assert_eq!(breaker.state(at(60)), State::HalfOpen);
        call(&mut breaker, Outcome::Success, at(61));
        assert_eq!(breaker.state(at(61)), State::Closed);
    }

    #[test]
    fn a_trial_nobody_answers_for_does_not_lock_the_provider_out() {
        let mut breaker = opened_at(at(0));
        let lost = permit(&mut breaker, at(60));
        assert_eq!(breaker.wait(at(61)), at(59));
        let second = permit(&mut breaker, at(120));
        breaker.record(lost, Outcome::Failure, at(121));
        assert_eq!(breaker.state(at(121)), State::HalfOpen, "a late answer counts for nothing");
        breaker.record(second, Outcome::Success, at(122));
        assert_eq!(breaker.state(at(122)), State::Closed);
    }

    #[test]
    fn answers_to_calls_from_before_the_opening_change_nothing() {
        let mut breaker = Breaker::new(Config::default());
        let (early, late) = (permit(&mut breaker, at(0)), permit(&mut breaker, at(0)));
        for _ in 0..5 {
            call(&mut breaker, Outcome::Failure, at(1));
        }
        breaker.record(early, Outcome::Success, at(2));
        assert_eq!(breaker.state(at(2)), State::Open);
        let trial = permit(&mut breaker, at(61));
        breaker.record(late, Outcome::Failure, at(62));
        assert_eq!(breaker.state(at(62)), State::HalfOpen);
        breaker.record(trial, Outcome::Success, at(63));
        assert_eq!(breaker.state(at(63)), State::Closed);
    }

    #[test]
    fn states_are_named_as_in_stats() {
        assert_eq!([State::Closed, State::Open, State::HalfOpen].map(State::as_str), ["closed", "open", "half_open"]);
    }

    proptest! {
        /// Whatever happens: no call while open, at most one unanswered trial per span, and a success after the span
        /// always closes it.
        #[test]
        fn it_never_admits_while_open_and_always_recovers(
            steps in prop::collection::vec((0u64..40, 0u8..5), 1..200),
        ) {
            let mut breaker = Breaker::new(Config::default());
            let (mut now, mut held) = (Duration::ZERO, Vec::new());
            for (pause, step) in steps {
                now += at(pause);
                let before = breaker.state(now);
                let outcome = [Outcome::Success, Outcome::Failure, Outcome::Neutral].get(usize::from(step));
                match outcome {
                    None => match breaker.admit(now) {
                        Admission::Go(permit) => {
                            prop_assert_ne!(before, State::Open);
                            prop_assert!(before == State::Closed || breaker.wait(now) == MINUTE);
                            held.push(permit);
                        }
                        Admission::Wait(wait) => {
                            prop_assert_ne!(before, State::Closed);
                            prop_assert!(wait > Duration::ZERO && wait <= MINUTE);
                        }
                    },
                    Some(outcome) => {
                        if let Some(permit) = held.pop() {
                            breaker.record(permit, *outcome, now);
                        }
                    }
                }
            }
            now += MINUTE;
            call(&mut breaker, Outcome::Success, now);
            prop_assert_eq!(breaker.state(now), State::Closed);
        }
    }
}
