//! A vendor that says "too many", then fails, falls silent, talks rubbish, and gets well.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tickcast::broker::{Timing, memory};
use tickcast::cache;
use tickcast::market::Listings;
use tickcast::provider::client::Client;
use tickcast::provider::fetch::HttpProvider;
use tickcast::provider::massive::Massive;
use tickcast::provider::{self, Name};
use tickcast::publisher::{Config, Handle, Parts, Publisher};
use tickcast::quota::breaker;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::massive::snapshot;
use super::span;
use super::support::DEADLINE;
use super::support::client::Client as Socket;
use super::support::gateway;
use super::support::vendor::{Answer, MockVendor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    TooMany,
    Failing,
    Silent,
    Garbage,
}

fn publisher_config() -> Config {
    Config {
        providers: vec![Name::Massive],
        interval: Some(Duration::from_millis(100)),
        pinned: vec![],
        indices: vec![],
        listings: Listings::default(),
        closed_stretch: NonZeroU32::MIN,
        enabled: true,
        settings: BTreeMap::new(),
    }
}

fn cache_config() -> cache::Config {
    cache::Config {
        enabled: true,
        ttl_latest: Duration::from_secs(3600),
        ttl_recent: Duration::from_secs(3600),
        ttl_list: Duration::from_secs(3600),
        popular: vec![],
        popular_multiplier: 2,
        max_bytes: 1 << 20,
    }
}

/// The breaker's state, as `/stats` shows it.
fn breaker_state(handle: &Handle) -> &'static str {
    handle.stats().providers["massive"].breaker
}

/// Waits for what follows an open breaker.
async fn until(what: &str, open_for: Duration, holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(2 * open_for + DEADLINE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn sickness_opens_the_breaker_clients_keep_the_last_quotes_and_health_is_found_at_the_first_trial() {
    // Sixty in earnest.
    let open_for = span("TICKCAST_BREAKER_S", Duration::from_secs(2));
    let health = Arc::new(Mutex::new(Health::Well));
    let (now, price) = (Arc::clone(&health), AtomicUsize::new(0));
    let vendor = MockVendor::start(move |asked| match *now.lock().unwrap() {
        Health::Well => snapshot(asked, 100 + price.fetch_add(1, Ordering::SeqCst)),
        Health::TooMany => Answer::new(429, "{}").header("retry-after", "1"),
        Health::Failing => Answer::new(500, "oops"),
        Health::Silent => Answer::json("{\"status\":\"OK\"}").hanging(),
        Health::Garbage => Answer::json(r#"{"tickers":7}"#),
    })
    .await;
    let turn = |to: Health| {
        *health.lock().unwrap() = to;
        println!("the vendor is {to:?}");
    };

    let broker = memory::start(Timing::default());
    let settings = provider::Config {
        base_url: Some(vendor.url()),
        per_minute: NonZeroU32::new(1_000_000),
        timeout: Some(Duration::from_millis(300)),
        ..provider::Config::default()
    };
    let breaker = breaker::Config { open_for, ..breaker::Config::default() };
    let vendor_code = Massive::new("test".into(), &settings);
    let client = Arc::new(Client::new().unwrap());
    let massive = HttpProvider::with_breaker(vendor_code, &settings, client, &broker, breaker).unwrap();
    let parts =
        Parts { name: "p".into(), broker: broker.clone(), providers: vec![Arc::new(massive)], cache: cache_config() };
    // New York trades, whatever the hour is at which tests run: nobody is told that a closed market's quote is stale.
    let noon: Timestamp = "2026-11-24T17:00:00Z".parse().unwrap();
    let publisher = Publisher::with_clock(parts, &publisher_config(), Arc::new(move || noon));
    let (handle, stop) = (publisher.handle(), CancellationToken::new());
    let publisher = tokio::spawn(publisher.run(stop.clone()));
    let mut gateway_config = gateway::config();
    gateway_config.stale_after = Duration::from_secs(1);
    // The clients here read now and then only.
    gateway_config.ping_interval = Duration::from_secs(3600);
    let gateway = gateway::start(&gateway_config, &broker).await;
    let address = gateway.handle().address();
    let mut client = Socket::connect(address, "/ws").await;
    client.subscribe(&["AAPL"]).await;
    for _ in 0..3 {
        client.next_of("price_update").await;
    }

    // Rate limiting is no failure: it is waited for, and the breaker stays closed.
    turn(Health::TooMany);
    let asked = vendor.asked().len();
    vendor.asked_times(asked + 2).await;
    assert_eq!(breaker_state(&handle), "closed");
    assert_eq!(client.next_of("stale").await["symbol"], "AAPL");

    turn(Health::Failing);
    until("it opens", open_for, || breaker_state(&handle) == "open").await;
    let asked = vendor.asked().len();
    // A newcomer finds the last quote meanwhile.
    let mut newcomer = Socket::connect(address, "/ws").await;
    newcomer.subscribe(&["AAPL"]).await;
    let last = newcomer.next_of("price_update").await;
    assert_eq!(last["snapshot"], true, "{last}");

    // Each trial is one call, and each that fails opens the breaker for as long again.
    for (i, sickness) in (1..).zip([Health::Silent, Health::Garbage, Health::Failing]) {
        turn(sickness);
        until("a trial", open_for, || vendor.asked().len() == asked + i).await;
        until("it opens", open_for, || breaker_state(&handle) == "open").await;
        assert_eq!(vendor.asked().len(), asked + i, "{sickness:?}: a trial is one call");
    }
    let opened = Instant::now();
    turn(Health::Well);
    until("it closes", open_for, || breaker_state(&handle) == "closed").await;
    println!(
        "recovered {:.1} s after it opened last; a half-open period is {open_for:?}",
        opened.elapsed().as_secs_f64()
    );

    // It hears that the quote is fresh again, and the socket was never closed.
    let news = client.next_of("fresh").await;
    assert_eq!(news["symbol"], "AAPL");
    for _ in 0..3 {
        let update: Value = client.next_of("price_update").await;
        assert!(update["seq"].as_u64() > last["seq"].as_u64());
    }
    let stats = handle.stats();
    println!("{}", serde_json::to_string(&stats.providers["massive"]).unwrap());
    let sent = vendor.asked();
    let trials: Vec<_> = sent[asked..asked + 4].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    println!("trials were {trials:?} apart");
    assert!(trials.iter().all(|apart| *apart >= open_for), "{trials:?}");
    stop.cancel();
    publisher.await.unwrap();
}
