//! The public port: accepts, lets the front door read requests, hands upgraded sockets to the shards.
//!
//! [`Admission`] decides first, before a task is made: a flood is reset unread. Then a trusted proxy's header is read,
//! TLS is agreed on, and hyper reads requests for the [`Door`], all under a time limit. A clean upgrade is answered and
//! the bare socket goes to the shard with the fewest connections. Each connection is one task until then, and none
//! after. Bounded by [`Admission`].

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::admission::{Admission, Verdict};
use super::auth::Auth;
use super::bounded_log::BoundedLog;
use super::clock::Clock;
use super::config::Config;
use super::door::{Accepted, Door, Hangup, Standing};
use super::fanout::ShardDoor;
use super::forwarded::{Origin, Trusted, read_proxy_header};
use super::handshake::Upgrade;
use super::metrics;
use super::shard::Adopted;
use super::wire::{Bare, Prefixed, Wire};
use crate::protocol::publication::Coding;

/// The most bytes of a request head.
const HEAD_BYTES: usize = 16 * 1024;
/// The most headers of a request.
const HEADERS: usize = 64;
/// Connections the kernel keeps for us between two accepts.
const BACKLOG: u32 = 4096;
/// Unsent bytes from which the kernel says a socket is full, so that stale quotes wait in the outbox, where newer ones
/// replace them, and not in megabytes of socket buffer.
const NOTSENT_LOWAT: u32 = 16 * 1024;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Said to a request whose head does not come to its end.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What the front door works with.
pub(super) struct Front {
    pub(super) shards: Vec<ShardDoor>,
    pub(super) admission: Arc<Admission>,
    pub(super) auth: Auth,
    pub(super) trusted: Trusted,
    /// Serves TLS when set.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) handshake_timeout: Duration,
    /// How long an answer may find no reader.
    pub(super) write_timeout: Duration,
    /// Whether permessage-deflate is agreed to.
    pub(super) compression: Coding,
    pub(super) clock: Clock,
    pub(super) draining: AtomicBool,
    /// Serves what is not for the socket.
    pub(super) app: Router,
}

/// Why hyper went no further with a connection. Its own errors say more, and could say what a client sent.
enum Ended {
    /// The next request did not come to the end of its head in time.
    Late,
    /// What came is no HTTP; hyper has said so.
    Malformed,
    /// The connection broke.
    Broken,
}

impl Ended {
    fn of(error: hyper::Error) -> Ended {
        match error {
            error if error.is_timeout() => Ended::Late,
            error if error.is_parse() => Ended::Malformed,
            _ => Ended::Broken,
        }
    }
}

