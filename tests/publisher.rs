//! The publisher's claims, in virtual time, over the embedded broker and a line to it that can be cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use support::DEADLINE;
use support::switch::Switch;
use tickcast::broker::{Broker, Channel, Event, Feed, GatewayId, Timing, keys, memory};
use tickcast::cache;
use tickcast::market::{Number, Quote, Symbol};
use tickcast::provider::{self, Fetched, Left, Missing, Name, Provider, Why};
use tickcast::publisher::{Config, Handle, Parts, Publisher};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(5);

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

fn embedded() -> Broker {
    memory::start(Timing::default())
}

/// What is answered to the n-th call.
type Answers = dyn Fn(usize, &[Symbol]) -> Fetched + Send + Sync;

/// A provider that answers as told and remembers what it was asked, and when.
struct Vendor {
    asked: Mutex<Vec<(Duration, Vec<String>)>>,
    started: Instant,
    answer: Box<Answers>,
    batch: NonZeroUsize,
    takes: Duration,
}

impl Vendor {
    fn build(answer: impl Fn(usize, &[Symbol]) -> Fetched + Send + Sync + 'static) -> Vendor {
        Vendor {
            asked: Mutex::default(),
            started: Instant::now(),
            answer: Box::new(answer),
            batch: NonZeroUsize::MAX,
            takes: Duration::ZERO,
        }
    }

    fn new(answer: impl Fn(usize, &[Symbol]) -> Fetched + Send + Sync + 'static) -> Arc<Vendor> {
        Arc::new(Vendor::build(answer))
    }

    /// Every call has a new price: the call's number.
    fn moving() -> Arc<Vendor> {
        Vendor::new(|call, symbols| quotes(symbols, call as u64 + 1))
    }

    fn asked(&self) -> Vec<(Duration, Vec<String>)> {
        self.asked.lock().unwrap().clone()
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Whole seconds at which `text` was asked for.
    fn seconds(&self, text: &str) -> Vec<u64> {
        let asked = self.asked();
        asked.iter().filter(|(_, symbols)| symbols.iter().any(|s| s == text)).map(|(at, _)| at.as_secs()).collect()
    }
}

fn quotes(symbols: &[Symbol], price: u64) -> Fetched {
    let quote = |&symbol: &Symbol| Quote::new(symbol, Number::from(price), "massive");
    Fetched { quotes: symbols.iter().map(quote).collect(), ..Fetched::default() }
}

#[async_trait]
impl Provider for Vendor {
    fn name(&self) -> Name {
        Name::Massive
    }
    fn batch(&self) -> NonZeroUsize {
        self.batch
    }
    fn interval(&self) -> Duration {
        INTERVAL
    }
    fn serves(&self, symbol: Symbol) -> bool {
        !symbol.as_str().starts_with("NONE")
    }
    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        let call = {
            let mut asked = self.asked.lock().unwrap();
            asked.push((self.started.elapsed(), symbols.iter().map(ToString::to_string).collect()));
            asked.len() - 1
        };
        sleep(self.takes).await;
        (self.answer)(call, symbols)
    }
    fn status(&self) -> provider::Status {
        provider::Status { calls: self.calls() as u64, ..provider::Status::default() }
    }
}

fn config() -> Config {
    Config {
        providers: vec![Name::Massive],
        interval: None,
        pinned: vec![],
        indices: vec![],
        enabled: true,
        settings: BTreeMap::new(),
    }
}

fn cache_config() -> cache::Config {
    cache::Config {
        enabled: true,
        ttl_latest: Duration::from_secs(300),
        ttl_recent: Duration::from_secs(3600),
        ttl_list: Duration::from_secs(21_600),
        popular: vec![],
        popular_multiplier: 2,
        max_bytes: 1 << 20,
    }
}

