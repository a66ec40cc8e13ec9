//! Claims about bars by REST.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::stage::{Served, Vendor, Wish, broker};
use crate::support::http::{get, request};

#[tokio::test]
async fn a_chart_is_fetched_once_for_all_who_ask_on_all_gateways() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let gateways = [
        Served::start(&broker, &vendor, Wish::default()).await,
        Served::start(&broker, &vendor, Wish::default()).await,
    ];
    let mut asking = JoinSet::new();
    for i in 0..200 {
        let address = gateways[i % 2].address();
        asking.spawn(async move { get(address, "/api/bars/AAPL?range=24h").await });
    }
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, body["bars"].as_array().map(Vec::len)), (200, Some(48)));
        assert_eq!(
            (&body["range"], &body["interval_s"], &body["source"]),
            (&"24h".into(), &1800.into(), &"massive".into())
        );
    }
    assert_eq!(vendor.charts(), 1);
    let hit = get(gateways[0].address(), "/api/bars/AAPL?range=24h").await;
    assert_eq!(hit.header("x-cache"), Some("hit"));
    assert!(hit.header("age").unwrap().parse::<u64>().is_ok());
    let miss = get(gateways[0].address(), "/api/bars/AAPL?range=1w").await;
    assert_eq!((miss.header("x-cache"), vendor.charts()), (Some("miss"), 2), "another range is another chart");
}

#[tokio::test]
async fn a_large_chart_is_sent_as_it_is_kept_compressed() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    let plain = get(served.address(), "/api/bars/AAPL").await;
    let asked = [("Accept-Encoding", "gzip, br")];
    let gzip = request(served.address(), "GET", "/api/bars/AAPL", &asked).await;
    assert_eq!((plain.header("content-encoding"), gzip.header("content-encoding")), (None, Some("gzip")));
    assert!(gzip.body.len() * 4 < plain.body.len(), "{} of {}", gzip.body.len(), plain.body.len());
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut body).unwrap();
    assert_eq!(body, plain.body);
}

#[tokio::test]
async fn what_no_vendor_has_is_404_and_what_it_has_not_now_is_503() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    for _ in 0..3 {
        let unknown = get(served.address(), "/api/bars/NOBARS1").await;
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "no_bars"));
    }
    assert_eq!(vendor.charts(), 1, "that nobody has it is remembered");
    let unserved = get(served.address(), "/api/bars/NONE1").await;
    assert_eq!((unserved.status, vendor.charts()), (404, 1));
    vendor.is_out.store(1, Ordering::SeqCst);
    for _ in 0..3 {
        let later = get(served.address(), "/api/bars/AAPL").await;
        let wait: u64 = later.header("retry-after").unwrap().parse().unwrap();
        assert_eq!((later.status, later.code().as_str()), (503, "bars_later"));
        assert!((1..=12).contains(&wait), "{wait}");
    }
    assert_eq!(vendor.charts(), 2, "a spent budget is not asked for again by each reader");
}
