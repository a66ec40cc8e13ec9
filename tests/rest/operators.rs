//! Claims about the cache on the operators' port, of the real binary.

use crate::support::client::eventually;
use crate::support::http::{get, request};
use crate::support::process::Role;
use crate::support::redis::RedisServer;

#[tokio::test]
async fn operators_see_the_cache_and_clear_it_and_quotes_come_back() {
    let redis = RedisServer::start().await;
    let args = ["serve", "--redis-url", &redis.url(), "--bind", "127.0.0.1", "--port", "0", "--provider", "simulated"];
    let role = Role::start(&args).await;
    let (public, ops) = (role.address(), role.ops);
    eventually("a quote", async || get(public, "/api/quotes/AAPL").await.status == 200).await;
    eventually("it is watched", async || redis.members("subscriptions:active") == ["AAPL"]).await;
    get(public, "/api/bars/AAPL?range=1w").await;
    get(public, "/api/bars/AAPL?range=1w").await;
    let stats = role.ask("/cache/stats").await;
    assert_eq!((&stats["enabled"], &stats["connected"]), (&true.into(), &true.into()));
    assert!(stats["hits"].as_u64() >= Some(1) && stats["tiers"]["memory"]["bytes"].as_u64() > Some(1000), "{stats}");
    assert_eq!(role.ask("/stats").await["cache"]["enabled"], true);
    let metrics = String::from_utf8(get(ops, "/metrics").await.body).unwrap();
    assert!(metrics.contains(r#"tickcast_cache_requests_total{tier="memory",outcome="hit"}"#), "{metrics}");
    assert!(redis.get("cache:bars:AAPL:1w").is_some());

    let page = request(ops, "POST", "/cache/clear", &[("Origin", "https://evil.example")]).await;
    assert_eq!(page.status, 403);
    assert_eq!(get(ops, "/cache/clear").await.status, 405);
    let bad = request(ops, "POST", "/cache/clear/A%20B", &[]).await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "invalid_symbol"));
    let one = request(ops, "POST", "/cache/clear/AAPL", &[]).await.json();
    assert_eq!((&one["ok"], &one["symbol"], &one["refreshed"]), (&true.into(), &"AAPL".into(), &true.into()), "{one}");
    assert_eq!(redis.get("cache:bars:AAPL:1w"), None);
    assert_eq!(request(ops, "POST", "/cache/clear", &[]).await.json()["ok"], true);
    assert_eq!(role.ask("/cache/stats").await["tiers"]["memory"]["entries"], 0);
    eventually("quotes are back", async || redis.get("cache:quote:AAPL").is_some()).await;
    assert!(role.stop().await.0.success());
}

#[tokio::test]
async fn a_wider_ops_port_takes_a_clear_from_whoever_has_the_token_alone() {
    let args = ["serve", "--bind", "127.0.0.1", "--port", "0", "--provider", "simulated"];
    let wide = ["--set", "ops.bind=0.0.0.0", "--set", "ops.admin_token=secret"];
    let role = Role::start(&[&args[..], &wide].concat()).await;
    let ops = std::net::SocketAddr::from(([127, 0, 0, 1], role.ops.port()));
    assert_eq!(request(ops, "POST", "/cache/clear", &[]).await.status, 401);
    let with_token = [("Authorization", "Bearer secret")];
    assert_eq!(request(ops, "POST", "/cache/clear", &with_token).await.status, 200);
    assert!(role.stop().await.0.success());
}

#[tokio::test]
async fn a_gateway_alone_answers_from_redis_and_fetches_charts_itself() {
    let redis = RedisServer::start().await;
    let publisher = Role::start(&["publisher", "--redis-url", &redis.url(), "--provider", "simulated"]).await;
    let more = ["--set", "publisher.providers=simulated", "--set", "cache.enabled=false"];
    let gateway = Role::gateway(&redis.url(), &more).await;
    eventually("a quote", async || get(gateway.address(), "/api/quotes/AAPL").await.status == 200).await;
    for _ in 0..2 {
        let chart = get(gateway.address(), "/api/bars/AAPL?range=24h").await;
        assert_eq!((chart.status, chart.header("x-cache")), (200, Some("miss")), "nothing is kept");
    }
    assert_eq!(redis.get("cache:bars:AAPL:24h"), None);
    assert_eq!(gateway.ask("/cache/stats").await["enabled"], false);
    for role in [publisher, gateway] {
        assert!(role.stop().await.0.success());
    }
}
