//! The gateway's claims, over real sockets and the embedded broker.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::client::{Client, eventually};
use support::gateway::{config, start};
use support::switch::Switch;
use tickcast::broker::{Broker, Channel, Epoch, GatewayId, Lead, Outgoing, Timing, memory};
use tickcast::gateway::Gateway;
use tickcast::market::Symbol;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::protocol::Message;

struct World {
    broker: Broker,
    gateway: Gateway,
}

impl World {
    async fn new() -> World {
        World::with(config()).await
    }

    async fn with(config: tickcast::gateway::Config) -> World {
        let broker = memory::start(Timing::default());
        World::of(&config, broker.clone(), &broker).await
    }

    /// With a line between the broker and the gateway.
    async fn on_a_line() -> (World, Arc<Switch>) {
        let broker = memory::start(Timing::default());
        let (line, far) = Switch::new(&broker);
        (World::of(&config(), broker, &far).await, line)
    }

    async fn of(config: &tickcast::gateway::Config, broker: Broker, far: &Broker) -> World {
        let gateway = start(config, far).await;
        let handle = gateway.handle();
        eventually("the feed is up", async || handle.summary().feed_connected).await;
        World { broker, gateway }
    }

    async fn client(&self) -> Client {
        Client::connect(self.gateway.handle().address(), "/ws").await
    }

    async fn watching(&self, symbols: &[&str]) -> Client {
        let mut client = self.client().await;
        client.subscribe(symbols).await;
        client
    }

    /// What any service does: PUBLISH.
    async fn publish(&self, json: &str) {
        self.broker.publish.send(Channel::Updates, json.as_bytes()).await.unwrap();
    }

    /// What our publisher does: cache, then publish.
    async fn publish_cached(&self, symbol: &str, json: &str) {
        let lead = self.broker.leadership.acquire("test", Duration::from_secs(60), Epoch(0)).await.unwrap();
        let Lead::Leading(epoch) = lead else { panic!("{lead:?}") };
        let outgoing = Outgoing {
            symbol: Symbol::parse(symbol).unwrap(),
            json: json.to_owned().into(),
            ttl: Duration::from_secs(300),
        };
        self.broker.publish.publish(&[outgoing], epoch).await.unwrap();
    }

    async fn stop(self) {
        self.gateway.stop().await;
    }
}

const ODD: &str = r#"{"type":"price_update", "symbol":"RELIANCE","x_new":[1, 2.0 ,{"a":null}],"data":{"price":2450.50,"timestamp":"2026-11-21T10:00:00Z"},"seq":7}"#;

