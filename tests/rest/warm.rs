//! Claims about warming up.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::stage::{Publishing, Served, Vendor, Wish, broker, publish};
use crate::support::client::eventually;
use crate::support::http::{get, request};

#[tokio::test]
async fn a_start_warms_up_what_is_popular_and_shows_its_progress() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    publish(&broker, "MSFT", 1).await;
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    let _publishing = Publishing::start(&broker, &vendor);
    tickcast::api::warm_up(served.front.clone(), CancellationToken::new()).await;
    let keys = ["AAPL", "MSFT"].map(|text| format!("cache:quote:{text}"));
    assert!(broker.store.get_many(&keys).await.unwrap().iter().all(Option::is_some));
    assert_eq!(vendor.calls(), 1, "what was there is not asked for");
    let health = get(served.address(), "/api/preload-cache/health").await.json();
    assert_eq!(health["preload"]["last"]["status"], "ok", "{health}");
    assert_eq!((&health["preload"]["done"], &health["preload"]["running"]), (&2.into(), &false.into()));
}

#[tokio::test]
async fn a_preload_reports_each_symbol_and_is_for_operators() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    publish(&broker, "OLD", 1).await;
    let path = "/api/preload-cache?symbols=OLD,NEW,NOBARS1&timeRange=1w&batchSize=2";
    let _publishing = Publishing::start(&broker, &vendor);
    let loaded = async || get(served.address(), path).await.json()["symbols"][1]["quote"] == "loaded";
    eventually("the publisher answers", loaded).await;
    let body = get(served.address(), path).await.json();
    assert_eq!(body["status"], "partial", "{body}");
    assert_eq!(body["symbols"][0], serde_json::json!({"symbol": "OLD", "quote": "cached", "bars": "cached"}));
    assert_eq!(body["symbols"][2], serde_json::json!({"symbol": "NOBARS1", "quote": "cached", "bars": "missing"}));
    let forwarded = [("X-Forwarded-For", "203.0.113.7")];
    let stranger = request(served.address(), "POST", path, &forwarded).await;
    assert_eq!((stranger.status, stranger.code().as_str()), (401, "unauthorized"));
    let page = request(served.address(), "POST", path, &[("Origin", "https://evil.example")]).await;
    assert_eq!(page.status, 403);
    let operator = [forwarded[0], ("Authorization", "Bearer admin")];
    assert_eq!(request(served.address(), "HEAD", path, &operator).await.status, 200);
}
