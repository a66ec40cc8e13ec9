//! One call: until it is answered or given up.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::{Endpoint, HttpProvider, PARKED_FOR, PATIENCE};
use crate::provider::Why;
use crate::provider::client::Turn;
use crate::provider::vendor::{Call, Failure, Progress, Request, Vendor};
use crate::quota::Taken;
use crate::quota::backoff::{Backoff, Jitter};
use crate::quota::breaker::{self, Admission};

/// Why a call was given up.
pub(super) struct Stop {
    pub(super) why: Why,
    pub(super) retry_in: Duration,
}

impl<V: Vendor> HttpProvider<V> {
    /// Makes one call, until it is answered or given up; each request is added to `made`.
    pub(super) async fn call(
        &self,
        call: &Call<V::Step>,
        endpoint: Endpoint,
        patience: Duration,
        made: &mut u64,
    ) -> Result<Progress<V::Step>, Stop> {
        let mut patience = patience;
        let mut failed = NonZeroU32::MIN;
        if let Some(pause) = call.pause {
            let pause = pause.pick(&mut self.state().rng);
            sleep(pause).await;
        }
        loop {
            let (permit, turn) = self.admit(call.cost, endpoint, patience).await?;
            patience = PATIENCE;
            *made += 1;
            let outcome = self.attempt(call, turn).await;
            self.settle(permit, &outcome);
            let failure = match outcome {
                Ok(progress) => {
                    if let Some(span) = progress.hold {
                        self.limiter.hold(span).await;
                    }
                    return Ok(progress);
                }
                Err(failure) => failure,
            };
            let wait = self.after(failure, endpoint, failed).await?;
            sleep(wait).await;
            failed = failed.saturating_add(1);
        }
    }

    /// Waits for the right to make a request of this cost. The budget is asked last: what it grants is sent at once, and
    /// nothing is spent on what the breaker does not let through.
    async fn admit(
        &self,
        cost: u32,
        endpoint: Endpoint,
        patience: Duration,
    ) -> Result<(breaker::Permit, Turn<'_>), Stop> {
        let deadline = Instant::now() + patience;
        loop {
            let turn = self.client.turn().await;
            let permit = self.check_health(endpoint)?;
            let taken = self.limiter.take(cost).await;
            if taken == Taken::Granted {
                return Ok((permit, turn));
            }
            drop(turn);
            self.state().breaker.record(permit, breaker::Outcome::Neutral, self.started.elapsed());
            match taken {
                Taken::Granted => {}
                Taken::Wait(wait) => {
                    let wait = wait + Jitter::EMPTY_BUCKET.pick(&mut self.state().rng);
                    if Instant::now() + wait > deadline {
                        return Err(Stop { why: Why::Budget, retry_in: wait });
                    }
                    sleep(wait).await;
                }
                Taken::Never => {
                    let said = format!(
                        "a request costs {cost}, more than the whole budget; lower `batch` or raise the budget"
                    );
                    error!(provider = self.profile.name.as_str(), "{said}");
                    return Err(Stop { why: Why::Failed(Failure::Plan(said.into())), retry_in: PARKED_FOR });
                }
            }
        }
    }

    /// What parking and breaker say, before anything is taken from the budget.
    fn check_health(&self, endpoint: Endpoint) -> Result<breaker::Permit, Stop> {
        let mut state = self.state();
        let now = Instant::now();
        let parked = state.parked.map(|(until, _)| until.saturating_duration_since(now)).unwrap_or_default();
        let bars_parked = match endpoint {
            Endpoint::Quotes => Duration::ZERO,
            Endpoint::Bars => state.bars_parked.map(|until| until.saturating_duration_since(now)).unwrap_or_default(),
        };
        let retry_in = parked.max(bars_parked);
        if !retry_in.is_zero() {
            return Err(Stop { why: Why::Parked, retry_in });
        }
        state.parked = None;
        match state.breaker.admit(self.started.elapsed()) {
            Admission::Go(permit) => Ok(permit),
            Admission::Wait(retry_in) => Err(Stop { why: Why::Open, retry_in }),
        }
    }

