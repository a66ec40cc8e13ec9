//! The budget script decides as `quota::Ledger` does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use support::redis::{RawConnection, RedisServer, Reply};
use tickcast::quota::{Ledger, Taken, Window};

const SCRIPT: &str = include_str!("../src/broker/redis/scripts/quota.lua");

/// The script and the ledger, given the same to do at the same time.
struct Twins {
    redis: RawConnection,
    key: String,
    windows: Vec<Window>,
    ledger: Ledger,
    now_ms: u64,
}

impl Twins {
    fn call(&mut self, words: &[String]) -> Vec<String> {
        let mut args = vec!["EVAL".to_owned(), SCRIPT.to_owned(), "1".to_owned(), self.key.clone()];
        args.extend([self.now_ms.to_string(), String::new(), self.windows.len().to_string()]);
        for window in &self.windows {
            args.extend([window.length_ms().to_string(), window.limit.to_string()]);
        }
        args.extend_from_slice(words);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match self.redis.command(&args) {
            Reply::List(replies) => replies.into_iter().skip(1).flat_map(Reply::texts).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, cost: u32) {
        let ours = match self.ledger.take(&self.windows, cost, self.now_ms) {
            Taken::Granted => vec!["granted".to_owned()],
            Taken::Wait(wait) => vec!["wait".to_owned(), wait.as_millis().to_string()],
            Taken::Never => return,
        };
        assert_eq!(self.call(&["take".to_owned(), cost.to_string()]), ours);
    }

    fn record(&mut self, ago_ms: u64, cost: u32) {
        self.ledger.record(&self.windows, cost, self.now_ms.saturating_sub(ago_ms), self.now_ms);
        let mut words = vec!["record".to_owned(), "0".to_owned()];
        for _ in 0..self.windows.len() {
            words.extend(["1".to_owned(), ago_ms.to_string(), cost.to_string()]);
        }
        assert_eq!(self.call(&words), ["recorded"]);
    }

    fn hold(&mut self, span_ms: u64) {
        self.ledger.hold(span_ms, self.now_ms);
        assert_eq!(self.call(&["hold".to_owned(), span_ms.to_string()]), ["held"]);
    }

    fn compare(&mut self) {
        self.ledger.levels(&self.windows, self.now_ms);
        let mut ours = vec!["levels".to_owned(), self.now_ms.to_string()];
        ours.push(self.ledger.held_ms(self.now_ms).to_string());
        ours.extend(self.windows.iter().map(|window| self.ledger.log(window).unwrap().to_string()));
        assert_eq!(self.call(&["levels".to_owned()]), ours);
    }
}

#[tokio::test]
async fn the_budget_script_decides_as_the_ledger_does() {
    let server = RedisServer::start().await;
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut window = |most_ms: u64| Window {
            length: Duration::from_millis(random.u64(1..most_ms)),
            limit: NonZeroU32::new(random.u32(1..30)).unwrap(),
        };
        let mut windows = vec![window(2_000), window(100_000)];
        if seed % 4 == 0 {
            // Two limits of one length share a log.
            windows.push(Window { limit: NonZeroU32::new(7).unwrap(), ..windows[0] });
        }
        let (redis, key) = (server.connect(), format!("ratelimit:{seed}"));
        let mut twins = Twins { redis, key, windows, ledger: Ledger::default(), now_ms: 1_790_000_000_000 };
        for _ in 0..150 {
            match random.u32(0..20) {
                0 => twins.hold(random.u64(0..3_000)),
                1..4 => twins.record(random.u64(0..5_000), random.u32(0..4)),
                4 => twins.compare(),
                _ => twins.take(random.u32(0..5)),
            }
            twins.now_ms += if random.bool() { random.u64(0..50) } else { random.u64(0..2_000) };
        }
        twins.compare();
    }
}

#[tokio::test]
async fn a_clock_that_jumps_back_blocks_the_script_for_one_window_at_most() {
    let server = RedisServer::start().await;
    let windows = vec![Window { length: Duration::from_secs(60), limit: NonZeroU32::new(1).unwrap() }];
    let (redis, key) = (server.connect(), "ratelimit:x".to_owned());
    let mut twins = Twins { redis, key, windows, ledger: Ledger::default(), now_ms: 1_790_000_000_000 };
    twins.take(1);
    twins.hold(10_000);
    twins.now_ms -= 86_400_000;
    twins.take(1);
    twins.compare();
    twins.now_ms += 61_499;
    twins.take(1);
    twins.now_ms += 1;
    assert_eq!(twins.call(&["take".to_owned(), "1".to_owned()]), ["granted"]);
}
