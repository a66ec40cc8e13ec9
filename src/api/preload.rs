//! Warming up: asks the publisher for quotes that the cache does not have, and fetches bars, before anybody waits for them.
//!
//! Once at the start, for popular symbols, indices and what the page shows ([`warm_up`]); and by `/api/preload-cache`.
//! Quotes come by the publisher: a control message, then the store is looked at until they are there. One run at a time,
//! bounded by [`WHOLE_RUN`]; what it does not reach is named.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Front;
use super::asked::{Asked, checked};
use super::refusal::Refusal;
use crate::broker::keys;
use crate::cache::Origin;
use crate::cache::charts::NoChart;
use crate::gateway::PeerAddr;
use crate::market::{Range, Symbol};
use crate::ops::Access;
use crate::ops::control;

/// Symbols asked for at once, unless told otherwise.
const BATCH: NonZeroUsize = NonZeroUsize::new(10).expect("10 is not 0");
const MAX_BATCH: usize = 100;
/// How long a run may take: below the time-outs of most proxies.
const WHOLE_RUN: Duration = Duration::from_secs(50);
/// How long a run waits for the one before it.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// How long the quotes of a batch are waited for.
const BATCH_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for them.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The longest request body.
const MAX_BODY: usize = 64 * 1024;
/// At the start, until a publisher answers.
const TRIES: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_secs(3);
/// Headers of proxies: whoever comes through one is not on loopback, whatever the socket says.
const FORWARDERS: [&str; 3] = ["x-forwarded-for", "x-real-ip", "via"];

/// The runs of this process. Shared by all handlers.
#[derive(Default)]
pub(super) struct Preload {
    running: tokio::sync::Mutex<()>,
    progress: Mutex<Progress>,
}

/// How far the run under way is, and how the last one went.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Progress {
    running: bool,
    done: usize,
    total: usize,
    /// Of the last run that ended.
    last: Option<Value>,
}

/// What is to be loaded.
struct Wish {
    symbols: Vec<Symbol>,
    range: Option<Range>,
    batch: NonZeroUsize,
}

/// What came of one symbol.
#[derive(Debug, Clone, Serialize)]
struct Loaded {
    symbol: Symbol,
    quote: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    bars: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It was there.
    Cached,
    /// It is there now.
    Loaded,
    /// Quotes: no publisher answered; bars: nobody has them.
    Missing,
    /// Not now: budget, time, a provider in trouble.
    Later,
}

impl Outcome {
    const fn is_good(self) -> bool {
        matches!(self, Outcome::Cached | Outcome::Loaded)
    }
}

/// A `POST`'s body.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    symbols: Vec<String>,
    time_range: Option<String>,
    batch_size: Option<usize>,
}

/// `GET`, `HEAD`, `POST /api/preload-cache`.
pub(super) async fn preload(State(front): State<Front>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<PeerAddr>();
    check(&front, peer, &head.headers)?;
    let body = to_bytes(body, MAX_BODY).await;
    let body = body.map_err(|_| Refusal::bad("invalid_request", format!("a body of at most {MAX_BODY} bytes")))?;
    let wish = wish(&front, &Asked::read(head.uri.query()), &body)?;
    let report = front.preload.run(&front, wish, TURN_PATIENCE).await.ok_or_else(|| {
        Refusal::new(StatusCode::CONFLICT, "preload_running", "a preload is under way; see /api/preload-cache/health")
    })?;
    let status = if report["status"] == "failed" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok((status, Json(report)).into_response())
}

/// `GET /api/preload-cache/health`.
pub(super) async fn health(State(front): State<Front>) -> Json<Value> {
    let stats = front.cache.stats();
    let status = if stats.connected { "healthy" } else { "degraded" };
    Json(json!({"status": status, "preload": front.preload.progress(), "cache": stats}))
}

