//! Drives a [`Vendor`] over HTTP: budget, breaker, retries, and what a failure means for the next call.
//!
//! A fetch makes the vendor's calls one after the other, those included that an answer asks for, up to
//! [`MAX_CALLS_PER_FETCH`]. Each request, retries included, takes its cost from the budget first. When the budget is
//! spent a fetch that has begun nothing ends at once; one that has begun waits up to [`PATIENCE`]. It knows no vendor and
//! no schedule. State (breaker, parking, unknown symbols) belongs to the provider and is bounded by
//! [`MAX_UNKNOWN`](super::unknown::MAX_UNKNOWN) symbols.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::client::{self, Client};
use super::config::{Config, Name};
use super::limiter::{self, Limiter};
use super::meters::Meters;
use super::pattern::Patterns;
use super::redact::Redactor;
use super::unknown::Unknown;
use super::vendor::{Call, Failure, Missing, Profile, Progress, Vendor};
use super::{BuildError, Fetched, Left, Provider, Status, Why};
use crate::broker::{self, Broker};
use crate::market::Symbol;
use crate::quota::backoff::{Backoff, Jitter};
use crate::quota::breaker::{self, Admission, Breaker};
use crate::quota::{Budget, Level, Taken};

/// Calls one fetch may make: a batch of 100 with one bad symbol takes 2·log2(100) ≈ 14, with five about 50.
pub const MAX_CALLS_PER_FETCH: usize = 64;
/// How long a fetch that has begun waits for the budget or a `Retry-After`; then it ends and its symbols are asked for
/// in a later cycle. Below the usual interval of 5 s, so that a waiting fetch does not outlive its cycle.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// How long a provider that refused our key or plan is left alone. It takes an operator to mend; the retry is there
/// for keys that are mended at the vendor's side.
const PARKED_FOR: Duration = Duration::from_secs(3600);

/// A vendor, asked over HTTP.
pub struct HttpProvider<V: Vendor> {
    vendor: Mutex<V>,
    profile: Profile,
    base_url: String,
    serves: Patterns,
    client: Arc<Client>,
    limiter: Limiter,
    redactor: Redactor,
    meters: Meters,
    started: Instant,
    state: Mutex<State>,
    calls: AtomicU64,
    in_flight: AtomicU64,
}

/// Owned by the [`HttpProvider`].
struct State {
    breaker: Breaker,
    parked: Option<(Instant, &'static str)>,
    unknown: Unknown,
    levels: Vec<Level>,
    last_failure: Option<String>,
    rng: fastrand::Rng,
}

/// Why a call was given up.
struct Stop {
    why: Why,
    retry_in: Duration,
}

impl<V: Vendor> HttpProvider<V> {
    /// A provider with the vendor's defaults where `config` says nothing.
    ///
    /// # Errors
    /// [`BuildError::Setting`] for a base URL that is none.
    pub fn new(vendor: V, config: &Config, client: Arc<Client>, broker: &Broker) -> Result<Self, BuildError> {
        let mut profile = vendor.profile();
        let base_url = client::base_url(config.base_url.as_deref().unwrap_or(profile.base_url))
            .map_err(|message| BuildError::Setting { name: profile.name, key: "base_url", message })?;
        if let Some(batch) = config.batch.and_then(|batch| NonZeroUsize::try_from(batch).ok()) {
            profile.batch = profile.batch.min(batch);
        }
        let budget = limiter::budget(profile.name, config, &profile.windows);
        Ok(HttpProvider {
            base_url,
            serves: Patterns::new(&config.symbols),
            client,
            redactor: Redactor::new(&config.api_key),
            meters: Meters::new(profile.name, &budget.windows),
            limiter: Limiter::new(Arc::clone(&broker.quota), budget),
            started: Instant::now(),
            state: Mutex::new(State {
                breaker: Breaker::new(breaker::Config::default()),
                parked: None,
                unknown: Unknown::default(),
                levels: Vec::new(),
                last_failure: None,
                rng: fastrand::Rng::new(),
            }),
            calls: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            profile: Profile { timeout: config.timeout.unwrap_or(profile.timeout), ..profile },
            vendor: Mutex::new(vendor),
        })
    }

    /// Makes one call, until it is answered or given up; each request is added to `made`.
    async fn call(&self, call: &Call<V::Step>, patience: Duration, made: &mut u64) -> Result<Progress<V::Step>, Stop> {
        let mut patience = patience;
        let mut failed = NonZeroU32::MIN;
        loop {
            let permit = self.admit(call.cost, patience).await?;
            patience = PATIENCE;
            *made += 1;
            let outcome = self.attempt(call).await;
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
            let wait = self.after(failure, failed).await?;
            tokio::time::sleep(wait).await;
            failed = failed.saturating_add(1);
        }
    }

