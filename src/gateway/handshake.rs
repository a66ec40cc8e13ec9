//! Whether an HTTP request is a clean WebSocket upgrade (RFC 6455 §4.2.1), and the answer to it.
//!
//! Pure: a request head comes in, the upgrade or the refusal goes out. hyper has read the head and checks none of this.
//! A request is upgraded only when it is exactly what the RFC describes; everything else is answered with a status that
//! says what was wrong.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response, StatusCode, Version};
use hyper::http;

use super::shard::ClientId;
use crate::protocol::deflate;
use crate::protocol::frame;
use crate::protocol::message::Selection;
use crate::protocol::publication::{Coding, Dialect, Form};
use crate::protocol::request::read_list;

/// The path of the socket; also with `/{client_id}`, and `/` when the request is an upgrade.
pub(super) const PATH: &str = "/ws";
/// The most subprotocols a client may offer; two are of use here.
const MAX_PROTOCOLS: usize = 16;
/// The longest client id in the path.
pub(super) const MAX_CLIENT_ID_BYTES: usize = 64;

/// What a clean upgrade asks for.
pub(super) struct Upgrade {
    accept: HeaderValue,
    pub(super) client_id: ClientId,
    pub(super) form: Form,
    pub(super) wanted: Selection,
    /// From the header, the subprotocol or the URL.
    pub(super) token: Option<String>,
    protocol: Option<HeaderValue>,
}

/// Why a request is not upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What was wrong and what is allowed.
    pub(super) message: &'static str,
    /// The `reason` label of `tickcast_connections_refused_total`.
    pub(super) reason: &'static str,
    pub(super) retry_after_s: Option<u32>,
}

impl Refusal {
    pub(super) const fn new(status: StatusCode, reason: &'static str, message: &'static str) -> Refusal {
        Refusal { status, message, reason, retry_after_s: None }
    }

    pub(super) const fn retry_after(self, seconds: u32) -> Refusal {
        Refusal { retry_after_s: Some(seconds), ..self }
    }
}

const fn malformed(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "malformed", message)
}

/// Whether a request is for the socket rather than for a page or the API. An upgrade to something else is none: clients
/// that offer h2c get their page (RFC 9110 §7.8 lets a server pass over such an offer).
pub(super) fn is_for_socket(head: &Parts) -> bool {
    let path = head.uri.path();
    let upgrade = head.headers.get_all(UPGRADE).iter().any(|value| lists(value, "websocket"));
    path == PATH || path.strip_prefix(PATH).is_some_and(|rest| rest.starts_with('/')) || upgrade
}

/// Reads an upgrade.
pub(super) fn read(head: &Parts, compression: Coding) -> Result<Upgrade, Refusal> {
    let client_id = read_path(head.uri.path())?;
    if head.method != Method::GET {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "a WebSocket handshake is a GET"));
    }
    if head.version != Version::HTTP_11 {
        return Err(malformed("a WebSocket handshake is HTTP/1.1"));
    }
    check_host(head)?;
    check_upgrade(head)?;
    check_no_body(head)?;
    check_version(head)?;
    let key = only(head, &SEC_WEBSOCKET_KEY, "exactly one Sec-WebSocket-Key header is needed")?;
    if !is_key(key) {
        return Err(malformed("Sec-WebSocket-Key is the base64 of 16 bytes"));
    }
    let accept = HeaderValue::try_from(frame::accept_key(key)).expect("base64 is a header value");
    let query = Query::read(head.uri.query().unwrap_or_default())?;
    let (protocol, protocol_token) = read_protocols(head)?;
    check_extensions(head)?;
    let token = bearer(head)?.or(protocol_token).or(query.token);
    let flat = query.flat || matches!(client_id, ClientId::Given(_));
    let dialect = if flat { Dialect::Flat } else { Dialect::Nested };
    let offers = head.headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    let coding = if deflate::accepts(offers) { compression } else { Coding::Plain };
    let form = Form { dialect, coding };
    Ok(Upgrade { accept, client_id, form, wanted: query.wanted, token, protocol })
}