    async fn attempt(&self, call: &Call<V::Step>, turn: Turn<'_>) -> Result<Progress<V::Step>, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.meters.call();
        let _in_flight = InFlight::begin(&self.in_flight);
        let mut answer =
            match self.client.send(turn, self.origin(&call.request), &call.request, self.profile.timeout).await {
                Ok(received) => self.vendor().answer(call, &received.reply()),
                Err(failure) => Err(failure),
            };
        if let Err(failure) = &mut answer {
            failure.detail_mut().redact(&self.redactor);
        }
        answer
    }

    /// Tells breaker and metrics how a request ended.
    fn settle(&self, permit: breaker::Permit, outcome: &Result<Progress<V::Step>, Failure>) {
        let health = match outcome {
            Ok(_) => breaker::Outcome::Success,
            Err(Failure::Transient(_) | Failure::Malformed(_)) => breaker::Outcome::Failure,
            Err(Failure::RateLimited { .. } | Failure::QuotaExhausted { .. } | Failure::Auth(_) | Failure::Plan(_)) => {
                breaker::Outcome::Neutral
            }
        };
        self.meters.outcome(outcome.as_ref().map(drop));
        let now = self.started.elapsed();
        let mut state = self.state();
        let before = state.breaker.state(now);
        state.breaker.record(permit, health, now);
        let after = state.breaker.state(now);
        self.meters.breaker(after);
        if let Err(failure) = outcome {
            state.last_failure = Some(failure.to_string());
        }
        drop(state);
        if before != after {
            let name = self.profile.name.as_str();
            match after {
                breaker::State::Open => warn!(provider = name, "circuit breaker opened"),
                breaker::State::HalfOpen => {}
                breaker::State::Closed => info!(provider = name, "circuit breaker closed"),
            }
        }
    }

    /// What a failure means: how long to wait before the same call is tried again, or that it is given up.
    async fn after(&self, failure: Failure, endpoint: Endpoint, failed: NonZeroU32) -> Result<Duration, Stop> {
        let stop = |failure, retry_in| Err(Stop { why: Why::Failed(failure), retry_in });
        match &failure {
            Failure::RateLimited { retry_after, .. } => {
                let wait = retry_after.unwrap_or_else(|| self.limiter.usual_wait());
                self.limiter.hold(wait).await;
                match Backoff::CALL.wait_at_least(failed, wait, &mut self.state().rng) {
                    Some(pause) if pause <= PATIENCE => Ok(pause),
                    Some(pause) => stop(failure, pause),
                    None => stop(failure, wait),
                }
            }
            Failure::QuotaExhausted { until, .. } => {
                let span = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
                self.limiter.hold(span).await;
                self.park(span, "quota exhausted", &failure);
                stop(failure, span)
            }
            Failure::Auth(_) => {
                self.park(PARKED_FOR, "not authorised", &failure);
                stop(failure, PARKED_FOR)
            }
            Failure::Plan(_) => {
                match endpoint {
                    Endpoint::Quotes => self.park(PARKED_FOR, "not in the plan", &failure),
                    // Quotes may well be in it.
                    Endpoint::Bars => self.park_bars(&failure),
                }
                stop(failure, PARKED_FOR)
            }
            Failure::Transient(_) => match Backoff::CALL.wait(failed, &mut self.state().rng) {
                Some(pause) => Ok(pause),
                None => stop(failure, Duration::ZERO),
            },
            Failure::Malformed(_) => stop(failure, Duration::ZERO),
        }
    }

    /// Scheme, host and port that a request goes to.
    fn origin(&self, request: &Request) -> &str {
        request.origin().filter(|_| !self.is_configured).unwrap_or(&self.base_url)
    }

    fn park(&self, span: Duration, why: &'static str, failure: &Failure) {
        error!(provider = self.profile.name.as_str(), for_s = span.as_secs(), "provider parked: {failure}");
        self.state().parked = Some((Instant::now() + span, why));
    }

    fn park_bars(&self, failure: &Failure) {
        let (provider, for_s) = (self.profile.name.as_str(), PARKED_FOR.as_secs());
        warn!(provider, for_s, "no bars from this provider: {failure}");
        self.state().bars_parked = Some(Instant::now() + PARKED_FOR);
    }
}

/// Counts a request for as long as it lives, a dropped one included.
struct InFlight<'a>(&'a AtomicU64);

impl InFlight<'_> {
    fn begin(count: &AtomicU64) -> InFlight<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        InFlight(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
