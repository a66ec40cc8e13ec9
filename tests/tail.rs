//! `tickcast tail` as people in terminals and scripts meet it: the real binary against gateways of the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::time::Duration;

use rustix::process::Signal;
use secrecy::SecretString;
use support::binary::{Running, tickcast};
use support::client::eventually;
use support::gateway::{config, start};
use tickcast::broker::{Broker, Channel, Epoch, Outgoing, Timing, memory};
use tickcast::gateway::Gateway;
use tickcast::gateway::config::{Auth, Config};
use tickcast::market::Symbol;

/// A gateway, its broker, and where `tail` finds it.
struct Market {
    broker: Broker,
    gateway: Gateway,
    url: String,
}

impl Market {
    async fn open(config: &Config) -> Market {
        let broker = memory::start(Timing::default());
        let gateway = start(config, &broker).await;
        let url = format!("ws://{}/ws", gateway.handle().address());
        Market { broker, gateway, url }
    }

    async fn publish(&self, symbol: &str, json: &str) {
        publish(&self.broker, symbol, json).await;
    }

    /// A tail of the symbols that is being served.
    async fn tail(&self, args: &[&str]) -> Running {
        let mut tail = tickcast(&[&["tail", "--url", &self.url], args].concat()).env("TZ", "UTC").starts();
        tail.told("connected to").await;
        let served = async || self.gateway.handle().summary().subscriptions > 0;
        eventually("the subscription is there", served).await;
        tail
    }
}

async fn publish(broker: &Broker, symbol: &str, json: &str) {
    let symbol = Symbol::parse(symbol).unwrap();
    let update = Outgoing { symbol, json: json.to_owned().into(), ttl: Duration::from_secs(300) };
    broker.publish.publish(&[update], Epoch(1)).await.unwrap();
}

fn update(symbol: &str, price: &str, seq: u64) -> String {
    format!(
        r#"{{"type":"price_update","symbol":"{symbol}","data":{{"symbol":"{symbol}","price":{price},"change":1.20,"changePercent":0.50,"volume":1000,"timestamp":"2026-11-20T10:00:00Z","source":"test"}},"timestamp":"2026-11-20T10:00:01Z","seq":{seq}}}"#
    )
}

#[tokio::test]
async fn each_update_is_a_line_in_columns() {
    let market = Market::open(&config()).await;
    let mut tail = market.tail(&["aapl", "RELIANCE"]).await;
    market.publish("AAPL", &update("AAPL", "178.50", 1)).await;
    market.publish("RELIANCE", &update("RELIANCE", "2450", 2)).await;
    for (symbol, price) in [("AAPL    ", "178.50"), ("RELIANCE", "2450")] {
        let line = tail.line().await;
        let start = format!("10:00:01  {symbol}  {price:>10}     +1.20    +0.50%        1000  ");
        assert!(line.starts_with(&start) && line.ends_with("  test"), "{line:?}");
    }
}