/// Whether an origin may connect. A request without one comes from no browser.
pub(super) fn check_origin(head: &Parts, allowed: &[String]) -> Result<(), Refusal> {
    const FORBIDDEN: Refusal = Refusal::new(StatusCode::FORBIDDEN, "origin", "this origin may not connect");
    let mut origins = head.headers.get_all(ORIGIN).iter();
    let (Some(origin), more) = (origins.next(), origins.next()) else { return Ok(()) };
    if more.is_some() {
        return Err(malformed("more than one Origin header"));
    }
    let listed =
        allowed.is_empty() || allowed.iter().any(|listed| listed == "*" || listed.as_bytes() == origin.as_bytes());
    if listed { Ok(()) } else { Err(FORBIDDEN) }
}

impl Upgrade {
    /// The 101.
    pub(super) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if self.form.coding == Coding::Deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate::RESPONSE));
        }
        if let Some(protocol) = &self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        response
    }
}

/// The client id of the path; a random one for `/ws` and `/`.
fn read_path(path: &str) -> Result<ClientId, Refusal> {
    if path == "/" || path == PATH {
        return Ok(ClientId::Random(fastrand::u64(..)));
    }
    let Some(id) = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')) else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "path", "the socket is at /ws"));
    };
    let valid = (1..=MAX_CLIENT_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !valid {
        return Err(malformed("a client id has 1 to 64 of A-Z a-z 0-9 _ -"));
    }
    Ok(ClientId::Given(id.into()))
}

/// RFC 9112 §3.2: one Host, the same as in a URL that names one; RFC 6455 §3: such a URL is of HTTP.
fn check_host(head: &Parts) -> Result<(), Refusal> {
    let host = only(head, &HOST, "exactly one Host header is needed")?;
    if !is_host(host) {
        return Err(malformed("the Host header names no host"));
    }
    if head.uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(malformed("the request's URL and its Host header differ"));
    }
    match head.uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(malformed("the request's URL is not of HTTP")),
    }
}

/// `name`, `name:port`, an address for a name; no user, no path.
fn is_host(host: &str) -> bool {
    !host.contains('@') && host.parse::<Authority>().is_ok_and(|host| !host.host().is_empty())
}

fn check_upgrade(head: &Parts) -> Result<(), Refusal> {
    let mut upgrades = head.headers.get_all(UPGRADE).iter();
    let (Some(upgrade), None) = (upgrades.next(), upgrades.next()) else {
        return if head.headers.contains_key(UPGRADE) {
            Err(malformed("exactly one Upgrade header is needed"))
        } else {
            Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "not_upgrade", "this is a WebSocket endpoint"))
        };
    };
    if !lists(upgrade, "websocket") {
        return Err(malformed("the Upgrade header must say websocket"));
    }
    if !head.headers.get_all(CONNECTION).iter().any(|value| lists(value, "upgrade")) {
        return Err(malformed("the Connection header must say Upgrade"));
    }
    Ok(())
}

fn check_no_body(head: &Parts) -> Result<(), Refusal> {
    let length = head.headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    if length || head.headers.contains_key(TRANSFER_ENCODING) {
        return Err(malformed("a WebSocket handshake has no body"));
    }
    Ok(())
}

fn check_version(head: &Parts) -> Result<(), Refusal> {
    match only(head, &SEC_WEBSOCKET_VERSION, "exactly one Sec-WebSocket-Version header is needed")? {
        "13" => Ok(()),
        _ => Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "version", "only version 13 is spoken")),
    }
}

/// The one value of a header that must be there once.
fn only<'a>(head: &'a Parts, name: &HeaderName, message: &'static str) -> Result<&'a str, Refusal> {
    let mut values = head.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map(str::trim).map_err(|_| malformed(message)),
        _ => Err(malformed(message)),
    }
}

/// Whether a comma-separated header lists a word, in any case.
fn lists(value: &HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
}

/// 16 bytes in base64: 21 characters, one that carries two bits, and `==`.
fn is_key(key: &str) -> bool {
    let Some(body) = key.strip_suffix("==") else { return false };
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    body.len() == 22 && body.bytes().all(alphabet) && body.ends_with(['A', 'Q', 'g', 'w'])
}

