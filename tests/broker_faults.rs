//! What happens to the Redis broker when something happens to Redis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use support::bench::{Bench, SHORT};
use support::gateway::Gateway;
use support::proxy::Proxy;
use support::redis::{RedisServer, Reply};
use tickcast::broker::{
    BrokerError, Budget, Channel, Epoch, Event, Feed, Lead, Outgoing, Stored, Taken, Timing, Window,
};
use tickcast::market::Symbol;

const LEASE: Duration = Duration::from_secs(30);

fn update(text: &str, price: u32) -> Outgoing {
    let json = format!(r#"{{"symbol":"{text}","data":{{"price":{price}}}}}"#);
    Outgoing { symbol: Symbol::parse(text).unwrap(), json: json.into(), ttl: Duration::from_secs(300) }
}

fn minute(name: &str, limit: u32) -> Budget {
    let window = Window { length: Duration::from_secs(60), limit: NonZeroU32::new(limit).unwrap() };
    Budget { name: name.into(), windows: vec![window] }
}

async fn bench() -> Bench {
    let bench = Bench::redis(Timing::default()).await;
    bench.connected().await;
    bench
}

async fn publishes(bench: &Bench, price: u32) -> Stored {
    bench.broker.publish.publish(&[update("A", price)], Epoch(1)).await.unwrap()
}

// Gone and back

#[tokio::test]
async fn a_killed_redis_is_noticed_and_its_return_too() {
    let mut bench = bench().await;
    let mut reader = bench.reader(&[Channel::Updates]).await;
    publishes(&bench, 1).await;
    reader.message().await;
    bench.server().kill9();
    assert_eq!(reader.event().await, Event::Interrupted);
    let status = bench.status(|status| !status.connected).await;
    assert!(status.problem.is_some());
    assert!(matches!(bench.broker.publish.send(Channel::Control, b"{}").await, Err(BrokerError::Unavailable(_))));
    bench.server().restart().await;
    assert_eq!(reader.event().await, Event::Resumed);
    let status = bench.status(|status| status.connected).await;
    assert!(status.problem.is_none() && status.reconnects >= 1);
    assert_eq!(publishes(&bench, 2).await, Stored::Yes, "the scripts are gone, and loaded again");
    assert_eq!(reader.message().await.1, update("A", 2).json);
}

#[tokio::test]
async fn an_absent_redis_is_no_error_at_start() {
    let mut server = RedisServer::start().await;
    server.kill9();
    let mut bench = Bench::on(server, Timing::default());
    let mut feed = bench.broker.feeds.subscribe(&[Channel::Updates]);
    let status = bench.status(|status| status.problem.is_some()).await;
    assert!(!status.connected);
    assert!(matches!(bench.broker.registry.watched().await, Err(BrokerError::Unavailable(_))));
    bench.server().restart().await;
    let mut events = Vec::new();
    tokio::time::timeout(support::DEADLINE, feed.next(&mut events)).await.unwrap();
    assert_eq!(events, [Event::Resumed], "nothing before it");
    assert_eq!(publishes(&bench, 1).await, Stored::Yes);
}

#[tokio::test]
async fn a_frozen_redis_is_noticed_and_its_thawing_too() {
    let mut bench = bench().await;
    let mut reader = bench.reader(&[Channel::Updates]).await;
    bench.server().freeze();
    assert_eq!(reader.event().await, Event::Interrupted);
    let refused = bench.broker.publish.publish(&[update("A", 1)], Epoch(1)).await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
    bench.status(|status| !status.connected).await;
    bench.server().thaw();
    reader.until(&Event::Resumed).await;
    assert_eq!(publishes(&bench, 2).await, Stored::Yes);
    reader.until(&Event::Message(Channel::Updates, update("A", 2).json)).await;
}

#[tokio::test]
async fn a_killed_subscription_is_made_again() {
    let mut bench = bench().await;
    let mut reader = bench.reader(&[Channel::Updates, Channel::Control]).await;
    assert_eq!(bench.server().command(&["CLIENT", "KILL", "TYPE", "pubsub"]), Reply::Number(1));
    assert_eq!(reader.event().await, Event::Interrupted);
    assert_eq!(reader.event().await, Event::Resumed);
    publishes(&bench, 1).await;
    assert_eq!(reader.message().await.0, Channel::Updates);
}

#[tokio::test]
async fn a_killed_command_connection_is_made_again() {
    let mut bench = bench().await;
    bench.server().command(&["CLIENT", "KILL", "TYPE", "normal"]);
    bench.status(|status| status.reconnects > 0).await;
    bench.connected().await;
    assert_eq!(publishes(&bench, 1).await, Stored::Yes);
}

#[tokio::test]
async fn a_subscription_that_died_in_silence_is_found_by_the_probe() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let bench = Bench::at(proxy.url(), Timing::default());
    let mut reader = bench.reader(&[Channel::Updates]).await;
    proxy.kill_subscribers_silently();
    assert_eq!(reader.event().await, Event::Interrupted);
    assert_eq!(reader.event().await, Event::Resumed);
    publishes(&bench, 1).await;
    assert_eq!(reader.message().await.1, update("A", 1).json);
}

