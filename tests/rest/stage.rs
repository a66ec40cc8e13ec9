//! The stage: a gateway with the whole HTTP application, a vendor that counts its calls, a publisher.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tickcast::api;
use tickcast::broker::{Broker, Epoch, Outgoing, Timing, memory};
use tickcast::cache::{self, Cache, Charts};
use tickcast::gateway::{self, Gateway, Readers};
use tickcast::market::bar::Bar;
use tickcast::market::{Bars, Listings, Number, Quote, Range, Symbol};
use tickcast::provider::{self, Fetched, Missing, Name, NoBars, Provider};
use tickcast::publisher::{self, Publisher};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support;

pub(crate) fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

pub(crate) fn broker() -> Broker {
    memory::start(Timing::default())
}

/// A vendor that has everything but `NONE…`, and counts what it is asked.
#[derive(Default)]
pub(crate) struct Vendor {
    pub(crate) calls: AtomicUsize,
    pub(crate) charts: AtomicUsize,
    /// Has no budget left while set.
    pub(crate) is_out: AtomicUsize,
    price: AtomicU64,
}

impl Vendor {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn charts(&self) -> usize {
        self.charts.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Provider for Vendor {
    fn name(&self) -> Name {
        Name::Massive
    }
    fn batch(&self) -> NonZeroUsize {
        NonZeroUsize::new(100).unwrap()
    }
    fn interval(&self) -> Duration {
        // Nothing is polled a second time within a test.
        Duration::from_secs(86_400)
    }
    fn serves(&self, symbol: Symbol) -> bool {
        !symbol.as_str().starts_with("NONE")
    }
    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let price = self.price.fetch_add(1, Ordering::SeqCst) + 1;
        let quote = |&symbol: &Symbol| Quote::new(symbol, Number::from(price), "massive");
        Fetched { quotes: symbols.iter().map(quote).collect(), ..Fetched::default() }
    }
    async fn bars(&self, symbol: Symbol, range: Range) -> Result<Bars, NoBars> {
        self.charts.fetch_add(1, Ordering::SeqCst);
        if symbol.as_str().starts_with("NOBARS") {
            return Err(NoBars::Missing(Missing::UnknownSymbol));
        }
        if self.is_out.load(Ordering::SeqCst) > 0 {
            return Err(NoBars::Left { why: provider::Why::Budget, retry_in: Duration::from_secs(12) });
        }
        let interval = Duration::from_secs(1800);
        let from = jiff::Timestamp::now() - range.span();
        let bar = |at: u32| Bar {
            start: from + interval * at,
            open: Number::parse("10.50").unwrap(),
            high: Number::parse("11.25").unwrap(),
            low: Number::parse("10.00").unwrap(),
            close: Number::parse("11.00").unwrap(),
            volume: Some(Number::from(1000 + u64::from(at))),
        };
        Ok(Bars { source: "massive", interval, bars: (0..48).map(bar).collect() })
    }
    fn status(&self) -> provider::Status {
        provider::Status::default()
    }
}

pub(crate) fn cache_config() -> cache::Config {
    let [ttl_latest, ttl_recent, ttl_list] = [300, 3600, 21_600].map(Duration::from_secs);
    let popular = vec![symbol("AAPL"), symbol("MSFT")];
    cache::Config {
        enabled: true,
        ttl_latest,
        ttl_recent,
        ttl_list,
        popular,
        popular_multiplier: 2,
        max_bytes: 1 << 20,
    }
}

/// What a test chooses; the rest is as documented.
pub(crate) struct Wish {
    pub(crate) gateway: gateway::Config,
    pub(crate) per_minute: u32,
    pub(crate) indices: Vec<Symbol>,
    pub(crate) patience: Duration,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            gateway: support::gateway::config(),
            per_minute: 100_000,
            indices: Vec::new(),
            patience: support::DEADLINE,
        }
    }
}

/// A gateway that serves.
pub(crate) struct Served {
    pub(crate) gateway: Gateway,
    pub(crate) cache: Cache,
    pub(crate) front: api::Front,
}

impl Served {
    pub(crate) async fn start(broker: &Broker, vendor: &Arc<Vendor>, wish: Wish) -> Served {
        let cache = Cache::new(&cache_config(), broker);
        let config = api::Config {
            name: "tickcast".into(),
            api_base: None,
            indices: wish.indices,
            allowed_origins: wish.gateway.allowed_origins.clone(),
            per_minute: NonZeroU32::new(wish.per_minute).unwrap(),
            max_symbols: 1024,
            patience: wish.patience,
            stale_after: wish.gateway.stale_after,
            heartbeat: Duration::from_secs(25),
            admin_token: Some("admin".to_owned().into()),
        };
        let mut made = None;
        let app = |readers: &Readers| {
            let parts = api::Parts {
                showcase: vec![],
                health: Arc::new(OnceLock::new()),
                readers: readers.clone(),
                cache: cache.clone(),
                charts: Charts::new(cache.clone(), vec![Arc::clone(vendor) as _]),
                broker: broker.clone(),
            };
            api::router(made.insert(api::Front::new(config, parts)).clone())
        };
        let gateway = Gateway::start(&wish.gateway, broker, app).await.expect("the gateway starts");
        Served { gateway, cache, front: made.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.handle().address()
    }
}

/// A publisher, until dropped.
pub(crate) struct Publishing(JoinHandle<()>);

impl Publishing {
    pub(crate) fn start(broker: &Broker, vendor: &Arc<Vendor>) -> Publishing {
        let parts = publisher::Parts {
            name: "p".into(),
            broker: broker.clone(),
            providers: vec![Arc::clone(vendor) as _],
            cache: cache_config(),
        };
        let config = publisher::Config {
            providers: vec![Name::Massive],
            interval: None,
            pinned: vec![],
            indices: vec![],
            enabled: true,
            settings: BTreeMap::new(),
            listings: Listings::default(),
            closed_stretch: NonZeroU32::MIN,
        };
        Publishing(tokio::spawn(Publisher::new(parts, &config).run(CancellationToken::new())))
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Publishes an update as our publisher does.
pub(crate) async fn publish(broker: &Broker, text: &str, seq: u64) {
    let json = format!(
        r#"{{"type":"price_update","symbol":"{text}","data":{{"symbol":"{text}","price":{seq}.50,"timestamp":"T"}},"seq":{seq}}}"#
    );
    let update = Outgoing { symbol: symbol(text), json: json.into(), ttl: Duration::from_secs(300) };
    broker.publish.publish(&[update], Epoch(1)).await.unwrap();
}
