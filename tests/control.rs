//! `tickcast control` against real roles: through a real Redis, and through the ops port of a `serve` without one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use serde_json::Value;
use support::binary::{Ended, tickcast};
use support::client::eventually;
use support::process::Role;
use support::redis::RedisServer;

/// Those that have a lease, as the command tells to ask.
const GATEWAYS: [&str; 4] = ["ZRANGE", "subscriptions:gateways", "0", "-1"];

/// `tickcast control …` that goes there.
async fn control(way: &[&str], args: &[&str]) -> Ended {
    tickcast(&[&["control"], args, way].concat()).ends_beside().await
}

/// A `serve` without Redis.
async fn serve(more: &[&str]) -> Role {
    Role::start(&[&["serve", "--bind", "127.0.0.1", "--port", "0"], more].concat()).await
}

/// Waits until some process answers.
async fn until_answered(way: &[&str]) {
    eventually("a publisher leads", async || {
        let ended = control(way, &["status"]).await;
        ended.code == 0 && ended.out.contains("leads")
    })
    .await;
}

#[tokio::test]
async fn pause_and_resume_are_answered_by_every_publisher_through_redis() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let way = ["--redis-url", &url];
    let args = ["publisher", "--redis-url", &url, "--provider", "simulated"];
    let _publishers = (Role::start(&args).await, Role::start(&args).await);
    eventually("both answer", async || control(&way, &["status"]).await.out.lines().count() >= 4).await;

    let ended = control(&way, &["pause", "--reason", "lunch"]).await.with_code(0);
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("publisher tickcast-") && line.ends_with("everything is paused")));
    assert_eq!(ended.err, "");
    assert!(redis.get("publisher:state").is_some_and(|state| state.contains("lunch")));

    let status = control(&way, &["status"]).await.with_code(0).out;
    assert!(status.contains(": leads, paused") && status.contains(": stands by, paused"), "{status}");
    assert!(status.contains("  paused: everything since ") && status.contains(": lunch\n"), "{status}");
    assert!(status.contains("  simulated: well"), "{status}");

    let refused = control(&way, &["refresh", "AAPL"]).await.with_code(69);
    assert!(refused.err.contains("everything is paused; resume first (paused)"), "{}", refused.err);

    let ended = control(&way, &["resume", "--json"]).await.with_code(0);
    let json: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&json["ok"], json["replies"].as_array().map(Vec::len)), (&Value::Bool(true), Some(2)), "{json}");
    assert_eq!(control(&way, &["refresh", "AAPL"]).await.with_code(0).out.lines().count(), 1, "the leader alone");
    let ended = control(&way, &["set-interval", "2", "--provider", "simulated"]).await.with_code(0);
    assert!(ended.out.contains("polls simulated every 2 s"), "{}", ended.out);
    let refused = control(&way, &["set-interval", "2", "--provider", "nse"]).await.with_code(64);
    assert!(refused.err.contains("unknown_provider"), "{}", refused.err);
}

#[tokio::test]
async fn a_gateway_is_drained_by_name_and_levels_are_set_everywhere() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let way = ["--redis-url", &url];
    let gateway = Role::gateway(&url, &["--set", "drain.window_s=1"]).await;
    let _publisher = Role::start(&["publisher", "--redis-url", &url, "--provider", "simulated"]).await;
    until_answered(&way).await;

    let ended = control(&way, &["log-level", "debug"]).await.with_code(0);
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(lines.iter().all(|line| line.contains(": logs debug")), "{lines:?}");
    assert!(["gateway (pid", "publisher (pid"].iter().all(|who| ended.out.contains(who)), "{lines:?}");

    let refused = control(&way, &["drain", "nobody"]).await.with_code(69).err;
    assert!(refused.contains("no gateway of that name answered") && refused.contains("ZRANGE"), "{refused}");
    eventually("the gateway has a lease", async || redis.connect().command(&GATEWAYS).texts().len() == 1).await;
    let name = redis.connect().command(&GATEWAYS).texts().remove(0);
    let ended = control(&way, &["drain", &name]).await.with_code(0);
    assert_eq!(ended.out, format!("gateway {name}: sends its clients away, and ends\n"));
    let (status, log) = gateway.ended().await;
    assert_eq!(status.code(), Some(0));
    assert!(log.iter().any(|line| line.contains("log level changed")), "{log:#?}");
}

