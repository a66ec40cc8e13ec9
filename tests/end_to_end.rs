//! The whole path on real parts: the real binary in every role, a real redis-server, real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use support::client::{Client, eventually};
use support::process::Role;
use support::redis::RedisServer;

const UPDATES: &str = "market-data:updates";
const CONTROL: &str = "market-data:control";

/// Waits for an update of a symbol; its `seq`.
async fn next_seq(client: &mut Client, symbol: &str) -> u64 {
    loop {
        let message = client.next_of("price_update").await;
        if message["symbol"] == symbol {
            return message["seq"].as_u64().unwrap();
        }
    }
}

/// Waits until something publishes to somebody.
async fn gateways_listen(redis: &RedisServer, count: i64) {
    eventually("the gateways listen", async || {
        redis.command(&["PUBSUB", "NUMSUB", UPDATES]).texts().last().is_some_and(|n| n.parse() == Ok(count))
    })
    .await;
}

#[tokio::test]
async fn a_price_history_reaches_clients_of_two_gateways_and_anyone_may_publish() {
    let redis = RedisServer::start().await;
    let (one, two) = (Role::gateway(&redis.url(), &[]).await, Role::gateway(&redis.url(), &[]).await);
    let publisher = Role::replaying(&redis.url()).await;
    let mut first = Client::connect(one.address(), "/ws").await;
    let mut second = Client::connect(two.address(), "/ws?symbols=IBM,RELIANCE").await;
    first.subscribe(&["MSFT", "RELIANCE"]).await;
    let quote = first.next_of("price_update").await;
    assert_eq!((quote["symbol"].as_str(), quote["data"]["source"].as_str()), (Some("MSFT"), Some("replay")));
    let (a, b) = (next_seq(&mut first, "MSFT").await, next_seq(&mut first, "MSFT").await);
    assert!(a < b);
    next_seq(&mut second, "IBM").await;
    gateways_listen(&redis, 2).await;
    let odd = r#"{"type":"price_update" ,"symbol":"RELIANCE", "x_unknown":[1, {"y":null}],"data":{"price":2450.50,"timestamp":"2026-11-21T10:00:00Z"}}"#;
    assert_eq!(redis.command(&["PUBLISH", UPDATES, odd]).number(), 2);
    for client in [&mut first, &mut second] {
        eventually("the odd update arrives as it was", async || client.next_text().await == odd).await;
    }
    for role in [publisher, one, two] {
        assert!(role.stop().await.0.success());
    }
}

