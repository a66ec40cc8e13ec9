//! Claims about server-sent events.

use std::sync::Arc;
use std::time::Duration;

use tickcast::gateway;

use crate::stage::{Served, Vendor, Wish, broker, publish, symbol};
use crate::support::client::eventually;
use crate::support::gateway::config;
use crate::support::http::{Events, get};

/// A number as our publishers give them: an epoch of lately, and a count.
fn seq(count: u64) -> u64 {
    let since = jiff::Timestamp::now().as_second() - 1_767_225_600 - 3600;
    (u64::try_from(since).unwrap() << 24) + count
}

#[tokio::test]
async fn a_stream_gets_what_a_socket_gets_and_counts_as_a_subscriber() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    publish(&broker, "AAPL", 1).await;
    let mut events = Events::open(served.address(), "/sse?symbols=aapl,B%20B,MSFT", &[]).await;
    assert_eq!(events.next().await.unwrap()["type"], "connected");
    let subscribed = events.next().await.unwrap();
    assert_eq!(subscribed["symbols"], serde_json::json!(["AAPL", "MSFT"]));
    assert_eq!(subscribed["rejected"][0]["code"], "invalid_symbol");
    let snapshot = events.next().await.unwrap();
    assert_eq!((&snapshot["seq"], &snapshot["snapshot"]), (&1.into(), &true.into()));
    publish(&broker, "AAPL", 2).await;
    publish(&broker, "MSFT", 3).await;
    let live = events.next().await.unwrap();
    assert_eq!((&live["seq"], live.get("snapshot")), (&2.into(), None));
    assert_eq!(events.next().await.unwrap()["symbol"], "MSFT");
    let watched = async || {
        let mut watched = broker.registry.watched().await.unwrap();
        watched.sort();
        watched
    };
    let mut second = Events::open(served.address(), "/sse?symbols=AAPL", &[]).await;
    second.next_of("subscribed").await;
    eventually("both count", async || watched().await == [(symbol("AAPL"), 2), (symbol("MSFT"), 1)]).await;
    drop(second);
    let shown = served.gateway.handle().connections(10).await;
    assert!(shown.iter().any(|shown| shown.symbols == 2), "{shown:?}");
    drop(events);
    eventually("both have left", async || served.gateway.handle().connections(10).await.is_empty()).await;
    // It may come back: for a minute its symbols stay watched.
    eventually("once", async || watched().await == [(symbol("AAPL"), 1), (symbol("MSFT"), 1)]).await;
    let mut flat = Events::open(served.address(), "/sse?symbols=AAPL&format=flat", &[]).await;
    assert_eq!(flat.next_of("price_update").await["ticker"], "AAPL");
}

