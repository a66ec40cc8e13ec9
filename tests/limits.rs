//! Each limit of the public port: what breaks it is told by a code, and counted by its reason.
//!
//! One test, so that nothing else in this process counts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use axum::Router;
use serde_json::Value;
use support::client::{Client, eventually};
use support::gateway::{certificate, config};
use support::raw::{Raw, frame, request, upgrade};
use support::token::{Es256, seconds_from_now};
use tickcast::broker::{Timing, memory};
use tickcast::gateway::config::{Auth, Jwt, JwtKeys};
use tickcast::gateway::{Config, Gateway};
use tickcast::ops::metrics::Exposition;
use tokio_tungstenite::tungstenite::protocol::Message;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A gateway and the counters of its process.
struct World<'a> {
    counters: &'a Exposition,
    gateway: Gateway,
}

impl World<'_> {
    fn address(&self) -> SocketAddr {
        self.gateway.handle().address()
    }

    /// Waits until one more refusal is counted for this reason.
    async fn counts(&self, reason: &str, before: u64) {
        let what = format!("{reason} is counted");
        eventually(&what, async || self.refused(reason) > before).await;
        assert_eq!(self.refused(reason), before + 1, "{reason}");
    }

    fn refused(&self, reason: &str) -> u64 {
        self.counter(&format!("tickcast_connections_refused_total{{reason=\"{reason}\"}}"))
    }

    fn counter(&self, sample: &str) -> u64 {
        let text = self.counters.text();
        let value = text.lines().find_map(|line| line.strip_prefix(sample));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Says this; the answer's status and the code in its body, once that refusal is counted.
    async fn refuses(&self, bytes: impl AsRef<[u8]>, status: u16, reason: &str) -> String {
        let before = self.refused(reason);
        let mut raw = Raw::say_to(self.address(), bytes).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{reason}: {head}");
        let body = raw.rest().await;
        let body: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
        assert_eq!(body["error"]["code"], reason);
        self.counts(reason, before).await;
        head
    }
}

#[tokio::test]
async fn each_limit_is_told_by_a_code_and_counted_by_its_reason() {
    let counters = Exposition::install().unwrap();
    let start = async |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        let gateway = Gateway::start(&config, &memory::start(Timing::default()), |_| Router::new()).await.unwrap();
        World { counters: &counters, gateway }
    };
    refusals_of_a_handshake(start(|config| config.allowed_origins = vec!["https://app.example".into()]).await).await;
    a_full_gateway(start(|config| config.limits.max_connections = NonZeroUsize::new(1)).await).await;
    a_full_address(start(|config| config.limits.connections_per_ip = number(1)).await).await;
    too_fast(start(slowly).await).await;
    behind_proxies(start(trusting).await).await;
    half_open(start(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await).await;
    messages(start(strict).await).await;
    tokens(start(|config| config.auth = Auth::Tokens(vec!["good".to_owned().into()])).await).await;
    keys_that_are_away(start(unreachable_keys).await).await;
    no_tls(&counters).await;
}

async fn refusals_of_a_handshake(world: World<'_>) {
    world.refuses(upgrade("/ws", &[]).replace("13", "12"), 426, "version").await;
    world.refuses(request("GET /ws", &[("Host", "x")]), 426, "not_upgrade").await;
    world.refuses(upgrade("/ws", &[("Origin", "https://evil.example")]), 403, "origin").await;
    world.refuses(upgrade("/elsewhere", &[]), 404, "path").await;
    world.refuses(upgrade("/ws", &[]).replace("GET", "PUT"), 405, "method").await;
    world.refuses(upgrade("/ws", &[("Host", "x")]), 400, "malformed").await;
    let before = world.refused("malformed");
    assert_eq!(Raw::say_to(world.address(), "no HTTP\r\n\r\n").await.status().await, 400);
    world.counts("malformed", before).await;
    world.gateway.drain().await;
    let head = world.refuses(upgrade("/ws", &[]), 503, "draining").await;
    assert!(head.contains("retry-after: 5\r\n"), "{head}");
    world.gateway.stop().await;
}

async fn a_full_gateway(world: World<'_>) {
    let client = Client::connect(world.address(), "/ws").await;
    let head = world.refuses(upgrade("/ws", &[]), 503, "full").await;
    assert!(head.contains("retry-after: 5\r\n"), "{head}");
    let health = request("GET /health", &[("Host", "x"), ("Connection", "close")]);
    assert_eq!(Raw::say_to(world.address(), health).await.status().await, 404, "the application's own answer");
    drop(client);
    eventually("the place is free", async || Client::open_or_not(world.address(), "/ws").await.is_some()).await;
    world.gateway.stop().await;
}

