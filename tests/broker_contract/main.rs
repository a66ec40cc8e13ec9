//! One suite of claims about the broker, held by every implementation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use support::bench::{Bench, Reader, SHORT};
use tickcast::broker::{
    BrokerError, Budget, Channel, EPOCH_ORIGIN_S, Epoch, Event, GatewayId, Lead, Outgoing, Stored, Taken, Timing,
    Window, keys,
};
use tickcast::market::Symbol;

/// Runs each claim against each broker; those of the second list wait for leases and delays, which are shortened.
macro_rules! contract {
    ($($claim:ident)* ; $($waiting:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $claim() { super::$claim(crate::Bench::memory(crate::Timing::default())).await; })*
            $(#[tokio::test] async fn $waiting() { super::$waiting(crate::Bench::memory(crate::SHORT)).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $claim() { super::$claim(crate::connected(crate::Timing::default()).await).await; })*
            $(#[tokio::test] async fn $waiting() { super::$waiting(crate::connected(crate::SHORT).await).await; })*
        }
    };
}

mod budgets;
mod leadership;
mod publishing;
mod registry;
mod store;

/// A bench whose Redis takes commands.
async fn connected(timing: Timing) -> Bench {
    let bench = Bench::redis(timing).await;
    bench.connected().await;
    bench
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).expect("a test's symbol")
}

fn update(text: &str, price: u32) -> Outgoing {
    let json = format!(r#"{{"type":"price_update", "symbol":"{text}","data":{{"price":{price}.50}}}}"#);
    Outgoing { symbol: symbol(text), json: json.into(), ttl: Duration::from_secs(300) }
}

fn gateway(name: &str) -> GatewayId {
    GatewayId(name.into())
}

const LEASE: Duration = Duration::from_secs(30);

async fn acquire(bench: &Bench, owner: &str) -> Lead {
    bench.broker.leadership.acquire(owner, LEASE, Epoch(0)).await.unwrap()
}

fn budget(name: &str, windows: &[(u64, u32)]) -> Budget {
    let window = |(length_ms, limit): &(u64, u32)| Window {
        length: Duration::from_millis(*length_ms),
        limit: NonZeroU32::new(*limit).unwrap(),
    };
    Budget { name: name.into(), windows: windows.iter().map(window).collect() }
}

#[tokio::test(start_paused = true)]
async fn the_embedded_broker_lives_in_virtual_time() {
    let bench = Bench::memory(Timing::default());
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 1)]).await;
    bench.report("g1", &[("A", 0)]).await;
    assert!(reader.text().await.contains(r#""subscribe""#));
    assert!(bench.next_event_while_reporting(&mut reader, "g1").await.contains(r#""unsubscribe""#));
    let budget = budget("alphavantage", &[(86_400_000, 1)]);
    assert_eq!(bench.broker.quota.take(&budget, 1).await, Ok(Taken::Granted));
    tokio::time::advance(Duration::from_secs(86_402)).await;
    assert_eq!(bench.broker.quota.take(&budget, 1).await, Ok(Taken::Granted), "a day later");
}