#[tokio::test]
async fn a_reader_that_comes_back_is_sent_what_it_missed_and_nothing_else() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    let path = "/sse?symbols=A,B,C";
    let mut events = Events::open(served.address(), path, &[]).await;
    events.next_of("subscribed").await;
    for (text, count) in [("A", 1), ("B", 2), ("C", 3)] {
        publish(&broker, text, seq(count)).await;
        events.next_of("price_update").await;
    }
    let mut count = 3;
    // None before the gateway has read what was published before it listened.
    while events.last_id.is_none() {
        count += 1;
        publish(&broker, "C", seq(count)).await;
        events.next_of("price_update").await;
    }
    let last_id = events.last_id.take().unwrap();
    drop(events);
    publish(&broker, "B", seq(count + 1)).await;
    let mut events = Events::open(served.address(), path, &[("Last-Event-ID", &last_id)]).await;
    let missed = events.next_of("price_update").await;
    assert_eq!((&missed["symbol"], &missed["snapshot"]), (&"B".into(), &true.into()));
    publish(&broker, "A", seq(count + 2)).await;
    assert_eq!(events.next_of("price_update").await["seq"], seq(count + 2), "A and C were not sent again");
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_of_each_symbol_in_bounded_memory() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(served.address()).await.unwrap();
    let mut events = Events::opened(socket, "/sse?symbols=A,B", &[]).await;
    events.next_of("subscribed").await;
    publish(&broker, "B", 1).await;
    // Far more than the kernel's buffers and the mail hold.
    const LAST: u64 = 40_000;
    for seq in 2..=LAST {
        publish(&broker, "A", seq).await;
        if seq % 50 == 0 {
            // Lets the gateway send what it can.
            tokio::task::yield_now().await;
        }
    }
    let (mut seen, mut conflated, mut last_b) = (0, 0, 0);
    loop {
        let event = events.next().await.expect("it is not cut");
        match event["type"].as_str() {
            Some("lagging") => conflated += event["conflated"].as_u64().unwrap(),
            Some("price_update") if event["symbol"] == "B" => last_b = event["seq"].as_u64().unwrap(),
            Some("price_update") => {
                seen += 1;
                if event["seq"] == LAST {
                    break;
                }
            }
            _ => {}
        }
    }
    assert_eq!(last_b, 1);
    assert!(conflated > 0 && seen < LAST - 1, "{seen} seen, {conflated} conflated");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let gateway = gateway::Config { slow_client_timeout: Duration::from_millis(300), ..config() };
    let served = Served::start(&broker, &vendor, Wish { gateway, ..Wish::default() }).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(served.address()).await.unwrap();
    let names: Vec<String> = (0..1000).map(|i| format!("S{i}")).collect();
    let mut events = Events::opened(socket, &format!("/sse?symbols={}", names.join(",")), &[]).await;
    events.next_of("subscribed").await;
    let mut seq = 0;
    eventually("it is cut", async || {
        seq += 1;
        for name in &names {
            publish(&broker, name, seq).await;
        }
        served.gateway.handle().connections(10).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_drain_tells_each_stream_when_and_then_ends_it() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    let mut events = Events::open(served.address(), "/sse?symbols=A", &[]).await;
    events.next_of("subscribed").await;
    let (address, gateway) = (served.address(), served.gateway);
    let draining = tokio::spawn(async move {
        gateway.drain().await;
        gateway
    });
    let notice = events.next_of("status").await;
    assert_eq!((&notice["status"], notice["reconnect_in_ms"].is_u64()), (&"draining".into(), true));
    let refused = get(address, "/sse?symbols=A").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "draining"));
    assert_eq!(events.next().await, None);
    draining.await.unwrap().stop().await;
}

#[tokio::test]
async fn a_stream_is_told_when_a_symbol_goes_stale_and_when_it_is_fresh_again() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let gateway = gateway::Config { stale_after: Duration::from_millis(200), ..config() };
    let served = Served::start(&broker, &vendor, Wish { gateway, ..Wish::default() }).await;
    let mut events = Events::open(served.address(), "/sse?symbols=A", &[]).await;
    publish(&broker, "A", 1).await;
    let stale = events.next_of("stale").await;
    assert!(stale["symbol"] == "A" && stale["age_ms"].as_u64().unwrap() >= 200, "{stale}");
    assert_eq!(get(served.address(), "/api/quotes/A").await.json()["stale"], true);
    publish(&broker, "A", 2).await;
    assert_eq!(events.next().await.unwrap()["type"], "fresh");
    assert_eq!(events.next().await.unwrap()["seq"], 2);
}

#[tokio::test]
async fn one_address_has_only_so_many_streams() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let mut gateway = config();
    gateway.limits.connections_per_ip = std::num::NonZeroU32::new(2).unwrap();
    let served = Served::start(&broker, &vendor, Wish { gateway, ..Wish::default() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Events::open(served.address(), "/sse?symbols=A", &[]).await);
    }
    let refused = get(served.address(), "/sse?symbols=A").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "address_full"));
    open.pop();
    eventually("there is room", async || served.gateway.handle().connections(10).await.len() == 1).await;
    open.push(Events::open(served.address(), "/sse?symbols=A", &[]).await);
}
