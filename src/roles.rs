//! The roles: which parts run in a process, in which order they start, and in which they stop.
//!
//! Start: metrics → broker → publisher → gateway → ops port. Stop, on SIGTERM, SIGINT or a `drain` message: clients are
//! asked to leave while quotes still flow, then the gateway ends, then the publisher hands over, then the ops port and the
//! broker. A second signal ends the process at once.

mod log_level;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api;
use crate::broker::{self, Broker};
use crate::cache::{Cache, Charts};
use crate::config::{Config, Role};
use crate::crash;
use crate::gateway::{self, Gateway, Readers};
use crate::logging::{self, Levels};
use crate::market::Symbol;
use crate::ops::metrics::Exposition;
use crate::ops::{self, Ops};
use crate::provider;
use crate::publisher::{self, Publisher};

/// Why a role cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// Metrics cannot be collected.
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The broker's configuration cannot work.
    #[error("the broker cannot be used: {0}")]
    Broker(#[from] broker::BadConfig),
    /// The gateway cannot start.
    #[error(transparent)]
    Gateway(#[from] gateway::StartError),
    /// The ops port cannot be bound.
    #[error("cannot listen on the ops port {address}: {source}")]
    Ops {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A provider cannot be set up.
    #[error("a provider cannot be used: {0}")]
    Provider(#[from] provider::BuildError),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// A process's parts.
struct Parts {
    broker: Broker,
    cache: Cache,
    gateway: Option<Gateway>,
    publishing: Option<Publishing>,
    ops: Ops,
    tasks: TaskTracker,
    draining: CancellationToken,
    stop: CancellationToken,
}

/// The publisher that runs now: one that panicked is followed by a new one.
type CurrentPublisher = Arc<Mutex<publisher::Handle>>;

/// A publisher that runs.
struct Publishing {
    handle: CurrentPublisher,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Runs a role until it is told to stop, and then until it has stopped.
///
/// # Errors
/// [`RoleError`] when it cannot start; once it runs, nothing that happens outside ends it.
pub async fn run(role: Role, config: &Config, levels: Levels) -> Result<(), RoleError> {
    let mut signals = Signals::listen().map_err(RoleError::Signals)?;
    let parts = start(role, config, levels).await?;
    let drain_asked = async {
        match &parts.gateway {
            Some(gateway) => gateway.handle().drain_asked().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        name = signals.next() => info!(signal = name, "stopping"),
        () = drain_asked => info!("stopping: drain asked for"),
    }
    tokio::select! {
        () = stop(parts) => info!("stopped"),
        name = signals.next() => warn!(signal = name, "stopping at once"),
    }
    Ok(())
}

async fn start(role: Role, config: &Config, levels: Levels) -> Result<Parts, RoleError> {
    let started = Instant::now();
    let metrics = Exposition::install()?;
    logging::register_metrics();
    let broker = broker::start(&config.broker)?;
    let (tasks, draining, stop) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let process = format!("{role} (pid {})", std::process::id());
    tasks.spawn(log_level::obey(process, broker.clone(), levels, stop.clone()));
    let providers = match role {
        Role::Serve if !config.publisher.enabled => Vec::new(),
        Role::Serve | Role::Publisher => {
            provider::build(&config.publisher.providers, &config.publisher.settings, &broker).await?
        }
        Role::Gateway => providers_of_bars(config, &broker).await,
    };
    let (health, cache) = (Arc::new(OnceLock::new()), Cache::new(&config.cache, &broker));
    let gateway = match role {
        Role::Serve | Role::Gateway => {
            let mut front = None;
            let app = |readers: &Readers| {
                let parts = api::Parts {
                    showcase: showcase(config, &providers),
                    health: Arc::clone(&health),
                    readers: readers.clone(),
                    cache: cache.clone(),
                    charts: Charts::new(cache.clone(), providers.clone()),
                    broker: broker.clone(),
                };
                api::router(front.insert(api::Front::new(config.api(), parts)).clone())
            };
            let gateway = Gateway::start(&config.gateway, &broker, app).await?;
            if let Some(front) = front {
                tasks.spawn(api::warm_up(front, stop.clone()));
            }
            Some(gateway)
        }
        Role::Publisher => None,
    };
    let publishes = role != Role::Gateway && !providers.is_empty();
    let publishing = publishes.then(|| start_publisher(config, &broker, providers));
    let sources = ops::Sources {
        broker: broker.clone(),
        cache: cache.clone(),
        gateway: gateway.as_ref().map(Gateway::handle),
        publisher: publishing.as_ref().map(|publishing| Arc::new(Reported(Arc::clone(&publishing.handle))) as _),
        metrics,
        started,
        ready_grace: config.gateway.ready_grace,
        draining: draining.clone(),
    };
    let ops = Ops::start(&config.ops, sources).await.map_err(|source| {
        let address = (config.ops.bind, config.ops.port).into();
        RoleError::Ops { address, source }
    })?;
    // Set once, here.
    let _ = health.set(ops.health());
    info!(address = %ops.address(), "ops port serves /health /ready /metrics /stats");
    if let (Role::Serve, Some(gateway)) = (role, &gateway) {
        welcome(config, gateway.handle().address(), ops.address());
    }
    Ok(Parts { broker, cache, gateway, publishing, ops, tasks, draining, stop })
}

/// A gateway polls nobody; it asks providers for bars only. One that cannot be set up here serves none.
async fn providers_of_bars(config: &Config, broker: &Broker) -> Vec<Arc<dyn provider::Provider>> {
    if config.publisher.providers.is_empty() {
        return Vec::new();
    }
    let built = provider::build(&config.publisher.providers, &config.publisher.settings, broker).await;
    built.unwrap_or_else(|error| {
        warn!(%error, "no bars are served here");
        Vec::new()
    })
}

/// Starts polling and publishing.
fn start_publisher(config: &Config, broker: &Broker, providers: Vec<Arc<dyn provider::Provider>>) -> Publishing {
    let (broker, cache, name) = (broker.clone(), config.cache.clone(), config.gateway.name.clone());
    let config = config.publisher.clone();
    // A name of its own for each: a new one must not go on with the numbers of one that panicked.
    let make = move || {
        let name = format!("{name}-{:08x}", fastrand::u32(..));
        let parts =
            publisher::Parts { name, broker: broker.clone(), providers: providers.clone(), cache: cache.clone() };
        Publisher::new(parts, &config)
    };
    let mut first = Some(make());
    let handle = Arc::new(Mutex::new(first.as_ref().expect("just made").handle()));
    let (current, stop) = (Arc::clone(&handle), CancellationToken::new());
    let token = stop.clone();
    let task = tokio::spawn(async move {
        let work = || {
            let publisher = first.take().unwrap_or_else(&make);
            *current.lock().unwrap_or_else(PoisonError::into_inner) = publisher.handle();
            publisher.run(token.clone())
        };
        crash::contain("publisher", &token, work).await;
    });
    Publishing { handle, task, stop }
}

/// What the page shows first: what is pinned, or else what people know of the first provider's symbols.
fn showcase(config: &Config, providers: &[Arc<dyn provider::Provider>]) -> Vec<Symbol> {
    let pinned = &config.publisher.pinned;
    if !pinned.is_empty() {
        return pinned.clone();
    }
    providers.iter().map(|provider| provider.showcase()).find(|symbols| !symbols.is_empty()).unwrap_or_default()
}

/// Where to look, for whoever started it by hand.
fn welcome(config: &Config, public: SocketAddr, ops: SocketAddr) {
    let host = |address: SocketAddr| {
        if address.ip().is_unspecified() { format!("127.0.0.1:{}", address.port()) } else { address.to_string() }
    };
    info!("page    http://{}/", host(public));
    info!("socket  ws://{}/ws", host(public));
    info!("ops     http://{}/", host(ops));
    if config.publisher.providers == [provider::Name::Simulated] {
        info!("quotes are simulated; for live ones without a key: tickcast serve --provider binance");
    }
}

/// The publisher, as the ops port sees it.
struct Reported(CurrentPublisher);

impl Reported {
    fn now(&self) -> publisher::Handle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ops::Publishing for Reported {
    fn health(&self) -> Value {
        serde_json::to_value(self.now().health()).unwrap_or_default()
    }

    fn stats(&self) -> Value {
        serde_json::to_value(self.now().stats()).unwrap_or_default()
    }

    fn set_gauges(&self) {
        self.now().set_gauges();
    }

    async fn budgets(&self) -> Value {
        serde_json::to_value(self.now().budgets().await).unwrap_or_default()
    }

    async fn reset_budget(&self, name: provider::Name) -> Result<(), ops::ResetError> {
        self.now().reset_budget(name).await.ok_or(ops::ResetError::NoBudget(name))?.map_err(Into::into)
    }
}

async fn stop(parts: Parts) {
    parts.draining.cancel();
    if let Some(gateway) = parts.gateway {
        gateway.drain().await;
        gateway.stop().await;
    }
    if let Some(publishing) = parts.publishing {
        publishing.stop.cancel();
        if let Err(error) = publishing.task.await {
            warn!(%error, "the publisher did not end well");
        }
    }
    parts.stop.cancel();
    parts.tasks.close();
    parts.tasks.wait().await;
    parts.cache.stop().await;
    parts.ops.stop().await;
    parts.broker.shutdown().await;
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
