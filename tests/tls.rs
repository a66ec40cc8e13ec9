//! TLS: the same promises over it, and its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use support::DEADLINE;
use support::client::{Client, eventually};
use support::gateway::{certificate, config, renew};
use support::raw::{Raw, frame, request, upgrade};
use tempfile::TempDir;
use tickcast::broker::{Broker, Channel, Timing, memory};
use tickcast::gateway::config::Tls;
use tickcast::gateway::{Config, Gateway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::Message;

type Secure = TlsStream<TcpStream>;

struct World {
    broker: Broker,
    gateway: Gateway,
    files: Tls,
    certificate: CertificateDer<'static>,
    _dir: TempDir,
}

impl World {
    async fn new() -> World {
        World::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> World {
        let (dir, files, certificate) = certificate();
        let mut config = Config { tls: Some(files.clone()), ..config() };
        change(&mut config);
        let broker = memory::start(Timing::default());
        let app = Router::new().route("/", get(async || "page"));
        let gateway = Gateway::start(&config, &broker, |_| app).await.unwrap();
        let handle = gateway.handle();
        eventually("the feed is up", async || handle.summary().feed_connected).await;
        World { broker, gateway, files, certificate, _dir: dir }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.handle().address()
    }

    async fn client(&self, path: &str) -> Client<Secure> {
        let stream = secure(self.address(), &self.certificate, &TLS13).await.unwrap();
        let mut client = Client::over(stream, &format!("wss://localhost{path}")).await;
        assert_eq!(client.next().await["type"], "connected");
        client
    }

    async fn publish(&self, json: &str) {
        self.broker.publish.send(Channel::Updates, json.as_bytes()).await.unwrap();
    }
}

async fn over(
    stream: TcpStream,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let client =
        builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(client)).connect("localhost".try_into().unwrap(), stream).await
}

async fn secure(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<Secure> {
    over(TcpStream::connect(address).await.unwrap(), trusted, version).await
}

#[tokio::test]
async fn updates_small_and_large_arrive_byte_for_byte_over_both_versions() {
    let world = World::new().await;
    for (version, [a, b]) in [(&TLS12, ["A", "B"]), (&TLS13, ["C", "D"])] {
        let stream = secure(world.address(), &world.certificate, version).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut client = Client::over(stream, "wss://localhost/ws").await;
        client.next_of("connected").await;
        client.subscribe(&[a, b]).await;
        let large = format!(r#"{{"symbol":"{a}","x":"{}"}}"#, "x".repeat(200_000));
        let updates: Vec<String> = (0..300).map(|n| format!(r#"{{"symbol":"{b}","n":{n}, "odd": 1.00}}"#)).collect();
        for n in 0..3 {
            world.publish(&large).await;
            assert_eq!(client.next_text().await, large, "more than a record, {n}");
        }
        world.publish(&format!("[{}]", updates.join(","))).await;
        for update in &updates {
            assert_eq!(client.next_text().await, *update);
        }
        client.say(&format!("{:40000}", r#"{"action":"ping","id":"long"}"#)).await;
        assert_eq!(client.next().await["id"], "long", "more than one record comes in");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn what_is_sent_along_with_the_handshake_is_understood() {
    let world = World::new().await;
    let mut stream = secure(world.address(), &world.certificate, &TLS13).await.unwrap();
    let ping = |id: u8| frame(1, format!(r#"{{"action":"ping","id":{id}}}"#).as_bytes());
    // In the same record as the request, more of it than HTTP reads at once; and in its own, after a while.
    let long = frame(1, format!("{:12000}", r#"{"action":"ping","id":1}"#).as_bytes());
    stream.write_all(&[upgrade("/ws", &[]).as_bytes(), &long].concat()).await.unwrap();
    stream.flush().await.unwrap();
    let mut heard = Vec::new();
    let mut hear = async |what: &str, stream: &mut Secure| {
        while !String::from_utf8_lossy(&heard).contains(what) {
            let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut heard)).await.expect("bytes in time");
            assert!(read.unwrap() > 0, "ended before {what}: {}", String::from_utf8_lossy(&heard));
        }
    };
    hear(r#""id":1"#, &mut stream).await;
    stream.write_all(&ping(2)).await.unwrap();
    hear(r#""id":2"#, &mut stream).await;
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_new_certificate_serves_newcomers_while_open_sockets_stay() {
    let world = World::new().await;
    let mut staying = world.client("/ws").await;
    staying.subscribe(&["A"]).await;
    let renewed = renew(&world.files);
    assert!(secure(world.address(), &world.certificate, &TLS13).await.is_ok(), "the old one until it is seen");
    eventually("the new one serves", async || secure(world.address(), &renewed, &TLS13).await.is_ok()).await;
    assert!(secure(world.address(), &world.certificate, &TLS13).await.is_err(), "and the old one does not");
    world.publish(r#"{"symbol":"A","seq":1}"#).await;
    assert_eq!(staying.next().await["seq"], 1);
    assert_eq!(staying.ask(r#"{"action":"ping"}"#).await["type"], "pong");

    std::fs::write(&world.files.key_file, "half written").unwrap();
    let mut newcomer =
        Client::over(secure(world.address(), &renewed, &TLS13).await.unwrap(), "wss://localhost/ws").await;
    newcomer.next_of("connected").await;
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_reader_that_was_slow_gets_the_newest_quote_and_not_all_of_them() {
    let world = World::new().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(world.address()).await.unwrap();
    let stream = over(stream, &world.certificate, &TLS13).await.unwrap();
    let mut slow = Client::over(stream, "wss://localhost/ws").await;
    slow.next_of("connected").await;
    slow.subscribe(&["A", "B"]).await;
    let handle = world.gateway.handle();
    let blocked = async || handle.connections(9).await.iter().any(|client| client.blocked_ms.is_some());
    let filler = "x".repeat(50_000);
    let mut sent = 0;
    while !blocked().await {
        sent += 1;
        world.publish(&format!(r#"{{"symbol":"A","n":{sent},"x":"{filler}"}}"#)).await;
    }
    for _ in 0..100 {
        sent += 1;
        world.publish(&format!(r#"{{"symbol":"A","n":{sent},"x":"{filler}"}}"#)).await;
    }
    world.publish(r#"{"symbol":"B","last":true}"#).await;
    let mut heard = 0;
    let (mut newest, mut last) = (0, false);
    while newest < sent || !last {
        let update = slow.next().await;
        last |= update["last"] == true;
        if let Some(n) = update["n"].as_u64() {
            assert!(n > newest, "{n} after {newest}");
            (newest, heard) = (n, heard + 1);
        }
    }
    assert!(heard + 90 < sent, "{heard} of {sent}");
    eventually("it is not blocked any more", async || !blocked().await).await;
    world.gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_an_update_that_the_socket_did_not_take_follows_without_another_one() {
    let world = World::with(|config| {
        config.shards = NonZeroUsize::new(1);
        config.ping_interval = Duration::from_secs(300);
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = over(socket.connect(world.address()).await.unwrap(), &world.certificate, &TLS13).await.unwrap();
    let mut slow = Client::over(stream, "wss://localhost/ws").await;
    slow.next_of("connected").await;
    slow.subscribe(&["A"]).await;
    let mut quick = world.client("/ws").await;
    quick.subscribe(&["A"]).await;
    // Wherever the socket becomes full: at one of these lengths it is within the last record.
    for length in (8..200).map(|kib| kib * 1024) {
        let update = format!(r#"{{"symbol":"A","x":"{}"}}"#, "x".repeat(length));
        world.publish(&update).await;
        assert_eq!(quick.next_text().await, update);
        // The shard has an answer to this after its flush.
        for _ in 0..2 {
            world.gateway.handle().connections(9).await;
        }
        assert_eq!(slow.next_text().await, update, "{length}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_reader_that_stops_is_closed_and_one_that_is_steady_stays() {
    let world = World::with(|config| config.slow_client_timeout = Duration::from_secs(2)).await;
    let mut never = world.client("/ws").await;
    never.subscribe(&["A"]).await;
    let mut steady = world.client("/ws").await;
    steady.subscribe(&["A"]).await;
    let update = format!(r#"{{"symbol":"A","x":"{}"}}"#, "x".repeat(50_000));
    let handle = world.gateway.handle();
    let mut open = 2;
    // As long as it takes to be noticed; the other one takes everything meanwhile.
    while open == 2 {
        for _ in 0..20 {
            world.publish(&update).await;
        }
        steady.next_text().await;
        open = handle.summary().connections;
    }
    assert_eq!(open, 1);
    assert!(handle.connections(9).await.iter().all(|client| !client.closing));
    world.publish(r#"{"symbol":"A","end":true}"#).await;
    while steady.next().await["end"] != true {}
    world.gateway.stop().await;
}

#[tokio::test]
async fn closes_carry_their_codes_and_end_with_a_goodbye_of_tls() {
    let world = World::new().await;
    let mut drained = world.client("/ws").await;
    let mut wrong = world.client("/ws").await;
    wrong.send(Message::binary(vec![1])).await;
    assert_eq!(wrong.close_code().await, 1003);
    let mut rest = [0];
    assert_eq!(wrong.socket().read(&mut rest).await.unwrap(), 0, "close_notify: an end that is no cut");
    let mut theirs = world.client("/ws").await;
    theirs.send(Message::Close(None)).await;
    theirs.close_code().await;
    let read = theirs.socket().read(&mut rest).await;
    assert_eq!(read.unwrap(), 0);
    let (code, ()) = tokio::join!(drained.close_code(), world.gateway.drain());
    assert_eq!(code, 1012);
    eventually("all are gone", async || world.gateway.handle().summary().connections == 0).await;
    world.gateway.stop().await;
}

#[tokio::test]
async fn pages_are_served_too_and_keep_their_connection() {
    let world = World::new().await;
    let mut stream = secure(world.address(), &world.certificate, &TLS13).await.unwrap();
    let page = request("GET /", &[("Host", "localhost")]);
    stream.write_all((page.clone() + &page + &upgrade("/ws", &[])).as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let heard_all = |heard: &[u8]| {
        let text = String::from_utf8_lossy(heard);
        text.matches("\r\n\r\npage").count() == 2 && text.contains("HTTP/1.1 101") && text.contains("\"connected\"")
    };
    while !heard_all(&heard) {
        let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut heard)).await.expect("bytes in time");
        assert!(read.unwrap() > 0, "{}", String::from_utf8_lossy(&heard));
    }
    world.gateway.stop().await;
}

/// A ClientHello of an old version (RFC 5246 §7.4.1.2) with these suites and no extensions but the curves it needs.
fn hello(version: [u8; 2], suites: &[[u8; 2]]) -> Vec<u8> {
    let suites = suites.concat();
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..],  // supported_groups: secp256r1
        &[0, 11, 0, 2, 1, 0],             // ec_point_formats: uncompressed
        &[0, 13, 0, 6, 0, 4, 4, 3, 4, 1], // signature_algorithms: ECDSA and RSA with SHA-256
    ]
    .concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let body =
        [&version[..], &[7; 32], &[0], &length(&suites), &suites, &[1, 0], &length(&extensions), &extensions].concat();
    let handshake = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&handshake), &handshake].concat()
}

#[tokio::test]
async fn only_modern_versions_and_suites_are_spoken() {
    let world = World::new().await;
    const ECDHE_ECDSA_AES128_GCM: [u8; 2] = [0xc0, 0x2b];
    const ECDHE_ECDSA_AES128_CBC_SHA: [u8; 2] = [0xc0, 0x09];
    const RSA_AES128_GCM: [u8; 2] = [0x00, 0x9c];
    const RSA_RC4_MD5: [u8; 2] = [0x00, 0x04];
    const TLS_1_2: [u8; 2] = [3, 3];
    let good = Raw::say_to(world.address(), hello(TLS_1_2, &[ECDHE_ECDSA_AES128_GCM])).await.bytes(6).await;
    assert_eq!((good[0], good[5]), (22, 2), "a ServerHello, so that the rest of this test can fail: {good:?}");
    for (version, suites, alert) in [
        ([3, 2], &[ECDHE_ECDSA_AES128_GCM][..], 70),
        ([3, 1], &[ECDHE_ECDSA_AES128_CBC_SHA], 70),
        ([3, 0], &[RSA_RC4_MD5], 70),
        (TLS_1_2, &[ECDHE_ECDSA_AES128_CBC_SHA], 40),
        (TLS_1_2, &[RSA_AES128_GCM], 40),
        (TLS_1_2, &[RSA_RC4_MD5], 40),
    ] {
        let heard = Raw::say_to(world.address(), hello(version, suites)).await.rest().await;
        assert_eq!((heard[0], &heard[5..]), (21, &[2, alert][..]), "{version:?} {suites:?}: {heard:?}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_to_its_end_is_ended() {
    let world = World::with(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    let silent = Raw::connect(world.address()).await;
    let half = Raw::say_to(world.address(), &hello([3, 3], &[[0xc0, 0x2b]])[..20]).await;
    let stream = secure(world.address(), &world.certificate, &TLS13).await.unwrap();
    let mut secured = stream;
    assert!(silent.rest().await.is_empty());
    assert!(half.rest().await.is_empty());
    let mut heard = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, secured.read_to_end(&mut heard)).await.expect("an end in time");
    assert_eq!(ended.unwrap(), 0, "TLS, and then no request");
    eventually("all are forgotten", async || world.gateway.handle().summary().connections == 0).await;
    world.gateway.stop().await;
}

#[tokio::test]
async fn files_that_are_no_certificate_stop_the_start() {
    let (_dir, files, _) = certificate();
    std::fs::write(&files.key_file, "no key").unwrap();
    let config = Config { tls: Some(files), ..config() };
    let started = Gateway::start(&config, &memory::start(Timing::default()), |_| Router::new()).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("tls.key") && error.contains("no private key"), "{error}");
}
