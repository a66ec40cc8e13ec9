//! A vendor's HTTP server on a free port: answers as told, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::DEADLINE;

/// What the vendor was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
    pub at: std::time::Instant,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A query parameter, unescaped.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// What the vendor answers.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The whole body.
    Whole,
    /// Half of it, then the connection is cut.
    Cut,
    /// Half of it, then nothing more.
    Hang,
}

impl Answer {
    pub fn json(body: impl Into<String>) -> Answer {
        Answer::new(200, body).header("content-type", "application/json")
    }

    pub fn new(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, headers: vec![], body: Bytes::from(body.into()), end: End::Whole }
    }

    pub fn bytes(mut self, body: Vec<u8>) -> Answer {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    pub fn cut(self) -> Answer {
        Answer { end: End::Cut, ..self }
    }

    pub fn hanging(self) -> Answer {
        Answer { end: End::Hang, ..self }
    }

    fn response(self) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
        let half = self.body.slice(..self.body.len() / 2);
        let frames: Vec<std::io::Result<Frame<Bytes>>> = match self.end {
            End::Whole => vec![Ok(Frame::data(self.body.clone()))],
            End::Cut => vec![Ok(Frame::data(half)), Err(std::io::Error::other("cut"))],
            End::Hang => vec![Ok(Frame::data(half))],
        };
        let body = match self.end {
            End::Whole | End::Cut => StreamBody::new(stream::iter(frames)).boxed_unsync(),
            End::Hang => {
                let forever = futures_util::StreamExt::chain(stream::iter(frames), stream::pending());
                StreamBody::new(forever).boxed_unsync()
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status.try_into().expect("a test's status is one");
        response.headers_mut().insert("content-length", HeaderValue::from(self.body.len()));
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).expect("a test's header is one");
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        response
    }
}

type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// The server; gone when dropped.
pub struct MockVendor {
    address: SocketAddr,
    state: Arc<State>,
    // Dropped with the server, and its connections with it.
    _tasks: JoinSet<()>,
}

struct State {
    handler: Box<Handler>,
    script: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    changed: tokio::sync::Notify,
}

impl MockVendor {
    /// Answers by `handler` whenever nothing is scripted.
    pub async fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> MockVendor {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            handler: Box::new(handler),
            script: Mutex::default(),
            asked: Mutex::default(),
            changed: tokio::sync::Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        MockVendor { address, state, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// To be answered first, in order.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.script.lock().expect("no test panics here").extend(answers);
    }

    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("no test panics here").clone()
    }

    /// Waits until this much was asked.
    pub async fn asked_times(&self, count: usize) -> Vec<Asked> {
        let enough = async {
            loop {
                let changed = self.state.changed.notified();
                let asked = self.asked();
                if asked.len() >= count {
                    return asked;
                }
                changed.await;
            }
        };
        timeout(DEADLINE, enough).await.unwrap_or_else(|_| panic!("{} of {count} requests came", self.asked().len()))
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&state)));
            // A client that went away is none of a vendor's business.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Asked {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        at: std::time::Instant::now(),
    };
    let scripted = state.script.lock().expect("no test panics here").pop_front();
    let answer = scripted.unwrap_or_else(|| (state.handler)(&asked));
    state.asked.lock().expect("no test panics here").push(asked);
    state.changed.notify_waiters();
    Ok(answer.response())
}

/// Answers like Binance for these pairs: an invalid one fails the whole batch.
pub fn binance(known: &'static [&'static str]) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        assert_eq!(asked.path(), "/api/v3/ticker/24hr");
        let symbols: Vec<String> =
            serde_json::from_str(&asked.query("symbols").expect("symbols are asked for")).expect("as JSON");
        if symbols.iter().any(|symbol| !known.contains(&&**symbol)) {
            return Answer::new(400, r#"{"code":-1121,"msg":"Invalid symbol."}"#);
        }
        let row = |symbol: &String| {
            format!(
                r#"{{"symbol":"{symbol}","priceChange":"-812.10000000","priceChangePercent":"-0.912","lastPrice":"88199.90000000","volume":"18233.41000000","openTime":1795064400000,"closeTime":1795208400000}}"#
            )
        };
        Answer::json(format!("[{}]", symbols.iter().map(row).collect::<Vec<_>>().join(",")))
    }
}

/// At most this long from now; for answers that name a moment.
pub fn http_date_in(span: Duration) -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now() + span)
}
