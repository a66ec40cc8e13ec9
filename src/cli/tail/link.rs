//! Connecting to a gateway, and what to make of it when that fails.
//!
//! A refusal that would come again is told from one that may pass. System roots for `wss`; the token goes in a header, never
//! into the URL, which proxies log. Bounded: one attempt by [`CONNECT_TIMEOUT`], a message by [`MAX_MESSAGE_BYTES`].

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::Url;

use super::TailError;
use crate::market::update::MAX_UPDATE_BYTES;
use crate::quota::backoff::retry_after;

/// A connection.
pub(super) type Link = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// From the name's look-up to the end of the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An update and what a gateway adds to it.
const MAX_MESSAGE_BYTES: usize = 2 * MAX_UPDATE_BYTES;
/// Shown of what a server says about its refusal.
const MAX_SHOWN_CHARS: usize = 200;

/// Where a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target(Url);

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NoLink {
    /// It would be so again.
    Final(TailError),
    /// It may pass.
    ForNow {
        why: String,
        /// The server said when to come back.
        retry_after: Option<Duration>,
    },
}

impl Target {
    /// Reads `--url`: `ws` or `wss`, `http` and `https` for people who copy the page's address; `/ws` where there is no
    /// path.
    pub(super) fn parse(text: &str) -> Result<Target, String> {
        let form = "ws://host:port/ws or wss://host/ws";
        let mut url = Url::parse(text).map_err(|error| format!("{error}; write {form}"))?;
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            _ => return Err(form.into()),
        };
        if !url.has_host() || url.set_scheme(scheme).is_err() {
            return Err(form.into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("no user name or password in the URL: gateways take a token, by --token".into());
        }
        if url.path() == "/" {
            url.set_path("/ws");
        }
        url.set_fragment(None);
        Ok(Target(url))
    }

    fn request(&self, token: Option<&SecretString>) -> Result<Request, Error> {
        let mut request = self.0.as_str().into_client_request()?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tickcast/", env!("CARGO_PKG_VERSION"))));
        if let Some(token) = token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

/// Without the query, which may hold a token.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0[..url::Position::AfterPath])
    }
}

