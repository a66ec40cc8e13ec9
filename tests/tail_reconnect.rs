//! `tickcast tail` when connections end: restarts, closes, refusals, silence, terminals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use support::DEADLINE;
use support::binary::tickcast;
use support::client::eventually;
use support::gateway::{config, start};
use support::relay::Relay;
use tickcast::broker::{Broker, Epoch, Outgoing, Timing, memory};
use tickcast::market::Symbol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

async fn publish(broker: &Broker, symbol: &str, price: &str, seq: u64) {
    let json = format!(r#"{{"type":"price_update","symbol":"{symbol}","data":{{"price":{price}}},"seq":{seq}}}"#);
    let symbol = Symbol::parse(symbol).unwrap();
    let update = Outgoing { symbol, json: json.into(), ttl: Duration::from_secs(300) };
    broker.publish.publish(&[update], Epoch(1)).await.unwrap();
}

/// A gateway that does as the test says.
struct Puppet {
    listener: TcpListener,
    url: String,
}

impl Puppet {
    async fn start() -> Puppet {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        Puppet { listener, url }
    }

    async fn accept(&self) -> TcpStream {
        timeout(DEADLINE, self.listener.accept()).await.expect("somebody connects").unwrap().0
    }

    /// The next client that subscribes, and what it asked for.
    async fn serve(&self) -> (Strings, String) {
        let mut strings = Strings(accept_async(self.accept().await).await.unwrap());
        let asked = loop {
            if let Message::Text(text) = strings.next().await {
                break text.to_string();
            }
        };
        strings.say(r#"{"type":"subscribed","symbols":["A"],"active":1}"#).await;
        (strings, asked)
    }

    /// Answers the next client's handshake with this.
    async fn refuse(&self, answer: &str) -> String {
        let mut stream = self.accept().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    }
}

struct Strings(WebSocketStream<TcpStream>);

impl Strings {
    async fn next(&mut self) -> Message {
        timeout(DEADLINE, self.0.next()).await.expect("a message in time").expect("it stands").expect("a good frame")
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn close(mut self, code: u16) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: "because".into() })).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

#[tokio::test]
async fn tail_survives_a_gateway_restart() {
    let broker = memory::start(Timing::default());
    let first = start(&config(), &broker).await;
    let relay = Relay::to(first.handle().address()).await;
    let url = format!("ws://{}", relay.address());
    let mut tail = tickcast(&["tail", "A", "B", "--json", "--url", &url]).starts();
    tail.told("connected to").await;
    publish(&broker, "A", "1", 1).await;
    assert!(tail.line().await.contains(r#""price":1"#));

    let second = start(&config(), &broker).await;
    relay.set(None);
    tokio::join!(first.drain(), async {
        tail.told("(1012").await;
        // nobody is there for a while, but one who hangs up
        tail.told("trying again in").await;
        publish(&broker, "B", "2", 2).await;
        relay.set(Some(second.handle().address()));
    });
    first.stop().await;
    tail.told("connected to").await;
    let mut lines = vec![tail.line().await];
    while !lines.last().unwrap().contains(r#""symbol":"B""#) {
        lines.push(tail.line().await);
    }
    publish(&broker, "A", "3", 3).await;
    lines.push(tail.line().await);
    let quotes: Vec<_> = lines.iter().filter(|line| line.contains("price_update")).collect();
    // what it knows already is not told again, what it missed is, and it watches both as before
    assert!(quotes[0].contains(r#""price":2"#) && quotes[1].contains(r#""price":3"#), "{quotes:#?}");
    assert_eq!(quotes.len(), 2, "{quotes:#?}");
}

#[tokio::test]
async fn it_says_everything_again_in_one_message_and_good_bye_at_the_end() {
    let puppet = Puppet::start().await;
    let tail = tickcast(&["tail", "B", "A", "--max-rate", "2", "--url", &puppet.url]).starts();
    let expected = r#"{"action":"subscribe","max_rate":2.0,"symbols":["B","A"]}"#;
    let (strings, asked) = puppet.serve().await;
    assert_eq!(asked, expected);
    strings.close(1012).await;
    let (mut strings, asked) = puppet.serve().await;
    assert_eq!(asked, expected);
    tail.signal(Signal::TERM);
    let Message::Close(Some(frame)) = strings.next().await else { panic!("it left without a word") };
    assert_eq!(u16::from(frame.code), 1000);
    drop(strings);
    assert_eq!(tail.end().await.0.code(), Some(0));
}

#[tokio::test]
async fn pings_are_answered() {
    let puppet = Puppet::start().await;
    let _tail = tickcast(&["tail", "A", "--url", &puppet.url]).starts();
    let (mut strings, _) = puppet.serve().await;
    strings.0.send(Message::Ping("x".into())).await.unwrap();
    assert_eq!(strings.next().await, Message::Pong("x".into()));
}

#[tokio::test]
async fn a_gateway_that_falls_silent_is_pinged_and_then_left() {
    let puppet = Puppet::start().await;
    let mut tail = tickcast(&["tail", "A", "--url", &puppet.url]).starts();
    let (mut strings, _) = puppet.serve().await;
    strings.say(r#"{"type":"connected","ping_interval_s":1}"#).await;
    // read below the protocol, so that the ping is not answered: its first byte is FIN and opcode 9 (RFC 6455 §5.2)
    assert_eq!(strings.0.get_mut().read_u8().await.unwrap(), 0x89);
    tail.told("nothing was heard for").await;
    puppet.serve().await;
}

#[tokio::test]
async fn close_codes_say_whether_to_come_back() {
    for (code, exit, told) in [
        (4401, 64, "--token"),
        (1008, 70, "1008: because"),
        (1009, 70, "1009"),
        (1000, 0, "closed by the gateway (1000"),
    ] {
        let puppet = Puppet::start().await;
        let tail = tickcast(&["tail", "A", "--url", &puppet.url]).starts();
        puppet.serve().await.0.close(code).await;
        let (status, _, err) = tail.end().await;
        assert_eq!(status.code(), Some(exit), "{code}: {err:?}");
        assert!(err.last().unwrap().contains(told), "{code}: {err:?}");
    }
    for code in [1001, 1011, 1012, 1013, 4408, 4409, 4429, 3000] {
        let puppet = Puppet::start().await;
        let mut tail = tickcast(&["tail", "A", "--url", &puppet.url]).starts();
        puppet.serve().await.0.close(code).await;
        tail.told(&format!("({code}: because)")).await;
        puppet.serve().await;
    }
}

#[tokio::test]
async fn a_refusal_that_will_not_change_ends_it() {
    for (answer, says) in [
        ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "--token"),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "HTTP 403"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "/ws"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "HTTP 200"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "no WebSocket server"),
    ] {
        let puppet = Puppet::start().await;
        let tail = tickcast(&["tail", "A", "--url", &puppet.url]).starts();
        puppet.refuse(answer).await;
        let (status, out, err) = tail.end().await;
        assert_eq!(status.code(), Some(64), "{err:?}");
        assert!(err.len() == 1 && err[0].contains(says) && out.is_empty(), "{answer}: {err:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_full_is_asked_again_not_before_it_said() {
    let puppet = Puppet::start().await;
    let mut tail = tickcast(&["tail", "A", "--url", &puppet.url]).starts();
    puppet.refuse("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n").await;
    let told = tail.told("HTTP 503").await;
    assert!(told.contains("trying again in 0.9s") || told.contains("trying again in 1."), "{told}");
    puppet.serve().await;
}

#[tokio::test]
async fn nobody_at_the_start_is_told_soon_and_waited_for_when_asked_to() {
    let nobody = {
        // bound and not listening: the port is nobody else's, and connections are refused
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket
    };
    let url = format!("ws://{}", nobody.local_addr().unwrap().as_socket().unwrap());
    let ended = tickcast(&["tail", "A", "--url", &url]).ends_beside().await.with_code(69);
    assert!(ended.err.contains("Connection refused") && ended.err.contains("--wait"), "{}", ended.err);

    let mut tail = tickcast(&["tail", "A", "--wait", "--url", &url]).starts();
    for _ in 0..6 {
        tail.told("trying again").await;
    }
    nobody.listen(16).unwrap();
    nobody.set_nonblocking(true).unwrap();
    let puppet = Puppet { listener: TcpListener::from_std(nobody.into()).unwrap(), url };
    puppet.serve().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_does_not_keep_it_from_leaving() {
    let puppet = Puppet::start().await;
    let mut tail = tickcast(&["tail", "A", "--json", "--url", &puppet.url]).starts();
    let (mut strings, _) = puppet.serve().await;
    // nobody reads its pipe: what fits in there, in tail and in the socket's buffers goes out, and then nothing more
    let update = format!(r#"{{"symbol":"A","filler":"{}"}}"#, "x".repeat(50_000));
    while timeout(Duration::from_secs(2), strings.0.send(Message::text(update.clone()))).await.is_ok() {}
    tail.signal(Signal::INT);
    let mut status = None;
    eventually("it ends", async || {
        status = tail.child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
}

#[tokio::test]
async fn wss_trusts_the_systems_roots_alone() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let ring = rustls::crypto::ring::default_provider();
    let tls = rustls::ServerConfig::builder_with_provider(ring.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls));
    let puppet = Puppet::start().await;
    let url = puppet.url.replace("ws://127.0.0.1", "wss://localhost");

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    for (roots, trusted) in [(made.cert.pem(), true), (other, false)] {
        let run = tickcast(&["tail", "A", "-n", "1", "--url", &url]).file("roots.pem", &roots);
        let tail = run.env("SSL_CERT_FILE", "roots.pem").starts();
        let stream = acceptor.accept(puppet.accept().await).await;
        assert_eq!(stream.is_ok(), trusted);
        if let Ok(stream) = stream {
            let mut strings = accept_async(stream).await.unwrap();
            strings.send(Message::text(r#"{"symbol":"A"}"#)).await.unwrap();
            while let Some(Ok(_)) = strings.next().await {}
        }
        let (status, _, err) = tail.end().await;
        assert_eq!(status.code(), Some(if trusted { 0 } else { 64 }), "{err:?}");
        assert_eq!(err.iter().any(|line| line.contains("certificate is not trusted")), !trusted, "{err:?}");
    }

    // and a gateway without TLS is told apart
    let tail = tickcast(&["tail", "A", "--url", &url]).file("roots.pem", &made.cert.pem());
    let tail = tail.env("SSL_CERT_FILE", "roots.pem").starts();
    puppet.accept().await.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let (status, _, err) = tail.end().await;
    assert!(status.code() == Some(64) && err[0].contains("does not speak TLS"), "{err:?}");
}
