//! Claims about the cache: tiers, one fetch per key, failures, what happens without Redis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::DEADLINE;
use support::bench::{Bench, SHORT};
use tickcast::broker::keys;
use tickcast::cache::value::{Kind, Value};
use tickcast::cache::{Cache, Config, Fetched, Origin};
use tickcast::market::Symbol;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

const KEY: &str = "cache:bars:AAPL:1m";
const TTL: Duration = Duration::from_secs(600);

fn config() -> Config {
    let [ttl_latest, ttl_recent, ttl_list] = [300, 3600, 21_600].map(Duration::from_secs);
    let popular = vec![Symbol::parse("AAPL").unwrap()];
    Config { enabled: true, ttl_latest, ttl_recent, ttl_list, popular, popular_multiplier: 2, max_bytes: 1 << 20 }
}

/// A vendor that answers when it is let, and counts how often it was asked.
#[derive(Clone, Default)]
struct Vendor {
    asked: Arc<AtomicUsize>,
    let_go: Arc<Notify>,
}

impl Vendor {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Answers at once.
    async fn says(self, fetched: Fetched) -> Fetched {
        self.asked.fetch_add(1, Ordering::SeqCst);
        fetched
    }

    /// Answers once it is let.
    async fn says_slowly(self, fetched: Fetched) -> Fetched {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.let_go.notified().await;
        fetched
    }
}

fn found(text: &'static str) -> Fetched {
    Fetched::Found(text.into(), TTL)
}

fn failed() -> Fetched {
    Fetched::Failed("budget".into(), Duration::from_secs(60))
}

async fn body_of(cache: &Cache, vendor: &Vendor, says: Fetched) -> (Bytes, Origin) {
    let vendor = vendor.clone();
    let answer = timeout(DEADLINE, cache.get(KEY, || vendor.says(says))).await.unwrap().unwrap();
    (answer.value.body(), answer.origin)
}

/// A thousand ask two processes at once for one key.
async fn stampede(bench: Bench) {
    bench.connected().await;
    let caches = [Cache::new(&config(), &bench.broker), Cache::new(&config(), &bench.broker)];
    let vendor = Vendor::default();
    let mut asking = JoinSet::new();
    for i in 0..1000 {
        let (cache, vendor) = (caches[i % 2].clone(), vendor.clone());
        asking.spawn(async move { cache.get(KEY, || vendor.says_slowly(found("bars"))).await.unwrap() });
    }
    vendor.let_go.notify_one();
    while let Some(answer) = timeout(DEADLINE, asking.join_next()).await.unwrap() {
        let answer = answer.unwrap();
        assert_eq!(answer.value.body(), "bars");
    }
    assert_eq!(vendor.asked(), 1);
    for cache in &caches {
        let stats = cache.stats();
        assert_eq!((stats.hits + stats.misses, stats.fetching), (500, 0));
        assert_eq!(body_of(cache, &vendor, failed()).await, ("bars".into(), Origin::Memory));
    }
    // A process that starts later finds it in the store.
    let late = Cache::new(&config(), &bench.broker);
    assert_eq!(body_of(&late, &vendor, failed()).await, ("bars".into(), Origin::Store));
    assert_eq!(body_of(&late, &vendor, failed()).await, ("bars".into(), Origin::Memory));
    let stats = late.stats();
    assert_eq!((stats.hits, stats.misses, stats.tiers.redis.hits, stats.tiers.memory.hits), (2, 0, 1, 1));
    assert_eq!(vendor.asked(), 1);
}

#[tokio::test]
async fn a_stampede_on_two_processes_is_one_fetch() {
    stampede(Bench::memory(SHORT)).await;
}

#[tokio::test]
async fn a_stampede_on_two_processes_over_redis_is_one_fetch() {
    stampede(Bench::redis(SHORT).await).await;
}

#[tokio::test]
async fn a_fetch_goes_on_when_whoever_asked_has_left() {
    let bench = Bench::memory(SHORT);
    let (cache, vendor) = (Cache::new(&config(), &bench.broker), Vendor::default());
    let asking = tokio::spawn({
        let (cache, vendor) = (cache.clone(), vendor.clone());
        async move { cache.get(KEY, || vendor.says_slowly(found("bars"))).await }
    });
    bench.until("it is being fetched", async || vendor.asked() == 1).await;
    asking.abort();
    vendor.let_go.notify_one();
    bench.until("it has landed", async || cache.stats().fetching == 0).await;
    assert_eq!(body_of(&cache, &vendor, failed()).await, ("bars".into(), Origin::Memory));
}

#[tokio::test]
async fn a_failure_is_not_repeated_by_each_who_asks() {
    let bench = Bench::memory(SHORT);
    let (cache, other) = (Cache::new(&config(), &bench.broker), Cache::new(&config(), &bench.broker));
    let vendor = Vendor::default();
    for cache in [&cache, &cache, &other] {
        assert_eq!(body_of(cache, &vendor, failed()).await.0, "budget");
    }
    assert_eq!(vendor.asked(), 1);
}