#[tokio::test]
async fn a_partition_is_noticed_and_its_end_too() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let bench = Bench::at(proxy.url(), Timing::default());
    let mut reader = bench.reader(&[Channel::Updates]).await;
    proxy.cut();
    assert_eq!(reader.event().await, Event::Interrupted);
    bench.status(|status| !status.connected).await;
    let lost = bench.broker.publish.publish(&[update("A", 1)], Epoch(1)).await;
    assert!(matches!(lost, Err(BrokerError::Unavailable(_))), "{lost:?}");
    proxy.join();
    reader.until(&Event::Resumed).await;
    bench.until("it publishes", async || bench.broker.publish.publish(&[update("A", 2)], Epoch(1)).await.is_ok()).await;
    reader.until(&Event::Message(Channel::Updates, update("A", 2).json)).await;
}

#[tokio::test]
async fn a_shut_down_broker_falls_silent_and_leaves_no_connection() {
    let mut bench = bench().await;
    let reader = bench.reader(&[Channel::Updates]).await;
    bench.broker.shutdown().await;
    assert!(matches!(bench.broker.registry.watched().await, Err(BrokerError::Unavailable(_))));
    let server = bench.server();
    let end = tokio::time::Instant::now() + support::DEADLINE;
    while server.command(&["CLIENT", "LIST"]).texts()[0].lines().count() > 1 {
        assert!(tokio::time::Instant::now() < end, "{:?}", server.command(&["CLIENT", "LIST"]));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(reader);
}

// Refusing to write

async fn publishes_without_storing(mut bench: Bench, refuse: &[&[&str]], relent: &[&[&str]]) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    let Ok(Lead::Leading(epoch)) = bench.broker.leadership.acquire("one", LEASE, Epoch(0)).await else {
        panic!("nobody else leads")
    };
    for command in refuse {
        bench.server().command(command);
    }
    let batch = [update("A", 1), update("B", 2)];
    assert_eq!(bench.broker.publish.publish(&batch, epoch).await, Ok(Stored::No));
    let text = reader.text().await;
    assert!(text.starts_with(r#"[{"symbol":"A""#) && text.ends_with("}]"), "{text}");
    assert_eq!(bench.broker.publish.publish(&batch[..1], epoch).await, Ok(Stored::No));
    assert_eq!(reader.message().await.1, batch[0].json);
    let late = bench.broker.publish.publish(&batch, Epoch(epoch.0 - 1)).await;
    assert_eq!(late, Err(BrokerError::Fenced { current: epoch.0 }), "fenced all the same");
    let status = bench.status(|status| !status.writable).await;
    assert!(status.connected && status.problem.is_some(), "{status:?}");
    let set = bench.broker.store.set("key", "value".into(), None).await;
    assert!(matches!(set, Err(BrokerError::Refused(_))), "{set:?}");
    for command in relent {
        bench.server().command(command);
    }
    bench.status(|status| status.connected && status.writable).await;
    bench
        .until("it is stored", async || matches!(bench.broker.publish.publish(&batch, epoch).await, Ok(Stored::Yes)))
        .await;
}

#[tokio::test]
async fn a_redis_out_of_memory_still_publishes_and_still_fences() {
    let refuse: &[&[&str]] = &[&["CONFIG", "SET", "maxmemory", "1"]];
    publishes_without_storing(bench().await, refuse, &[&["CONFIG", "SET", "maxmemory", "0"]]).await;
}

#[tokio::test]
async fn a_read_only_redis_still_publishes_and_still_fences() {
    let refuse: &[&[&str]] = &[&["REPLICAOF", "127.0.0.1", "1"]];
    publishes_without_storing(bench().await, refuse, &[&["REPLICAOF", "NO", "ONE"]]).await;
}

#[tokio::test]
async fn a_leader_out_of_memory_stays_the_leader() {
    let mut bench = bench().await;
    let Ok(Lead::Leading(epoch)) = bench.broker.leadership.acquire("one", LEASE, Epoch(0)).await else {
        panic!("nobody else leads")
    };
    bench.server().command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(bench.broker.leadership.acquire("one", LEASE, epoch).await, Ok(Lead::Leading(epoch)));
    bench.server().command(&["DEL", "publisher:leader"]);
    let refused = bench.broker.leadership.acquire("two", LEASE, Epoch(0)).await;
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn refused_writes_are_noticed_although_nobody_writes() {
    let mut bench = bench().await;
    let _reader = bench.reader(&[Channel::Control]).await;
    bench.server().command(&["CONFIG", "SET", "maxmemory", "1"]);
    bench.status(|status| !status.writable).await;
    bench.server().command(&["CONFIG", "SET", "maxmemory", "0"]);
    bench.status(|status| status.writable).await;
}

// Refusing us

#[tokio::test]
async fn a_wrong_password_is_told_and_a_right_one_heals() {
    let server = RedisServer::start_with(&["--requirepass", "right"]).await;
    let bench = Bench::at(format!("redis://:hunter2@127.0.0.1:{}", server.port()), Timing::default());
    let status = bench.status(|status| status.problem.is_some()).await;
    let problem = status.problem.unwrap();
    assert!(problem.starts_with("WRONGPASS") && !problem.contains("hunter2"), "{problem}");
    let refused = bench.broker.registry.watched().await;
    assert_eq!(refused, Err(BrokerError::Unavailable(problem.to_string())));
    server.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    bench.connected().await;
    assert_eq!(publishes(&bench, 1).await, Stored::Yes);
}

#[tokio::test]
async fn a_missing_password_is_told() {
    let server = RedisServer::start_with(&["--requirepass", "right"]).await;
    let bench = Bench::at(format!("redis://127.0.0.1:{}", server.port()), Timing::default());
    let status = bench.status(|status| status.problem.is_some()).await;
    let problem = status.problem.unwrap();
    assert!(problem.starts_with("NOAUTH"), "{problem}");
}

#[tokio::test]
async fn a_denied_subscription_is_told_and_not_taken_for_silence() {
    let server = RedisServer::start().await;
    server.command(&["ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "resetchannels", "&market-data:control*"]);
    let bench = Bench::at(format!("redis://narrow:pw@127.0.0.1:{}", server.port()), Timing::default());
    let _feed = bench.broker.feeds.subscribe(&[Channel::Updates]);
    let status = bench.status(|status| status.problem.is_some()).await;
    assert!(status.problem.as_deref().unwrap().starts_with("SUBSCRIBE: NOPERM"), "{status:?}");
    server.command(&["ACL", "SETUSER", "narrow", "&market-data:*"]);
    bench.connected().await;
}

#[tokio::test]
async fn a_server_without_resp3_is_spoken_to_in_resp2() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]).await;
    let mut bench = Bench::on(server, Timing::default());
    let mut reader = bench.reader(&[Channel::Updates]).await;
    publishes(&bench, 1).await;
    assert_eq!(reader.message().await.1, update("A", 1).json);
    bench.report("g1", &[("A", 2)]).await;
    assert_eq!(bench.watched().await, [("A".to_owned(), 2)]);
    bench.server().freeze();
    reader.until(&Event::Interrupted).await;
    bench.server().thaw();
    reader.until(&Event::Resumed).await;
}

// Losing keys

#[tokio::test]
async fn the_registry_heals_after_flushall() {
    let mut bench = bench().await;
    let _one = Gateway::start(&bench.broker, "g1", &[("A", 1), ("B", 2)]);
    let _two = Gateway::start(&bench.broker, "g2", &[("B", 3)]);
    let heals = async |bench: &mut Bench| {
        let server = bench.server();
        let end = tokio::time::Instant::now() + support::DEADLINE;
        let is_right = |server: &RedisServer| {
            server.members("subscriptions:active") == ["A", "B"]
                && server.get("subscriptions:count:A").as_deref() == Some("1")
                && server.get("subscriptions:count:B").as_deref() == Some("5")
        };
        while !is_right(server) {
            assert!(tokio::time::Instant::now() < end, "not healed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(bench.watched().await, [("A".to_owned(), 1), ("B".to_owned(), 5)]);
    };
    heals(&mut bench).await;
    bench.server().command(&["FLUSHALL"]);
    heals(&mut bench).await;
    bench.server().kill9();
    bench.server().restart().await;
    heals(&mut bench).await;
}

#[tokio::test]
async fn the_registry_heals_after_any_single_key_is_lost() {
    let mut bench = bench().await;
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    let _one = Gateway::start(&bench.broker, "g1", &[("A", 1)]);
    let _two = Gateway::start(&bench.broker, "g2", &[("A", 4), ("B", 1)]);
    reader.text().await;
    reader.text().await;
    let lost = [
        "subscriptions:count:A",
        "subscriptions:active",
        "subscriptions:gateways",
        "subscriptions:gateway:g1",
        "subscriptions:gateway:g2",
    ];
    for key in lost {
        assert_eq!(bench.server().command(&["DEL", key]).number(), 1, "{key}");
        let server = bench.server();
        let end = tokio::time::Instant::now() + support::DEADLINE;
        let is_right = |server: &RedisServer| {
            server.members("subscriptions:active") == ["A", "B"]
                && server.get("subscriptions:count:A").as_deref() == Some("5")
                && server.command(&["HGETALL", "subscriptions:gateway:g1"]).texts() == ["A", "1"]
                && server.command(&["HLEN", "subscriptions:gateway:g2"]).number() == 2
                && server.command(&["ZCARD", "subscriptions:gateways"]).number() == 2
        };
        while !is_right(server) {
            assert!(tokio::time::Instant::now() < end, "not healed: {key}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    bench.report("g3", &[("END", 1)]).await;
    assert!(reader.text().await.contains("END"), "losing one key is no reason to announce anything");
}

#[tokio::test]
async fn a_symbol_that_forgot_it_was_leaving_leaves_all_the_same() {
    let bench = Bench::redis(SHORT).await;
    bench.connected().await;
    let mut bench = bench;
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 1)]).await;
    bench.report("g1", &[("A", 0)]).await;
    bench.server().command(&["DEL", "subscriptions:leaving", "subscriptions:leaving:by"]);
    reader.text().await;
    let gone = bench.next_event_while_reporting(&mut reader, "g1").await;
    assert_eq!(gone, r#"{"action":"unsubscribe","symbol":"A","count":0,"gateway":""}"#);
    assert!(bench.server().members("subscriptions:active").is_empty());
}

#[tokio::test]
async fn a_killed_gateways_counts_are_gone_from_every_key() {
    let bench = Bench::redis(SHORT).await;
    bench.connected().await;
    let mut bench = bench;
    let many: Vec<String> = (0..1_200).map(|n| format!("S{n}")).collect();
    let mut counts: Vec<(&str, u32)> = many.iter().map(|symbol| (symbol.as_str(), 1)).collect();
    counts.push(("A", 1));
    bench.report("dead", &counts).await;
    let _alive = Gateway::start(&bench.broker, "alive", &[("A", 2)]);
    bench.until("the dead gateway is subtracted", async || bench.watched().await == [("A".to_owned(), 2)]).await;
    let server = bench.server();
    assert_eq!(server.members("subscriptions:active"), ["A"]);
    assert_eq!(server.get("subscriptions:count:A").as_deref(), Some("2"));
    let mut keys = server.command(&["KEYS", "subscriptions:*"]).texts();
    keys.sort();
    assert_eq!(
        keys,
        ["subscriptions:active", "subscriptions:count:A", "subscriptions:gateway:alive", "subscriptions:gateways"]
    );
}

#[tokio::test]
async fn a_budget_outlives_the_record_of_it() {
    let mut bench = bench().await;
    let other = Bench::at(bench.server().url(), Timing::default());
    other.connected().await;
    let budget = minute("massive", 5);
    for (broker, cost) in [(&bench.broker, 3), (&other.broker, 2)] {
        assert_eq!(broker.quota.take(&budget, cost).await, Ok(Taken::Granted));
    }
    bench.server().kill9();
    bench.server().restart().await;
    for bench in [&bench, &other] {
        bench.until("it answers", async || bench.broker.quota.levels(&budget).await.is_ok()).await;
    }
    // Each knows of its own part only; neither may get more before both have told.
    let mut first_wait = Duration::ZERO;
    for bench in [&bench, &other, &bench, &other] {
        let taken = bench.broker.quota.take(&budget, 1).await;
        let Ok(Taken::Wait(wait)) = taken else { panic!("all was spent before the restart: {taken:?}") };
        first_wait = first_wait.max(wait);
    }
    assert!(first_wait > Duration::from_secs(20), "{first_wait:?}");
    bench.broker.quota.reset(&budget).await.unwrap();
    assert_eq!(other.broker.quota.take(&budget, 5).await, Ok(Taken::Granted), "what was reset is not told again");
}

// Load

/// Publishes numbers through a pipeline, as fast as Redis takes them.
fn pump(server: &RedisServer, messages: u64) -> std::thread::JoinHandle<()> {
    let mut connection = server.connect();
    std::thread::spawn(move || {
        let mut waiting = 0;
        for number in 0..messages {
            connection.send(&["PUBLISH", "market-data:updates", &number.to_string()]);
            waiting += 1;
            if waiting == 200 || number + 1 == messages {
                for _ in 0..waiting {
                    connection.reply();
                }
                waiting = 0;
            }
        }
    })
}

async fn next(feed: &mut Box<dyn Feed>) -> Vec<Event> {
    let mut events = Vec::new();
    tokio::time::timeout(support::DEADLINE, feed.next(&mut events)).await.unwrap();
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_keeps_reading_loses_nothing() {
    const MESSAGES: u64 = 200_000;
    let mut bench = bench().await;
    let mut feed = bench.broker.feeds.subscribe(&[Channel::Updates]);
    assert_eq!(next(&mut feed).await, [Event::Resumed]);
    let pump = pump(bench.server(), MESSAGES);
    let mut expected = 0;
    while expected < MESSAGES {
        for event in next(&mut feed).await {
            let Event::Message(Channel::Updates, number) = event else { panic!("{event:?} after {expected}") };
            assert_eq!(number, expected.to_string());
            expected += 1;
        }
    }
    pump.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_told_how_much_it_missed() {
    const MESSAGES: u64 = 100_000;
    let mut bench = bench().await;
    let mut slow = bench.broker.feeds.subscribe(&[Channel::Updates]);
    assert_eq!(next(&mut slow).await, [Event::Resumed]);
    let mut quick = bench.reader(&[Channel::Updates]).await;
    pump(bench.server(), MESSAGES).join().unwrap();
    for _ in 0..MESSAGES {
        quick.message().await;
    }
    let (mut lost, mut read) = (0, 0);
    while lost + read < MESSAGES {
        for event in next(&mut slow).await {
            match event {
                Event::Lagged(more) => lost += more,
                Event::Message(..) => read += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(lost > 0 && lost + read == MESSAGES, "{lost} + {read}");
}

// What it costs, and where it runs

#[tokio::test]
async fn a_publish_is_one_command_however_many_symbols() {
    let mut bench = bench().await;
    let batch: Vec<Outgoing> = (0..500).map(|n| update(&format!("S{n}"), n)).collect();
    bench.broker.publish.publish(&batch, Epoch(1)).await.unwrap();
    let server = bench.server();
    let before = (server.calls("evalsha"), server.calls("eval"));
    for _ in 0..10 {
        bench.broker.publish.publish(&batch, Epoch(1)).await.unwrap();
    }
    let server = bench.server();
    assert_eq!((server.calls("evalsha") - before.0, server.calls("eval") - before.1), (10, 0));
    server.command(&["SCRIPT", "FLUSH"]);
    bench.broker.publish.publish(&batch, Epoch(1)).await.unwrap();
    let server = bench.server();
    assert_eq!((server.calls("evalsha") - before.0, server.calls("eval") - before.1), (11, 1), "and two at most");
}

#[tokio::test]
async fn a_unix_socket_and_a_prefix_work() {
    let server = RedisServer::start_with(&["--unixsocket", "redis.sock"]).await;
    let url = format!("unix:{}", server.socket().display());
    let config = tickcast::broker::Config { prefix: "mine:".into(), url: Some(url.into()), ..Default::default() };
    let broker = tickcast::broker::start(&config).unwrap();
    let mut feed = broker.feeds.subscribe(&[Channel::Updates]);
    assert_eq!(next(&mut feed).await, [Event::Resumed]);
    broker.publish.publish(&[update("A", 1)], Epoch(1)).await.unwrap();
    assert_eq!(next(&mut feed).await, [Event::Message(Channel::Updates, update("A", 1).json)]);
    let mut keys = server.command(&["KEYS", "*"]).texts();
    keys.retain(|key| !key.contains("broker:probe"));
    keys.sort();
    assert_eq!(keys, ["mine:cache:quote:A", "mine:publisher:epoch"]);
    assert_eq!(broker.store.keys_with_prefix("cache:").await.unwrap(), ["cache:quote:A"]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_cluster_is_used_in_one_slot() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]).await;
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let bench = Bench::at(format!("redis-cluster://127.0.0.1:{}", server.port()), Timing::default());
    bench.connected().await;
    let mut reader = bench.reader(&[Channel::Updates, Channel::Subscriptions]).await;
    publishes(&bench, 1).await;
    assert_eq!(reader.message().await.1, update("A", 1).json);
    bench.report("g1", &[("A", 2), ("B", 1)]).await;
    reader.text().await;
    assert_eq!(bench.watched().await, [("A".to_owned(), 2), ("B".to_owned(), 1)]);
    assert_eq!(server.get("{tickcast}:subscriptions:count:A").as_deref(), Some("2"));
    assert_eq!(bench.broker.quota.take(&minute("massive", 5), 1).await, Ok(Taken::Granted));
    assert!(matches!(bench.broker.leadership.acquire("one", LEASE, Epoch(0)).await, Ok(Lead::Leading(_))));
    assert_eq!(bench.broker.store.keys_with_prefix("cache:").await.unwrap(), ["cache:quote:A"]);
}

#[tokio::test]
async fn a_sentinel_names_the_primary_and_its_successor() {
    let (mut one, two) = (RedisServer::start().await, RedisServer::start().await);
    two.command(&["REPLICAOF", "127.0.0.1", &one.port().to_string()]);
    let monitored = one.port().to_string();
    let sentinel = RedisServer::start_sentinel(&monitored).await;
    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=quotes", sentinel.port());
    let bench = Bench::at(url, Timing::default());
    let mut reader = bench.reader(&[Channel::Updates]).await;
    publishes(&bench, 1).await;
    reader.message().await;
    bench
        .until("the sentinel knows the replica", async || {
            sentinel
                .command(&["SENTINEL", "REPLICAS", "quotes"])
                .texts()
                .iter()
                .any(|text| *text == two.port().to_string())
        })
        .await;
    one.kill9();
    reader.until(&Event::Interrupted).await;
    sentinel.command(&["SENTINEL", "FAILOVER", "quotes"]);
    reader.until(&Event::Resumed).await;
    bench
        .until("the new primary stores", async || {
            matches!(bench.broker.publish.publish(&[update("A", 2)], Epoch(1)).await, Ok(Stored::Yes))
        })
        .await;
    assert!(two.get("cache:quote:A").is_some());
}
