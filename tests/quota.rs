//! `tickcast quota` against real roles that spend a vendor's budget: through a real Redis, and through the ops port.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use serde_json::{Value, json};
use support::binary::{Run, tickcast};
use support::client::eventually;
use support::process::Role;
use support::redis::RedisServer;
use support::vendor::{self, Answer, MockVendor};

/// What publisher and command line both know: one poll, of weight 2, of 60 a minute.
const SETTINGS: [(&str, &str); 4] = [
    ("publisher.providers", "binance"),
    ("publisher.pinned", "BTC-USDT"),
    ("publisher.interval_s", "3600"),
    ("providers.binance.per_minute", "60"),
];

/// A role that polls this vendor once.
async fn spending(args: &[&str], vendor: &MockVendor) -> Role {
    let base_url = format!("providers.binance.base_url={}", vendor.url());
    let mut all: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    all.extend(["--set".to_owned(), base_url]);
    for (key, value) in SETTINGS {
        all.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let role = Role::start(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    vendor.asked_times(1).await;
    role
}

fn quota(args: &[&str]) -> Run {
    let run = tickcast(&[&["quota"], args].concat());
    SETTINGS
        .iter()
        .fold(run, |run, (key, value)| run.env(&format!("TICKCAST__{}", key.replace('.', "__").to_uppercase()), value))
}

async fn binance(args: &[&str]) -> Value {
    let ended = quota(&[args, &["--json"]].concat()).ends_beside().await.with_code(0);
    assert_eq!(ended.err, "");
    serde_json::from_str::<Value>(&ended.out).unwrap()["providers"]["binance"].take()
}

fn spent(budget: &Value) -> [&Value; 4] {
    let minute = &budget["budget"]["minute"];
    [&minute["available"], &minute["capacity"], &minute["refill_per_minute"], &budget["spent_today"]]
}

#[tokio::test]
async fn a_budget_is_shown_and_reset_through_redis() {
    let (redis, vendor) = (RedisServer::start().await, MockVendor::start(vendor::binance(&["BTCUSDT"])).await);
    let url = redis.url();
    let way = ["--redis-url", url.as_str()];
    let before = binance(&way).await;
    assert_eq!(spent(&before), [&json!(60), &json!(60), &json!(60.0), &json!(0)]);
    let _publisher = spending(&["publisher", "--redis-url", &url], &vendor).await;
    let after = binance(&way).await;
    assert_eq!(spent(&after), [&json!(58), &json!(60), &json!(60.0), &json!(2)]);
    assert!(after["budget"]["minute"]["full_in_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{after}");
    assert!(after["budget"]["day"].is_null(), "what is only counted is no budget: {after}");

    let table = quota(&way).ends_beside().await.with_code(0).out;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..5], ["PROVIDER", "WINDOW", "AVAILABLE", "CAPACITY", "REFILL/MIN"], "{table}");
    assert_eq!(lines[1][..5], ["binance", "minute", "58", "60", "60"], "{table}");
    assert_eq!((lines[1].last(), lines.len()), (Some(&"2"), 2), "{table}");

    let ended = quota(&[&["reset", "binance"][..], &way].concat()).ends_beside().await.with_code(0);
    assert_eq!(ended.out, "binance: what was spent is forgotten\n");
    assert_eq!(spent(&binance(&way).await), [&json!(60), &json!(60), &json!(60.0), &json!(0)]);
    quota(&[&["reset", "simulated"][..], &way].concat()).ends_beside().await.with_code(64);
    quota(&[&["reset", "nobody"][..], &way].concat()).ends_beside().await.with_code(64);
}

#[tokio::test]
async fn what_another_key_has_spent_is_not_taken_for_ours() {
    let redis = RedisServer::start().await;
    redis.command(&["HSET", "ratelimit:massive:9f86d081", "born", "1.1"]);
    let ended = quota(&["--redis-url", &redis.url()]).ends_beside().await.with_code(0);
    assert!(ended.err.contains("a record of massive:9f86d081"), "{}", ended.err);
    assert!(!ended.out.contains("massive"), "{}", ended.out);
}

#[tokio::test]
async fn a_serve_without_redis_shows_and_resets_its_own() {
    let vendor = MockVendor::start(vendor::binance(&["BTCUSDT"])).await;
    let serve = spending(&["serve", "--bind", "127.0.0.1", "--port", "0"], &vendor).await;
    let url = format!("http://{}", serve.ops);
    let way = ["--ops", url.as_str()];
    assert_eq!(spent(&binance(&way).await), [&json!(58), &json!(60), &json!(60.0), &json!(2)]);
    eventually("its statistics know it too", async || {
        let stats = serve.ask("/stats").await;
        stats["publisher"]["providers"]["binance"]["budget"]["minute"]["available"] == 58
    })
    .await;
    let ended = quota(&["reset", "binance", "--json", "--ops", &url]).ends_beside().await.with_code(0);
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap(), json!({"ok": true, "provider": "binance"}));
    assert_eq!(spent(&binance(&way).await), [&json!(60), &json!(60), &json!(60.0), &json!(0)]);
    let refused = quota(&["reset", "nse", "--ops", &url]).ends_beside().await.with_code(64);
    assert!(refused.err.contains("nse is not asked for quotes here"), "{}", refused.err);
}

#[tokio::test]
async fn a_reset_wants_the_admin_token_where_the_ops_port_is_bound_wider() {
    let vendor = MockVendor::start(vendor::binance(&["BTCUSDT"])).await;
    let wider = ["--set", "ops.bind=0.0.0.0", "--set", "ops.admin_token=s3cret"];
    let serve = spending(&[&["serve", "--bind", "127.0.0.1", "--port", "0"], &wider[..]].concat(), &vendor).await;
    let url = format!("http://127.0.0.1:{}", serve.ops.port());
    let refused = quota(&["reset", "binance", "--ops", &url]).ends_beside().await.with_code(64);
    assert!(refused.err.contains("ADMIN_TOKEN"), "{}", refused.err);
    quota(&["reset", "binance", "--ops", &url]).env("ADMIN_TOKEN", "s3cret").ends_beside().await.with_code(0);
}

#[tokio::test]
async fn a_gateway_alone_has_no_budgets() {
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let ended = quota(&["--ops", &format!("http://{}", gateway.ops)]).ends_beside().await.with_code(69);
    assert!(ended.err.contains("no publisher runs"), "{}", ended.err);
}

#[tokio::test]
async fn a_publisher_says_what_its_cycle_cost() {
    let (redis, vendor) = (RedisServer::start().await, MockVendor::start(vendor::binance(&["BTCUSDT"])).await);
    vendor.script([Answer::new(503, "later")]);
    let publisher = spending(&["publisher", "--redis-url", &redis.url()], &vendor).await;
    vendor.asked_times(2).await;
    let url = format!("http://{}", publisher.ops);
    let way = ["--ops", url.as_str()];
    eventually("the cycle ends", async || !binance(&way).await["calls"]["last_cycle"].is_null()).await;
    assert_eq!(binance(&way).await["calls"]["last_cycle"], json!({"expected": 1, "actual": 2}));
    let table = quota(&way).ends_beside().await.with_code(0).out;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][lines[0].len() - 3..], ["TODAY", "EXPECTED/CYCLE", "ACTUAL/CYCLE"], "{table}");
    assert_eq!(lines[1][lines[1].len() - 3..], ["4", "1", "2"], "{table}");
    // the vendor's budget is everyone's; what a cycle cost is known where it ran
    assert!(binance(&["--redis-url", &redis.url()]).await["calls"].is_null());
}
