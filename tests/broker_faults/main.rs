//! What happens to the Redis broker when something happens to Redis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod keys;
mod load;
mod outages;
mod places;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod writes;

use std::num::NonZeroU32;
use std::time::Duration;

use support::bench::{Bench, SHORT};
use support::proxy::Proxy;
use support::redis::{RedisServer, Reply};
use support::reports::Gateway;
use tickcast::broker::{
    BrokerError, Budget, Channel, Epoch, Event, Feed, GatewayId, Lead, Outgoing, Stored, Taken, Timing, Window,
};
use tickcast::market::Symbol;

const LEASE: Duration = Duration::from_secs(30);

fn update(text: &str, price: u32) -> Outgoing {
    let json = format!(r#"{{"symbol":"{text}","data":{{"price":{price}}}}}"#);
    Outgoing { symbol: Symbol::parse(text).unwrap(), json: json.into(), ttl: Duration::from_secs(300) }
}

fn minute(name: &str, limit: u32) -> Budget {
    let window = Window { length: Duration::from_secs(60), limit: NonZeroU32::new(limit).unwrap() };
    Budget { name: name.into(), windows: vec![window] }
}

async fn bench() -> Bench {
    let bench = Bench::redis(Timing::default()).await;
    bench.connected().await;
    bench
}

async fn publishes(bench: &Bench, price: u32) -> Stored {
    bench.broker.publish.publish(&[update("A", price)], Epoch(1)).await.unwrap()
}

async fn next(feed: &mut Box<dyn Feed>) -> Vec<Event> {
    let mut events = Vec::new();
    tokio::time::timeout(support::DEADLINE, feed.next(&mut events)).await.unwrap();
    events
}