/// One attempt.
pub(super) async fn connect(target: &Target, token: Option<&SecretString>) -> Result<Link, NoLink> {
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt(target, token)).await {
        Ok(Ok(link)) => Ok(link),
        Ok(Err(error)) => Err(read_failure(target, token.is_some(), error)),
        Err(_) => Err(NoLink::for_now(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

async fn attempt(target: &Target, token: Option<&SecretString>) -> Result<Link, Error> {
    let request = target.request(token)?;
    let host = target.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = target.0.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    // a hint: a socket without it works
    let _ = stream.set_nodelay(true);
    // a second time changes nothing
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .max_write_buffer_size(MAX_MESSAGE_BYTES);
    let (link, _) = Box::pin(client_async_tls_with_config(request, stream, Some(config), None)).await?;
    Ok(link)
}

impl NoLink {
    fn for_now(why: String) -> NoLink {
        NoLink::ForNow { why, retry_after: None }
    }
}

fn read_failure(target: &Target, has_token: bool, error: Error) -> NoLink {
    let refused = |why: String| NoLink::Final(TailError::Refused { url: target.to_string(), why });
    match error {
        Error::Http(answer) => read_refusal(target, has_token, &answer),
        Error::Io(error) => match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(why)) => refused(format!("its certificate is not trusted: {why:?}")),
            Some(rustls::Error::InvalidMessage(_)) => refused("it does not speak TLS; is it ws:// ?".into()),
            _ => NoLink::for_now(plain(&error)),
        },
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::ConnectionClosed | Error::AlreadyClosed => {
            NoLink::for_now("closed during the handshake".into())
        }
        other => refused(format!("it is no WebSocket server: {other}")),
    }
}

/// What an HTTP answer in place of an upgrade means.
fn read_refusal(target: &Target, has_token: bool, answer: &Response) -> NoLink {
    let status = answer.status();
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let said = said(answer.body().as_deref().unwrap_or_default());
    let said = said.map(|said| format!(", \"{said}\"")).unwrap_or_default();
    let why = match (status.as_u16(), header(LOCATION)) {
        (401, _) if has_token => format!("it does not take this token (HTTP 401{said})"),
        (401, _) => format!("it wants a token (HTTP 401{said}); pass --token or set TICKCAST_TOKEN"),
        (403, _) => format!("it lets us not in (HTTP 403{said})"),
        (404, _) => format!("there is nothing at this path (HTTP 404{said}); gateways have their socket at /ws"),
        (301..=308, Some(place)) => format!("it moved (HTTP {}) to {place}", status.as_u16()),
        (code, _) => format!("HTTP {code}{said}"),
    };
    let passes = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error() && status.as_u16() != 501;
    if passes {
        NoLink::ForNow { why, retry_after: header(RETRY_AFTER).and_then(|field| retry_after(field, Timestamp::now())) }
    } else {
        NoLink::Final(TailError::Refused { url: target.to_string(), why })
    }
}

/// The message of an error in our form; nothing of a page for browsers.
fn said(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(json["error"]["message"].as_str()?.chars().take(MAX_SHOWN_CHARS).collect())
}

/// An I/O error without the number, which says nothing to most readers.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::http;

    #[test]
    fn a_url_is_taken_as_people_write_it() {
        for (text, url) in [
            ("ws://127.0.0.1:8081/ws", "ws://127.0.0.1:8081/ws"),
            ("ws://host", "ws://host/ws"),
            ("https://quotes.example.com/", "wss://quotes.example.com/ws"),
            ("http://[::1]:8081/ws/me", "ws://[::1]:8081/ws/me"),
            ("wss://host/ws?format=flat&token=x#y", "wss://host/ws"),
        ] {
            assert_eq!(Target::parse(text).unwrap().to_string(), url);
        }
        for text in ["127.0.0.1:8081", "host", "ftp://host/ws", "ws://", "ws://me:pw@host/ws"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_is_in_a_header_and_shown_nowhere() {
        let target = Target::parse("ws://host").unwrap();
        let request = target.request(Some(&"s3cret".into())).unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer s3cret");
        assert!(!format!("{request:?}").contains("s3cret"));
    }

    fn refusal(status: u16, headers: &[(&str, &str)], body: &str) -> NoLink {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        read_refusal(&Target::parse("ws://h").unwrap(), false, &answer.body(Some(body.into())).unwrap())
    }

    #[test]
    fn a_refusal_that_will_not_change_is_final_and_says_what_to_do() {
        for (status, headers, says) in [
            (400, &[][..], "HTTP 400"),
            (401, &[], "--token"),
            (403, &[], "HTTP 403"),
            (404, &[], "/ws"),
            (301, &[("location", "wss://other/ws")], "to wss://other/ws"),
            (200, &[], "HTTP 200"),
            (426, &[], "HTTP 426"),
        ] {
            match refusal(status, headers, r#"{"error":{"code":"x","message":"because"}}"#) {
                NoLink::Final(error) => assert!(error.to_string().contains(says), "{error}"),
                NoLink::ForNow { why, .. } => panic!("{status} may pass? {why}"),
            }
        }
    }

    #[test]
    fn a_refusal_that_may_pass_says_when_to_come_back() {
        for (status, headers, expected) in [
            (503, &[("retry-after", "5")][..], Some(Duration::from_secs(5))),
            (429, &[("retry-after", "1")], Some(Duration::from_secs(1))),
            (502, &[], None),
        ] {
            match refusal(status, headers, "<html>") {
                NoLink::ForNow { retry_after, .. } => assert_eq!(retry_after, expected, "{status}"),
                NoLink::Final(error) => panic!("{status}: {error}"),
            }
        }
    }
}