/// The token of `Authorization: Bearer …`, possibly empty; other schemes are not ours to refuse.
fn bearer(head: &Parts) -> Result<Option<String>, Refusal> {
    if !head.headers.contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    let value = only(head, &AUTHORIZATION, "exactly one Authorization header may be given")?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned()))
}

/// The subprotocols `bearer, <token>`: what to answer, and the token.
fn read_protocols(head: &Parts) -> Result<(Option<HeaderValue>, Option<String>), Refusal> {
    const BAD: Refusal = malformed("Sec-WebSocket-Protocol is a list of different tokens");
    let mut offered: Vec<&str> = Vec::new();
    for value in head.headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for protocol in value.to_str().map_err(|_| BAD)?.split(',').map(str::trim) {
            if !is_token(protocol) || offered.contains(&protocol) || offered.len() == MAX_PROTOCOLS {
                return Err(BAD);
            }
            offered.push(protocol);
        }
    }
    Ok(match offered[..] {
        ["bearer", token] => (Some(HeaderValue::from_static("bearer")), Some(token.to_owned())),
        _ => (None, None),
    })
}

/// RFC 6455 §9.1: `name; parameter; parameter=value, …`, and whoever gets something else fails the handshake. A value
/// may be quoted, and is a token within the quotes, so that no comma or semicolon can hide there.
fn check_extensions(head: &Parts) -> Result<(), Refusal> {
    let is_parameter = |parameter: &str| match parameter.split_once('=') {
        None => is_token(parameter.trim()),
        Some((name, value)) => {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            is_token(name.trim()) && is_token(bare)
        }
    };
    let is_offer = |offer: &str| {
        let mut parts = offer.split(';');
        parts.next().is_some_and(|name| is_token(name.trim())) && parts.all(is_parameter)
    };
    let mut values = head.headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    if values.all(|value| value.to_str().is_ok_and(|value| value.split(',').all(is_offer))) {
        return Ok(());
    }
    Err(malformed("Sec-WebSocket-Extensions is not what RFC 6455 9.1 describes"))
}

/// A token of HTTP (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

#[derive(Default)]
struct Query {
    wanted: Selection,
    token: Option<String>,
    flat: bool,
}