/// A publisher that runs.
struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(name: &str, broker: &Broker, provider: Arc<dyn Provider>, config: &Config) -> Running {
        let parts =
            Parts { name: name.into(), broker: broker.clone(), providers: vec![provider], cache: cache_config() };
        let publisher = Publisher::new(parts, config);
        let (handle, stop) = (publisher.handle(), CancellationToken::new());
        let task = tokio::spawn(publisher.run(stop.clone()));
        Running { handle, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.expect("it stops").expect("it does not panic");
    }

    /// As by `kill -9`.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A gateway with watchers, until dropped.
struct Gateway {
    broker: Broker,
    id: GatewayId,
    renewing: JoinHandle<()>,
}

impl Gateway {
    async fn watching(broker: &Broker, id: &str, texts: &[&str]) -> Gateway {
        let id = GatewayId(id.into());
        let counts: Vec<(Symbol, u32)> = texts.iter().map(|text| (symbol(text), 1)).collect();
        broker.registry.report(&id, &counts).await.unwrap();
        let (registry, own) = (Arc::clone(&broker.registry), id.clone());
        let renewing = tokio::spawn(async move {
            loop {
                sleep(2 * SECOND).await;
                registry.report(&own, &[]).await.unwrap();
            }
        });
        Gateway { broker: broker.clone(), id, renewing }
    }

    async fn set(&self, text: &str, watchers: u32) {
        self.broker.registry.report(&self.id, &[(symbol(text), watchers)]).await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Hears one channel's messages, for as long as a test likes.
struct Listener {
    feed: Box<dyn Feed>,
    messages: VecDeque<String>,
}

impl Listener {
    async fn text(&mut self) -> String {
        loop {
            if let Some(text) = self.messages.pop_front() {
                return text;
            }
            let mut events = Vec::new();
            self.feed.next(&mut events).await;
            for event in events {
                if let Event::Message(_, payload) = event {
                    self.messages.push_back(String::from_utf8(payload.to_vec()).unwrap());
                }
            }
        }
    }
}

fn listen(broker: &Broker, channel: Channel) -> Listener {
    Listener { feed: broker.feeds.subscribe(&[channel]), messages: VecDeque::new() }
}

/// The next publish, as its updates.
async fn next(updates: &mut Listener) -> Vec<Value> {
    let text = timeout(DEADLINE, updates.text()).await.expect("something is published");
    match serde_json::from_str(&text).unwrap() {
        Value::Array(updates) => updates,
        update => vec![update],
    }
}

fn show(updates: &[Value]) -> String {
    let mut shown: Vec<String> = updates
        .iter()
        .map(|update| format!("{}{}", update["symbol"].as_str().unwrap(), update["data"]["price"]))
        .collect();
    shown.sort();
    shown.join(" ")
}

fn seqs(updates: &[Value]) -> Vec<u64> {
    updates.iter().map(|update| update["seq"].as_u64().unwrap()).collect()
}

/// Nothing is published for this long.
async fn silence(updates: &mut Listener, span: Duration) {
    let heard = timeout(span, updates.text()).await;
    assert!(heard.is_err(), "published: {heard:?}");
}

async fn say(broker: &Broker, message: Value) {
    broker.publish.send(Channel::Control, message.to_string().as_bytes()).await.unwrap();
}

async fn stored(broker: &Broker, key: &str) -> Option<Value> {
    let values = broker.store.get_many(&[key.to_owned()]).await.unwrap();
    values.into_iter().next().flatten().map(|json| serde_json::from_slice(&json).unwrap())
}

// ── demand ──────────────────────────────────────────────────────────────────────────────────────────────────────────

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

// ── failures of providers ───────────────────────────────────────────────────────────────────────────────────────────

fn left(symbols: &[Symbol], why: Why, retry_in: Duration) -> Fetched {
    Fetched { left: Some(Left { symbols: symbols.to_vec(), why, retry_in }), ..Fetched::default() }
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_budget_is_left_alone_until_it_said() {
    let vendor = Vendor::new(|call, symbols| match call {
        0 => left(symbols, Why::Budget, 12 * SECOND),
        _ => quotes(symbols, call as u64),
    });
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    let gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(3 * SECOND).await;
    gateway.set("B", 1).await;
    assert_eq!(show(&next(&mut updates).await), "A1 B1");
    assert_eq!((vendor.seconds("A"), vendor.seconds("B")), (vec![0, 12], vec![12]));
    let calls = publisher.handle.stats().providers["massive"].calls;
    assert_eq!((calls.expected, calls.actual), (1, 2), "what was never asked was not expected either");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_symbol_is_not_asked_for_in_every_cycle() {
    let vendor = Vendor::new(|call, symbols| {
        let mut fetched = quotes(symbols, call as u64 + 1);
        fetched.quotes.retain(|quote| quote.symbol.as_str() != "ZZZZ");
        fetched.missing = vec![(symbol("ZZZZ"), Missing::UnknownSymbol)];
        fetched
    });
    let broker = embedded();
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["ZZZZ", "A"]).await;
    sleep(600 * SECOND).await;
    assert_eq!(vendor.seconds("ZZZZ").len(), 1);
    assert!(vendor.seconds("A").len() > 100);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_does_not_end_the_publisher() {
    let vendor = Vendor::new(|call, symbols| match call {
        0 => panic!("a test's panic"),
        _ => quotes(symbols, 7),
    });
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &broker, vendor, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A7");
    publisher.stop().await;
}

// ── the broker away ─────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(start_paused = true)]
async fn the_newest_quote_from_while_the_broker_was_away_arrives_first_when_it_is_back() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &far, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    let before = next(&mut updates).await;
    line.cut();
    silence(&mut updates, 58 * SECOND).await;
    let polled = vendor.calls();
    assert!(polled >= 11, "it goes on polling");
    assert_eq!(publisher.handle.stats().buffered, 2, "one quote a symbol");
    let back = Instant::now();
    line.mend();
    let after = next(&mut updates).await;
    assert!(back.elapsed() < SECOND);
    assert_eq!(show(&after), format!("A{polled} B{polled}"));
    assert!(seqs(&after).iter().min() > seqs(&before).iter().max());
    assert_eq!(show(&next(&mut updates).await), format!("A{0} B{0}", polled + 1));
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn demand_that_was_missed_while_the_broker_was_away_is_learnt_on_return() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let _publisher = Running::start("p", &far, vendor.clone(), &config());
    let gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    line.cut();
    sleep(SECOND).await;
    gateway.set("B", 1).await;
    sleep(9 * SECOND).await;
    assert!(vendor.seconds("B").is_empty());
    line.mend();
    sleep(SECOND).await;
    assert_eq!(vendor.seconds("B").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn quotes_that_wait_when_it_stops_are_published() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &far, vendor, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    next(&mut updates).await;
    line.cut();
    sleep(6 * SECOND).await;
    line.mend();
    publisher.stop().await;
    assert_eq!(show(&next(&mut updates).await), "A2");
}

// ── several publishers ──────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(start_paused = true)]
async fn one_leads_and_another_takes_over_within_ten_seconds_of_its_death() {
    let (broker, first, second) = (embedded(), Vendor::moving(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let leader = Running::start("same name", &broker, first.clone(), &config());
    sleep(SECOND).await;
    let standby = Running::start("same name", &broker, second.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(20 * SECOND).await;
    assert_eq!((leader.handle.is_leader(), standby.handle.is_leader(), second.calls()), (true, false, 0));
    let mut last = 0;
    while let Ok(update) = timeout(SECOND / 10, next(&mut updates)).await {
        last = seqs(&update)[0];
    }
    leader.kill().await;
    let died = Instant::now();
    let update = next(&mut updates).await;
    assert!(died.elapsed() < 10 * SECOND, "{:?}", died.elapsed());
    assert!(standby.handle.is_leader() && seqs(&update)[0] > last);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_the_lead_to_the_next() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let leader = Running::start("p1", &broker, vendor.clone(), &config());
    sleep(SECOND).await;
    let standby = Running::start("p2", &broker, vendor, &config());
    sleep(SECOND).await;
    leader.stop().await;
    let stopped = Instant::now();
    while !standby.handle.is_leader() {
        sleep(SECOND / 100).await;
        assert!(stopped.elapsed() < 10 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_kept_while_another_took_over_reaches_nobody() {
    let (broker, cut_off, other) = (embedded(), Vendor::moving(), Vendor::new(|_, symbols| quotes(symbols, 1000)));
    let (line, far) = Switch::new(&broker);
    let mut updates = listen(&broker, Channel::Updates);
    let former = Running::start("p1", &far, cut_off, &config());
    sleep(SECOND).await;
    let _other = Running::start("p2", &broker, other, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    line.cut();
    assert_eq!(show(&next(&mut updates).await), "A1000", "the other one took over");
    assert!(former.handle.is_leader() && former.handle.stats().buffered == 1, "the former leader does not know yet");
    line.mend();
    silence(&mut updates, 30 * SECOND).await;
    let stats = former.handle.stats();
    assert_eq!((stats.leader, stats.buffered), (false, 0));
}

#[tokio::test(start_paused = true)]
async fn seq_rises_over_a_restart_even_at_once_and_after_a_lost_record() {
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    let mut last = 0;
    for run in 0..4 {
        let publisher = Running::start("p", &broker, Vendor::moving(), &config());
        for _ in 0..2 {
            for seq in seqs(&next(&mut updates).await) {
                assert!(seq > last, "run {run}: {seq} after {last}");
                assert!(seq < 1 << 53, "exact in JavaScript");
                last = seq;
            }
        }
        if run % 2 == 0 { publisher.stop().await } else { publisher.kill().await }
    }
}

// ── control ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(start_paused = true)]
async fn a_pause_works_within_a_second_and_a_resume_too() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let config = Config { interval: Some(SECOND), ..config() };
    let publisher = Running::start("p", &broker, vendor.clone(), &config);
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    next(&mut updates).await;
    say(&broker, json!({"action": "pause", "data": {"reason": "maintenance"}})).await;
    while timeout(SECOND, next(&mut updates)).await.is_ok() {}
    let calls = vendor.calls();
    silence(&mut updates, 60 * SECOND).await;
    assert_eq!(vendor.calls(), calls);
    let stats = publisher.handle.stats();
    assert_eq!((stats.state, stats.paused.unwrap().all.unwrap().reason.as_deref()), ("paused", Some("maintenance")));
    let resumed = Instant::now();
    say(&broker, json!({"action": "resume"})).await;
    next(&mut updates).await;
    assert!(resumed.elapsed() <= SECOND);
    assert_eq!(publisher.handle.stats().state, "running");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_pause_is_not_published_until_it_is_resumed() {
    let vendor = Vendor { takes: 2 * SECOND, ..Vendor::build(|_, symbols| quotes(symbols, 1)) };
    let (broker, vendor) = (embedded(), Arc::new(vendor));
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    assert_eq!(vendor.calls(), 1);
    say(&broker, json!({"action": "pause"})).await;
    silence(&mut updates, 20 * SECOND).await;
    say(&broker, json!({"action": "resume"})).await;
    assert_eq!(show(&next(&mut updates).await), "A1", "the vendor repeats itself, but nobody has heard it");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_no_longer_than_the_vendor_takes() {
    let vendor =
        Vendor { batch: NonZeroUsize::new(2).unwrap(), ..Vendor::build(|call, symbols| quotes(symbols, call as u64)) };
    let (broker, vendor) = (embedded(), Arc::new(vendor));
    let config = Config { pinned: ["A", "B", "C", "D", "E"].map(symbol).into(), ..config() };
    let publisher = Running::start("p", &broker, vendor.clone(), &config);
    sleep(SECOND).await;
    let mut sizes: Vec<usize> = vendor.asked().iter().map(|(_, symbols)| symbols.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
    assert_eq!(publisher.handle.stats().published, 5);
}

#[tokio::test(start_paused = true)]
async fn a_paused_publisher_stays_paused_over_a_restart() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    next(&mut updates).await;
    say(&broker, json!({"action": "pause", "data": {"reason": "maintenance"}})).await;
    sleep(SECOND).await;
    publisher.kill().await;
    let calls = vendor.calls();
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    silence(&mut updates, 60 * SECOND).await;
    assert_eq!(vendor.calls(), calls);
    let paused = publisher.handle.stats().paused.unwrap().all.unwrap();
    assert_eq!(paused.reason.as_deref(), Some("maintenance"));
    say(&broker, json!({"action": "resume"})).await;
    next(&mut updates).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_can_be_narrowed_to_symbols_and_to_a_provider() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    sleep(SECOND).await;
    say(&broker, json!({"action": "pause", "data": {"symbols": ["a"]}})).await;
    sleep(5 * SECOND).await;
    while let Ok(update) = timeout(10 * SECOND, next(&mut updates)).await {
        if show(&update).starts_with('B') {
            break;
        }
    }
    assert!(vendor.seconds("A").iter().all(|second| *second <= 1));
    say(&broker, json!({"action": "pause", "data": {"provider": "polygon"}})).await;
    sleep(SECOND).await;
    let calls = vendor.calls();
    sleep(60 * SECOND).await;
    assert_eq!(vendor.calls(), calls, "the provider's other name is known too");
    say(&broker, json!({"action": "resume", "data": {"provider": "massive"}})).await;
    sleep(SECOND).await;
    assert_eq!(vendor.asked().last().unwrap().1, ["B"], "the symbol is still paused");
}

#[tokio::test(start_paused = true)]
async fn a_pause_survives_a_broker_that_lost_its_keys() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let _publisher = Running::start("p", &far, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    say(&broker, json!({"action": "pause"})).await;
    sleep(SECOND).await;
    line.cut();
    sleep(SECOND).await;
    broker.store.remove(&[keys::STATE.to_owned()]).await.unwrap();
    line.mend();
    sleep(SECOND).await;
    assert!(stored(&broker, keys::STATE).await.unwrap()["all"].is_object());
    let calls = vendor.calls();
    sleep(60 * SECOND).await;
    assert_eq!(vendor.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_pause_heard_by_others_while_the_line_was_cut_is_learnt_on_return() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let leader = Running::start("p1", &far, vendor, &config());
    sleep(SECOND).await;
    let _standby = Running::start("p2", &broker, Vendor::moving(), &config());
    line.cut();
    sleep(SECOND).await;
    say(&broker, json!({"action": "pause"})).await;
    sleep(SECOND).await;
    assert_eq!(leader.handle.stats().state, "running");
    line.mend();
    sleep(SECOND).await;
    assert_eq!(leader.handle.stats().state, "paused");
}

async fn answer(replies: &mut Listener) -> Value {
    let text = timeout(DEADLINE, replies.text()).await.expect("it is answered");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_with_an_id_is_answered() {
    let broker = embedded();
    let mut replies = listen(&broker, Channel::Replies);
    let _publisher = Running::start("p-1", &broker, Vendor::moving(), &config());
    sleep(SECOND).await;
    for (message, ok, code) in [
        (json!({"action": "status", "id": 1}), true, None),
        (json!({"action": "pause", "id": "x"}), true, None),
        (json!({"action": "refresh", "id": 2}), false, Some("paused")),
        (json!({"action": "resume", "id": 3}), true, None),
        (json!({"action": "refresh", "data": {"symbols": ["A"]}, "id": 4}), true, None),
        (json!({"action": "set_interval", "data": {"seconds": 0}, "id": 5}), false, Some("invalid_request")),
        (
            json!({"action": "set_interval", "data": {"seconds": 1, "provider": "yahoo"}, "id": 6}),
            false,
            Some("unknown_provider"),
        ),
        (json!({"action": "pause", "data": {"provider": "nobody"}, "id": 7}), false, Some("unknown_provider")),
        (json!({"action": "stop", "id": 8}), false, Some("unknown_action")),
    ] {
        say(&broker, message.clone()).await;
        let reply = answer(&mut replies).await;
        assert_eq!((&reply["id"], &reply["ok"]), (&message["id"], &json!(ok)), "{message}: {reply}");
        assert_eq!(reply["error"]["code"].as_str(), code, "{message}: {reply}");
        assert_eq!((&reply["publisher"], &reply["state"]["leader"]), (&json!("p-1"), &json!(true)));
    }
    for message in [json!({"action": "drain", "data": {"gateway": "g"}, "id": 9}), json!({"action": "status"})] {
        say(&broker, message).await;
    }
    silence(&mut replies, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_polls_at_once_watched_or_not_and_only_the_leader_obeys_it() {
    let (broker, first, second) = (embedded(), Vendor::new(|_, symbols| quotes(symbols, 1)), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let mut replies = listen(&broker, Channel::Replies);
    let _leader = Running::start("p1", &broker, first.clone(), &config());
    sleep(SECOND).await;
    let _standby = Running::start("p2", &broker, second.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    sleep(2 * SECOND).await;
    say(&broker, json!({"action": "refresh", "data": {"symbols": ["COLD", "A"]}, "id": 1})).await;
    assert_eq!(answer(&mut replies).await["publisher"], "p1");
    assert_eq!(show(&next(&mut updates).await), "A1 COLD1", "unchanged or not");
    silence(&mut replies, 20 * SECOND).await;
    assert_eq!((first.seconds("COLD").len(), second.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_interval_can_be_set_while_it_runs() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    say(&broker, json!({"action": "set_interval", "data": {"seconds": 1}})).await;
    sleep(10 * SECOND).await;
    assert!((9..=12).contains(&vendor.calls()), "{} calls", vendor.calls());
}

#[tokio::test(start_paused = true)]
async fn stats_have_the_documented_shape() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let publisher = Running::start("p-1", &broker, vendor, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    sleep(SECOND).await;
    let mut stats = serde_json::to_value(publisher.handle.stats()).unwrap();
    let epoch = stats["epoch"].take();
    assert!(epoch.as_u64().unwrap() > 0);
    assert_eq!(
        stats,
        json!({
            "state": "running", "leader": true, "name": "p-1", "epoch": null,
            "paused": {"all": null, "providers": {}, "symbols": {}},
            "symbols": 2, "unserved": 0, "buffered": 0, "published": 2, "unchanged": 0, "last_publish_age_ms": 1000,
            "providers": {"massive": {
                "breaker": "closed", "budget": {}, "calls": {"expected": 1, "actual": 1}, "queued": 0, "in_flight": 0,
            }},
        })
    );
}
