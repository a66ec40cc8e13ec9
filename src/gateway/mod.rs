//! The gateway: browser sockets in, updates out.
//!
//! ```text
//!   listener ─ hyper, handshake, admission ─▶ shard (a thread: hub, connections)
//!   broker ─▶ feed ─ one batch per shard ─▶ inbox ─▶ shard
//!                                               └▶ readers (REST, SSE)
//!   shard ─ counts ─▶ interest ─▶ broker's registry
//! ```
//!
//! It does not know who publishes: it reads a channel and a cache. [`Gateway::start`] returns when it serves;
//! [`Gateway::drain`] asks clients to leave, [`Gateway::stop`] ends it and waits for everything it started.

mod admission;
mod auth;
mod body;
mod bounded_log;
mod clock;
pub mod config;
mod control;
mod door;
mod fanout;
mod feed;
mod forwarded;
mod handshake;
mod inbox;
mod interest;
mod listener;
mod metrics;
pub mod readers;
mod shard;
mod snapshots;
mod tls;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hashbrown::DefaultHashBuilder;
use serde::Serialize;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use auth::{AuthError, KeysStatus};
pub use config::Config;
pub use door::{Hangup, PeerAddr};
pub use interest::Interest;
pub use readers::Readers;
pub use shard::Description;
pub use tls::TlsError;

use crate::broker::{Broker, Channel, GatewayId};
use crate::crash;
use crate::hub::Watched;
use crate::protocol::publication::Coding;
use crate::protocol::reader::{Binary, ReadLimits};
use crate::protocol::session::{Rate, Rules, Talk, Wildcard};
use admission::{Admission, MAX_TURNED};
use auth::Auth;
use clock::Clock;
use fanout::{Fanout, ShardDoor};
use forwarded::Trusted;
use inbox::{Inbox, Order, Wake};
use listener::Front;
use readers::Seat;
use shard::Shard;
use snapshots::Snapshots;
use tls::Certificate;
use tokio_rustls::TlsAcceptor;

/// Descriptors kept for what has no place: broker links, ops port, files, the shards' own, and those who are told that
/// they have none.
const RESERVED_DESCRIPTORS: u64 = 128 + MAX_TURNED as u64;
/// Beyond the drain window, until what is left is cut.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// A gateway that serves.
pub struct Gateway {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    tasks: TaskTracker,
    /// Ends the listener.
    closed: CancellationToken,
    /// Ends everything else.
    stopped: CancellationToken,
    drain_window: Duration,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The public port cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A shard cannot be made.
    #[error("cannot start a shard: {0}")]
    Shard(io::Error),
    /// Tokens cannot be checked.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] TlsError),
    /// TLS cannot be served.
    #[error("TLS cannot be served: {0}")]
    Tls(#[from] rustls::Error),
}

/// A view of a gateway for health, statistics and control. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    id: GatewayId,
    address: SocketAddr,
    front: Arc<Front>,
    fanout: Arc<Fanout>,
    seat: Arc<Seat>,
    readers: Readers,
    drain: CancellationToken,
}

/// What a gateway says about itself.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Its name in the registry.
    pub id: String,
    /// Open connections.
    pub connections: usize,
    /// The most there may be.
    pub max_connections: usize,
    /// Subscriptions over all clients.
    pub subscriptions: u64,
    /// Distinct symbols among them.
    pub symbols: usize,
    /// Event loops.
    pub shards: usize,
    /// Connections of each.
    pub shard_connections: Vec<usize>,
    /// Whether updates arrive.
    pub feed_connected: bool,
    /// Since the last message on the updates channel.
    pub last_message_age_ms: Option<u64>,
    /// Whether it is going away.
    pub draining: bool,
    /// The keys that tokens are checked with, where they are fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<KeysStatus>,
}

