//! How the process is doing: what `/health`, `/live` and `/ready` answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Sources;
use crate::broker::{Kind, Status};

/// The word in `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Healthy,
    /// It serves, but the broker is away or takes no writes.
    Degraded,
    /// It is going away.
    Draining,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::Degraded => "degraded",
            Verdict::Draining => "draining",
        }
    }
}

/// Remembers since when the broker is away.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<Away>>);

#[derive(Clone, Copy)]
enum Away {
    /// It has not been there yet.
    Never,
    /// It is there.
    No,
    Since(Instant),
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch(Arc::new(Mutex::new(Away::Never)))
    }

    /// Follows the broker's status until `stop`.
    pub(super) async fn follow(self, mut status: watch::Receiver<Status>, stop: CancellationToken) {
        loop {
            let connected = status.borrow_and_update().connected;
            {
                let mut away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *away = match (*away, connected) {
                    (_, true) => Away::No,
                    (Away::No, false) => Away::Since(Instant::now()),
                    (before, false) => before,
                };
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = status.changed() => if changed.is_err() { return },
            }
        }
    }

    fn is_ready(&self, grace: Duration) -> Result<(), &'static str> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Away::Never => Err("starting: the broker has not answered yet"),
            Away::Since(since) if since.elapsed() >= grace => Err("the broker is away"),
            Away::No | Away::Since(_) => Ok(()),
        }
    }
}

/// What the process is.
pub(super) fn verdict(sources: &Sources) -> Verdict {
    let gateway = sources.gateway.as_ref().map(crate::gateway::Handle::summary);
    if sources.draining.is_cancelled() || gateway.as_ref().is_some_and(|gateway| gateway.draining) {
        return Verdict::Draining;
    }
    let status = sources.broker.status.borrow();
    let fed = gateway.is_none_or(|gateway| gateway.feed_connected);
    if status.connected && status.writable && fed { Verdict::Healthy } else { Verdict::Degraded }
}

/// The body of `/health`.
pub(super) fn health(sources: &Sources) -> Value {
    let gateway = sources.gateway.as_ref().map(crate::gateway::Handle::summary);
    let status = sources.broker.status.borrow().clone();
    let kind = match status.kind {
        Kind::Memory => "memory",
        Kind::Redis => "redis",
    };
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    let round = |ms: f64| (ms * 100.0).round() / 100.0;
    let mut broker = json!({
        "kind": kind,
        "connected": status.connected,
        "writable": status.writable,
        "last_message_age_ms": gateway.as_ref().and_then(|gateway| gateway.last_message_age_ms),
        "canary_ms": status.canary.map(|canary| round(millis(canary))),
    });
    if let Some(problem) = &status.problem {
        broker["problem"] = (**problem).into();
    }
    json!({
        "status": verdict(sources).as_str(),
        "connections": gateway.as_ref().map_or(0, |gateway| gateway.connections),
        "subscriptions": gateway.as_ref().map_or(0, |gateway| gateway.subscriptions),
        "symbols": gateway.as_ref().map_or(0, |gateway| gateway.symbols),
        "broker": broker,
        "cache": {"backend": cache_backend(sources, &status)},
        "publisher": sources.publisher.as_ref().map(|publisher| publisher.health()),
        "uptime_s": sources.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": format!("{:.3}", Timestamp::now()),
    })
}

/// Where cached values are: in Redis as well, in this process alone, or nowhere.
fn cache_backend(sources: &Sources, status: &Status) -> &'static str {
    match status.kind {
        _ if !sources.cache.config().enabled => "none",
        Kind::Redis if status.connected => "redis",
        Kind::Redis | Kind::Memory => "memory",
    }
}

/// Whether traffic may be sent here; why not.
pub(super) fn ready(sources: &Sources, watch: &Watch) -> Result<(), &'static str> {
    if verdict(sources) == Verdict::Draining {
        return Err("draining");
    }
    watch.is_ready(sources.ready_grace)
}
