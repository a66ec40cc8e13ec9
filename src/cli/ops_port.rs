//! The ops port as its clients see it: where it is, and one question to it.
//!
//! A bare HTTP/1.1 client: no proxy of the environment, no redirect, no TLS, one connection a question, one deadline for all
//! of it, and an answer of at most [`MAX_ANSWER_BYTES`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::net::TcpStream;
use url::{Position, Url};

use crate::ops;

/// What is paused by name (4096 symbols of about 80 bytes) from three publishers.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A question.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Path and query count.
    pub(super) url: &'a Url,
    /// JSON; none where it is empty.
    pub(super) body: Bytes,
    /// For what changes something.
    pub(super) bearer: Option<&'a SecretString>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl<'a> Question<'a> {
    /// What is there at `url`?
    pub(super) fn get(url: &'a Url) -> Question<'a> {
        Question { method: Method::GET, url, body: Bytes::new(), bearer: None }
    }

    /// Asks, and waits for the whole answer no longer than this.
    pub(super) async fn ask(self, within: Duration) -> Result<Answer, NoAnswer> {
        tokio::time::timeout(within, self.exchange()).await.unwrap_or(Err(NoAnswer::TimedOut(within)))
    }

    async fn exchange(self) -> Result<Answer, NoAnswer> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await.map_err(NoAnswer::Connect)?;
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let answer = client.send_request(self.request()).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(NoAnswer::Body)?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        // the connection only moves bytes for the exchange; its own end, or error, adds nothing
        tokio::select! {
            answer = exchange => answer,
            Err(error) = connection => Err(error.into()),
        }
    }

    fn request(self) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, self.url.authority())
            .header(CONNECTION, "close");
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        // one that is no header value is not the right one either
        if let Some(mut bearer) = self.bearer.and_then(bearer) {
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        request.body(Full::new(self.body)).expect("a parsed URL's path and authority are valid in a request")
    }
}

fn bearer(token: &SecretString) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok()
}

impl Answer {
    /// The body; `null` where it is no JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Reads a URL of an ops port.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() != "http" || !url.has_host() {
        return Err("http://host:port, as the ops port speaks it".into());
    }
    Ok(url)
}

/// Where to reach a port that is bound as configured.
pub(super) fn url_of(ops: &ops::Config) -> Url {
    let host = match ops.bind {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let socket = SocketAddr::new(host, ops.port);
    Url::parse(&format!("http://{socket}/")).expect("a socket address makes a URL's authority")
}

/// The same port, another path.
pub(super) fn at(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_path(path);
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_all_interfaces_is_asked_on_loopback() {
        let url = |bind: &str| {
            let ops = ops::Config { bind: bind.parse().unwrap(), port: 8082, admin_token: None };
            at(&url_of(&ops), "/health").to_string()
        };
        assert_eq!(url("0.0.0.0"), "http://127.0.0.1:8082/health");
        assert_eq!(url("::"), "http://[::1]:8082/health");
        assert_eq!(url("10.1.2.3"), "http://10.1.2.3:8082/health");
    }

    #[test]
    fn only_what_speaks_plain_http_is_asked() {
        assert!(parse("http://127.0.0.1:1").is_ok());
        assert!(parse("https://127.0.0.1:1").is_err());
        assert!(parse("127.0.0.1:1").is_err());
    }

    #[test]
    fn a_question_carries_its_token_and_shows_it_nowhere() {
        let url = parse("http://host:1/control?a=b").unwrap();
        let token = "s3cret".into();
        let question =
            Question { method: Method::POST, url: &url, body: Bytes::from_static(b"{}"), bearer: Some(&token) };
        let request = question.request();
        assert_eq!(request.uri(), "/control?a=b");
        assert_eq!(request.headers()[HOST], "host:1");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer s3cret");
        assert!(!format!("{request:?}").contains("s3cret"));
    }
}
