//! The operators' port: health, metrics, statistics, control.
//!
//! Reads what the parts say about themselves; decides nothing but who may change something (`access.rs`). Bounded: request
//! bodies by [`MAX_BODY_BYTES`], listings by [`MAX_LISTED`].

mod access;
pub mod config;
pub mod control;
pub mod health;
mod meters;
pub mod metrics;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::Access;
pub use config::Config;

use crate::broker::{Broker, BrokerError};
use crate::cache::Cache;
use crate::gateway;
use crate::provider;
use health::Watch;
use meters::BrokerMeters;
use metrics::{Exposition, UPKEEP};

/// The longest request body.
pub const MAX_BODY_BYTES: usize = crate::protocol::control::MAX_MESSAGE_BYTES;
/// The most connections `/connections` lists.
pub const MAX_LISTED: usize = 10_000;

/// What the ops port shows.
pub struct Sources {
    /// The process's broker.
    pub broker: Broker,
    /// The process's cache.
    pub cache: Cache,
    /// The gateway, where one runs.
    pub gateway: Option<gateway::Handle>,
    /// The publisher, where one runs.
    pub publisher: Option<Arc<dyn Publishing>>,
    /// The process's metrics.
    pub metrics: Exposition,
    /// When the process started.
    pub started: Instant,
    /// How long the broker may be away before `/ready` says 503.
    pub ready_grace: Duration,
    /// Cancelled when the process is going away.
    pub draining: CancellationToken,
}

/// A publisher, as the ops port sees it: it and the gateway's floor know nothing of each other.
#[async_trait]
pub trait Publishing: Send + Sync {
    /// The `publisher` of `/health`.
    fn health(&self) -> Value;
    /// The `publisher` of `/stats`.
    fn stats(&self) -> Value;
    /// Brings the publisher's gauges up to date.
    fn set_gauges(&self) {}
    /// The `providers` of `/quota`: each one's budget, read now, and what polling it costs.
    async fn budgets(&self) -> Value;
    /// Forgets what was spent of a provider's budget.
    ///
    /// # Errors
    /// [`ResetError`]; nothing was forgotten then.
    async fn reset_budget(&self, provider: provider::Name) -> Result<(), ResetError>;
}

/// Why what was spent of a budget was not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// There is none.
    #[error("{0} is not asked for quotes here, or nothing limits it")]
    NoBudget(provider::Name),
    /// The broker does not.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// An ops port that serves.
pub struct Ops {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    health: Health,
}

/// The short health that the public port shows too.
#[derive(Clone)]
pub struct Health {
    sources: Arc<Sources>,
    watch: Watch,
}

impl Health {
    /// Of these sources, following the broker until `stop`.
    fn start(sources: Arc<Sources>, tasks: &TaskTracker, stop: &CancellationToken) -> Health {
        let watch = Watch::new();
        tasks.spawn(watch.clone().follow(sources.broker.status.clone(), stop.clone()));
        tasks.spawn(BrokerMeters::register().follow(sources.broker.status.clone(), stop.clone()));
        Health { sources, watch }
    }

    /// For the public port: whether it serves, and in how few words.
    #[must_use]
    pub fn short(&self) -> (bool, Value) {
        let verdict = health::verdict(&self.sources);
        let body = serde_json::json!({"status": verdict.as_str(), "version": env!("CARGO_PKG_VERSION")});
        (verdict != health::Verdict::Draining, body)
    }
}

impl Ops {
    /// Binds the port and serves it.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(config: &Config, sources: Sources) -> io::Result<Ops> {
        let listener = TcpListener::bind((config.bind, config.port)).await?;
        let address = listener.local_addr()?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let exposition = sources.metrics.clone();
        let health = Health::start(Arc::new(sources), &tasks, &stop);
        let router = routes::router(health.clone(), Access::new(config.bind, config.admin_token.clone()));
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the ops port failed");
            }
        });
        tasks.spawn(upkeep(exposition, stop.clone()));
        Ok(Ops { address, tasks, stop, health })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `/health` says, for other ports.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Closes the port and waits for what is under way.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        // A client that reads its answer slowly does not hold up the end.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

async fn upkeep(exposition: Exposition, stop: CancellationToken) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => exposition.upkeep(),
        }
    }
}
