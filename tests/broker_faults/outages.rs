//! Redis gone and back.

use crate::*;

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