async fn a_full_address(world: World<'_>) {
    let _client = Client::connect(world.address(), "/ws").await;
    let head = world.refuses(upgrade("/ws", &[]), 429, "address_full").await;
    assert!(head.contains("retry-after: 5\r\n"), "{head}");
    world.gateway.stop().await;
}

fn slowly(config: &mut Config) {
    (config.limits.connects_per_ip_per_second, config.limits.connect_burst) = (number(1), number(2));
}

async fn too_fast(world: World<'_>) {
    // Two are served and two are told; slower machines get more of both, and no machine 100.
    let (told, reset) = (world.refused("address_rate"), world.refused("address_flood"));
    let mut statuses = Vec::new();
    for _ in 0..100 {
        statuses.push(Raw::say_to(world.address(), upgrade("/ws", &[])).await.status().await);
    }
    assert!(statuses[0] == 101 && statuses.contains(&429), "{statuses:?}");
    assert!(statuses.contains(&0), "a flood is reset unread: {statuses:?}");
    let count = |status: u16| statuses.iter().filter(|&&other| other == status).count() as u64;
    assert_eq!(world.refused("address_rate") - told, count(429));
    assert_eq!(world.refused("address_flood") - reset, count(0));
    world.gateway.stop().await;
}

fn trusting(config: &mut Config) {
    config.limits.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    config.limits.connections_per_ip = number(1);
}

async fn behind_proxies(world: World<'_>) {
    let forwarded = |value: &str| upgrade("/ws", &[("X-Forwarded-For", value)]);
    let v1 = |source: &str| format!("PROXY TCP4 {source} 10.0.0.1 4711 80\r\n");
    let v2 = |source: [u8; 4]| {
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &source[..], &[10, 0, 0, 1, 0x12, 0x34, 0, 80]].concat()
    };
    let mut open = Vec::new();
    for (bytes, peer) in [
        (forwarded("198.51.100.1").into_bytes(), "198.51.100.1"),
        (forwarded("203.0.113.9, 198.51.100.2, 10.1.1.1").into_bytes(), "198.51.100.2"),
        ([v1("198.51.100.3"), upgrade("/ws", &[])].concat().into_bytes(), "198.51.100.3"),
        ([&v2([198, 51, 100, 4])[..], upgrade("/ws", &[]).as_bytes()].concat(), "198.51.100.4"),
        ([v1("10.2.2.2"), forwarded("198.51.100.5")].concat().into_bytes(), "198.51.100.5"),
    ] {
        let mut raw = Raw::say_to(world.address(), bytes).await;
        assert_eq!(raw.status().await, 101, "{peer}");
        open.push(raw);
        let peers = async || {
            let peers: Vec<String> =
                world.gateway.handle().connections(100).await.into_iter().map(|client| client.peer).collect();
            peers.contains(&peer.to_owned())
        };
        eventually(peer, peers).await;
    }
    // Each of them has its one place now, whoever says so.
    world.refuses(forwarded("1.1.1.1, 198.51.100.3"), 429, "address_full").await;
    world.refuses([v1("198.51.100.1"), upgrade("/ws", &[])].concat(), 429, "address_full").await;
    let not_believed = [v1("198.51.100.9"), forwarded("198.51.100.1")].concat();
    open.push(Raw::say_to(world.address(), not_believed).await);
    assert_eq!(open.last_mut().unwrap().status().await, 101, "198.51.100.9 is not trusted to speak for others");
    let before = world.refused("proxy_header");
    assert_eq!(Raw::say_to(world.address(), "PROXY TCP9 nonsense\r\n").await.status().await, 0);
    world.counts("proxy_header", before).await;
    world.gateway.stop().await;
}

async fn half_open(world: World<'_>) {
    let before = world.refused("handshake_timeout");
    let mut half = Raw::say_to(world.address(), "GET /ws HTTP/1.1\r\n").await;
    assert_eq!(half.status().await, 408);
    world.counts("handshake_timeout", before).await;
    world.gateway.stop().await;
}

fn strict(config: &mut Config) {
    let limits = &mut config.limits;
    (limits.messages_per_second, limits.message_burst) = (number(1), number(3));
    (limits.pings_per_second, limits.ping_burst) = (number(1), number(3));
    (limits.message_bytes, limits.symbols_per_client) =
        (NonZeroUsize::new(100).unwrap(), NonZeroUsize::new(2).unwrap());
    limits.fragments = number(2);
}