#[tokio::test]
async fn what_cannot_be_fetched_anew_is_answered_with_a_while_longer() {
    let bench = Bench::memory(SHORT);
    let (cache, vendor) = (Cache::new(&config(), &bench.broker), Vendor::default());
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    let past = Value::new(Kind::Found, "old bars".into(), now_ms - 700_000, TTL);
    bench.broker.store.set(KEY, past.to_stored(), None).await.unwrap();
    let asked = vendor.clone();
    let answer = cache.get(KEY, || asked.says(failed())).await.unwrap();
    assert_eq!((answer.value.body(), answer.value.kind, vendor.asked()), ("old bars".into(), Kind::Old, 1));
    assert!(answer.value.age_ms(now_ms) >= 700_000, "it says how old it is");
    assert_eq!(body_of(&cache, &vendor, found("new")).await, ("old bars".into(), Origin::Memory));

    let too_old = Value::new(Kind::Found, "old bars".into(), now_ms - 1_300_000, TTL);
    bench.broker.store.set("cache:bars:X:1m", too_old.to_stored(), None).await.unwrap();
    let answer = cache.get("cache:bars:X:1m", || vendor.says(failed())).await.unwrap();
    assert_eq!((answer.value.body(), answer.value.kind), ("budget".into(), Kind::Failed));
}

#[tokio::test]
async fn the_memory_tier_works_alone_while_redis_is_away() {
    let mut bench = Bench::redis(SHORT).await;
    bench.connected().await;
    let (cache, vendor) = (Cache::new(&config(), &bench.broker), Vendor::default());
    bench.server().kill9();
    bench.status(|status| !status.connected).await;
    assert_eq!(body_of(&cache, &vendor, found("bars")).await, ("bars".into(), Origin::Fetched));
    assert_eq!(body_of(&cache, &vendor, failed()).await, ("bars".into(), Origin::Memory));
    let stats = cache.stats();
    assert!(!stats.connected && stats.tiers.redis.errors > 0);
    bench.server().restart().await;
    bench.connected().await;
    assert_eq!(body_of(&cache, &vendor, failed()).await, ("bars".into(), Origin::Memory));
    assert_eq!(vendor.asked(), 1);
}

#[tokio::test]
async fn switched_off_it_keeps_nothing_and_still_shares_a_fetch_under_way() {
    let bench = Bench::memory(SHORT);
    let (cache, vendor) = (Cache::new(&Config { enabled: false, ..config() }, &bench.broker), Vendor::default());
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let (cache, vendor) = (cache.clone(), vendor.clone());
        asking.spawn(async move { cache.get(KEY, || vendor.says_slowly(found("bars"))).await.unwrap() });
    }
    bench.until("all have asked", async || cache.stats().tiers.memory.misses == 10).await;
    vendor.let_go.notify_one();
    while timeout(DEADLINE, asking.join_next()).await.unwrap().is_some() {}
    assert_eq!(vendor.asked(), 1);
    assert_eq!(body_of(&cache, &vendor, found("anew")).await, ("anew".into(), Origin::Fetched));
    assert_eq!(bench.broker.store.keys_with_prefix("").await.unwrap(), Vec::<String>::new());
    let stats = cache.stats();
    assert_eq!((stats.enabled, stats.hits, stats.hit_rate, stats.tiers.memory.entries), (false, 0, 0.0, 0));
}

#[tokio::test]
async fn a_clear_takes_one_symbol_or_everything_out_of_both_tiers() {
    let bench = Bench::memory(SHORT);
    let (cache, vendor) = (Cache::new(&config(), &bench.broker), Vendor::default());
    let (store, symbol) = (&bench.broker.store, Symbol::parse("AAPL").unwrap());
    for key in [keys::quote(symbol), "cache:quote:MSFT".into(), "ratelimit:massive".into()] {
        store.set(&key, "1".into(), None).await.unwrap();
    }
    body_of(&cache, &vendor, found("bars")).await;
    assert_eq!(cache.clear(Some(symbol)).await, Ok(2));
    assert_eq!(body_of(&cache, &vendor, found("new bars")).await, ("new bars".into(), Origin::Fetched));
    assert_eq!(cache.clear(None).await, Ok(2));
    assert_eq!(cache.stats().tiers.memory.entries, 0);
    assert_eq!(store.keys_with_prefix("").await.unwrap(), ["ratelimit:massive"], "the cache's keys alone");
}

#[tokio::test]
async fn a_lock_whose_holder_died_runs_out() {
    let bench = Bench::memory(SHORT);
    let (cache, vendor) = (Cache::new(&config(), &bench.broker), Vendor::default());
    let lock = [keys::LOCK_PREFIX, KEY].concat();
    assert_eq!(bench.broker.store.set_if_absent(&lock, "1".into(), Duration::from_millis(200)).await, Ok(true));
    assert_eq!(body_of(&cache, &vendor, found("bars")).await, ("bars".into(), Origin::Fetched));
    assert_eq!(vendor.asked(), 1);
}
