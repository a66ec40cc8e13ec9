//! The stage: a provider that answers as told, a publisher that runs, a gateway with watchers, a listener.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::DEADLINE;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tickcast::broker::{Broker, Channel, Event, Feed, GatewayId, Timing, memory};
use tickcast::cache;
use tickcast::market::{Listings, Number, Quote, Symbol};
use tickcast::provider::{self, Fetched, Name, Provider};
use tickcast::publisher::hours::Clock;
use tickcast::publisher::{Config, Handle, Parts, Publisher};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

pub(crate) fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

pub(crate) fn embedded() -> Broker {
    memory::start(Timing::default())
}

/// What is answered to the n-th call.
type Answers = dyn Fn(usize, &[Symbol]) -> Fetched + Send + Sync;

/// A provider that answers as told and remembers what it was asked, and when.
pub(crate) struct Vendor {
    asked: Mutex<Vec<(Duration, Vec<String>)>>,
    started: Instant,
    answer: Box<Answers>,
    name: Name,
    batch: NonZeroUsize,
    takes: Duration,
}

impl Vendor {
    fn build(answer: impl Fn(usize, &[Symbol]) -> Fetched + Send + Sync + 'static) -> Vendor {
        Vendor {
            asked: Mutex::default(),
            started: Instant::now(),
            answer: Box::new(answer),
            name: Name::Massive,
            batch: NonZeroUsize::MAX,
            takes: Duration::ZERO,
        }
    }

    pub(crate) fn new(answer: impl Fn(usize, &[Symbol]) -> Fetched + Send + Sync + 'static) -> Arc<Vendor> {
        Arc::new(Vendor::build(answer))
    }

    /// Takes at most `batch` symbols a call, and this long to answer.
    pub(crate) fn with(
        batch: NonZeroUsize,
        takes: Duration,
        answer: impl Fn(usize, &[Symbol]) -> Fetched + Send + Sync + 'static,
    ) -> Arc<Vendor> {
        Arc::new(Vendor { batch, takes, ..Vendor::build(answer) })
    }

    /// Another one than the usual.
    pub(crate) fn named(
        name: Name,
        answer: impl Fn(usize, &[Symbol]) -> Fetched + Send + Sync + 'static,
    ) -> Arc<Vendor> {
        Arc::new(Vendor { name, ..Vendor::build(answer) })
    }

    /// Every call has a new price: the call's number.
    pub(crate) fn moving() -> Arc<Vendor> {
        Vendor::new(|call, symbols| quotes(symbols, call as u64 + 1))
    }

    pub(crate) fn asked(&self) -> Vec<(Duration, Vec<String>)> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Whole seconds at which `text` was asked for.
    pub(crate) fn seconds(&self, text: &str) -> Vec<u64> {
        let asked = self.asked();
        asked.iter().filter(|(_, symbols)| symbols.iter().any(|s| s == text)).map(|(at, _)| at.as_secs()).collect()
    }
}

pub(crate) fn quotes(symbols: &[Symbol], price: u64) -> Fetched {
    let quote = |&symbol: &Symbol| Quote::new(symbol, Number::from(price), "massive");
    Fetched { quotes: symbols.iter().map(quote).collect(), ..Fetched::default() }
}

#[async_trait]
impl Provider for Vendor {
    fn name(&self) -> Name {
        self.name
    }
    fn batch(&self) -> NonZeroUsize {
        self.batch
    }
    fn interval(&self) -> Duration {
        INTERVAL
    }
    /// All but `NONE…`, and `MASSIVE…` only when it is that one.
    fn serves(&self, symbol: Symbol) -> bool {
        let others = symbol.as_str().starts_with("MASSIVE") && self.name != Name::Massive;
        !others && !symbol.as_str().starts_with("NONE")
    }
    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        let call = {
            let mut asked = self.asked.lock().unwrap();
            asked.push((self.started.elapsed(), symbols.iter().map(ToString::to_string).collect()));
            asked.len() - 1
        };
        sleep(self.takes).await;
        Fetched { calls: 1, ..(self.answer)(call, symbols) }
    }
    fn status(&self) -> provider::Status {
        provider::Status { calls: self.calls() as u64, ..provider::Status::default() }
    }
}

