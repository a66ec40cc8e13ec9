//! The public port: accepts, reads requests, upgrades sockets and hands them to the shards.
//!
//! hyper reads the request under a time limit and a size limit; [`handshake`] decides; a clean upgrade is answered and
//! the bare socket goes to the shard with the fewest connections. Everything else is served by the HTTP application
//! that the gateway was given. Each connection is one task until then, and none after. Bounded by [`Admission`].

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::http;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::field::Empty;
use tracing::{debug, info_span, warn};

use super::admission::{Admission, Permit, Refused};
use super::bounded_log::BoundedLog;
use super::clock::Clock;
use super::config::Config;
use super::feed::ShardDoor;
use super::handshake::{self, Refusal, Upgrade};
use super::metrics;
use super::shard::Adopted;
use crate::protocol::auth::{AUTH_TIMEOUT_MS, Access, Verify};
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
/// Told to clients that find the gateway full or draining, in seconds.
const RETRY_AFTER_S: u32 = 5;

/// The address a request came from, for the HTTP application (an extension of the request).
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub IpAddr);

/// Ends a request's connection (an extension of the request).
#[derive(Debug, Clone)]
pub struct Hangup(pub CancellationToken);

/// What the front door works with.
pub(super) struct Front {
    pub(super) shards: Vec<ShardDoor>,
    pub(super) admission: Arc<Admission>,
    pub(super) verify: Option<Arc<dyn Verify>>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) handshake_timeout: Duration,
    /// Whether permessage-deflate is agreed to.
    pub(super) compression: Coding,
    pub(super) clock: Clock,
    pub(super) draining: AtomicBool,
    /// Serves what is not for the socket.
    pub(super) app: Router,
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
            Ok((stream, peer)) => {
                let front = Arc::clone(&front);
                let stop = stop.clone();
                tasks.spawn(async move { front.serve(stream, peer.ip().to_canonical(), stop).await });
            }
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

impl Front {
    /// Serves one connection: requests until it ends, or until one of them upgrades it.
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: IpAddr, stop: CancellationToken) {
        // Both are hints: a socket without them works.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOTSENT_LOWAT);
        let admitted = self.admission.admit(peer, self.clock.millis());
        let hangup = stop.child_token();
        let door = Door {
            front: Arc::clone(&self),
            peer,
            hangup: hangup.clone(),
            admitted: Mutex::new(Some(admitted)),
            upgrade: Mutex::default(),
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.handshake_timeout)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), door);
        let ended = tokio::select! {
            ended = connection.without_shutdown() => ended,
            () = hangup.cancelled() => return,
        };
        let parts = match ended {
            Ok(parts) => parts,
            Err(error) => return debug!(%error, %peer, "a request ended early"),
        };
        let Some((upgrade, access, permit)) = parts.service.take_upgrade() else { return };
        let stream = match parts.io.into_inner().into_std() {
            Ok(stream) => stream,
            Err(error) => return debug!(%error, %peer, "a socket could not be handed over"),
        };
        let Upgrade { client_id, form, wanted, .. } = upgrade;
        let adopted = Adopted { stream, early: parts.read_buf, client_id, form, wanted, access, peer, permit };
        self.hand_over(adopted);
    }

    /// Gives a connection to the shard with the fewest.
    fn hand_over(&self, adopted: Adopted) {
        let shard = self.shards.iter().min_by_key(|shard| shard.inbox.load()).expect("there is at least one shard");
        shard.inbox.adopt(adopted);
    }

    /// Whether a clean upgrade may have its place.
    fn admit(&self, upgrade: &mut Upgrade, admitted: Result<Permit, Refused>) -> Result<(Access, Permit), Refusal> {
        if self.draining.load(Ordering::Acquire) {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "this server is restarting");
            return Err(refusal.retry_after(RETRY_AFTER_S));
        }
        let access = match (&self.verify, upgrade.token.take()) {
            (None, _) => Access::Open,
            (Some(_), None) => Access::Waiting { deadline_ms: self.clock.millis() + AUTH_TIMEOUT_MS, wanted: None },
            (Some(verify), Some(token)) => match verify.verify(&token, jiff::Timestamp::now()) {
                Ok(grant) => Access::Granted(Box::new(grant)),
                Err(_) => return Err(Refusal::new(StatusCode::UNAUTHORIZED, "token", "the token is not valid")),
            },
        };
        let permit = admitted.map_err(|refused| {
            let (status, message) = match refused {
                Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, "this server is full"),
                Refused::AddressFull => (StatusCode::TOO_MANY_REQUESTS, "too many connections from this address"),
                Refused::TooFast => (StatusCode::TOO_MANY_REQUESTS, "connecting too fast from this address"),
            };
            Refusal::new(status, refused.reason(), message).retry_after(RETRY_AFTER_S)
        })?;
        Ok((access, permit))
    }
}

/// One connection's HTTP service.
struct Door {
    front: Arc<Front>,
    peer: IpAddr,
    hangup: CancellationToken,
    admitted: Mutex<Option<Result<Permit, Refused>>>,
    upgrade: Mutex<Option<(Upgrade, Access, Permit)>>,
}

impl Door {
    fn take_upgrade(self) -> Option<(Upgrade, Access, Permit)> {
        self.upgrade.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn handshake(&self, head: &http::request::Parts) -> Response<Body> {
        let trace = info_span!(
            target: "traces", parent: None, "handshake",
            otel.kind = "server", http.response.status_code = Empty, refused = Empty,
        );
        let response = trace.in_scope(|| self.upgrade(head)).unwrap_or_else(|refusal| {
            trace.record("refused", refusal.reason);
            refuse(&refusal)
        });
        trace.record("http.response.status_code", response.status().as_u16());
        response
    }

    fn upgrade(&self, head: &http::request::Parts) -> Result<Response<Body>, Refusal> {
        let mut upgrade = handshake::read(head, self.front.compression)?;
        handshake::check_origin(head, &self.front.allowed_origins)?;
        let admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner).take();
        let admitted = admitted.unwrap_or_else(|| self.front.admission.admit(self.peer, self.front.clock.millis()));
        let (access, permit) = self.front.admit(&mut upgrade, admitted)?;
        let response = upgrade.response();
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, access, permit));
        Ok(response)
    }
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (head, body) = request.into_parts();
        if handshake::is_for_socket(&head) {
            let response = self.handshake(&head);
            return Box::pin(std::future::ready(Ok(response)));
        }
        let mut request = Request::from_parts(head, Body::new(body));
        let extensions = request.extensions_mut();
        extensions.insert(PeerAddr(self.peer));
        extensions.insert(Hangup(self.hangup.clone()));
        Box::pin(self.front.app.clone().oneshot(request))
    }
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    metrics::refused(refusal.reason);
    let error = serde_json::json!({"error": {"code": refusal.reason, "message": refusal.message}});
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match refusal.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