#[tokio::test]
async fn an_update_reaches_its_subscribers_byte_for_byte() {
    let world = World::new().await;
    let mut watching = world.watching(&["reliance"]).await;
    let mut other = world.watching(&["TCS"]).await;
    world.publish(ODD).await;
    world.publish(r#"{"symbol":"TCS","data":{"timestamp":1}}"#).await;
    assert_eq!(watching.next_text().await, ODD);
    assert_eq!(other.next().await["symbol"], "TCS", "others get nothing of it");
    world.stop().await;
}

#[tokio::test]
async fn all_three_shapes_are_read_and_a_notice_goes_to_everyone() {
    let world = World::new().await;
    let mut client = world.watching(&["A", "B"]).await;
    let mut idle = world.client().await;
    world.publish(r#"[{"symbol":"A","seq":1},{"symbol":"C"},{"symbol":"B","seq":1}]"#).await;
    world.publish(r#"{"type":"price_updates","updates":[{"symbol":"a","seq":2}]}"#).await;
    world.publish("not json").await;
    world.publish(r#"{"type":"market_status","market":"open"}"#).await;
    for expected in [r#"{"symbol":"A","seq":1}"#, r#"{"symbol":"B","seq":1}"#, r#"{"symbol":"a","seq":2}"#] {
        assert_eq!(client.next_text().await, expected);
    }
    assert_eq!(client.next().await["market"], "open");
    assert_eq!(idle.next().await["market"], "open");
    world.stop().await;
}

#[tokio::test]
async fn the_cached_quote_comes_as_a_snapshot_after_the_acknowledgement() {
    let world = World::new().await;
    let json = r#"{"type":"price_update","symbol":"AAPL","data":{"price":1.10,"timestamp":"T"},"seq":3}"#;
    world.publish_cached("AAPL", json).await;
    let mut client = world.client().await;
    assert_eq!(client.ask(r#"{"action":"subscribe","symbol":"AAPL"}"#).await["type"], "subscribed");
    assert_eq!(client.next_text().await, format!("{},\"snapshot\":true}}", &json[..json.len() - 1]));
    let mut without = world.client().await;
    without.ask(r#"{"action":"subscribe","symbol":"AAPL","snapshot":false}"#).await;
    assert_eq!(without.ask(r#"{"action":"ping","id":1}"#).await["type"], "pong", "no snapshot came first");
    world.stop().await;
}

#[tokio::test]
async fn the_url_subscribes_and_chooses_the_dialect() {
    let world = World::new().await;
    let address = world.gateway.handle().address();
    let mut flat = Client::connect(address, "/ws/my-client?symbols=AAPL,B%20AD").await;
    let ack = flat.next().await;
    assert_eq!(
        (ack["symbols"][0].as_str(), ack["rejected"][0]["code"].as_str()),
        (Some("AAPL"), Some("invalid_symbol"))
    );
    world.publish(r#"{"symbol":"AAPL","data":{"price":178.50,"change":2.35,"timestamp":"T"},"seq":1}"#).await;
    let expected = r#"{"type":"price_update","ticker":"AAPL","price":178.50,"change":2.35,"timestamp":"T","seq":1}"#;
    assert_eq!(flat.next_text().await, expected);
    world.stop().await;
}

#[tokio::test]
async fn a_client_chooses_its_id_on_the_path() {
    let world = World::new().await;
    let mut client = Client::open(world.gateway.handle().address(), "/ws/desk-7").await;
    let connected = client.next().await;
    assert_eq!(connected["clientId"], "desk-7");
    assert_eq!(connected["limits"], serde_json::json!({"symbols": 1024, "message_bytes": 65536}));
    assert_eq!(connected["ping_interval_s"], 25);
    world.stop().await;
}

#[tokio::test]
async fn what_was_missed_reaches_even_a_subscriber_who_is_not_counted_yet() {
    let (world, line) = World::on_a_line().await;
    let mut client = world.watching(&["B"]).await;
    // Counts are told 50 ms apart: that of A will be when all this is over.
    client.subscribe(&["A"]).await;
    world.publish(r#"{"type":"price_update","symbol":"A","seq":1}"#).await;
    assert_eq!(client.next().await["seq"], 1);
    line.cut();
    assert_eq!(client.next().await["status"], "degraded");
    world.publish_cached("A", r#"{"type":"price_update","symbol":"A","seq":2}"#).await;
    line.mend();
    let missed = client.next_of("price_update").await;
    assert_eq!((&missed["seq"], &missed["snapshot"]), (&2.into(), &true.into()));
    world.stop().await;
}

#[tokio::test]
async fn the_first_quote_of_a_symbol_reaches_its_subscriber_even_if_its_publication_was_missed() {
    let (world, line) = World::on_a_line().await;
    let mut client = world.watching(&["B"]).await;
    client.subscribe(&["A"]).await;
    line.cut();
    assert_eq!(client.next().await["status"], "degraded");
    world.publish_cached("A", r#"{"type":"price_update","symbol":"A","seq":1}"#).await;
    line.mend();
    assert_eq!(client.next_of("price_update").await["seq"], 1);
    world.stop().await;
}

#[tokio::test]
async fn who_comes_back_after_the_broker_did_gets_no_quote_from_before_it_went() {
    let (world, line) = World::on_a_line().await;
    let mut client = world.watching(&["A"]).await;
    world.publish(r#"{"type":"price_update","symbol":"A","seq":1}"#).await;
    assert_eq!(client.next().await["seq"], 1);
    assert_eq!(client.ask(r#"{"action":"unsubscribe","symbol":"A"}"#).await["type"], "unsubscribed");
    line.cut();
    assert_eq!(client.next().await["status"], "degraded");
    world.publish_cached("A", r#"{"type":"price_update","symbol":"A","seq":2}"#).await;
    line.mend();
    assert_eq!(client.next().await["status"], "ok");
    // Told before the recovery began; what else is brought comes after it.
    client.subscribe(&["A"]).await;
    while client.next_of("price_update").await["seq"] != 2 {}
    world.stop().await;
}

#[tokio::test]
async fn who_subscribes_while_the_broker_is_away_gets_the_cached_quote_on_its_return() {
    let (world, line) = World::on_a_line().await;
    world.publish_cached("A", r#"{"type":"price_update","symbol":"A","seq":1}"#).await;
    let mut client = world.watching(&["B"]).await;
    line.cut();
    assert_eq!(client.next().await["status"], "degraded");
    client.subscribe(&["A"]).await;
    line.mend();
    assert_eq!(client.next_of("price_update").await["seq"], 1);
    world.stop().await;
}

#[tokio::test]
async fn an_update_of_an_older_seq_is_dropped() {
    let world = World::new().await;
    let mut client = world.watching(&["A"]).await;
    for seq in [5, 4, 6] {
        world.publish(&format!(r#"{{"symbol":"A","seq":{seq}}}"#)).await;
    }
    assert_eq!((client.next().await["seq"].clone(), client.next().await["seq"].clone()), (5.into(), 6.into()));
    world.stop().await;
}

#[tokio::test]
async fn each_protocol_fault_gets_its_close_code() {
    let world = World::new().await;
    for (frame, code) in [
        (&b"\x81\x02hi"[..], 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
        (b"\x82\x81\x00\x00\x00\x00x", 1003),
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
        (b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00", 1009),
    ] {
        let mut client = world.client().await;
        client.socket().write_all(frame).await.unwrap();
        assert_eq!(client.close_code().await, code, "{frame:02x?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_message_of_a_megabyte_is_refused_with_a_code_and_its_limit() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send(Message::text("x".repeat(1 << 20))).await;
    let error = client.next().await;
    assert_eq!(error["code"], "message_too_big");
    assert!(error["message"].as_str().unwrap().contains("65536"));
    assert_eq!(client.close_code().await, 1009);
    let mut exact = world.client().await;
    let request = r#"{"action":"ping","pad":""}"#;
    let padded = request.replace("\"\"}", &format!("\"{}\"}}", "x".repeat(65_536 - request.len())));
    assert_eq!(padded.len(), 65_536);
    assert_eq!(exact.ask(&padded).await["type"], "pong", "the limit is inclusive");
    world.stop().await;
}

#[tokio::test]
async fn a_clients_close_is_echoed() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.socket().write_all(b"\x88\x82\x00\x00\x00\x00\x0f\xa0").await.unwrap();
    assert_eq!(client.close_code().await, 4000);
    let handle = world.gateway.handle();
    eventually("the connection is gone", async || handle.summary().connections == 0).await;
    world.stop().await;
}

#[tokio::test]
async fn counts_rise_and_fall_with_the_clients() {
    let world = World::new().await;
    let watched = async |expected: &[(&str, u64)]| {
        eventually("the registry counts", async || {
            let mut watched = world.broker.registry.watched().await.unwrap();
            watched.sort();
            watched.iter().map(|(symbol, count)| (symbol.as_str(), *count)).eq(expected.iter().copied())
        })
        .await;
    };
    let one = world.watching(&["A", "B"]).await;
    let mut two = world.watching(&["A"]).await;
    watched(&[("A", 2), ("B", 1)]).await;
    two.ask(r#"{"action":"unsubscribe","symbols":["*"]}"#).await;
    watched(&[("A", 1), ("B", 1)]).await;
    drop(one);
    watched(&[]).await;
    let id = GatewayId(world.gateway.handle().id().into());
    let _three = world.watching(&["C"]).await;
    watched(&[("C", 1)]).await;
    world.broker.registry.leave(&id).await.unwrap();
    watched(&[("C", 1)]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_with_4409_and_hurts_nobody() {
    let mut config = config();
    config.slow_client_timeout = Duration::from_secs(1);
    let world = World::with(config).await;
    let mut stuck = world.watching(&["A"]).await;
    let mut healthy = world.watching(&["A"]).await;
    let pad = "x".repeat(60_000);
    let handle = world.gateway.handle();
    let mut seq = 0;
    // The socket's buffers take megabytes before the kernel says no.
    while handle.summary().connections == 2 {
        seq += 1;
        world.publish(&format!(r#"{{"symbol":"A","seq":{seq},"pad":"{pad}"}}"#)).await;
        assert_eq!(healthy.next().await["seq"], seq);
    }
    // What it had not read is followed by the close, or by the reset of the grace time.
    let _ = stuck.socket();
    assert!(seq > 10);
    world.stop().await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_closed_with_4408() {
    let mut config = config();
    config.ping_interval = Duration::from_millis(200);
    config.pong_timeout = Duration::from_millis(200);
    let world = World::with(config).await;
    let mut client = world.client().await;
    assert!(matches!(client.next_message().await, Message::Ping(_)));
    // tungstenite answers pings by itself when it is read next; a raw socket does not.
    let address = world.gateway.handle().address();
    let mut raw = Client::connect(address, "/ws").await;
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(raw.socket(), &mut bytes).await.unwrap();
    assert!(bytes.windows(4).any(|window| window[0] == 0x88 && window[2..] == 4408u16.to_be_bytes()));
    world.stop().await;
}

#[tokio::test]
async fn a_drain_gives_each_client_its_slot_and_closes_with_1012() {
    let world = World::new().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(world.watching(&["A"]).await);
    }
    let address = world.gateway.handle().address();
    let World { gateway, .. } = world;
    let draining = tokio::spawn(async move {
        gateway.drain().await;
        gateway.stop().await;
    });
    let mut slots = Vec::new();
    for client in &mut clients {
        let notice = client.next_of("status").await;
        assert_eq!(notice["status"], "draining");
        slots.push(notice["reconnect_in_ms"].as_u64().unwrap());
        assert_eq!(client.close_code().await, 1012);
    }
    slots.sort_unstable();
    slots.dedup();
    assert!(slots.len() >= 10 && *slots.last().unwrap() <= 1000, "{slots:?}");
    draining.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn pause_and_resume_are_told_to_everyone_and_to_newcomers() {
    let world = World::new().await;
    let mut client = world.client().await;
    let control = async |json: &str| world.broker.publish.send(Channel::Control, json.as_bytes()).await.unwrap();
    control(r#"{"action":"pause","data":{"reason":"maintenance"}}"#).await;
    let status = client.next_of("status").await;
    assert_eq!((status["status"].as_str(), status["reason"].as_str()), (Some("paused"), Some("maintenance")));
    let mut newcomer = world.client().await;
    assert_eq!(newcomer.next().await["status"], "paused");
    control(r#"{"action":"resume"}"#).await;
    assert_eq!(client.next_of("status").await["status"], "resumed");
    let mut later = world.client().await;
    assert_eq!(later.ask(r#"{"action":"ping"}"#).await["type"], "pong", "nothing stands any more");
    world.stop().await;
}

#[tokio::test]
async fn a_full_gateway_answers_503_and_one_address_429() {
    let mut config = config();
    config.limits.max_connections = std::num::NonZeroUsize::new(2);
    let world = World::with(config.clone()).await;
    let _clients = (world.client().await, world.client().await);
    assert!(handshake_status(&world).await.starts_with("HTTP/1.1 503"));
    world.stop().await;
    config.limits.max_connections = None;
    config.limits.connections_per_ip = std::num::NonZeroU32::new(1).unwrap();
    let world = World::with(config).await;
    let _client = world.client().await;
    let answer = handshake_status(&world).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 5"), "{answer}");
    world.stop().await;
}

async fn handshake_status(world: &World) -> String {
    let mut socket = tokio::net::TcpStream::connect(world.gateway.handle().address()).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = tokio::io::AsyncReadExt::read(&mut socket, &mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
