//! The roles: which parts run in a process, in which order they start, and in which they stop.
//!
//! Start: metrics → broker → publisher → gateway → ops port. Stop, on SIGTERM, SIGINT or a `drain` message: clients are
//! asked to leave while quotes still flow, then the gateway ends, then the publisher hands over, then the ops port and the
//! broker. A second signal ends the process at once.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api;
use crate::broker::{self, Broker, Channel, Event};
use crate::config::{Config, Role, log};
use crate::gateway::{self, Gateway};
use crate::logging::Levels;
use crate::market::Symbol;
use crate::ops::metrics::Exposition;
use crate::ops::{self, Ops};
use crate::protocol::control::{self, Control};
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
    gateway: Option<Gateway>,
    publishing: Option<Publishing>,
    ops: Ops,
    tasks: TaskTracker,
    draining: CancellationToken,
    stop: CancellationToken,
}

/// A publisher that runs.
struct Publishing {
    handle: publisher::Handle,
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
    let broker = broker::start(&config.broker)?;
    let (tasks, draining, stop) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    tasks.spawn(obey_log_level(broker.clone(), levels, stop.clone()));
    let providers = match role {
        Role::Serve if !config.publisher.enabled => Vec::new(),
        Role::Serve | Role::Publisher => {
            provider::build(&config.publisher.providers, &config.publisher.settings, &broker).await?
        }
        Role::Gateway => Vec::new(),
    };
    let health = Arc::new(OnceLock::new());
    let gateway = match role {
        Role::Serve | Role::Gateway => {
            let front = api::Front { showcase: showcase(config, &providers), health: Arc::clone(&health) };
            Some(Gateway::start(&config.gateway, &broker, api::router(front)).await?)
        }
        Role::Publisher => None,
    };
    let publishing = (!providers.is_empty()).then(|| start_publisher(config, &broker, providers));
    let sources = ops::Sources {
        broker: broker.clone(),
        gateway: gateway.as_ref().map(Gateway::handle),
        publisher: publishing.as_ref().map(|publishing| Arc::new(Reported(publishing.handle.clone())) as _),
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
    Ok(Parts { broker, gateway, publishing, ops, tasks, draining, stop })
}

/// Starts polling and publishing.
fn start_publisher(config: &Config, broker: &Broker, providers: Vec<Arc<dyn provider::Provider>>) -> Publishing {
    let name = format!("{}-{:08x}", config.gateway.name, fastrand::u32(..));
    let parts = publisher::Parts { name, broker: broker.clone(), providers, cache: config.cache.clone() };
    let publisher = Publisher::new(parts, &config.publisher);
    let (handle, stop) = (publisher.handle(), CancellationToken::new());
    let task = tokio::spawn(publisher.run(stop.clone()));
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
    info!("ops     http://{}/health", host(ops));
    if config.publisher.providers == [provider::Name::Simulated] {
        info!("quotes are simulated; for live ones without a key: tickcast serve --provider binance");
    }
}

/// The publisher, as the ops port sees it.
struct Reported(publisher::Handle);

impl ops::Publishing for Reported {
    fn health(&self) -> Value {
        serde_json::to_value(self.0.health()).unwrap_or_default()
    }

    fn stats(&self) -> Value {
        serde_json::to_value(self.0.stats()).unwrap_or_default()
    }

    fn set_gauges(&self) {
        self.0.set_gauges();
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
    parts.ops.stop().await;
    parts.broker.shutdown().await;
}

/// Changes what is logged when a control message says so.
async fn obey_log_level(broker: Broker, levels: Levels, stop: CancellationToken) {
    let mut feed = broker.feeds.subscribe(&[Channel::Control]);
    let mut events = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = feed.next(&mut events) => {}
        }
        for event in events.drain(..) {
            let Event::Message(_, payload) = event else { continue };
            let Ok(control::Message { control: Control::LogLevel { level }, .. }) = control::read(&payload) else {
                continue;
            };
            let outcome = match level.parse::<log::Level>().map(|level| levels.set(&level)) {
                Ok(Ok(())) => {
                    info!(level, "log level changed by a control message");
                    "ok"
                }
                Ok(Err(error)) => {
                    warn!(level, %error, "the log level could not be changed");
                    "failed"
                }
                Err(error) => {
                    warn!(level, %error, "not a log level");
                    "refused"
                }
            };
            let labels = [("action", "log_level"), ("outcome", outcome)];
            metrics::counter!("tickcast_control_messages_total", &labels).increment(1);
        }
    }
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
