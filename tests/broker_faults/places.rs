//! What it costs, and where it runs.

use crate::*;

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