#[tokio::test]
async fn json_lines_are_the_published_bytes() {
    let market = Market::open(&config()).await;
    let mut tail = market.tail(&["A", "--json"]).await;
    let published = [
        r#"{"symbol" : "A","odd":{"x":[1, 2]},"data":{"price":178.500,"timestamp":1},"seq":1}"#.to_owned(),
        update("A", "2", 2),
        r#"{"type":"stale","symbol":"A","age_ms":91000}"#.to_owned(),
    ];
    for json in &published {
        market.publish("A", json).await;
        assert_eq!(tail.line().await, *json);
    }
    // a line break between two fields would make two lines of one message
    market.publish("A", "{\"symbol\":\"A\",\r\n\"data\":{\"price\":3,\"timestamp\":1},\n\"seq\":3}").await;
    assert_eq!(tail.line().await, r#"{"symbol":"A",  "data":{"price":3,"timestamp":1}, "seq":3}"#);
    tail.signal(Signal::INT);
    let (status, left, told) = tail.end().await;
    assert_eq!((status.code(), left, told), (Some(0), vec![], vec![]));
}

#[tokio::test]
async fn quiet_json_says_nothing_else_and_a_count_ends_it() {
    let market = Market::open(&config()).await;
    market.publish("A", &update("A", "1", 1)).await;
    let run = tickcast(&["tail", "a", "--json", "-q", "-n", "1", "--url", &market.url]);
    let ended = run.ends_beside().await.with_code(0);
    let snapshot = update("A", "1", 1).replace("\"seq\":1}", "\"seq\":1,\"snapshot\":true}");
    assert_eq!((ended.out, ended.err), (snapshot + "\n", String::new()));
}

#[tokio::test]
async fn a_closed_pipe_ends_tail_quietly() {
    let market = Market::open(&config()).await;
    let mut tail = market.tail(&["A"]).await;
    market.publish("A", &update("A", "1", 1)).await;
    tail.line().await;
    // nothing is published any more: it notices all the same
    tail.close_output();
    let (status, _, told) = tail.end().await;
    assert_eq!((status.code(), told), (Some(0), vec![]));
    eventually("the gateway lost it", async || market.gateway.handle().summary().connections == 0).await;
}

#[tokio::test]
async fn signals_end_it_with_0() {
    let market = Market::open(&config()).await;
    for signal in [Signal::INT, Signal::TERM] {
        let tail = market.tail(&["A"]).await;
        tail.signal(signal);
        assert_eq!(tail.end().await.0.code(), Some(0));
    }
}

#[tokio::test]
async fn everything_at_once_is_for_gateways_that_allow_it() {
    let market = Market::open(&config()).await;
    for symbols in [&[][..], &["*"], &["A", "*"]] {
        let run = tickcast(&[&["tail", "--url", &market.url], symbols].concat());
        let ended = run.ends_beside().await.with_code(64);
        assert!(ended.err.contains("name the symbols") && ended.err.contains("wildcard_not_allowed"), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
    let market = Market::open(&Config { wildcard: true, ..config() }).await;
    let mut tail = tickcast(&["tail", "--json", "--url", &market.url]).starts();
    tail.told("connected to").await;
    // whoever watches everything is not counted by symbol: publish until it hears
    let heard = async {
        let line = tail.line().await;
        assert!(line.contains(r#""symbol":"ANY""#), "{line}");
    };
    let publishing = async {
        for seq in 1.. {
            market.publish("ANY", &update("ANY", "1", seq)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = heard => {}
        () = publishing => {}
    }
}

#[tokio::test]
async fn a_pause_is_told_in_words() {
    let market = Market::open(&config()).await;
    let mut tail = market.tail(&["A"]).await;
    let pause = br#"{"action":"pause","data":{"reason":"lunch"}}"#;
    market.broker.publish.send(Channel::Control, pause).await.unwrap();
    assert!(tail.told("paused").await.ends_with("-- publishing is paused (lunch)"));
}

#[tokio::test]
async fn a_gateway_with_tokens_is_told_one_and_refuses_others() {
    let auth = Auth::Tokens(vec![SecretString::from("s3cret")]);
    let market = Market::open(&Config { auth, ..config() }).await;
    market.publish("A", &update("A", "1", 1)).await;
    let run = |args: &[&str]| tickcast(&[&["tail", "A", "-n", "1", "--url", &market.url], args].concat());
    run(&["--token", "s3cret"]).ends_beside().await.with_code(0);
    run(&[]).env("TICKCAST_TOKEN", "s3cret").ends_beside().await.with_code(0);
    for (args, says) in [(&["--token", "wrong"][..], "does not take this token (HTTP 401"), (&[], "pass --token")] {
        let ended = run(args).ends_beside().await.with_code(64);
        assert!(ended.err.contains(says) && !ended.err.contains("trying again"), "{}", ended.err);
    }
    run(&[]).env("TICKCAST_TOKEN", "a b").ends_beside().await.with_code(64);
}

#[tokio::test]
async fn what_cannot_be_watched_is_told_before_connecting() {
    for args in [
        &["tail", "TC S"][..],
        &["tail", "A", "--url", "localhost:8081"],
        &["tail", "A", "--url", "ftp://h"],
        &["tail", "A", "--max-rate", "0"],
        &["tail", "A", "-n", "0"],
        &["tail", "A", "--token", ""],
    ] {
        let ended = tickcast(args).ends_beside().await.with_code(64);
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn colours_are_for_terminals_unless_asked_for() {
    let market = Market::open(&config()).await;
    market.publish("A", &update("A", "1", 1)).await;
    for (args, env, coloured) in [
        (&[][..], &[("TERM", "xterm")][..], false),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
    ] {
        let run = tickcast(&[&["tail", "A", "-n", "1", "--url", &market.url], args].concat());
        let run = env.iter().fold(run, |run, (name, value)| run.env(name, value));
        let ended = run.ends_beside().await.with_code(0);
        assert_eq!(ended.out.contains("\x1b[32m"), coloured, "{args:?} {env:?}: {}", ended.out);
        assert_eq!(ended.err.contains("\x1b["), coloured, "{args:?} {env:?}: {}", ended.err);
    }
}