#[tokio::test]
async fn a_serve_without_redis_is_reached_through_its_ops_port() {
    let serve = serve(&[]).await;
    let url = format!("http://{}", serve.ops);
    let way = ["--ops", &url];
    until_answered(&way).await;
    let ended = control(&way, &["pause", "--symbols", "aapl,msft"]).await.with_code(0);
    assert!(ended.out.ends_with(": AAPL, MSFT is paused\n"), "{}", ended.out);
    assert!(control(&way, &["status"]).await.with_code(0).out.contains("  paused: AAPL since "));
    // and so is the one of the configuration
    let run = tickcast(&["control", "resume", "--symbols", "AAPL"]).env("HEALTH_PORT", &serve.ops.port().to_string());
    let ended = run.ends_beside().await.with_code(0);
    assert!(ended.out.contains("AAPL goes on\n  paused: MSFT since "), "{}", ended.out);
    let refused = control(&way, &["refresh", "MSFT"]).await.with_code(69);
    assert!(refused.err.contains("MSFT is paused"), "{}", refused.err);
}

#[tokio::test]
async fn an_ops_port_that_is_bound_wider_wants_the_admin_token() {
    let serve = serve(&["--set", "ops.bind=0.0.0.0", "--set", "ops.admin_token=s3cret"]).await;
    let url = format!("http://127.0.0.1:{}", serve.ops.port());
    let refused = control(&["--ops", &url], &["pause"]).await.with_code(64);
    assert!(refused.err.contains("ADMIN_TOKEN"), "{}", refused.err);
    let run = tickcast(&["control", "pause", "--ops", &url]).file(".env", "ADMIN_TOKEN=s3cret\n");
    run.ends_beside().await.with_code(0);
}

#[tokio::test]
async fn nobody_answering_is_said() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let ended = control(&["--redis-url", &url], &["pause"]).await.with_code(69);
    assert_eq!(ended.out, "");
    for told in ["no publisher answered within 2 s", "nobody listens on market-data:control", &url, "does one run?"] {
        assert!(ended.err.contains(told), "{told:?} is not in {}", ended.err);
    }
    let _gateway = Role::gateway(&url, &[]).await;
    eventually("the gateway listens", async || {
        let ended = control(&["--redis-url", &url], &["status", "--json"]).await.with_code(69);
        let json: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(json["ok"], false);
        json["receivers"] == 1 && ended.err.contains("1 process listens")
    })
    .await;
}

#[tokio::test]
async fn a_place_where_nobody_is_is_said() {
    let redis = RedisServer::start_with(&["--requirepass", "s3cret"]).await;
    let wrong = format!("redis://:wr0ng@127.0.0.1:{}", redis.port());
    let ended = control(&["--redis-url", &wrong], &["status"]).await.with_code(69);
    assert!(ended.err.contains("Redis does not answer at redis://:***@127.0.0.1"), "{}", ended.err);
    assert!(!ended.err.contains("wr0ng"), "{}", ended.err);

    // bound and not listening: the port is nobody else's, and connections are refused
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = nobody.local_addr().unwrap().as_socket().unwrap();
    let ended = control(&["--ops", &format!("http://{address}")], &["status"]).await.with_code(69);
    assert!(ended.err.contains("does not answer") && ended.err.contains("REDIS_URL"), "{}", ended.err);
    control(&["--ops", "https://h"], &["status"]).await.with_code(64);
    tickcast(&["control", "status"]).env("HEALTH_PORT", "x").ends_beside().await.with_code(64);
}