    /// Waits for the right to make a request of this cost.
    async fn admit(&self, cost: u32, patience: Duration) -> Result<breaker::Permit, Stop> {
        let deadline = Instant::now() + patience;
        loop {
            self.check_health()?;
            match self.limiter.take(cost).await {
                Taken::Granted => break,
                Taken::Wait(wait) => {
                    let wait = wait + Jitter::EMPTY_BUCKET.pick(&mut self.state().rng);
                    if Instant::now() + wait > deadline {
                        return Err(Stop { why: Why::Budget, retry_in: wait });
                    }
                    tokio::time::sleep(wait).await;
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
        let now = self.started.elapsed();
        match self.state().breaker.admit(now) {
            Admission::Go(permit) => Ok(permit),
            Admission::Wait(retry_in) => Err(Stop { why: Why::Open, retry_in }),
        }
    }

    /// Looks at parking and breaker before anything is taken from the budget.
    fn check_health(&self) -> Result<(), Stop> {
        let mut state = self.state();
        if let Some((until, _)) = state.parked {
            let retry_in = until.saturating_duration_since(Instant::now());
            if !retry_in.is_zero() {
                return Err(Stop { why: Why::Parked, retry_in });
            }
            state.parked = None;
        }
        let retry_in = state.breaker.wait(self.started.elapsed());
        if retry_in.is_zero() { Ok(()) } else { Err(Stop { why: Why::Open, retry_in }) }
    }

    async fn attempt(&self, call: &Call<V::Step>) -> Result<Progress<V::Step>, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.meters.call();
        let _in_flight = InFlight::begin(&self.in_flight);
        let mut answer = match self.client.send(&self.base_url, &call.request, self.profile.timeout).await {
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
    async fn after(&self, failure: Failure, failed: NonZeroU32) -> Result<Duration, Stop> {
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
                self.park(PARKED_FOR, "not in the plan", &failure);
                stop(failure, PARKED_FOR)
            }
            Failure::Transient(_) => match Backoff::CALL.wait(failed, &mut self.state().rng) {
                Some(pause) => Ok(pause),
                None => stop(failure, Duration::ZERO),
            },
            Failure::Malformed(_) => stop(failure, Duration::ZERO),
        }
    }

    fn park(&self, span: Duration, why: &'static str, failure: &Failure) {
        error!(provider = self.profile.name.as_str(), for_s = span.as_secs(), "provider parked: {failure}");
        self.state().parked = Some((Instant::now() + span, why));
    }

    /// Takes out of `symbols` those that the vendor lately said it does not know.
    fn without_unknown(&self, symbols: &[Symbol], fetched: &mut Fetched) -> Vec<Symbol> {
        let now = Instant::now();
        let mut state = self.state();
        let (unknown, asked): (Vec<Symbol>, Vec<Symbol>) =
            symbols.iter().copied().partition(|&symbol| state.unknown.contains(symbol, now));
        fetched.missing.extend(unknown.into_iter().map(|symbol| (symbol, Missing::UnknownSymbol)));
        asked
    }

    fn take_in(&self, progress: Progress<V::Step>, fetched: &mut Fetched) -> Vec<Call<V::Step>> {
        for &(symbol, missing) in &progress.missing {
            self.meters.missing(missing);
            if missing == Missing::UnknownSymbol && self.state().unknown.insert(symbol, Instant::now()) {
                debug!(provider = self.profile.name.as_str(), %symbol, "unknown symbol; not asked for again for a while");
            }
        }
        fetched.missing.extend(progress.missing);
        fetched.quotes.extend(progress.quotes);
        progress.calls
    }

    fn vendor(&self) -> MutexGuard<'_, V> {
        self.vendor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<V: Vendor> Provider for HttpProvider<V> {
    fn name(&self) -> Name {
        self.profile.name
    }

    fn batch(&self) -> NonZeroUsize {
        self.profile.batch
    }

    fn interval(&self) -> Duration {
        self.profile.interval
    }

    fn serves(&self, symbol: Symbol) -> bool {
        if self.serves.is_empty() { self.vendor().serves(symbol) } else { self.serves.matches(symbol) }
    }

    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        let mut fetched = Fetched::default();
        let asked = self.without_unknown(symbols, &mut fetched);
        if asked.is_empty() {
            return fetched;
        }
        let progress = self.vendor().begin(&asked, Timestamp::now());
        let mut queue = VecDeque::from(self.take_in(progress, &mut fetched));
        let mut patience = Duration::ZERO;
        let mut made = 0;
        while let Some(call) = queue.pop_front() {
            let outcome = if made == MAX_CALLS_PER_FETCH {
                let said = format!("more than {MAX_CALLS_PER_FETCH} calls for one batch");
                Err(Stop { why: Why::Failed(Failure::Malformed(said.into())), retry_in: Duration::ZERO })
            } else {
                self.call(&call, patience, &mut fetched.calls).await
            };
            made += 1;
            patience = PATIENCE;
            match outcome {
                Ok(progress) => queue.extend(self.take_in(progress, &mut fetched)),
                Err(Stop { why, retry_in }) => {
                    let mut symbols = call.symbols;
                    symbols.extend(queue.drain(..).flat_map(|call| call.symbols));
                    fetched.left = Some(Left { symbols, why, retry_in });
                }
            }
        }
        fetched
    }

    fn status(&self) -> Status {
        let state = self.state();
        let now = Instant::now();
        let parked = state.parked.map(|(until, why)| (why.to_owned(), until.saturating_duration_since(now)));
        let breaker = state.breaker.state(self.started.elapsed());
        self.meters.breaker(breaker);
        Status {
            breaker: Some(breaker),
            budget: state.levels.iter().filter(|level| !level.window.is_tally()).copied().collect(),
            spent_today: state.levels.iter().find(|level| level.window.length == limiter::DAY).map(|day| day.spent),
            calls: self.calls.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            parked: parked.filter(|(_, left)| !left.is_zero()),
            last_failure: state.last_failure.clone(),
        }
    }

    fn budget(&self) -> Option<&Budget> {
        Some(self.limiter.budget()).filter(|budget| !budget.windows.is_empty())
    }

    async fn reset_budget(&self) -> broker::Result<()> {
        self.limiter.reset().await?;
        self.read_budget().await;
        Ok(())
    }

    async fn read_budget(&self) {
        let levels = self.limiter.levels().await;
        self.meters.budget(&levels);
        self.state().levels = levels;
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
