//! Server-sent events: what a socket is told, for readers that only have HTTP.
//!
//! A stream rides the gateway's fan-out ([`readers`](crate::gateway::readers)): it counts as a subscriber, what waits for
//! it is bounded and conflated there, and one that takes nothing is cut there. This is only the text of it. A chunk holds
//! at most [`MAX_PER_CHUNK`] messages, and the next is made when the connection has taken the last.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName};
use axum::http::{HeaderValue, Response, StatusCode};
use hyper::body::Frame;
use jiff::Timestamp;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Front;
use super::asked::{Asked, asked};
use super::refusal::Refusal;
use crate::gateway::readers::{NoStream, Said, Stream, StreamWish, Visitor};
use crate::gateway::{Hangup, PeerAddr};
use crate::protocol::auth::Access;
use crate::protocol::event;
use crate::protocol::message::{ErrorCode, Rejected, Selection};
use crate::protocol::publication::Dialect;
use crate::protocol::reply::{ConnectedLimits, Reply, Seconds, Stamp, names};
use crate::protocol::request::read_list;

/// Messages in one chunk: 64 × about 300 bytes, a socket's worth.
const MAX_PER_CHUNK: usize = 64;
/// How long a reader that was cut off waits, from and to: those of one gateway do not come back in step.
const RETRY_MS: std::ops::Range<u64> = 1000..4000;
/// When to come back to a server that is full or restarting.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx's: do not gather the answer.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /sse?symbols=A,B`.
pub(super) async fn sse(State(front): State<Front>, request: Request) -> Result<Response<Body>, Refusal> {
    let (head, _) = request.into_parts();
    let (asked, access) = asked(&front, &head)?;
    let selection = selection(&asked, &access, front.config.max_symbols);
    if selection.symbols.is_empty() {
        let rejected: Vec<String> =
            selection.rejected.iter().map(|rejected| format!("{:?}", rejected.symbol)).collect();
        let message = format!("name the symbols: ?symbols=AAPL,MSFT (not taken: [{}])", rejected.join(", "));
        return Err(Refusal::bad("invalid_request", message));
    }
    let dialect = match asked.get("format") {
        None | Some("nested") => Dialect::Nested,
        Some("flat") => Dialect::Flat,
        Some(_) => return Err(Refusal::bad("invalid_request", "format is flat or nested")),
    };
    let (Some(&PeerAddr(peer)), Some(Hangup(hangup))) = (head.extensions.get(), head.extensions.get().cloned()) else {
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no connection to stream on"));
    };
    let name = format!("sse_{:012x}", fastrand::u64(..1 << 48));
    let hello = hello(&front, &name, &selection);
    let wish = StreamWish {
        symbols: selection.symbols,
        last_id: last_id(&head.headers, &asked),
        expires: access.expires(),
        visitor: Visitor { name, peer, hangup },
    };
    let stream = front.readers.stream(wish).await.map_err(refuse)?;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + front.config.heartbeat, front.config.heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut response =
        Response::new(Body::new(Events { hello: Some(hello), stream, dialect, heartbeat, said: Vec::new() }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    // Its end is the connection's: a drain does not wait for what could be asked on it next.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// What may be watched of what was asked for, by the socket's rules: the rest is named back.
fn selection(asked: &Asked, access: &Access, max: usize) -> Selection {
    let mut selection = read_list(&asked.list());
    let mut reject = |symbol: &str, code| selection.rejected.push(Rejected { symbol: symbol.into(), code });
    if selection.wildcard {
        reject("*", ErrorCode::WildcardNotAllowed);
    }
    let mut taken = Vec::new();
    for symbol in std::mem::take(&mut selection.symbols) {
        if !access.covers(symbol) {
            reject(symbol.as_str(), ErrorCode::ForbiddenSymbol);
        } else if taken.len() == max {
            reject(symbol.as_str(), ErrorCode::TooManySymbols);
        } else {
            taken.push(symbol);
        }
    }
    Selection { symbols: taken, ..selection }
}

/// What comes before anything else: when to come back, who one is, what one gets.
fn hello(front: &Front, name: &str, selection: &Selection) -> String {
    let config = &front.config;
    let timestamp = Stamp(Timestamp::now());
    let connected = Reply::Connected {
        message: format!("Connected to {}", config.name),
        client_id: name,
        limits: ConnectedLimits { symbols: config.max_symbols, message_bytes: 0 },
        ping_interval_s: Seconds(config.heartbeat),
        api: config.api_base.as_deref(),
        timestamp,
    };
    let subscribed = Reply::Subscribed {
        symbols: names(&selection.symbols),
        rejected: &selection.rejected,
        active: selection.symbols.len(),
        id: None,
        timestamp,
    };
    let mut text = String::new();
    event::write_retry(&mut text, fastrand::u64(RETRY_MS));
    event::write(&mut text, None, &connected.to_json());
    event::write(&mut text, None, &subscribed.to_json());
    text
}

/// The last id a returning reader got; by query for those that cannot set a header.
fn last_id(headers: &HeaderMap, asked: &Asked) -> Option<u64> {
    let header = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    header.or(asked.get("lastEventId")).and_then(|id| id.trim().parse().ok())
}

fn refuse(none: NoStream) -> Refusal {
    let (status, code) = match none {
        NoStream::Full => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        NoStream::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        NoStream::AddressFull => (StatusCode::TOO_MANY_REQUESTS, "address_full"),
    };
    metrics::counter!("tickcast_connections_refused_total", "reason" => code).increment(1);
    Refusal::new(status, code, none.to_string()).retry_after(RETRY_AFTER)
}

/// The body of an answer that goes on.
struct Events {
    hello: Option<String>,
    stream: Stream,
    dialect: Dialect,
    heartbeat: Interval,
    said: Vec<Said>,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let events = &mut *self;
        if let Some(hello) = events.hello.take() {
            return Poll::Ready(Some(Ok(Frame::data(hello.into()))));
        }
        if events.stream.poll_take(cx, MAX_PER_CHUNK, &mut events.said).is_ready() {
            if events.said.is_empty() {
                return Poll::Ready(None);
            }
            events.heartbeat.reset();
            let mut text = String::with_capacity(events.said.len() * 320);
            for said in events.said.drain(..) {
                write(&mut text, &said, events.dialect);
            }
            return Poll::Ready(Some(Ok(Frame::data(text.into()))));
        }
        ready!(events.heartbeat.poll_tick(cx));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(event::HEARTBEAT.as_bytes())))))
    }
}

fn write(text: &mut String, said: &Said, dialect: Dialect) {
    match said {
        Said::Update { publication, freshness, id } => event::write(text, *id, publication.text(dialect, *freshness)),
        Said::Notice(notice) => event::write(text, None, notice.json()),
        Said::Lagging(conflated) => event::write(text, None, &Reply::Lagging { conflated: *conflated }.to_json()),
    }
}