/// Loads what will be asked for first, once a publisher answers, or until `stop`.
pub async fn warm_up(front: Front, stop: CancellationToken) {
    let symbols = front.favourites();
    if symbols.is_empty() || !front.cache.config().enabled {
        return;
    }
    for _ in 0..TRIES {
        let wish = Wish { symbols: symbols.clone(), range: None, batch: BATCH };
        let report = tokio::select! {
            () = stop.cancelled() => return,
            report = front.preload.run(&front, wish, Duration::ZERO) => report,
        };
        // Somebody else's run is as good.
        let Some(report) = report else { return };
        let is_unheard = |one: &Value| one["quote"] == "missing";
        if !report["symbols"].as_array().is_some_and(|symbols| symbols.iter().any(is_unheard)) {
            info!(loaded = %report["loaded"], cached = %report["cached"], failed = %report["failed"], "the cache is warm");
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(TRY_AGAIN) => {}
        }
    }
    info!(symbols = symbols.len(), "the cache was not warmed up: no publisher answers");
}

/// On loopback anybody, from elsewhere whoever has the admin token.
fn check(front: &Front, peer: Option<&PeerAddr>, headers: &HeaderMap) -> Result<(), Refusal> {
    let is_forwarded = headers.contains_key(FORWARDED) || FORWARDERS.iter().any(|name| headers.contains_key(*name));
    // An address that is not loopback stands for all that are not.
    let elsewhere = std::net::IpAddr::from([0, 0, 0, 0]);
    let from = peer.map_or(elsewhere, |peer| if is_forwarded { elsewhere } else { peer.0 });
    let access = Access::new(from, front.config.admin_token.clone());
    access.check(headers).map_err(|(status, code, message)| Refusal::new(status, code, message))
}

fn wish(front: &Front, asked: &Asked, body: &Bytes) -> Result<Wish, Refusal> {
    let body: Body = if body.trim_ascii().is_empty() {
        Body::default()
    } else {
        let wrong =
            |error| Refusal::bad("invalid_json", format!("the body has symbols, timeRange, batchSize: {error}"));
        serde_json::from_slice(body).map_err(wrong)?
    };
    let max = front.config.max_symbols;
    let mut symbols = checked(&[asked.list(), body.symbols.join(",")].join(","), max)?;
    if symbols.is_empty() {
        symbols = front.favourites();
    }
    let range = asked
        .get("timeRange")
        .or(body.time_range.as_deref())
        .map(|text| text.parse().map_err(|_| Refusal::bad("invalid_range", "timeRange is 24h, 1w or 1m (a month)")));
    let batch = match asked.get("batchSize") {
        Some(text) => Some(text.parse().unwrap_or(0)),
        None => body.batch_size,
    };
    let batch = batch.map_or(Some(BATCH), |size: usize| NonZeroUsize::new(size).filter(|size| size.get() <= MAX_BATCH));
    let batch = batch.ok_or_else(|| Refusal::bad("invalid_request", format!("batchSize is 1 to {MAX_BATCH}")))?;
    Ok(Wish { symbols, range: range.transpose()?, batch })
}

impl Front {
    /// Who will be asked for first: popular symbols, indices, the page's.
    fn favourites(&self) -> Vec<Symbol> {
        let popular = &self.cache.config().popular;
        let mut symbols = Vec::new();
        for &symbol in popular.iter().chain(&self.config.indices).chain(self.showcase.iter()) {
            if !symbols.contains(&symbol) {
                symbols.push(symbol);
            }
        }
        symbols.truncate(self.config.max_symbols);
        symbols
    }
}

impl Preload {
    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// One run, and its report. `None`: another one is under way for longer than `patience`.
    async fn run(self: &Arc<Self>, front: &Front, wish: Wish, patience: Duration) -> Option<Value> {
        let _running = timeout(patience, self.running.lock()).await.ok()?;
        let (begun, total) = (Instant::now(), wish.symbols.len());
        let run = Run { progress: &self.progress };
        run.begin(total);
        let deadline = begun + WHOLE_RUN;
        let mut loaded = Vec::with_capacity(total);
        for batch in wish.symbols.chunks(wish.batch.get()) {
            let quotes = quotes(front, batch, deadline).await;
            let bars = bars(front, batch, wish.range, deadline).await;
            loaded.extend(batch.iter().map(|symbol| Loaded {
                symbol: *symbol,
                quote: quotes.get(symbol).copied().unwrap_or(Outcome::Missing),
                bars: bars.get(symbol).copied(),
            }));
            run.advance(loaded.len());
            let good = loaded.iter().filter(|one| one.quote.is_good()).count();
            info!(done = loaded.len(), total, good, "warming up the cache");
        }
        let report = report(&loaded, begun.elapsed());
        run.end(&report);
        Some(report)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the progress while a run lasts, one that is given up included.
struct Run<'a> {
    progress: &'a Mutex<Progress>,
}

impl Run<'_> {
    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn begin(&self, total: usize) {
        self.change(|progress| (progress.running, progress.done, progress.total) = (true, 0, total));
    }

