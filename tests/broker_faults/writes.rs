//! Redis refusing to write.

use crate::*;

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
