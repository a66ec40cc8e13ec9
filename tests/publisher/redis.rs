//! The publisher over a real Redis: what others see in its keys and channels, and what becomes of quotes while it is away.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tickcast::broker::{Channel, Event};
use tickcast::cache;
use tickcast::market::{Listings, Symbol};
use tickcast::provider::replay::Replay;
use tickcast::provider::simulated::Simulated;
use tickcast::provider::{self, Name, Provider};
use tickcast::publisher::{Config, Handle, Parts, Publisher};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::stage::Gateway;
use super::support::DEADLINE;
use super::support::bench::{Bench, Reader, SHORT};
use super::support::redis::{RawConnection, Reply};

const FAST: Duration = Duration::from_millis(50);

fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| Symbol::parse(text).unwrap()).collect()
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(bench: &Bench, provider: Arc<dyn Provider>, pinned: &[&str], indices: &[&str]) -> Running {
        let config = Config {
            providers: vec![provider.name()],
            interval: Some(FAST),
            pinned: symbols(pinned),
            indices: symbols(indices),
            listings: Listings::default(),
            closed_stretch: NonZeroU32::MIN,
            enabled: true,
            settings: BTreeMap::new(),
        };
        let cache = cache::Config {
            enabled: true,
            ttl_latest: Duration::from_secs(300),
            ttl_recent: Duration::from_secs(3600),
            ttl_list: Duration::from_secs(21_600),
            popular: symbols(&["MSFT"]),
            popular_multiplier: 2,
            max_bytes: 1 << 20,
        };
        let parts = Parts { name: "p".into(), broker: bench.broker.clone(), providers: vec![provider], cache };
        let publisher = Publisher::new(parts, &config);
        let (handle, stop) = (publisher.handle(), CancellationToken::new());
        Running { handle, task: tokio::spawn(publisher.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.expect("it stops").expect("it does not panic");
    }
}

fn simulated() -> Arc<dyn Provider> {
    Arc::new(Simulated::new(&provider::Config { seed: Some(1), ..provider::Config::default() }))
}

fn cached(bench: &mut Bench, text: &str) -> Option<Value> {
    bench.server().get(&format!("cache:quote:{text}")).map(|json| serde_json::from_str(&json).unwrap())
}

/// Waits until the cached quote of `text` is as wanted.
async fn until_cached(bench: &mut Bench, text: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let wait = async {
        loop {
            if let Some(quote) = cached(bench, text).filter(&wanted) {
                return quote;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("no such quote of {text} in Redis"))
}

/// The next message; a busy machine may miss a probe or two in between.
async fn message(reader: &mut Reader) -> Bytes {
    loop {
        if let Event::Message(_, payload) = reader.event().await {
            return payload;
        }
    }
}

fn seq(update: &Value) -> u64 {
    update["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn a_real_price_history_is_replayed_to_whoever_watches_it() {
    let mut bench = Bench::redis(SHORT).await;
    let mut updates = bench.reader(&[Channel::Updates]).await;
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "data", "stocks_monthly.csv"].iter().collect();
    let history = std::fs::read_to_string(&path).unwrap();
    let config = provider::Config { file: Some(path), repeat: Some(true), ..provider::Config::default() };
    let replay = Arc::new(Replay::open(&config).await.unwrap());
    assert_eq!(replay.name(), Name::Replay);
    let publisher = Running::start(&bench, replay, &[], &[]);
    let _gateway = Gateway::watching(&bench.broker, "g", &["MSFT", "GOOG"]).await;

    let mut seen = BTreeMap::<String, Vec<u64>>::new();
    while seen.len() < 2 || seen.values().any(|seqs| seqs.len() < 5) {
        let message: Value = serde_json::from_slice(&message(&mut updates).await).unwrap();
        for update in message.as_array().unwrap_or(&vec![message.clone()]) {
            let (symbol, data) = (update["symbol"].as_str().unwrap(), &update["data"]);
            let day: Timestamp = data["timestamp"].as_str().unwrap().parse().unwrap();
            let row = format!("{symbol},{},{}\n", day.strftime("%b %-d %Y"), data["price"]);
            assert!(history.contains(&row), "{row} is no row of the file: {update}");
            seen.entry(symbol.to_owned()).or_default().push(seq(update));
        }
    }
    assert!(seen.values().all(|seqs| seqs.is_sorted_by(|a, b| a < b)), "{seen:?}");
    let quote = cached(&mut bench, "MSFT").unwrap();
    assert_eq!((&quote["data"]["source"], &quote["type"]), (&"replay".into(), &"price_update".into()));
    let popular = bench.server().command(&["TTL", "cache:quote:MSFT"]).number();
    let usual = bench.server().command(&["TTL", "cache:quote:GOOG"]).number();
    assert!((500..=600).contains(&popular) && (200..=300).contains(&usual), "{popular} {usual}");
    publisher.stop().await;
}

#[tokio::test]
async fn what_was_fetched_while_redis_was_away_is_there_when_it_is_back() {
    let mut bench = Bench::redis(SHORT).await;
    let publisher = Running::start(&bench, simulated(), &["A", "B"], &["^X"]);
    let before = until_cached(&mut bench, "A", |_| true).await;
    bench.server().kill9();
    let handle = publisher.handle.clone();
    bench.until("quotes are kept", async || handle.stats().buffered == 3).await;
    let kept = handle.stats();
    assert!(kept.leader, "it goes on polling");
    bench.server().restart().await;
    // An empty one: nothing of it knew the epoch.
    for text in ["A", "B", "^X"] {
        let after = until_cached(&mut bench, text, |_| true).await;
        assert!(seq(&after) > seq(&before), "{text}: {after} after {before}");
    }
    bench.until("nothing waits", async || handle.stats().buffered == 0).await;
    publisher.stop().await;
    let indices: Value = serde_json::from_str(&bench.server().get("cache:indices").unwrap()).unwrap();
    assert_eq!(indices[0]["symbol"], "^X");
}

#[tokio::test]
async fn redis_cli_pauses_and_resumes_and_a_restart_changes_nothing() {
    let mut bench = Bench::redis(SHORT).await;
    let publisher = Running::start(&bench, simulated(), &["A"], &[]);
    until_cached(&mut bench, "A", |_| true).await;
    let pause = r#"{"action":"pause","data":{"reason":"maintenance"}}"#;
    bench.server().command(&["PUBLISH", "market-data:control", pause]);
    let handle = publisher.handle.clone();
    bench.until("it is paused", async || handle.stats().state == "paused").await;
    publisher.stop().await;
    let last = cached(&mut bench, "A").unwrap();
    let recorded: Value = serde_json::from_str(&bench.server().get("publisher:state").unwrap()).unwrap();
    assert_eq!(recorded["all"]["reason"], "maintenance");

    let publisher = Running::start(&bench, simulated(), &["A"], &[]);
    let handle = publisher.handle.clone();
    bench.until("it leads again", async || handle.stats().leader && handle.stats().state == "paused").await;
    sleep(10 * FAST).await;
    assert_eq!(cached(&mut bench, "A").unwrap(), last, "nothing is published while it is paused");
    bench.server().command(&["PUBLISH", "market-data:control", r#"{"action":"resume"}"#]);
    until_cached(&mut bench, "A", |quote| seq(quote) > seq(&last)).await;
    publisher.stop().await;
}

/// What clients sent, as MONITOR saw it until now; what scripts did on the server is none of it.
async fn sent(bench: &mut Bench, mut monitor: RawConnection) -> Vec<String> {
    bench.server().command(&["ECHO", "the end of it"]);
    let reading = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        loop {
            let Reply::Status(line) = monitor.reply() else { panic!("MONITOR tells lines") };
            if line.contains("the end of it") {
                return lines;
            }
            lines.push(line);
        }
    });
    let lines = timeout(DEADLINE, reading).await.expect("MONITOR tells all").unwrap();
    lines.into_iter().filter(|line| !line.contains(" lua] ")).collect()
}

#[tokio::test]
async fn one_interval_of_500_symbols_is_one_message_and_two_commands() {
    let mut bench = Bench::redis(SHORT).await;
    let mut updates = bench.reader(&[Channel::Updates]).await;
    let names: Vec<String> = (0..499).map(|number| format!("S{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut monitor = bench.server().connect();
    assert_eq!(monitor.command(&["MONITOR"]), Reply::Status("OK".into()));
    let (scripts, started) = (bench.server().calls("evalsha"), Instant::now());
    let publisher = Running::start(&bench, simulated(), &names, &["^X"]);
    let mut intervals = 0;
    while intervals < 5 {
        let message: Value = serde_json::from_slice(&message(&mut updates).await).unwrap();
        assert_eq!(message.as_array().unwrap().len(), 500);
        intervals += 1;
    }
    publisher.stop().await;
    while timeout(Duration::from_millis(200), message(&mut updates)).await.is_ok() {
        intervals += 1;
    }

    let sent = sent(&mut bench, monitor).await;
    let count = |holds: fn(&str) -> bool| sent.iter().filter(|line| holds(line)).count();
    // Each of these is one round trip. The first time the script is sent whole, as Redis does not know it yet.
    let publishes = count(|line| line.contains("cache:quote:"));
    let indices = count(|line| line.contains("cache:indices"));
    assert!((intervals..=intervals + 2).contains(&publishes), "{publishes} commands for {intervals} publishes");
    assert_eq!(indices, intervals);
    // So says INFO commandstats too. Beside publishing, scripts are called for the lease, for who watches what, and to
    // probe the connection: each 200 ms here.
    let scripts = usize::try_from(bench.server().calls("evalsha") - scripts).unwrap();
    let others = 20 + 8 * usize::try_from(started.elapsed().as_secs() + 1).unwrap();
    assert!(scripts <= intervals + others, "{scripts} calls for {intervals} intervals");
}