    fn advance(&self, done: usize) {
        self.change(|progress| progress.done = done);
    }

    fn end(&self, report: &Value) {
        let mut short = report.clone();
        if let Some(fields) = short.as_object_mut() {
            fields.remove("symbols");
        }
        self.change(|progress| progress.last = Some(short));
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.change(|progress| progress.running = false);
    }
}

fn report(loaded: &[Loaded], took: Duration) -> Value {
    let is_good = |one: &Loaded| one.quote.is_good() && one.bars.is_none_or(Outcome::is_good);
    let is_cached = |one: &Loaded| one.quote == Outcome::Cached && one.bars.is_none_or(|bars| bars == Outcome::Cached);
    let good = loaded.iter().filter(|one| is_good(one)).count();
    let cached = loaded.iter().filter(|one| is_cached(one)).count();
    let status = match good {
        good if good == loaded.len() => "ok",
        0 => "failed",
        _ => "partial",
    };
    json!({
        "status": status,
        "requested": loaded.len(),
        "loaded": good - cached,
        "cached": cached,
        "failed": loaded.len() - good,
        "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "symbols": loaded,
        "timestamp": format!("{:.3}", Timestamp::now()),
    })
}

/// Has the publisher poll what the store does not have, and waits for it to come.
async fn quotes(front: &Front, batch: &[Symbol], deadline: Instant) -> HashMap<Symbol, Outcome> {
    let mut outcomes = HashMap::new();
    for symbol in stored(front, batch).await {
        outcomes.insert(symbol, Outcome::Cached);
    }
    let left = |outcomes: &HashMap<Symbol, Outcome>| -> Vec<Symbol> {
        batch.iter().filter(|symbol| !outcomes.contains_key(*symbol)).copied().collect()
    };
    let deadline = deadline.min(Instant::now() + BATCH_PATIENCE);
    let cold = left(&outcomes);
    if cold.is_empty() {
        return outcomes;
    }
    let message = json!({"action": "refresh", "data": {"symbols": cold}}).to_string();
    let asked = timeout_at(deadline, control::ask(&front.broker, message.as_bytes())).await;
    let is_heard = matches!(&asked, Ok(Ok(outcome)) if outcome.is_ok());
    while is_heard && Instant::now() < deadline {
        for symbol in stored(front, &left(&outcomes)).await {
            outcomes.insert(symbol, Outcome::Loaded);
        }
        if left(&outcomes).is_empty() {
            break;
        }
        sleep(LOOK_AGAIN).await;
    }
    let outcome = if is_heard { Outcome::Later } else { Outcome::Missing };
    for symbol in left(&outcomes) {
        outcomes.insert(symbol, outcome);
    }
    outcomes
}

/// Those of the symbols whose quotes are in the store.
async fn stored(front: &Front, symbols: &[Symbol]) -> Vec<Symbol> {
    let keys: Vec<String> = symbols.iter().map(|&symbol| keys::quote(symbol)).collect();
    // A store that is away has nothing.
    let values = front.broker.store.get_many(&keys).await.unwrap_or_default();
    symbols.iter().zip(values).filter(|(_, value)| value.is_some()).map(|(symbol, _)| *symbol).collect()
}

async fn bars(front: &Front, batch: &[Symbol], range: Option<Range>, deadline: Instant) -> HashMap<Symbol, Outcome> {
    let mut outcomes = HashMap::new();
    let Some(range) = range else { return outcomes };
    for &symbol in batch {
        let outcome = match timeout_at(deadline, front.charts.get(symbol, range)).await {
            Ok(Ok(chart)) if chart.origin == Origin::Fetched => Outcome::Loaded,
            Ok(Ok(_)) => Outcome::Cached,
            Ok(Err(NoChart::Unknown | NoChart::Nobody)) => Outcome::Missing,
            Ok(Err(NoChart::Later { .. })) | Err(_) => Outcome::Later,
        };
        outcomes.insert(symbol, outcome);
    }
    outcomes
}
