//! The roles: which parts run in a process, in which order they start, and in which they stop.
//!
//! Start: metrics → broker → publisher → gateway → ops port. Stop, on SIGTERM, SIGINT or a `drain` message: clients are
//! asked to leave while quotes still flow, then the gateway ends, then the publisher hands over, then the ops port and the
//! broker. A second signal ends the process at once.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::api;
use crate::broker::{self, Broker, Channel, Event};
use crate::config::{Config, Role, log};
use crate::gateway::{self, Gateway};
use crate::logging::Levels;
use crate::ops::metrics::Exposition;
use crate::ops::{self, Ops};
use crate::protocol::control::{self, Control};

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
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// A process's parts.
struct Parts {
    broker: Broker,
    gateway: Option<Gateway>,
    ops: Ops,
    tasks: TaskTracker,
    draining: CancellationToken,
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
    let health = Arc::new(OnceLock::new());
    let gateway = match role {
        Role::Serve | Role::Gateway => {
            let front = api::Front { showcase: config.publisher.pinned.clone(), health: Arc::clone(&health) };
            Some(Gateway::start(&config.gateway, &broker, api::router(front)).await?)
        }
        Role::Publisher => None,
    };
    let sources = ops::Sources {
        broker: broker.clone(),
        gateway: gateway.as_ref().map(Gateway::handle),
        publisher: None,
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
    Ok(Parts { broker, gateway, ops, tasks, draining, stop })
}

async fn stop(parts: Parts) {
    parts.draining.cancel();
    if let Some(gateway) = parts.gateway {
        gateway.drain().await;
        gateway.stop().await;
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
