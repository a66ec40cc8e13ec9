//! What the public port answers to good and bad handshakes, byte by byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use support::DEADLINE;
use support::gateway::config;
use support::raw::{GOOD, Raw, frame, request, upgrade};
use tickcast::broker::{Timing, memory};
use tickcast::gateway::{Config, Gateway};

async fn start(change: impl FnOnce(&mut Config)) -> Gateway {
    let mut config = config();
    change(&mut config);
    let app = Router::new()
        .route("/", get(async || "page"))
        .route("/health", get(async || "healthy"))
        .route("/echo", post(async |body: String| body));
    Gateway::start(&config, &memory::start(Timing::default()), |_| app).await.unwrap()
}

fn address(gateway: &Gateway) -> SocketAddr {
    gateway.handle().address()
}

/// The good handshake with one header replaced, or left out.
fn with(name: &str, value: Option<&str>) -> String {
    let headers = GOOD.iter().filter_map(|&(other, good)| match other {
        _ if other != name => Some((other, good)),
        _ => value.map(|value| (other, value)),
    });
    request("GET /ws", &headers.collect::<Vec<_>>())
}

fn twice(name: &str) -> String {
    let value = GOOD.iter().find(|(other, _)| *other == name).unwrap().1;
    upgrade("/ws", &[(name, value)])
}

