//! Sends one request and receives one whole answer, within bounds.
//!
//! At most [`MAX_IN_FLIGHT`] requests of all providers are under way; others wait their turn (they are bounded by the
//! fetches that the publisher starts). An answer is bounded by [`MAX_BODY_BYTES`] and the request's time-out, both
//! counted over the unpacked stream. Redirects are not followed: a vendor that redirects is down or blocks us, and a key must
//! not travel to another host. It knows no vendor, and what it says of a failure never holds the URL.

use std::error::Error as _;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use super::vendor::{Body, Detail, Failure, Reply, Request};

/// Requests of all providers under way at once (SPEC §6).
pub const MAX_IN_FLIGHT: usize = 100;
/// The longest answer read: the largest we ask for, 250 snapshot rows of about 1 KiB, fits thirty times.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// For TCP and TLS; the rest of a request's time-out is left for the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The right to have one request under way.
pub struct Turn<'a>(#[expect(dead_code, reason = "held until the request ends")] SemaphorePermit<'a>);

/// What all providers send through.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    in_flight: Semaphore,
}

/// An answer, owned.
#[derive(Debug)]
pub struct Received {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    at: Timestamp,
}

impl Received {
    /// As vendors read it.
    #[must_use]
    pub fn reply(&self) -> Reply<'_> {
        Reply { status: self.status, headers: &self.headers, body: &self.body, now: self.at }
    }
}

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP: {0}")]
pub struct ClientError(#[from] reqwest::Error);

impl Client {
    /// A client with the ring provider for TLS and the system's root certificates.
    ///
    /// # Errors
    /// [`ClientError`] when there is no TLS to be had.
    pub fn new() -> Result<Client, ClientError> {
        // Whoever is first installs it; all of tickcast uses the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .user_agent(concat!("tickcast/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(MAX_IN_FLIGHT)
            .tcp_nodelay(true)
            .build()?;
        Ok(Client { http, in_flight: Semaphore::new(MAX_IN_FLIGHT) })
    }

    /// Waits until fewer than [`MAX_IN_FLIGHT`] requests are under way.
    pub async fn turn(&self) -> Turn<'_> {
        Turn(self.in_flight.acquire().await.expect("the semaphore is never closed"))
    }

    /// Sends `request` to `base` (scheme, host and port) and receives the whole answer within `timeout`.
    ///
    /// # Errors
    /// [`Failure::Transient`] when there was no answer, [`Failure::Malformed`] when it is too long or the request
    /// cannot be built.
    pub async fn send(
        &self,
        _turn: Turn<'_>,
        base: &str,
        request: &Request,
        timeout: Duration,
    ) -> Result<Received, Failure> {
        // Never with the path: its query may hold a key.
        let trace = info_span!(
            target: "traces", "vendor request",
            otel.kind = "client", server.address = base, http.response.status_code = Empty,
        );
        let answer = self.exchange(base, request, timeout).instrument(trace.clone()).await;
        if let Ok(answer) = &answer {
            trace.record("http.response.status_code", answer.status);
        }
        answer
    }

    async fn exchange(&self, base: &str, request: &Request, timeout: Duration) -> Result<Received, Failure> {
        let url = [base, &request.target()].concat();
        let mut builder = match request.body() {
            Body::None => self.http.get(url),
            Body::Form(form) => {
                self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone())
            }
        };
        for (name, value) in request.headers() {
            builder = builder.header(*name, value);
        }
        let fail = |error| failure(error, timeout);
        let mut response = builder.timeout(timeout).send().await.map_err(fail)?;
        let too_long = || Failure::Malformed(format!("the answer is longer than {MAX_BODY_BYTES} bytes").into());
        if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(fail)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        Ok(Received { status, headers, body, at: Timestamp::now() })
    }
}

/// Never with the URL: its query may hold a key.
fn failure(error: reqwest::Error, timeout: Duration) -> Failure {
    if error.is_timeout() {
        return Failure::Transient(format!("no whole answer within {} s", timeout.as_secs_f64()).into());
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    let detail = Detail::new(&text);
    if error.is_builder() { Failure::Malformed(detail) } else { Failure::Transient(detail) }
}

/// Scheme, host and port, without a slash at the end.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub fn base_url(text: &str) -> Result<String, String> {
    let allowed = "scheme, host and port, as in https://api.example.com or http://127.0.0.1:9000";
    let url = reqwest::Url::parse(text.trim()).map_err(|error| format!("{error}; allowed: {allowed}"))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(format!("not {allowed}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_scheme_host_and_port() {
        for (text, expected) in [
            ("https://api.example.com", Some("https://api.example.com")),
            (" http://127.0.0.1:9000/ ", Some("http://127.0.0.1:9000")),
            ("http://[::1]:9000", Some("http://[::1]:9000")),
            ("https://api.example.com/v1", None),
            ("https://user:secret@api.example.com", None),
            ("https://api.example.com?apikey=x", None),
            ("ftp://api.example.com", None),
            ("api.example.com", None),
            ("", None),
        ] {
            assert_eq!(base_url(text).ok().as_deref(), expected, "{text}");
        }
    }
}
