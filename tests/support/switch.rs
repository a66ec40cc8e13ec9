//! A line to a broker that can be cut and mended, as one process sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use tickcast::broker::{
    Broker, BrokerError, Budget, Channel, Epoch, Event, Feed, Feeds, GatewayId, Lead, Leadership, Ledger, Outgoing,
    Publish, Quota, Registry, Result, Status, Store, Stored, Taken,
};
use tickcast::market::Symbol;
use tokio::sync::watch;

/// The line. While it is cut, calls fail at once and feeds hear nothing.
pub struct Switch {
    broker: Broker,
    up: watch::Sender<bool>,
    status: watch::Sender<Status>,
}

impl Switch {
    /// A line to `broker`, and the broker at the far end of it.
    pub fn new(broker: &Broker) -> (Arc<Switch>, Broker) {
        let status = watch::Sender::new(broker.status.borrow().clone());
        let line = Arc::new(Switch { broker: broker.clone(), up: watch::Sender::new(true), status });
        let mut far = broker.clone();
        far.publish = line.clone();
        far.feeds = line.clone();
        far.registry = line.clone();
        far.store = line.clone();
        far.leadership = line.clone();
        far.quota = line.clone();
        far.status = line.status.subscribe();
        (line, far)
    }

    pub fn cut(&self) {
        self.set(false);
    }

    pub fn mend(&self) {
        self.set(true);
    }

    fn set(&self, up: bool) {
        self.up.send_replace(up);
        self.status.send_modify(|status| status.connected = up);
    }

    fn line(&self) -> Result<&Broker> {
        if *self.up.borrow() { Ok(&self.broker) } else { Err(BrokerError::Unavailable("the line is cut".into())) }
    }
}

struct SwitchFeed {
    feed: Box<dyn Feed>,
    up: watch::Receiver<bool>,
}

#[async_trait]
impl Feed for SwitchFeed {
    async fn next(&mut self, events: &mut Vec<Event>) {
        loop {
            tokio::select! {
                biased;
                _ = self.up.changed() => {
                    let up = *self.up.borrow_and_update();
                    // What was published while it was cut did not come through, whoever ran first.
                    while up && self.feed.next(events).now_or_never().is_some() {
                        events.clear();
                    }
                    events.push(if up { Event::Resumed } else { Event::Interrupted });
                    return;
                }
                () = self.feed.next(events) => {
                    if *self.up.borrow() {
                        return;
                    }
                    events.clear();
                }
            }
        }
    }
}

impl Feeds for Switch {
    fn subscribe(&self, channels: &[Channel]) -> Box<dyn Feed> {
        Box::new(SwitchFeed { feed: self.broker.feeds.subscribe(channels), up: self.up.subscribe() })
    }
}

#[async_trait]
impl Publish for Switch {
    async fn publish(&self, updates: &[Outgoing], fence: Epoch) -> Result<Stored> {
        self.line()?.publish.publish(updates, fence).await
    }
    async fn send(&self, channel: Channel, message: &[u8]) -> Result<u64> {
        self.line()?.publish.send(channel, message).await
    }
}

#[async_trait]
impl Registry for Switch {
    async fn report(&self, gateway: &GatewayId, counts: &[(Symbol, u32)]) -> Result<u64> {
        self.line()?.registry.report(gateway, counts).await
    }
    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        self.line()?.registry.leave(gateway).await
    }
    async fn watched(&self) -> Result<Vec<(Symbol, u64)>> {
        self.line()?.registry.watched().await
    }
}

#[async_trait]
impl Store for Switch {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.line()?.store.get_many(keys).await
    }
    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<()> {
        self.line()?.store.set(key, value, ttl).await
    }
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        self.line()?.store.set_if_absent(key, value, ttl).await
    }
    async fn remove(&self, keys: &[String]) -> Result<u64> {
        self.line()?.store.remove(keys).await
    }
    async fn keys_with_prefix(&self, prefix: &str) -> Result<Vec<String>> {
        self.line()?.store.keys_with_prefix(prefix).await
    }
}

#[async_trait]
impl Leadership for Switch {
    async fn acquire(&self, owner: &str, lease: Duration, floor: Epoch) -> Result<Lead> {
        self.line()?.leadership.acquire(owner, lease, floor).await
    }
    async fn resign(&self, owner: &str) -> Result<()> {
        self.line()?.leadership.resign(owner).await
    }
}

#[async_trait]
impl Quota for Switch {
    async fn take(&self, budget: &Budget, cost: u32) -> Result<Taken> {
        self.line()?.quota.take(budget, cost).await
    }
    async fn record(&self, budget: &Budget, spent: &[(Duration, u32)]) -> Result<()> {
        self.line()?.quota.record(budget, spent).await
    }
    async fn hold(&self, budget: &Budget, span: Duration) -> Result<()> {
        self.line()?.quota.hold(budget, span).await
    }
    async fn ledger(&self, budget: &Budget) -> Result<(Ledger, u64)> {
        self.line()?.quota.ledger(budget).await
    }
    async fn reset(&self, budget: &Budget) -> Result<()> {
        self.line()?.quota.reset(budget).await
    }
}
