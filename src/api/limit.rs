//! How many requests an address may make of a route: so many a minute, spent at once or one by one (GCRA, ITU-T I.371).
//!
//! The table is pure; time is an argument. Bounded by [`MAX_KEYS`]: beyond it strangers are refused until it shrinks.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dashmap::DashMap;
use hashbrown::DefaultHashBuilder;
use metrics::{counter, describe_counter};

use super::Front;
use super::refusal::{Refusal, seconds};
use crate::gateway::PeerAddr;
use crate::gateway::readers::customer;

/// Pairs of address and route remembered: 2¹⁸ × about 48 bytes = 12 MB.
const MAX_KEYS: usize = 1 << 18;
/// Between two sweeps of a full table.
const SWEEP_US: u64 = 1_000_000;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Told with every answer.
pub(super) const HEADERS: [HeaderName; 3] = [LIMIT, REMAINING, RESET];

/// Who has asked how much.
pub(super) struct Buckets {
    per_minute: NonZeroU32,
    /// From one request to the next, when they are spent one by one.
    gap_us: u64,
    started: Instant,
    /// By address and route: when all that was asked for would be paid off.
    paid_at_us: DashMap<(IpAddr, u64), u64>,
    routes: DefaultHashBuilder,
    swept_at_us: AtomicU64,
}

/// What a request is told of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    remaining: u32,
    full_in: Duration,
    /// Set when there was nothing left.
    wait: Option<Duration>,
}

impl Buckets {
    pub(super) fn new(per_minute: NonZeroU32) -> Buckets {
        describe_counter!("tickcast_rest_requests_total", "REST requests by route and HTTP status.");
        Buckets {
            per_minute,
            gap_us: 60_000_000 / u64::from(per_minute.get()),
            started: Instant::now(),
            paid_at_us: DashMap::new(),
            routes: DefaultHashBuilder::default(),
            swept_at_us: AtomicU64::new(0),
        }
    }

    /// Takes one request out of a bucket.
    fn take(&self, address: IpAddr, route: &str, now_us: u64) -> Level {
        let key = (customer(address), self.routes.hash_one(route));
        let whole_us = self.gap_us * u64::from(self.per_minute.get());
        if self.paid_at_us.len() >= MAX_KEYS && !self.paid_at_us.contains_key(&key) {
            self.sweep(now_us);
            if self.paid_at_us.len() >= MAX_KEYS {
                let wait = Duration::from_micros(SWEEP_US);
                return Level { remaining: 0, full_in: wait, wait: Some(wait) };
            }
        }
        let mut paid_at_us = self.paid_at_us.entry(key).or_insert(0);
        let owed_us = paid_at_us.saturating_sub(now_us);
        if owed_us + self.gap_us > whole_us {
            let wait = Duration::from_micros(owed_us + self.gap_us - whole_us);
            return Level { remaining: 0, full_in: Duration::from_micros(owed_us), wait: Some(wait) };
        }
        let owed_us = owed_us + self.gap_us;
        *paid_at_us = now_us + owed_us;
        let remaining = u32::try_from((whole_us - owed_us) / self.gap_us).unwrap_or(u32::MAX);
        Level { remaining, full_in: Duration::from_micros(owed_us), wait: None }
    }

    fn sweep(&self, now_us: u64) {
        let swept_at = self.swept_at_us.load(Ordering::Relaxed);
        if now_us >= swept_at + SWEEP_US {
            self.swept_at_us.store(now_us, Ordering::Relaxed);
            self.paid_at_us.retain(|_, paid_at_us| *paid_at_us > now_us);
        }
    }

    fn tell(&self, level: Level, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.per_minute.get()));
        headers.insert(REMAINING, HeaderValue::from(level.remaining));
        headers.insert(RESET, HeaderValue::from(seconds(level.full_in)));
    }
}

/// Refuses what is too much, and tells each request how much is left.
pub(super) async fn limited(State(front): State<Front>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (Some(route), Some(&PeerAddr(peer))) = (route, request.extensions().get::<PeerAddr>()) else {
        return next.run(request).await;
    };
    // A browser's own question whether it may ask.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let buckets = &front.buckets;
    let now_us = u64::try_from(buckets.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let level = buckets.take(peer, route.as_str(), now_us);
    let mut response = match level.wait {
        None => next.run(request).await,
        Some(wait) => {
            let message = format!("more than {} requests a minute of this address and route", buckets.per_minute);
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait).into_response()
        }
    };
    buckets.tell(level, response.headers_mut());
    let labels = [("route", route.as_str().to_owned()), ("status", response.status().as_str().to_owned())];
    counter!("tickcast_rest_requests_total", &labels).increment(1);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn buckets(per_minute: u32) -> Buckets {
        Buckets::new(NonZeroU32::new(per_minute).unwrap())
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_minutes_worth_may_be_spent_at_once_and_comes_back_one_by_one() {
        let buckets = buckets(60);
        for left in (0..60).rev() {
            assert_eq!(
                buckets.take(peer("10.0.0.1"), "/a", SECOND),
                Level { remaining: left, full_in: Duration::from_secs(60 - u64::from(left)), wait: None }
            );
        }
        let refused = buckets.take(peer("10.0.0.1"), "/a", SECOND + 250_000);
        assert_eq!((refused.remaining, refused.wait), (0, Some(Duration::from_millis(750))));
        assert_eq!(buckets.take(peer("10.0.0.1"), "/a", 2 * SECOND).wait, None);
        assert!(buckets.take(peer("10.0.0.1"), "/a", 2 * SECOND).wait.is_some());
    }

    #[test]
    fn each_address_and_each_route_has_its_own() {
        let buckets = buckets(1);
        let take = |address, route| buckets.take(peer(address), route, 0).wait.is_none();
        assert!(take("10.0.0.1", "/a") && take("10.0.0.1", "/b") && take("10.0.0.2", "/a"));
        assert!(!take("10.0.0.1", "/a"));
        assert!(take("2001:db8::1", "/a") && !take("2001:db8::2", "/a"), "one customer's /64");
    }

    #[test]
    fn a_full_table_refuses_strangers_until_it_shrinks() {
        let buckets = buckets(60);
        for i in 0..u32::try_from(MAX_KEYS).unwrap() {
            buckets.take(IpAddr::from(i.to_be_bytes()), "/a", SECOND);
        }
        assert!(buckets.take(peer("255.0.0.1"), "/a", SECOND).wait.is_some());
        assert!(buckets.take(peer("0.0.0.1"), "/a", SECOND).wait.is_none(), "who is in it goes on");
        assert!(buckets.take(peer("255.0.0.1"), "/a", 4 * SECOND).wait.is_none());
    }
}