impl Query {
    fn read(query: &str) -> Result<Query, Refusal> {
        let mut read = Query::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "symbols" => read.wanted = read_list(&value),
                "token" => read.token = Some(value.into_owned()),
                "format" if value == "flat" => read.flat = true,
                "format" if value == "nested" => {}
                "format" => return Err(malformed("format is flat or nested")),
                _ => {}
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const GOOD: [(&str, &str); 5] = [
        ("host", "quotes.example"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The good handshake with one header replaced, or left out.
    fn with(name: &str, value: Option<&str>) -> Vec<(&'static str, String)> {
        let kept = GOOD.iter().filter(|(other, _)| *other != name).map(|&(name, value)| (name, value.to_owned()));
        let name = GOOD.iter().find(|(other, _)| *other == name).map_or("", |(name, _)| name);
        kept.chain(value.map(|value| (name, value.to_owned()))).collect()
    }

    fn status(headers: &[(&str, String)]) -> u16 {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        read(&head("GET", "/ws", &headers), Coding::Deflate).err().map_or(101, |refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_clean_handshake_is_answered_with_the_rfcs_own_example() {
        let upgrade = read(&head("GET", "/ws", &GOOD), Coding::Deflate).ok().unwrap();
        assert_eq!(upgrade.form.dialect, Dialect::Nested);
        let response = upgrade.response::<()>();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_fault_of_a_handshake_has_its_status() {
        for (name, value, expected) in [
            ("host", None, 400),
            ("upgrade", None, 426),
            ("upgrade", Some("h2c"), 400),
            ("connection", None, 400),
            ("connection", Some("close"), 400),
            ("sec-websocket-key", None, 400),
            ("sec-websocket-key", Some("short"), 400),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZ!=="), 400),
            ("sec-websocket-version", None, 400),
            ("sec-websocket-version", Some("8"), 426),
            ("sec-websocket-version", Some("13, 8"), 426),
        ] {
            assert_eq!(status(&with(name, value)), expected, "{name}: {value:?}");
        }
        for (name, value) in GOOD.iter().filter(|(name, _)| *name != "connection") {
            let mut twice = with("", None);
            twice.push((name, (*value).to_owned()));
            assert_eq!(status(&twice), 400, "{name} twice");
        }
        for (name, value, expected) in
            [("content-length", "5", 400), ("content-length", "0", 101), ("transfer-encoding", "chunked", 400)]
        {
            let mut more = with("", None);
            more.push((name, value.to_owned()));
            assert_eq!(status(&more), expected, "{name}: {value}");
        }
    }

    #[test]
    fn methods_and_paths_are_checked() {
        let status = |method: &str, uri: &str| {
            let head = head(method, uri, &GOOD);
            read(&head, Coding::Deflate).err().map_or(101, |refusal| refusal.status.as_u16())
        };
        assert_eq!(status("POST", "/ws"), 405);
        assert_eq!(status("GET", "/"), 101);
        assert_eq!(status("GET", "/elsewhere"), 404);
        assert_eq!(status("GET", "/ws/my_client-7"), 101);
        assert_eq!(status("GET", "/ws/"), 400);
        assert_eq!(status("GET", "/ws/no%20blanks"), 400);
        assert_eq!(status("GET", &format!("/ws/{}", "x".repeat(65))), 400);
        assert_eq!(status("GET", "http://quotes.example/ws"), 101);
        assert_eq!(status("GET", "http://other.example/ws"), 400);
        assert_eq!(status("GET", "/ws?format=xml"), 400);
    }

    #[test]
    fn the_url_names_symbols_dialect_and_token() {
        let upgrade =
            read(&head("GET", "/ws?symbols=aapl,M%26M&token=t%2B1&format=flat", &GOOD), Coding::Deflate).ok().unwrap();
        let symbols: Vec<_> = upgrade.wanted.symbols.iter().map(ToString::to_string).collect();
        assert_eq!((symbols, upgrade.token.as_deref()), (vec!["AAPL".to_owned(), "M&M".into()], Some("t+1")));
        assert_eq!(upgrade.form.dialect, Dialect::Flat);
        assert_eq!(read(&head("GET", "/ws/me", &GOOD), Coding::Deflate).ok().unwrap().form.dialect, Dialect::Flat);
    }

    #[test]
    fn a_token_may_come_in_a_header_or_as_a_subprotocol() {
        let with = |name, value| {
            let headers = [&GOOD[..], &[(name, value)]].concat();
            read(&head("GET", "/ws", &headers), Coding::Deflate).ok().unwrap()
        };
        assert_eq!(with("authorization", "bearer abc").token.as_deref(), Some("abc"));
        let upgrade = with("sec-websocket-protocol", "bearer, abc");
        assert_eq!(upgrade.token.as_deref(), Some("abc"));
        let response = upgrade.response::<()>();
        assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
    }

    #[test]
    fn compression_is_agreed_to_when_it_is_offered_and_allowed() {
        let headers =
            [&GOOD[..], &[("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")]].concat();
        let head = head("GET", "/ws", &headers);
        let response = read(&head, Coding::Deflate).ok().unwrap().response::<()>();
        assert_eq!(response.headers()["sec-websocket-extensions"], deflate::RESPONSE);
        assert_eq!(read(&head, Coding::Plain).ok().unwrap().form.coding, Coding::Plain);
    }

    #[test]
    fn a_listed_origin_passes_and_so_does_none() {
        let allowed = ["https://app.example".to_owned()];
        let status = |origin: Option<&str>| {
            let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
            let head = head("GET", "/ws", &headers);
            let refusal = check_origin(&head, &allowed).err();
            refusal.map(|refusal| refusal.status.as_u16())
        };
        assert_eq!(status(None), None);
        assert_eq!(status(Some("https://app.example")), None);
        assert_eq!(status(Some("https://app.example.evil")), Some(403));
        assert_eq!(status(Some("null")), Some(403));
        assert!(check_origin(&head("GET", "/ws", &[("origin", "https://any.example")]), &[]).is_ok());
    }
}
