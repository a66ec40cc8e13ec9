//! Redis refusing us.

use crate::*;

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