#[tokio::test]
async fn redis_cli_sees_who_watches_what_through_disconnects_kills_and_lost_keys() {
    let redis = RedisServer::start().await;
    let (one, two) = (Role::gateway(&redis.url(), &[]).await, Role::gateway(&redis.url(), &[]).await);
    let mut clients = Vec::new();
    for role in [&one, &one, &two] {
        let mut client = Client::connect(role.address(), "/ws").await;
        client.subscribe(&["AAPL", "MSFT"]).await;
        clients.push(client);
    }
    let counted = async |expected: [Option<&str>; 2]| {
        eventually(&format!("the counts are {expected:?}"), async || {
            let counts = ["AAPL", "MSFT"].map(|symbol| redis.get(&format!("subscriptions:count:{symbol}")));
            counts.each_ref().map(Option::as_deref) == expected
        })
        .await;
        let mut active = redis.members("subscriptions:active");
        active.sort();
        assert_eq!(active, ["AAPL", "MSFT"]);
    };
    counted([Some("3"), Some("3")]).await;
    clients[0].ask(r#"{"action":"unsubscribe","symbols":["MSFT"]}"#).await;
    counted([Some("3"), Some("2")]).await;
    drop(clients.remove(1));
    counted([Some("2"), Some("1")]).await;
    redis.command(&["FLUSHALL"]);
    counted([Some("2"), Some("1")]).await;
    two.kill9().await;
    eventually("the killed gateway is subtracted", async || {
        redis.get("subscriptions:count:AAPL").as_deref() == Some("1")
            && redis.members("subscriptions:active") == ["AAPL"]
    })
    .await;
    drop(clients);
    eventually("nothing is watched", async || redis.members("subscriptions:active").is_empty()).await;
    assert!(one.stop().await.0.success());
}

#[tokio::test]
async fn a_pause_is_told_outlives_the_publisher_and_ends_and_seq_never_falls() {
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let publisher = Role::replaying(&redis.url()).await;
    let mut client = Client::connect(gateway.address(), "/ws?symbols=IBM").await;
    let mut last = next_seq(&mut client, "IBM").await;
    redis.command(&["PUBLISH", CONTROL, r#"{"action":"pause","data":{"reason":"maintenance"}}"#]);
    let told = loop {
        let message = client.next().await;
        if message["type"] == "status" {
            break message;
        }
        last = message["seq"].as_u64().unwrap_or(last);
    };
    assert_eq!((told["status"].as_str(), told["reason"].as_str()), (Some("paused"), Some("maintenance")));
    eventually("the publisher says so", async || publisher.ask("/stats").await["publisher"]["state"] == "paused").await;
    publisher.kill9().await;
    let publisher = Role::replaying(&redis.url()).await;
    eventually("the new one leads and is paused", async || {
        let stats = publisher.ask("/stats").await;
        stats["publisher"]["leader"] == true && stats["publisher"]["state"] == "paused"
    })
    .await;
    let published = publisher.ask("/stats").await["publisher"]["published"].clone();
    assert_eq!(published, 0);
    redis.command(&["PUBLISH", CONTROL, r#"{"action":"resume"}"#]);
    assert_eq!(client.next_of("status").await["status"], "resumed");
    for _ in 0..3 {
        let seq = next_seq(&mut client, "IBM").await;
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
    gateway.stop().await;
    publisher.stop().await;
}

#[tokio::test]
async fn clients_keep_their_connection_through_a_redis_restart_and_end_with_the_newest() {
    let mut redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let publisher = Role::replaying(&redis.url()).await;
    let mut client = Client::connect(gateway.address(), "/ws?symbols=AMZN").await;
    let before = next_seq(&mut client, "AMZN").await;
    redis.kill9();
    assert_eq!(client.next_of("status").await["status"], "degraded");
    let mut newcomer = Client::connect(gateway.address(), "/ws?symbols=AMZN").await;
    let snapshot = newcomer.next_of("price_update").await;
    assert_eq!(snapshot["snapshot"], true, "served with the last quote");
    assert!(snapshot["seq"].as_u64().unwrap() >= before);
    redis.restart().await;
    assert_eq!(client.next_of("status").await["status"], "ok");
    let after = next_seq(&mut client, "AMZN").await;
    assert!(after > before);
    eventually("both see the publisher's newest", async || {
        let cached = redis.get("cache:quote:AMZN").unwrap_or_default();
        let newest: serde_json::Value = serde_json::from_str(&cached).unwrap_or_default();
        next_seq(&mut client, "AMZN").await >= newest["seq"].as_u64().unwrap_or(u64::MAX)
    })
    .await;
    gateway.stop().await;
    publisher.stop().await;
}

#[tokio::test]
async fn a_quote_cached_while_the_gateway_heard_nothing_reaches_its_clients() {
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let mut client = Client::connect(gateway.address(), "/ws?symbols=X").await;
    client.next_of("subscribed").await;
    gateways_listen(&redis, 1).await;
    // Written while nobody heard of it: what a publisher does in the moment in which the link is down.
    let missed = r#"{"type":"price_update","symbol":"X","data":{"price":1,"timestamp":"T"},"seq":9}"#;
    redis.command(&["SET", "cache:quote:X", missed]);
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let recovered = client.next_of("price_update").await;
    assert_eq!((recovered["seq"].as_u64(), recovered["snapshot"].as_bool()), (Some(9), Some(true)));
    gateway.stop().await;
}

#[tokio::test]
async fn sigterm_tells_every_client_closes_with_1012_and_ends_with_0() {
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &["--set", "drain.window_s=1"]).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Client::connect(gateway.address(), "/ws?symbols=A").await);
    }
    gateway.terminate();
    for client in &mut clients {
        let notice = client.next_of("status").await;
        assert_eq!(notice["status"], "draining");
        assert!(notice["reconnect_in_ms"].as_u64().unwrap() <= 1000);
        assert_eq!(client.close_code().await, 1012);
    }
    let (status, log) = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{log:#?}");
    eventually("it has left the registry", async || redis.members("subscriptions:active").is_empty()).await;
}

#[tokio::test]
async fn serve_alone_needs_nothing() {
    let serve = Role::start(&["serve", "--bind", "127.0.0.1", "--port", "0"]).await;
    let mut client = Client::connect(serve.address(), "/ws?symbols=AAPL").await;
    let quote = client.next_of("price_update").await;
    assert_eq!(quote["data"]["source"], "simulated");
    let health = serve.ask("/health").await;
    assert_eq!((health["status"].as_str(), health["broker"]["kind"].as_str()), (Some("healthy"), Some("memory")));
    let (status, _) = serve.stop().await;
    assert!(status.success());
}