async fn messages(world: World<'_>) {
    let closes = |code: u16| world.counter(&format!("tickcast_closes_total{{code=\"{code}\"}}"));
    let counted = async |code: u16, before: u64| {
        eventually("the close is counted", async || closes(code) == before + 1).await;
    };
    let connect = async || Client::connect(world.address(), "/ws").await;

    let before = closes(4429);
    let mut talker = connect().await;
    let mut refused = 0;
    for _ in 0..3 {
        assert_eq!(talker.ask(r#"{"action":"list"}"#).await["type"], "subscriptions");
    }
    // Goes on whatever is said; slower machines earn a message now and then.
    for _ in 0..60 {
        let _ = talker.try_say(r#"{"action":"list"}"#).await;
    }
    let code = loop {
        match talker.next_message().await {
            Message::Text(text) => refused += u32::from(text.contains("rate_limited")),
            Message::Close(close) => break close.map(|close| u16::from(close.code)),
            _ => {}
        }
    };
    assert_eq!(code, Some(4429));
    assert!(refused >= 3, "told before it is closed: {refused}");
    counted(4429, before).await;

    let before = closes(4429);
    let mut pinger = Raw::say_to(world.address(), upgrade("/ws", &[])).await;
    pinger.say((0..40).flat_map(|_| frame(9, b"")).collect::<Vec<u8>>()).await;
    let heard = pinger.rest().await;
    assert!(heard.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 4429_u16.to_be_bytes()), "{heard:?}");
    counted(4429, before).await;

    let before = closes(1009);
    let mut big = connect().await;
    assert_eq!(big.ask(&format!("{:100}", r#"{"action":"list"}"#)).await["type"], "subscriptions");
    big.say(&"x".repeat(101)).await;
    assert_eq!(big.next().await["code"], "message_too_big");
    assert_eq!(big.close_code().await, 1009);
    counted(1009, before).await;

    let before = closes(1009);
    let mut fragmented = Raw::say_to(world.address(), upgrade("/ws", &[])).await;
    let unfinished = |opcode: u8| vec![opcode, 0x81, 0, 0, 0, 0, b' '];
    fragmented.say([unfinished(1), unfinished(0), unfinished(0)].concat()).await;
    let heard = fragmented.rest().await;
    assert!(heard.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 1009_u16.to_be_bytes()), "{heard:?}");
    counted(1009, before).await;

    let mut greedy = connect().await;
    let ack = greedy.ask(r#"{"action":"subscribe","symbols":["A","B","C"]}"#).await;
    assert_eq!((ack["active"].as_u64(), ack["rejected"][0]["code"].as_str()), (Some(2), Some("too_many_symbols")));
    world.gateway.stop().await;
}

async fn tokens(world: World<'_>) {
    let head = world.refuses(upgrade("/ws?token=bad", &[]), 401, "token").await;
    assert!(head.contains("www-authenticate: Bearer error=\"invalid_token\"\r\n"), "{head}");
    world.gateway.stop().await;
}

fn unreachable_keys(config: &mut Config) {
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let keys = JwtKeys::JwksUrl(format!("http://127.0.0.1:{port}/keys"));
    config.auth = Auth::Jwt(Jwt { keys, audience: None, issuer: None, leeway: Duration::ZERO });
}

async fn keys_that_are_away(world: World<'_>) {
    let token = Es256::new("k").token(&serde_json::json!({"exp": seconds_from_now(60)}));
    let bearer = format!("Bearer {token}");
    let head = world.refuses(upgrade("/ws", &[("Authorization", &bearer)]), 503, "keys_away").await;
    assert!(head.contains("retry-after: 5\r\n"), "{head}");
    assert!(world.gateway.handle().summary().jwks.unwrap().failing);
    world.gateway.stop().await;
}

async fn no_tls(counters: &Exposition) {
    let (_dir, tls, _) = certificate();
    let config = Config { tls: Some(tls), bind: IpAddr::from([127, 0, 0, 1]), ..config() };
    let gateway = Gateway::start(&config, &memory::start(Timing::default()), |_| Router::new()).await.unwrap();
    let world = World { counters, gateway };
    let before = world.refused("tls_handshake");
    Raw::say_to(world.address(), upgrade("/ws", &[])).await.rest().await;
    world.counts("tls_handshake", before).await;
    world.gateway.stop().await;
}