pub(crate) fn config() -> Config {
    Config {
        providers: vec![Name::Massive],
        interval: None,
        pinned: vec![],
        indices: vec![],
        listings: Listings::default(),
        // Whatever the hour is at which tests run.
        closed_stretch: NonZeroU32::MIN,
        enabled: true,
        settings: BTreeMap::new(),
    }
}

pub(crate) fn cache_config() -> cache::Config {
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
pub(crate) struct Running {
    pub(crate) handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(name: &str, broker: &Broker, provider: Arc<dyn Provider>, config: &Config) -> Running {
        Running::of(name, broker, vec![provider], config, Arc::new(Timestamp::now))
    }

    /// With several providers, and a clock that says when markets trade.
    pub(crate) fn of(
        name: &str,
        broker: &Broker,
        providers: Vec<Arc<dyn Provider>>,
        config: &Config,
        clock: Clock,
    ) -> Running {
        let parts = Parts { name: name.into(), broker: broker.clone(), providers, cache: cache_config() };
        let publisher = Publisher::with_clock(parts, config, clock);
        let (handle, stop) = (publisher.handle(), CancellationToken::new());
        let task = tokio::spawn(publisher.run(stop.clone()));
        Running { handle, stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.expect("it stops").expect("it does not panic");
    }

    /// As by `kill -9`.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A gateway with watchers, until dropped.
pub(crate) struct Gateway {
    broker: Broker,
    id: GatewayId,
    renewing: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn watching(broker: &Broker, id: &str, texts: &[&str]) -> Gateway {
        let id = GatewayId(id.into());
        let counts: Vec<(Symbol, u32)> = texts.iter().map(|text| (symbol(text), 1)).collect();
        broker.registry.report(&id, &counts).await.unwrap();
        let (registry, own) = (Arc::clone(&broker.registry), id.clone());
        let renewing = tokio::spawn(async move {
            loop {
                sleep(2 * SECOND).await;
                // A report that fails is made up for by the next one.
                drop(registry.report(&own, &[]).await);
            }
        });
        Gateway { broker: broker.clone(), id, renewing }
    }

    pub(crate) async fn set(&self, text: &str, watchers: u32) {
        self.broker.registry.report(&self.id, &[(symbol(text), watchers)]).await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Hears one channel's messages, for as long as a test likes.
pub(crate) struct Listener {
    feed: Box<dyn Feed>,
    messages: VecDeque<String>,
}

impl Listener {
    pub(crate) async fn text(&mut self) -> String {
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

pub(crate) fn listen(broker: &Broker, channel: Channel) -> Listener {
    Listener { feed: broker.feeds.subscribe(&[channel]), messages: VecDeque::new() }
}

/// The next publish, as its updates.
pub(crate) async fn next(updates: &mut Listener) -> Vec<Value> {
    let text = timeout(DEADLINE, updates.text()).await.expect("something is published");
    match serde_json::from_str(&text).unwrap() {
        Value::Array(updates) => updates,
        update => vec![update],
    }
}

pub(crate) fn show(updates: &[Value]) -> String {
    let mut shown: Vec<String> = updates
        .iter()
        .map(|update| format!("{}{}", update["symbol"].as_str().unwrap(), update["data"]["price"]))
        .collect();
    shown.sort();
    shown.join(" ")
}

pub(crate) fn seqs(updates: &[Value]) -> Vec<u64> {
    updates.iter().map(|update| update["seq"].as_u64().unwrap()).collect()
}

/// Nothing is published for this long.
pub(crate) async fn silence(updates: &mut Listener, span: Duration) {
    let heard = timeout(span, updates.text()).await;
    assert!(heard.is_err(), "published: {heard:?}");
}

pub(crate) async fn say(broker: &Broker, message: Value) {
    broker.publish.send(Channel::Control, message.to_string().as_bytes()).await.unwrap();
}

pub(crate) async fn stored(broker: &Broker, key: &str) -> Option<Value> {
    let values = broker.store.get_many(&[key.to_owned()]).await.unwrap();
    values.into_iter().next().flatten().map(|json| serde_json::from_slice(&json).unwrap())
}
