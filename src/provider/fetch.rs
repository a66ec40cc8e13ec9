//! Drives a [`Vendor`] over HTTP: budget, breaker, retries, and what a failure means for the next call.
//!
//! A fetch makes the vendor's calls one after the other, those included that an answer asks for, up to
//! [`MAX_CALLS_PER_FETCH`]. Each request, retries included, takes its cost from the budget first. When the budget is
//! spent a fetch that has begun nothing ends at once; one that has begun waits up to [`PATIENCE`]. It knows no vendor and
//! no schedule. State (breaker, parking, unknown symbols) belongs to the provider and is bounded by
//! [`MAX_UNKNOWN`](super::unknown::MAX_UNKNOWN) symbols.

mod call;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::debug;

use super::client::{self, Client};
use super::config::{Config, Name};
use super::limiter::{self, Limiter};
use super::meters::Meters;
use super::redact::Redactor;
use super::unknown::Unknown;
use super::vendor::{Call, Failure, Missing, Profile, Progress, Vendor};
use super::{BuildError, Fetched, Left, NoBars, Provider, Status, Why};
use crate::broker::{self, Broker};
use crate::market::bar::{self, MAX_BARS};
use crate::market::pattern::Patterns;
use crate::market::{Bar, Bars, Range, Symbol};
use crate::quota::breaker::{self, Breaker};
use crate::quota::{Budget, Level};
use call::Stop;

/// Calls one fetch may make: a batch of 100 with one bad symbol takes 2·log2(100) ≈ 14, with five about 50; one whose
/// batch endpoint is not in the plan takes 100, and a session's few.
pub const MAX_CALLS_PER_FETCH: usize = 128;
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
    /// Where everything goes.
    base_url: String,
    /// Whether it was configured; then requests that belong elsewhere go there too.
    is_configured: bool,
    serves: Patterns,
    client: Arc<Client>,
    limiter: Limiter,
    /// One for each fetch that may be under way.
    turns: Semaphore,
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
    /// The plan has no bars.
    bars_parked: Option<Instant>,
    unknown: Unknown,
    levels: Vec<Level>,
    last_failure: Option<String>,
    rng: fastrand::Rng,
}

/// What a call is for, where that decides what a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    /// The publisher's: what is not got now is asked for in the next cycle.
    Quotes,
    /// A reader's, who waits.
    Bars,
}

impl<V: Vendor> HttpProvider<V> {
    /// A provider with the vendor's defaults where `config` says nothing.
    ///
    /// # Errors
    /// [`BuildError::Setting`] for a base URL that is none.
    pub fn new(vendor: V, config: &Config, client: Arc<Client>, broker: &Broker) -> Result<Self, BuildError> {
        HttpProvider::with_breaker(vendor, config, client, broker, breaker::Config::default())
    }

