//! What clients see when something happens to Redis, a publisher or a gateway: the README's table of faults, row by row,
//! on real processes and real sockets.
//!
//! What no fault may do is checked by every client all the time ([`support::watcher`]): connections stand, and a
//! symbol's `seq` only rises.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod crashes;
mod deploys;
mod failover;
mod hostile;
mod outages;
mod refusals;
mod soak;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::client::eventually;
use support::process::Role;
use support::proxy::Proxy;
use support::redis::{RedisServer, Reply};
use support::watcher::{Watcher, within};
use tokio::time::{Instant, sleep_until};

const UPDATES: &str = "market-data:updates";
/// Replayed by the publisher of every test.
const SYMBOL: &str = "AMZN";
/// Published by the tests themselves, once: what only the cache can bring to who missed it.
const RARE: &str = "RARE";
/// How soon clients are told that the broker is away.
const TOLD: Duration = Duration::from_secs(5);
/// How soon they have the newest quotes once it is back.
const BACK: Duration = Duration::from_secs(5);

/// A Redis, a publisher on it, a gateway on it or on a wire to it, and a client of the gateway.
struct World {
    redis: RedisServer,
    publisher: Role,
    gateway: Role,
    client: Watcher,
}

impl World {
    async fn new() -> World {
        let redis = RedisServer::start().await;
        let url = redis.url();
        World::with(redis, &url).await
    }

    /// The gateway is told this address of the Redis.
    async fn with(redis: RedisServer, gateway_url: &str) -> World {
        let (publisher, gateway) = (Role::replaying(&redis.url()).await, Role::gateway(gateway_url, &[]).await);
        World::of(redis, publisher, gateway).await
    }

    async fn of(redis: RedisServer, publisher: Role, gateway: Role) -> World {
        let mut client = Watcher::connect(gateway.address(), &format!("{SYMBOL},{RARE}")).await;
        client.gets(2).await;
        World { redis, publisher, gateway, client }
    }

    async fn newcomer(&self) -> Watcher {
        Watcher::connect(self.gateway.address(), &format!("{SYMBOL},{RARE}")).await
    }

    /// Quotes flow, the client has at least what is cached now, and so has a newcomer.
    async fn converges(&mut self) {
        let cached = cached_seq(&self.redis, SYMBOL).await;
        self.client.reaches(SYMBOL, cached).await;
        self.client.gets(2).await;
        let mut newcomer = self.newcomer().await;
        newcomer.reaches(SYMBOL, cached).await;
        newcomer.gets(1).await;
    }

    async fn stop(self) {
        self.client.is_whole();
        for role in [self.gateway, self.publisher] {
            let (status, log) = role.stop().await;
            assert!(status.success(), "{log:#?}");
        }
    }
}

/// The cached quote's number, once there is one.
async fn cached_seq(redis: &RedisServer, symbol: &str) -> u64 {
    let mut found = None;
    eventually("the quote is cached", async || {
        let cached = redis.get(&format!("cache:quote:{symbol}")).unwrap_or_default();
        let cached: serde_json::Value = serde_json::from_str(&cached).unwrap_or_default();
        found = cached["seq"].as_u64();
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Publishes a quote of the rare symbol once, as a publisher does: cache first. How many gateways it reached.
fn publish_once(redis: &RedisServer, seq: u64) -> i64 {
    let json =
        format!(r#"{{"type":"price_update","symbol":"{RARE}","data":{{"price":1,"timestamp":"T"}},"seq":{seq}}}"#);
    redis.command(&["SET", &format!("cache:quote:{RARE}"), &json]);
    redis.command(&["PUBLISH", UPDATES, &json]).number()
}

/// As many files as this process may have.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
}