#[tokio::test]
async fn a_clean_handshake_is_upgraded_and_nothing_else_is() {
    let gateway = start(|_| {}).await;
    let get = |target: &str| request(&format!("GET {target}"), &GOOD);
    let plus = |name: &'static str, value: &'static str| upgrade("/ws", &[(name, value)]);
    let cases = [
        (get("/ws"), 101),
        (get("/ws/my_client-7"), 101),
        (get("/"), 101),
        (get("http://quotes.example/ws"), 101),
        (get("http://QUOTES.example/ws"), 101),
        (plus("Content-Length", "0"), 101),
        (plus("Sec-WebSocket-Protocol", "chat, quotes"), 101),
        (plus("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits, x-other; a=\"b\""), 101),
        (with("Connection", Some("keep-alive, upgrade")), 101),
        (with("Upgrade", Some("WebSocket")), 101),
        // the target
        (get("/wsx"), 404),
        (get("/elsewhere"), 404),
        (get("//ws"), 404),
        (get("/WS"), 404),
        (get("/ws/"), 400),
        (get("/ws/a/b"), 400),
        (get("/ws/%61"), 400),
        (get("http://other.example/ws"), 400),
        (get("ftp://quotes.example/ws"), 400),
        (get("http://user@quotes.example/ws"), 400),
        (get("/ws?format=xml"), 400),
        // Host
        (with("Host", None), 400),
        (twice("Host"), 400),
        (with("Host", Some("")), 400),
        (with("Host", Some("quotes.example/ws")), 400),
        (with("Host", Some("me@quotes.example")), 400),
        (with("Host", Some("a b")), 400),
        // Upgrade, Connection
        (with("Upgrade", Some("h2c")), 400),
        (with("Upgrade", None), 426),
        (twice("Upgrade"), 400),
        (with("Connection", None), 400),
        (with("Connection", Some("close")), 400),
        // the key
        (with("Sec-WebSocket-Key", None), 400),
        (twice("Sec-WebSocket-Key"), 400),
        (with("Sec-WebSocket-Key", Some("")), 400),
        (with("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ")), 400),
        (with("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZR==")), 400),
        (with("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZSE=")), 400),
        // the version
        (with("Sec-WebSocket-Version", None), 400),
        (twice("Sec-WebSocket-Version"), 400),
        (with("Sec-WebSocket-Version", Some("8")), 426),
        (with("Sec-WebSocket-Version", Some("13, 8")), 426),
        // bodies
        (plus("Content-Length", "5") + "hello", 400),
        (plus("Transfer-Encoding", "chunked") + "0\r\n\r\n", 400),
        (upgrade("/ws", &[("Content-Length", "0"), ("Transfer-Encoding", "chunked")]) + "0\r\n\r\n", 400),
        (upgrade("/ws", &[("Content-Length", "0"), ("Content-Length", "5")]), 400),
        (plus("Content-Length", "-1"), 400),
        // lists
        (plus("Sec-WebSocket-Protocol", "a, a"), 400),
        (plus("Sec-WebSocket-Protocol", "a,,b"), 400),
        (plus("Sec-WebSocket-Extensions", "permessage-deflate; ="), 400),
        // methods and versions
        (request("POST /ws", &GOOD), 405),
        (request("HEAD /ws", &GOOD), 405),
        (upgrade("/ws", &[]).replace("HTTP/1.1", "HTTP/1.0"), 400),
        (upgrade("/ws", &[]).replace("HTTP/1.1", "HTTP/2.0"), 400),
        // not HTTP
        (upgrade("/ws", &[]).replace("Host:", "Host :"), 400),
        (upgrade("/ws", &[]).replace("Upgrade: ", "Upgrade:\0"), 400),
        // what HTTP/2 begins with: hyper hangs up
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0),
        ("\u{16}\u{3}\u{1} hello\r\n\r\n".into(), 400),
        // sizes
        (upgrade("/ws", &[("X-Filler", &"x".repeat(17_000))]), 431),
        (upgrade("/ws", &[("X", "y"); 64]), 431),
    ];
    for (request, expected) in cases {
        let mut raw = Raw::say_to(address(&gateway), &request).await;
        let head = raw.head().await;
        let status = head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
        assert_eq!(status, expected, "{request}\n{head}");
        match status {
            101 => {
                assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
                continue;
            }
            405 => assert!(head.contains("allow: GET\r\n"), "{head}"),
            426 => assert!(head.contains("sec-websocket-version: 13\r\n"), "{head}"),
            _ => {}
        }
        assert!(
            !String::from_utf8_lossy(&raw.rest().await).contains("HTTP/1.1 "),
            "one answer, then the end: {request}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn only_listed_origins_and_requests_without_one_pass() {
    let list = vec!["https://app.example".to_owned(), "http://localhost:3000".into()];
    let gateway = start(|config| config.allowed_origins = list).await;
    for (origins, expected) in [
        (&[][..], 101),
        (&["https://app.example"], 101),
        (&["http://localhost:3000"], 101),
        (&["https://app.example:443"], 403),
        (&["http://app.example"], 403),
        (&["https://app.example.evil"], 403),
        (&["https://evil-app.example"], 403),
        (&["https://app.example/"], 403),
        (&["https://APP.example"], 403),
        (&["https://app.example https://evil.example"], 403),
        (&["null"], 403),
        (&[""], 403),
        (&["https://app.example", "https://app.example"], 400),
        (&["https://app.example", "https://evil.example"], 400),
    ] {
        let headers: Vec<_> = origins.iter().map(|&origin| ("Origin", origin)).collect();
        let mut raw = Raw::say_to(address(&gateway), upgrade("/ws", &headers)).await;
        assert_eq!(raw.status().await, expected, "{origins:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_sent_along_with_the_handshake_is_understood() {
    let gateway = start(|_| {}).await;
    let bytes =
        [upgrade("/ws", &[]).as_bytes(), &frame(9, b"early"), &frame(1, br#"{"action":"ping","id":7}"#)].concat();
    let mut at_once = Raw::say_to(address(&gateway), &bytes).await;
    let mut in_pieces = Raw::connect(address(&gateway)).await;
    for byte in &bytes {
        in_pieces.say([*byte]).await;
    }
    for raw in [&mut at_once, &mut in_pieces] {
        assert_eq!(raw.status().await, 101);
        let mut heard = String::new();
        while !(heard.contains("\u{5}early") && heard.contains(r#""type":"pong","id":7"#)) {
            heard += &String::from_utf8_lossy(&raw.bytes(1).await);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_page_and_then_the_socket_may_use_one_connection_and_nothing_follows_a_refusal() {
    let gateway = start(|_| {}).await;
    let page = request("GET /", &[("Host", "quotes.example")]);
    let mut raw = Raw::say_to(address(&gateway), page.clone() + &upgrade("/ws", &[])).await;
    assert_eq!(raw.status().await, 200);
    assert_eq!(raw.bytes(4).await, b"page");
    assert_eq!(raw.status().await, 101);
    let mut refused = Raw::say_to(address(&gateway), with("Sec-WebSocket-Key", None) + &page).await;
    assert_eq!(refused.status().await, 400);
    assert!(!String::from_utf8_lossy(&refused.rest().await).contains("page"));
    gateway.stop().await;
}

// hyper's doing (RFC 9112 §6.1): it shows one of the lengths, and nothing may follow.
#[tokio::test]
async fn a_request_with_two_lengths_is_the_last_of_its_connection() {
    let gateway = start(|_| {}).await;
    let hidden = request("GET /", &[("Host", "quotes.example")]);
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let length = chunked.len().to_string();
    let headers = [("Host", "quotes.example"), ("Content-Length", &length), ("Transfer-Encoding", "chunked")];
    let smuggling = request("POST /echo", &headers) + &chunked + &hidden;
    let answers = Raw::say_to(address(&gateway), smuggling).await.rest().await;
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_connection_that_does_not_ask_in_time_is_ended() {
    let gateway = start(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    let silent = Raw::connect(address(&gateway)).await;
    assert_eq!(silent.rest().await, b"", "nothing was asked, nothing is said");
    let mut half = Raw::say_to(address(&gateway), "GET /ws HTTP/1.1\r\nHost: quotes.ex").await;
    assert_eq!(half.status().await, 408);
    half.rest().await;
    let mut endless =
        Raw::say_to(address(&gateway), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal").await;
    assert_eq!(endless.status().await, 400, "a body that does not come is an error of its reader");
    // Byte by byte, each well in time: the whole head counts.
    let mut dripping = Raw::connect(address(&gateway)).await;
    let drip = async {
        for byte in upgrade("/ws", &[]).as_bytes() {
            dripping.say([*byte]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        dripping.status().await
    };
    let status = tokio::time::timeout(DEADLINE, drip).await.unwrap();
    assert!(matches!(status, 408 | 0), "{status}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_has_a_body_of_64_kib_at_most() {
    let gateway = start(|_| {}).await;
    for (length, expected) in [(64 * 1024, 200), (64 * 1024 + 1, 413)] {
        let headers = [("Host", "quotes.example"), ("Content-Length", &length.to_string())];
        let request = request("POST /echo", &headers) + &"x".repeat(length);
        assert_eq!(Raw::say_to(address(&gateway), request).await.status().await, expected, "{length}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_time_of_a_proxys_header_counts_as_the_requests() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let gateway = start(|config| {
        config.limits.handshake_timeout = TIMEOUT;
        config.limits.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    // Its header comes after two thirds of the time; one that connects at a third and says nothing must end later.
    let mut proxied = Raw::connect(address(&gateway)).await;
    tokio::time::sleep(TIMEOUT / 3).await;
    let silent = Raw::connect(address(&gateway)).await;
    tokio::time::sleep(TIMEOUT / 3).await;
    proxied.say("PROXY TCP4 198.51.100.1 10.0.0.1 4711 80\r\nGET /ws HTTP/1.1\r\n").await;
    tokio::select! {
        biased;
        status = proxied.status() => assert_eq!(status, 408),
        _ = silent.rest() => panic!("the clock began anew with the request"),
    }
    gateway.stop().await;
}