/// Binds the public port.
///
/// # Errors
/// When the address cannot be bound.
pub(super) fn bind(config: &Config) -> io::Result<TcpListener> {
    let address = SocketAddr::new(config.bind, config.port);
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts until `stop`; then the port is closed. Requests under way are in `tasks`.
pub(super) async fn run(front: Arc<Front>, listener: TcpListener, tasks: TaskTracker, stop: CancellationToken) {
    let mut log = BoundedLog::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => front.welcome(stream, peer.ip(), &tasks, &stop),
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                if let Some(suppressed) = log.may_log() {
                    warn!(%error, suppressed, "accept failed");
                }
                metrics::refused("accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors of one connection that ended before it was accepted; the listener is fine.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Ends a connection at once and for good, nothing said.
fn reset(stream: &TcpStream) {
    // Without it the kernel would keep the connection for a minute. Failing to set it only means that it does.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

impl Front {
    /// Decides about a new connection and starts to serve it.
    fn welcome(self: &Arc<Self>, stream: TcpStream, peer: IpAddr, tasks: &TaskTracker, stop: &CancellationToken) {
        let peer = self.trusted.origin(peer);
        let Some(standing) = stand(self.admission.knock(peer, self.clock.millis())) else { return reset(&stream) };
        let (front, stop) = (Arc::clone(self), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = front.serve(stream, peer, standing) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Serves one connection: requests until it ends, or until one of them upgrades it.
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: Origin, standing: Standing) {
        // Both are hints: a socket without them works.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOTSENT_LOWAT);
        let deadline = Instant::now() + self.handshake_timeout;
        let opened = timeout_at(deadline, self.open(stream, peer, standing)).await;
        let Some((wire, peer, standing)) = opened.unwrap_or_else(|_| {
            metrics::refused("handshake_timeout");
            None
        }) else {
            return;
        };
        let hangup = CancellationToken::new();
        let door = Door::new(Arc::clone(&self), peer, standing, Hangup(hangup.clone()));
        // Holds the connection's place until its last byte has gone.
        let desk = door.desk();
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.handshake_timeout)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(wire), door);
        let ended = tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended.map_err(Ended::of),
            () = desk.unasked_until(deadline) => Err(Ended::Late),
            () = hangup.cancelled() => return,
        };
        let parts = connection.into_parts();
        let mut wire = parts.io.into_inner();
        match ended {
            Ok(()) => {
                if let Some(accepted) = desk.accepted() {
                    return self.hand_over(wire, parts.read_buf, accepted);
                }
            }
            Err(Ended::Late) if !parts.read_buf.is_empty() => {
                metrics::refused("handshake_timeout");
                // The peer may be gone by now.
                let _ = wire.write_all(TOO_LATE).await;
            }
            Err(Ended::Malformed) => metrics::refused("malformed"),
            Err(Ended::Late | Ended::Broken) => {}
        }
        wire.farewell().await;
    }

    /// What stands before HTTP: a trusted proxy's header, a TLS handshake. `None`: the connection has ended.
    async fn open(
        &self,
        mut stream: TcpStream,
        mut peer: Origin,
        mut standing: Standing,
    ) -> Option<(Wire, Origin, Standing)> {
        let mut prefix = Bytes::new();
        if let Origin::Proxy(proxy) = peer {
            let (source, rest) = match read_proxy_header(&mut stream).await {
                Ok(read) => read,
                Err(error) => {
                    debug!(%error, %proxy, "no good PROXY header");
                    metrics::refused("proxy_header");
                    return None;
                }
            };
            prefix = rest;
            if let Some(source) = source {
                peer = self.trusted.origin(source);
                let now_ms = self.clock.millis();
                let Some(settled) = standing.settle(&self.admission, peer, now_ms) else {
                    reset(&stream);
                    return None;
                };
                standing = settled;
            }
        }
        let stream = Prefixed::new(prefix, stream);
        let wire = match &self.tls {
            None => Wire::plain(stream, self.write_timeout),
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => Wire::tls(stream, self.write_timeout),
                Err(error) => {
                    debug!(%error, peer = %peer.address(), "no TLS handshake");
                    metrics::refused("tls_handshake");
                    return None;
                }
            },
        };
        Some((wire, peer, standing))
    }

    /// Gives an upgraded connection to the shard with the fewest.
    fn hand_over(&self, wire: Wire, read: Bytes, accepted: Accepted) {
        let Accepted { upgrade, access, permit, peer } = accepted;
        let Bare { stream, tls, early } = match wire.into_bare(read) {
            Ok(bare) => bare,
            Err(error) => return debug!(%error, %peer, "a socket could not be handed over"),
        };
        let Upgrade { client_id, form, wanted, .. } = upgrade;
        let adopted = Adopted { stream, tls, early, client_id, form, wanted, access, peer, permit };
        let shard = self.shards.iter().min_by_key(|shard| shard.inbox.load()).expect("there is at least one shard");
        shard.inbox.adopt(adopted);
    }
}

/// How an admission's verdict stands at the door; `None` when the connection is to be reset.
pub(super) fn stand(verdict: Verdict) -> Option<Standing> {
    match verdict {
        Verdict::Admitted(permit) => Some(Standing::Admitted(permit)),
        Verdict::Refused(why, slot) => Some(Standing::Refused { why, _slot: slot }),
        Verdict::Reset(refused) => {
            metrics::refused(refused.reason_unsaid());
            None
        }
    }
}