impl Gateway {
    /// Starts a gateway on `broker`. What is not for the socket is served by the application that `app` makes.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &Config,
        broker: &Broker,
        app: impl FnOnce(&Readers) -> Router,
    ) -> Result<Gateway, StartError> {
        let clock = Clock::start();
        let auth = Auth::new(&config.auth)?;
        let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
        let tls = certificate.as_ref().map(|(certificate, _)| tls::server_config(Arc::clone(certificate)));
        let rules = Arc::new(rules(config, &auth));
        let bound = listener::bind(config).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|source| {
            let address = SocketAddr::new(config.bind, config.port);
            StartError::Bind { address, source }
        })?;
        let (interest, snapshots) = (Arc::new(Interest::default()), Arc::new(Snapshots::default()));
        let shards = make_shards(config, &rules, clock, &interest, &snapshots).map_err(StartError::Shard)?;
        let doors: Vec<ShardDoor> = shards.iter().map(|(_, door)| door.clone()).collect();
        let max_open = max_connections(config.limits.max_connections);
        let (seat_door, turn) = readers_door(&doors);
        let all_doors: Vec<ShardDoor> = doors.iter().cloned().chain([seat_door]).collect();
        let store = Arc::clone(&broker.store);
        let fanout = Arc::new(Fanout::new(all_doors, clock, interest, snapshots, store));
        let index = u16::try_from(doors.len()).expect("there are fewer shards than 65,536");
        let seat = Arc::new(Seat::new(&fanout, index, turn, config.slow_client_timeout, config.stale_after));
        // A stream is a connection: there are never more.
        let max_streams = NonZeroUsize::new(max_open).unwrap_or(NonZeroUsize::MIN);
        let per_address = config.limits.connections_per_ip;
        let readers = Readers::new(Arc::clone(&seat), rules.verify.clone(), max_streams, per_address);
        let front = Arc::new(Front {
            shards: doors,
            admission: Arc::new(Admission::new(&config.limits, max_open)),
            auth,
            trusted: Trusted::new(&config.limits.trusted_proxies),
            tls: tls.transpose()?.map(TlsAcceptor::from),
            allowed_origins: config.allowed_origins.clone(),
            handshake_timeout: config.limits.handshake_timeout,
            write_timeout: config.slow_client_timeout,
            compression: if config.compression { Coding::Deflate } else { Coding::Plain },
            clock,
            draining: AtomicBool::new(false),
            app: app(&readers),
        });
        let threads = spawn_shards(shards).map_err(StartError::Shard)?;
        let (tasks, closed, stopped) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let id = GatewayId(format!("{}-{:08x}", config.name, fastrand::u32(..)).into());
        let drain = CancellationToken::new();
        let handle = Handle { id: id.clone(), address, front: Arc::clone(&front), fanout, seat, readers, drain };
        handle.start_tasks(broker, &tasks, &stopped);
        if let Some((certificate, seen)) = certificate {
            let token = stopped.clone();
            contain("certificate", &tasks, &stopped, move || {
                tls::watch(Arc::clone(&certificate), seen.clone(), token.clone())
            });
        }
        front.auth.start(&tasks, &stopped).await;
        tasks.spawn(listener::run(front, listener, tasks.clone(), closed.clone()));
        let scheme = if config.tls.is_some() { "wss" } else { "ws" };
        info!(%address, scheme, gateway = %id.0, shards = threads.len(), max_connections = max_open, "gateway serves");
        Ok(Gateway { handle, threads, tasks, closed, stopped, drain_window: config.drain_window })
    }

    /// A view of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Asks every client to reconnect, each at its own moment within the drain window, and waits until all are gone or
    /// the window is over. New clients are refused from now on; the port stays open to say so.
    pub async fn drain(&self) {
        self.handle.front.draining.store(true, Ordering::Release);
        for shard in &self.handle.fanout.shards {
            shard.inbox.order(Order::Drain { window: self.drain_window });
        }
        let admission = &self.handle.front.admission;
        info!(connections = admission.open(), window = ?self.drain_window, "draining");
        if tokio::time::timeout(self.drain_window + DRAIN_GRACE, admission.emptied()).await.is_err() {
            warn!(connections = admission.open(), "the drain window is over; cutting the rest");
        }
    }

    /// Closes what is left, leaves the registry and waits for every thread and task.
    pub async fn stop(self) {
        self.handle.front.draining.store(true, Ordering::Release);
        self.closed.cancel();
        for shard in &self.handle.fanout.shards {
            shard.inbox.order(Order::Stop);
        }
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                // A shard contains its panics; one that could not has logged it.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        self.stopped.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Handle {
    fn start_tasks(&self, broker: &Broker, tasks: &TaskTracker, stop: &CancellationToken) {
        let (to_control, controls) = mpsc::channel(control::MAX_WAITING);
        let fanout = &self.fanout;
        let (feeds, shared, token) = (Arc::clone(&broker.feeds), Arc::clone(fanout), stop.clone());
        contain("feed", tasks, stop, move || {
            let feed = feeds.subscribe(&[Channel::Updates, Channel::Control]);
            feed::run(Arc::clone(&shared), feed, to_control.clone(), token.clone())
        });
        let (shared, token) = (Arc::clone(fanout), stop.clone());
        contain("snapshots", tasks, stop, move || snapshots::run(Arc::clone(&shared), token.clone()));
        let (seat, token) = (Arc::clone(&self.seat), stop.clone());
        contain("readers", tasks, stop, move || readers::run(Arc::clone(&seat), token.clone()));
        let controlled = Arc::new(control::Controlled {
            fanout: Arc::clone(fanout),
            publish: Arc::clone(&broker.publish),
            gateway: self.id.clone(),
            drain: self.drain.clone(),
        });
        let (controls, token) = (Arc::new(Mutex::new(controls)), stop.clone());
        contain("control", tasks, stop, move || {
            let (controlled, controls, token) = (Arc::clone(&controlled), Arc::clone(&controls), token.clone());
            async move { control::run(&controlled, &controls, &token).await }
        });
        let (shared, registry, id) = (Arc::clone(fanout), Arc::clone(&broker.registry), self.id.clone());
        let token = stop.clone();
        contain("report", tasks, stop, move || {
            let (interest, resumed) = (Arc::clone(&shared.interest), Arc::clone(&shared.resumed));
            interest::report(interest, Arc::clone(&registry), id.clone(), resumed, token.clone())
        });
    }

    /// Its name in the registry.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id.0
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who watches what here; readers that are not sockets count in it too.
    #[must_use]
    pub fn interest(&self) -> &Arc<Interest> {
        &self.fanout.interest
    }

    /// The way in for readers that are not sockets.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Completes when a control message asks this gateway to drain.
    pub async fn drain_asked(&self) {
        self.drain.cancelled().await;
    }

    /// How it is doing.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (symbols, subscriptions) = self.fanout.interest.census();
        let admission = &self.front.admission;
        Summary {
            id: self.id.0.to_string(),
            connections: admission.open(),
            max_connections: admission.max_open(),
            subscriptions,
            symbols,
            shards: self.front.shards.len(),
            shard_connections: self.front.shards.iter().map(|shard| shard.inbox.load()).collect(),
            feed_connected: self.fanout.link.is_connected(),
            last_message_age_ms: self.fanout.link.last_message_age_ms(self.front.clock),
            draining: self.front.draining.load(Ordering::Acquire),
            jwks: self.front.auth.status(),
        }
    }

    /// Brings the gauges up to date, before metrics are read.
    pub fn set_gauges(&self) {
        let (symbols, subscriptions) = self.fanout.interest.census();
        let admission = &self.front.admission;
        metrics::set_gauges(admission.open(), admission.max_open(), subscriptions, symbols);
        self.readers.set_gauges();
    }

    /// The open connections, at most `limit`.
    pub async fn connections(&self, limit: usize) -> Vec<Description> {
        let mut all = Vec::new();
        for shard in &self.fanout.shards {
            let (answer, described) = oneshot::channel();
            shard.inbox.order(Order::Describe(answer));
            // A shard that has ended has no connections.
            all.extend(described.await.unwrap_or_default());
            all.truncate(limit);
        }
        all
    }
}