    /// The same, with a breaker of its own measure.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_breaker(
        vendor: V,
        config: &Config,
        client: Arc<Client>,
        broker: &Broker,
        breaker: breaker::Config,
    ) -> Result<Self, BuildError> {
        let mut profile = vendor.profile();
        let base_url = client::base_url(config.base_url.as_deref().unwrap_or(profile.base_url))
            .map_err(|message| BuildError::Setting { name: profile.name, key: "base_url", message })?;
        if let Some(batch) = config.batch.and_then(|batch| NonZeroUsize::try_from(batch).ok()) {
            profile.batch = profile.batch.min(batch);
        }
        let budget = limiter::budget(profile.name, config, &profile.windows);
        Ok(HttpProvider {
            base_url,
            is_configured: config.base_url.is_some(),
            serves: Patterns::new(&config.symbols),
            client,
            redactor: Redactor::new(&config.api_key),
            meters: Meters::new(profile.name, &budget.windows),
            limiter: Limiter::new(Arc::clone(&broker.quota), budget),
            turns: Semaphore::new(profile.at_once.map_or(client::MAX_IN_FLIGHT, NonZeroUsize::get)),
            started: Instant::now(),
            state: Mutex::new(State {
                breaker: Breaker::new(breaker),
                parked: None,
                bars_parked: None,
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

    /// Takes out of `symbols` those that the vendor lately said it does not know.
    fn without_unknown(&self, symbols: &[Symbol], fetched: &mut Fetched) -> Vec<Symbol> {
        let now = Instant::now();
        let mut state = self.state();
        let (unknown, asked): (Vec<Symbol>, Vec<Symbol>) =
            symbols.iter().copied().partition(|&symbol| state.unknown.contains(symbol, now));
        fetched.missing.extend(unknown.into_iter().map(|symbol| (symbol, Missing::UnknownSymbol)));
        asked
    }

    /// Makes the calls of `begun`, and those that their answers ask for.
    async fn gather(&self, begun: Progress<V::Step>, endpoint: Endpoint) -> (Fetched, Vec<Bar>) {
        let (mut fetched, mut bars) = (Fetched::default(), Vec::new());
        let mut queue = VecDeque::from(self.take_in(begun, endpoint, &mut fetched, &mut bars));
        let mut patience = match endpoint {
            Endpoint::Quotes => Duration::ZERO,
            Endpoint::Bars => PATIENCE,
        };
        let mut made = 0;
        while let Some(call) = queue.pop_front() {
            let outcome = if made == MAX_CALLS_PER_FETCH || bars.len() > MAX_BARS {
                let said = format!("more than {MAX_CALLS_PER_FETCH} calls for one batch, or {MAX_BARS} bars");
                Err(Stop { why: Why::Failed(Failure::Malformed(said.into())), retry_in: Duration::ZERO })
            } else {
                self.call(&call, endpoint, patience, &mut fetched.calls).await
            };
            made += 1;
            patience = PATIENCE;
            match outcome {
                Ok(progress) => queue.extend(self.take_in(progress, endpoint, &mut fetched, &mut bars)),
                Err(Stop { why, retry_in }) => {
                    let mut symbols = call.symbols;
                    for symbol in queue.drain(..).flat_map(|call| call.symbols) {
                        if !symbols.contains(&symbol) {
                            symbols.push(symbol);
                        }
                    }
                    fetched.left = Some(Left { symbols, why, retry_in });
                }
            }
        }
        (fetched, bars)
    }

    fn take_in(
        &self,
        progress: Progress<V::Step>,
        endpoint: Endpoint,
        fetched: &mut Fetched,
        bars: &mut Vec<Bar>,
    ) -> Vec<Call<V::Step>> {
        for &(symbol, missing) in &progress.missing {
            self.meters.missing(missing);
            // A symbol without bars may have quotes.
            let cools = missing.lasts() && endpoint == Endpoint::Quotes;
            if cools && self.state().unknown.insert(symbol, Instant::now()) {
                debug!(provider = self.profile.name.as_str(), %symbol, why = missing.as_str(), "not asked for again for a while");
            }
        }
        fetched.missing.extend(progress.missing);
        fetched.quotes.extend(progress.quotes);
        bars.extend(progress.bars);
        progress.calls
    }

    /// Waits until fewer than [`Profile::at_once`] fetches are under way.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("the semaphore is never closed")
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
        let mut known = Fetched::default();
        let asked = self.without_unknown(symbols, &mut known);
        if asked.is_empty() {
            return known;
        }
        let _turn = self.turn().await;
        let begun = self.vendor().begin(&asked, Timestamp::now());
        let (mut fetched, _) = self.gather(begun, Endpoint::Quotes).await;
        fetched.missing.extend(known.missing);
        fetched
    }

    async fn bars(&self, symbol: Symbol, range: Range) -> Result<Bars, NoBars> {
        if !self.serves(symbol) {
            return Err(NoBars::NotServed);
        }
        if self.state().unknown.contains(symbol, Instant::now()) {
            return Err(NoBars::Missing(Missing::UnknownSymbol));
        }
        let _turn = self.turn().await;
        let chart = self.vendor().begin_bars(symbol, range, Timestamp::now()).ok_or(NoBars::NotServed)?;
        let begun = Progress { calls: vec![chart.call], ..Progress::default() };
        let (fetched, bars) = self.gather(begun, Endpoint::Bars).await;
        if let Some(Left { why, retry_in, .. }) = fetched.left {
            return Err(NoBars::Left { why, retry_in });
        }
        let bars = bar::in_order(bars, chart.from);
        match fetched.missing.first() {
            Some((_, missing)) if bars.is_empty() => Err(NoBars::Missing(*missing)),
            None if bars.is_empty() => Err(NoBars::Missing(Missing::NoData)),
            Some(_) | None => Ok(Bars { source: self.profile.name.as_str(), interval: chart.interval, bars }),
        }
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
