//! A leader that was stopped with an answer on its way, and goes on when another leads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::massive::{settings, snapshot, tickers};
use super::support::client::eventually;
use super::support::process::Role;
use super::support::redis::RedisServer;
use super::support::vendor::MockVendor;
use super::watcher::Watcher;

/// The price that only the stopped leader was told.
const LATE: usize = 666;

async fn publisher(redis: &RedisServer, vendor: &MockVendor) -> Role {
    let (url, mut args) = (redis.url(), settings(&vendor.url()));
    // The answer must not be given up for being late: it is what is tested.
    let settings =
        ["providers.massive.per_minute=100000", "providers.massive.timeout_s=300", "publisher.interval_s=0.2"];
    for setting in settings {
        args.extend(["--set".to_owned(), setting.to_owned()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Role::start(&[&["publisher", "--redis-url", &url][..], &args].concat()).await
}

/// How many of a publisher's quotes were not published because another one leads by now.
async fn dropped(role: &Role) -> f64 {
    role.metric(r#"tickcast_quotes_dropped_total{reason="not_leading"}"#).await
}

#[tokio::test]
async fn late_updates_of_a_leader_that_was_stopped_reach_nobody() {
    let redis = RedisServer::start().await;
    // The vendor stops the first publisher while it waits for the answer, which it then reads when it goes on.
    let (stops, target) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Pid>)));
    let price = Arc::new(AtomicU64::new(1));
    let first_vendor = {
        let (stops, target, price) = (Arc::clone(&stops), Arc::clone(&target), Arc::clone(&price));
        MockVendor::start(move |asked| {
            if stops.swap(false, Ordering::SeqCst) {
                kill_process(target.lock().unwrap().unwrap(), Signal::STOP).unwrap();
                return snapshot(asked, LATE);
            }
            snapshot(asked, usize::try_from(price.fetch_add(1, Ordering::SeqCst)).unwrap() % 500)
        })
        .await
    };
    let second_vendor = {
        let price = Arc::clone(&price);
        let next = move || 1000 + usize::try_from(price.fetch_add(1, Ordering::SeqCst)).unwrap();
        MockVendor::start(move |asked| snapshot(asked, next())).await
    };
    let first = publisher(&redis, &first_vendor).await;
    eventually("the first one leads", async || first.ask("/stats").await["publisher"]["leader"] == true).await;
    let _second = publisher(&redis, &second_vendor).await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let watcher = Watcher::of(tickers(5), gateway.address());
    eventually("its quotes arrive", async || watcher.seen().updates > 20).await;
    assert!(second_vendor.asked().is_empty(), "one polls at a time");

    *target.lock().unwrap() = Some(first.pid());
    stops.store(true, Ordering::SeqCst);
    eventually("the other one takes over", async || watcher.seen().prices.iter().any(|price| *price > 1000)).await;
    let asked = first_vendor.asked().len();
    kill_process(first.pid(), Signal::CONT).unwrap();
    eventually("it finds that it does not lead", async || dropped(&first).await >= 5.0).await;
    let after = watcher.seen().updates;
    eventually("more arrives", async || watcher.seen().updates > after + 20).await;
    // Long enough for whatever it would still do wrong: two intervals and a renewal.
    sleep(Duration::from_secs(3)).await;

    let seen = watcher.seen();
    assert!(!seen.prices.contains(&(LATE as u64)), "the late quote reached a client");
    assert!(seen.prices.contains(&1) || seen.prices.iter().any(|price| *price < 500), "the first one's arrived before");
    assert_eq!(seen.disorder, [""; 0]);
    let stats = first.ask("/stats").await;
    assert_eq!(stats["publisher"]["leader"], false, "{stats}");
    assert_eq!(first_vendor.asked().len(), asked, "it polls nothing more");
    for text in tickers(5) {
        let cached = redis.get(&format!("cache:quote:{text}")).unwrap();
        assert!(!cached.contains(r#""price":666"#), "{cached}");
    }
}
