//! What is polled, how often, and what of it is published.

use std::num::NonZeroUsize;
use std::time::Duration;

use tickcast::broker::{Channel, keys};
use tickcast::publisher::Config;
use tokio::time::{Instant, sleep};

use super::stage::*;

#[tokio::test(start_paused = true)]
async fn nothing_is_polled_when_nobody_watches() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    sleep(300 * SECOND).await;
    assert_eq!(vendor.calls(), 0);
    assert!(publisher.handle.is_leader());
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_watcher_is_served_at_once_and_then_in_every_cycle() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    sleep(7 * SECOND).await;
    let began = Instant::now();
    let gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    assert!(began.elapsed() < SECOND);
    gateway.set("B", 1).await;
    assert_eq!(show(&next(&mut updates).await), "B2");
    assert_eq!(show(&next(&mut updates).await), "A3 B3");
    sleep(18 * SECOND).await;
    assert_eq!(vendor.seconds("A"), [7, 10, 15, 20, 25]);
}

#[tokio::test(start_paused = true)]
async fn each_cycle_is_one_publish_and_each_cached_quote_is_what_was_published() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let _gateway = Gateway::watching(&broker, "g", &["A", "B", "C"]).await;
    let _publisher = Running::start("p", &broker, vendor, &config());
    let published = next(&mut updates).await;
    assert_eq!(show(&published), "A1 B1 C1");
    for update in &published {
        let key = keys::quote(symbol(update["symbol"].as_str().unwrap()));
        assert_eq!(stored(&broker, &key).await.as_ref(), Some(update));
        assert_eq!(update["data"]["source"], "massive");
    }
    assert_eq!(show(&next(&mut updates).await), "A2 B2 C2");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_watches_any_more_is_not_polled_any_more() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    sleep(12 * SECOND).await;
    gateway.set("A", 0).await;
    sleep(60 * SECOND).await;
    let last = *vendor.seconds("A").last().unwrap();
    assert!(last <= 12 + 10 + 5, "polled at {last} s");
    assert_eq!(*vendor.seconds("B").last().unwrap(), 70);
}

#[tokio::test(start_paused = true)]
async fn a_killed_gateways_symbols_are_not_polled_for_long() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    drop(Gateway::watching(&broker, "g", &["A"]).await);
    sleep(120 * SECOND).await;
    assert!(*vendor.seconds("A").last().unwrap() <= 35);
}

#[tokio::test(start_paused = true)]
async fn pinned_and_index_symbols_need_no_watcher_and_indices_are_gathered() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let config = Config { pinned: vec![symbol("P")], indices: vec![symbol("^Y"), symbol("^X")], ..config() };
    let _publisher = Running::start("p", &broker, vendor, &config);
    let published = next(&mut updates).await;
    assert_eq!(show(&published), "P1 ^X1 ^Y1");
    sleep(SECOND).await;
    let indices = stored(&broker, keys::INDICES).await.unwrap();
    let symbols: Vec<&str> = indices.as_array().unwrap().iter().map(|u| u["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["^Y", "^X"], "in the configured order");
}

#[tokio::test(start_paused = true)]
async fn a_symbol_no_provider_has_is_counted_and_not_polled() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["NONE1", "A"]).await;
    sleep(11 * SECOND).await;
    assert!(vendor.seconds("NONE1").is_empty() && !vendor.seconds("A").is_empty());
    let stats = publisher.handle.stats();
    assert_eq!((stats.symbols, stats.unserved), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_repeats_itself_is_published_again_only_to_keep_its_cached_quote() {
    let (broker, vendor) = (embedded(), Vendor::new(|_, symbols| quotes(symbols, 1)));
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    silence(&mut updates, 140 * SECOND).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    for _ in 0..10 {
        sleep(60 * SECOND).await;
        assert!(stored(&broker, &keys::quote(symbol("A"))).await.is_some(), "newcomers find it");
    }
    assert!(vendor.calls() > 100 && publisher.handle.stats().published < 10);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_no_longer_than_the_vendor_takes() {
    let two = NonZeroUsize::new(2).unwrap();
    let vendor = Vendor::with(two, Duration::ZERO, |call, symbols| quotes(symbols, call as u64));
    let broker = embedded();
    let config = Config { pinned: ["A", "B", "C", "D", "E"].map(symbol).into(), ..config() };
    let publisher = Running::start("p", &broker, vendor.clone(), &config);
    sleep(SECOND).await;
    let mut sizes: Vec<usize> = vendor.asked().iter().map(|(_, symbols)| symbols.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
    assert_eq!(publisher.handle.stats().published, 5);
}