/// Spawns work that goes on after a panic in it.
fn contain<F>(
    name: &'static str,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    work: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tasks.spawn(async move { crash::contain(name, &stop, work).await });
}

fn rules(config: &Config, auth: &Auth) -> Rules {
    let limits = &config.limits;
    Rules {
        name: config.name.clone(),
        api_base: config.api_base.clone(),
        read: ReadLimits {
            message_bytes: limits.message_bytes.get(),
            fragments: limits.fragments.get(),
            binary: if config.talk == Talk::Echo { Binary::Accept } else { Binary::Refuse },
        },
        symbols_per_client: limits.symbols_per_client.get(),
        messages: Rate { per_second: limits.messages_per_second.get(), burst: limits.message_burst.get() },
        pings: Rate { per_second: limits.pings_per_second.get(), burst: limits.ping_burst.get() },
        wildcard: if config.wildcard { Wildcard::Allowed } else { Wildcard::Refused },
        ping_interval: config.ping_interval,
        pong_timeout: config.pong_timeout,
        talk: config.talk,
        verify: auth.verify(),
    }
}

fn make_shards(
    config: &Config,
    rules: &Arc<Rules>,
    clock: Clock,
    interest: &Arc<Interest>,
    snapshots: &Arc<Snapshots>,
) -> io::Result<Vec<(Shard, ShardDoor)>> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let count = config.shards.unwrap_or(cores).get();
    // One random seed for all: a symbol is hashed once, whatever the number of shards.
    let hasher = DefaultHashBuilder::default();
    let make = |index| {
        let watched = Arc::new(Watched::new(hasher.clone()));
        let parts = shard::Parts {
            index: u16::try_from(index).expect("there are fewer shards than 65,536"),
            rules: Arc::clone(rules),
            clock,
            watched: Arc::clone(&watched),
            interest: Arc::clone(interest),
            snapshots: Arc::clone(snapshots),
            flush_window: config.flush_window,
            slow_client_timeout: config.slow_client_timeout,
            stale_after: config.stale_after,
        };
        let (shard, inbox) = Shard::new(parts)?;
        Ok((shard, ShardDoor { inbox, watched }))
    };
    (0..count).map(make).collect()
}

/// The readers' place beside the shards: an inbox that wakes a task, and a filter that hashes as theirs do.
fn readers_door(shards: &[ShardDoor]) -> (ShardDoor, Arc<Notify>) {
    let turn = Arc::new(Notify::new());
    let inbox = Arc::new(Inbox::new(Wake::Task(Arc::clone(&turn))));
    let watched = Arc::new(shards[0].watched.beside());
    (ShardDoor { inbox, watched }, turn)
}

fn spawn_shards(shards: Vec<(Shard, ShardDoor)>) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |(index, (shard, _)): (usize, (Shard, ShardDoor))| {
        std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || shard.run())
    };
    shards.into_iter().enumerate().map(spawn).collect()
}

/// The configured maximum, or what the descriptor limit leaves for clients. Raises the soft limit to the hard one.
fn max_connections(configured: Option<NonZeroUsize>) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!(%error, "the descriptor limit could not be raised");
        }
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    let possible = usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX).max(1);
    match configured {
        Some(configured) if configured.get() <= possible => configured.get(),
        Some(configured) => {
            warn!(configured, possible, descriptors, "the descriptor limit allows fewer connections than configured");
            possible
        }
        None => possible,
    }
}
