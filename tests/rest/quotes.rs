//! Claims about quotes by REST.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::stage::{Publishing, Served, Vendor, Wish, broker, publish, symbol};
use crate::support::bench::{Bench, SHORT};
use crate::support::client::eventually;
use crate::support::http::get;
use tickcast::broker::Broker;

/// A thousand ask two gateways at once for a symbol that nobody has seen.
async fn a_cold_stampede(broker: &Broker) {
    let vendor = Arc::new(Vendor::default());
    let _publishing = Publishing::start(broker, &vendor);
    let gateways =
        [Served::start(broker, &vendor, Wish::default()).await, Served::start(broker, &vendor, Wish::default()).await];
    // The publisher leads and the gateways are fed, once a first symbol has come through both.
    for gateway in &gateways {
        eventually("it serves", async || get(gateway.address(), "/api/quotes/FIRST").await.status == 200).await;
    }
    let calls = vendor.calls();
    let mut asking = JoinSet::new();
    for i in 0..1000 {
        let address = gateways[i % 2].address();
        asking.spawn(async move { get(address, "/api/quotes?symbols=COLD").await });
    }
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, body["quotes"][0]["symbol"].as_str()), (200, Some("COLD")), "{body}");
        assert_eq!(body["missing"].as_array().map(Vec::len), Some(0));
    }
    assert_eq!(vendor.calls(), calls + 1);
    for gateway in gateways {
        gateway.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_of_a_cold_symbol_cost_one_vendor_call() {
    a_cold_stampede(&broker()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_of_a_cold_symbol_cost_one_vendor_call_over_redis() {
    let bench = Bench::redis(SHORT).await;
    bench.connected().await;
    a_cold_stampede(&bench.broker).await;
}

#[tokio::test]
async fn an_answer_keeps_the_publishers_numbers_and_says_how_old_they_are() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    publish(&broker, "AAPL", 7).await;
    let answer = get(served.address(), "/api/quotes/aapl").await;
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.starts_with(r#"{"symbol":"AAPL","price":7.50,"timestamp":"T","seq":7,"age_ms":"#), "{text}");
    assert_eq!((answer.status, answer.json()["stale"].as_bool()), (200, Some(false)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    publish(&broker, "AAPL", 8).await;
    eventually("the newest", async || get(served.address(), "/api/quotes/AAPL").await.json()["seq"] == 8).await;
    let stats = served.cache.stats();
    assert_eq!((stats.tiers.redis.hits, stats.tiers.redis.misses), (1, 0), "the first came from the store");
    assert!(stats.tiers.memory.hits >= 1 && stats.hit_rate > 0.9);
}

#[tokio::test]
async fn what_is_unknown_is_missing_and_nothing_known_is_503() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let wish = Wish { patience: Duration::from_millis(200), ..Wish::default() };
    let served = Served::start(&broker, &vendor, wish).await;
    publish(&broker, "AAPL", 1).await;
    assert_eq!(get(served.address(), "/api/quotes/AAPL").await.status, 200);
    let some = get(served.address(), "/api/quotes?symbols=AAPL,NONE1").await;
    assert_eq!((some.status, &some.json()["missing"]), (200, &serde_json::json!(["NONE1"])));
    for path in ["/api/quotes?symbols=NONE1,NONE2", "/api/quotes/NONE1"] {
        let none = get(served.address(), path).await;
        assert_eq!((none.status, none.code().as_str(), none.header("retry-after")), (503, "no_quote", Some("5")));
    }
}

#[tokio::test]
async fn a_request_counts_as_one_watcher_on_every_gateways_registry() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    publish(&broker, "AAPL", 1).await;
    for _ in 0..3 {
        get(served.address(), "/api/quotes/AAPL").await;
    }
    eventually("it is watched once", async || broker.registry.watched().await.unwrap() == [(symbol("AAPL"), 1)]).await;
}

#[tokio::test]
async fn indices_are_the_configured_ones_or_those_a_publisher_keeps() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let plain = Served::start(&broker, &vendor, Wish::default()).await;
    let empty = get(plain.address(), "/api/indices").await;
    assert_eq!((empty.status, empty.json()["quotes"].as_array().map(Vec::len)), (200, Some(0)));
    publish(&broker, "^NSEI", 3).await;
    let update = broker.store.get_many(&["cache:quote:^NSEI".to_owned()]).await.unwrap().remove(0).unwrap();
    let array = [b"[", &update[..], b"]"].concat();
    broker.store.set("cache:indices", array.into(), None).await.unwrap();
    assert_eq!(get(plain.address(), "/api/indices").await.json()["quotes"][0]["symbol"], "^NSEI");
    let indices = vec![symbol("^NSEI"), symbol("NONE^")];
    let wish = Wish { indices, patience: Duration::from_secs(1), ..Wish::default() };
    let body = get(Served::start(&broker, &vendor, wish).await.address(), "/api/indices").await.json();
    assert_eq!((&body["quotes"][0]["price"], &body["missing"][0]), (&3.5.into(), &"NONE^".into()));
}
