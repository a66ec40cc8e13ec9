//! The front door: what is answered to each request of one connection.
//!
//! A clean upgrade that may have its place is accepted; what is for the socket and is not that is refused with a status
//! and a reason; everything else is the HTTP application's. A connection that was refused a place is told so, whatever
//! it asks for, but for the short health that platforms probe. Every refusal ends its connection, so that guessing on
//! costs a new one each time.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::http;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use super::admission::{Admission, Permit, Refused, Turned};
use super::body::Timely;
use super::forwarded::Origin;
use super::handshake::{self, Refusal, Upgrade};
use super::listener::{Front, stand};
use super::metrics;
use crate::protocol::auth::{AUTH_TIMEOUT_MS, Access, Unauthorized};

/// Told to clients that find the gateway full or draining, in seconds.
const RETRY_AFTER_S: u32 = 5;
/// Answered even when there is no place: a platform that finds a full gateway unhealthy would kill it.
const HEALTH: &str = "/health";

/// The address a request came from, for the HTTP application (an extension of the request).
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub IpAddr);

/// Ends a request's connection (an extension of the request).
#[derive(Debug, Clone)]
pub struct Hangup(pub CancellationToken);

/// Whether a connection has a place.
pub(super) enum Standing {
    /// It has.
    Admitted(Permit),
    /// It has not, and is to be told.
    Refused {
        /// Why not.
        why: Refused,
        /// Its place among those who are told.
        _slot: Turned,
    },
    /// It had one, which an upgrade has taken along.
    Gone,
}

/// An upgrade that was answered with 101.
pub(super) struct Accepted {
    pub(super) upgrade: Upgrade,
    pub(super) access: Access,
    pub(super) permit: Permit,
    pub(super) peer: IpAddr,
}

/// One connection's HTTP service. What requests share is behind an `Arc`, since an answer may be waited for.
pub(super) struct Door(Arc<Desk>);

/// What is known of one connection.
pub(super) struct Desk {
    front: Arc<Front>,
    peer: Origin,
    hangup: Hangup,
    standing: Mutex<Standing>,
    accepted: Mutex<Option<Accepted>>,
    /// Whether it has asked for anything yet.
    asked: AtomicBool,
}

impl Standing {
    /// Counts an admitted connection where it belongs. `None`: it is to be reset.
    pub(super) fn settle(self, admission: &Arc<Admission>, peer: Origin, now_ms: u64) -> Option<Standing> {
        let Standing::Admitted(mut permit) = self else { return Some(self) };
        match permit.settle(peer, now_ms) {
            Ok(()) => Some(Standing::Admitted(permit)),
            Err(refused) => stand(admission.refuse(refused, peer, now_ms)),
        }
    }
}

impl Door {
    pub(super) fn new(front: Arc<Front>, peer: Origin, standing: Standing, hangup: Hangup) -> Door {
        let (standing, accepted) = (Mutex::new(standing), Mutex::default());
        Door(Arc::new(Desk { front, peer, hangup, standing, accepted, asked: AtomicBool::new(false) }))
    }

    /// What outlives hyper's part of the connection.
    pub(super) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.0)
    }
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let desk = Arc::clone(&self.0);
        desk.asked.store(true, Ordering::Release);
        Box::pin(async move { Ok(desk.answer(request).await) })
    }
}

impl Desk {
    /// The upgrade that ended the HTTP part of the connection, if one did.
    pub(super) fn accepted(&self) -> Option<Accepted> {
        lock(&self.accepted).take()
    }

    /// Completes at `deadline` if nothing was asked for until then, and never otherwise.
    pub(super) async fn unasked_until(&self, deadline: Instant) {
        sleep_until(deadline).await;
        if self.asked.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let peer = self.front.trusted.of_request(self.peer, &head.headers);
        let turned = self.turned();
        if let Some(refused) = turned
            && head.uri.path() != HEALTH
        {
            return refuse(&no_place(refused));
        }
        if handshake::is_for_socket(&head) {
            return self.handshake(&head, peer).await;
        }
        let mut request = Request::from_parts(head, Body::new(Timely::new(body, self.front.handshake_timeout)));
        let extensions = request.extensions_mut();
        extensions.insert(PeerAddr(peer.address()));
        extensions.insert(self.hangup.clone());
        let Ok(mut response) = self.front.app.clone().oneshot(request).await;
        if turned.is_some() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn turned(&self) -> Option<Refused> {
        match &*lock(&self.standing) {
            Standing::Refused { why, .. } => Some(*why),
            Standing::Admitted(_) | Standing::Gone => None,
        }
    }

    async fn handshake(&self, head: &Parts, peer: Origin) -> Response<Body> {
        let trace = info_span!(
            target: "traces", parent: None, "handshake",
            otel.kind = "server", http.response.status_code = Empty, refused = Empty,
        );
        let response = self.upgrade(head, peer).instrument(trace.clone()).await.unwrap_or_else(|refusal| {
            trace.record("refused", refusal.reason);
            refuse(&refusal)
        });
        trace.record("http.response.status_code", response.status().as_u16());
        response
    }

    async fn upgrade(&self, head: &Parts, peer: Origin) -> Result<Response<Body>, Refusal> {
        let mut upgrade = handshake::read(head, self.front.compression)?;
        handshake::check_origin(head, &self.front.allowed_origins)?;
        if self.front.draining.load(Ordering::Acquire) {
            return Err(busy("draining", "this server is restarting"));
        }
        let mut permit = self.take_permit()?;
        permit.settle(peer, self.front.clock.millis()).map_err(no_place)?;
        let access = self.check(upgrade.token.take()).await?;
        let response = upgrade.response();
        *lock(&self.accepted) = Some(Accepted { upgrade, access, permit, peer: peer.address() });
        Ok(response)
    }

    /// The connection's place, to go with the upgrade or to be given up with the refusal.
    fn take_permit(&self) -> Result<Permit, Refusal> {
        match std::mem::replace(&mut *lock(&self.standing), Standing::Gone) {
            Standing::Admitted(permit) => Ok(permit),
            Standing::Refused { why, .. } => Err(no_place(why)),
            // A refusal ends its connection, so no request follows one.
            Standing::Gone => Err(no_place(Refused::AddressFull)),
        }
    }

    async fn check(&self, token: Option<String>) -> Result<Access, Refusal> {
        let auth = &self.front.auth;
        match token {
            _ if auth.verify().is_none() => Ok(Access::Open),
            None => Ok(Access::Waiting { deadline_ms: self.front.clock.millis() + AUTH_TIMEOUT_MS, wanted: None }),
            Some(token) => match auth.check(&token).await {
                Ok(grant) => Ok(grant.map_or(Access::Open, Access::granted)),
                Err(Unauthorized::Unavailable) => Err(busy("keys_away", "tokens cannot be checked right now")),
                Err(refusal) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "token", refusal.words())),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy(reason: &'static str, message: &'static str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason, message).retry_after(RETRY_AFTER_S)
}

fn no_place(refused: Refused) -> Refusal {
    let (status, message) = match refused {
        Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, "this server is full"),
        Refused::AddressFull => (StatusCode::TOO_MANY_REQUESTS, "too many connections from this address"),
        Refused::TooFast => (StatusCode::TOO_MANY_REQUESTS, "connecting too fast from this address"),
    };
    Refusal::new(status, refused.reason(), message).retry_after(RETRY_AFTER_S)
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    metrics::refused(refusal.reason);
    let error = serde_json::json!({"error": {"code": refusal.reason, "message": refusal.message}});
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    match refusal.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(CONNECTION, HeaderValue::from_static("close, Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        _ => {}
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
