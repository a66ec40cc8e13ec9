//! Several providers: who is asked for what, who stands in, and how often while markets are closed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tickcast::broker::{Broker, Channel};
use tickcast::market::Symbol;
use tickcast::provider::{Failure, Fetched, Left, Missing, Name, Provider, Why};
use tickcast::publisher::Config;
use tokio::time::{Instant, sleep};

use super::stage::*;

fn left(symbols: &[Symbol], why: Why, retry_in: Duration) -> Fetched {
    Fetched { left: Some(Left { symbols: symbols.to_vec(), why, retry_in }), ..Fetched::default() }
}

/// The one that stands in: its prices begin at 101.
fn second() -> Arc<Vendor> {
    Vendor::named(Name::Yahoo, |call, symbols| {
        let mut fetched = quotes(symbols, 101 + call as u64);
        fetched.quotes.iter_mut().for_each(|quote| quote.source = "yahoo");
        fetched
    })
}

fn start(broker: &Broker, first: &Arc<Vendor>, second: &Arc<Vendor>, config: &Config) -> Running {
    let providers: Vec<Arc<dyn Provider>> = vec![first.clone(), second.clone()];
    Running::of("p", broker, providers, config, Arc::new(Timestamp::now))
}

#[tokio::test(start_paused = true)]
async fn the_first_provider_that_has_a_symbol_is_asked() {
    let (broker, first, second) = (embedded(), Vendor::moving(), second());
    let publisher = start(&broker, &second, &first, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "MASSIVE1", "NONE1"]).await;
    sleep(11 * SECOND).await;
    assert!(second.seconds("A").len() >= 3 && first.seconds("A").is_empty());
    assert!(first.seconds("MASSIVE1").len() >= 3 && second.seconds("MASSIVE1").is_empty());
    let stats = publisher.handle.stats();
    assert_eq!((stats.symbols, stats.unserved), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn another_stands_in_at_once_while_the_first_has_no_budget_and_no_longer() {
    for why in [Why::Budget, Why::Open, Why::Parked, Why::Failed(Failure::Plan("no".into()))] {
        let said = why.clone();
        let first = Vendor::new(move |call, symbols| match call {
            1 => left(symbols, said.clone(), 12 * SECOND),
            _ => quotes(symbols, call as u64 + 1),
        });
        let (broker, second) = (embedded(), second());
        let mut updates = listen(&broker, Channel::Updates);
        let _publisher = start(&broker, &first, &second, &config());
        let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
        let began = Instant::now();
        let mut published = Vec::new();
        for _ in 0..4 {
            published.push((began.elapsed().as_secs(), show(&next(&mut updates).await)));
        }
        let published: Vec<&str> = published.iter().map(|(_, shown)| shown.as_str()).collect();
        assert_eq!(published, ["A1 B1", "A101 B101", "A102 B102", "A103 B103"], "{why:?}");
        assert_eq!(second.seconds("A"), [5, 10, 15], "at once, then in each cycle: {why:?}");
        assert_eq!(show(&next(&mut updates).await), "A3 B3", "{why:?}");
        assert_eq!(first.seconds("A"), [0, 5, 20], "{why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_symbol_that_one_does_not_know_or_has_no_price_of_is_asked_for_elsewhere() {
    let first = Vendor::new(|call, symbols| {
        let mut fetched = quotes(symbols, call as u64 + 1);
        fetched.quotes.retain(|quote| quote.symbol.as_str() == "A");
        fetched.missing = vec![(symbol("NEW"), Missing::UnknownSymbol), (symbol("HALTED"), Missing::NoData)];
        fetched
    });
    let (broker, second) = (embedded(), second());
    let _publisher = start(&broker, &first, &second, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "NEW", "HALTED"]).await;
    sleep(600 * SECOND).await;
    assert!(second.seconds("A").is_empty() && first.seconds("A").len() > 100);
    assert_eq!(first.seconds("NEW").len(), 1, "once an hour");
    assert_eq!(first.seconds("HALTED"), [0, 60, 180, 420], "ever less often");
    for text in ["NEW", "HALTED"] {
        let seconds = second.seconds(text);
        assert!(seconds[0] == 0 && seconds.len() > 100, "{text}: {seconds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_failed_to_get_another_gets() {
    let failing =
        || Vendor::new(|_, symbols| left(symbols, Why::Failed(Failure::Malformed("?".into())), Duration::ZERO));
    let (broker, first, second) = (embedded(), failing(), second());
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = start(&broker, &first, &second, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A101");
    sleep(64 * SECOND).await;
    assert_eq!(first.seconds("A"), [0, 30, 60], "it is tried again now and then");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_gets_it_all_are_asked_again_and_again_but_not_all_the_time() {
    let failing = |name| {
        Vendor::named(name, |_, symbols| left(symbols, Why::Failed(Failure::Transient("?".into())), Duration::ZERO))
    };
    let (broker, first, second) = (embedded(), failing(Name::Massive), failing(Name::Yahoo));
    let _publisher = start(&broker, &first, &second, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(60 * SECOND).await;
    assert!(
        (10..=60).contains(&first.calls()) && (2..=60).contains(&second.calls()),
        "{first:?} {second:?}",
        first = first.calls(),
        second = second.calls()
    );
}

#[tokio::test(start_paused = true)]
async fn while_one_is_paused_another_stands_in() {
    let (broker, first, second) = (embedded(), Vendor::moving(), second());
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = start(&broker, &first, &second, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    let asked = serde_json::json!({"action": "pause", "data": {"provider": "massive"}});
    say(&broker, asked).await;
    assert_eq!(show(&next(&mut updates).await), "A101");
    say(&broker, serde_json::json!({"action": "resume", "data": {"provider": "massive"}})).await;
    sleep(SECOND).await;
    assert_eq!(show(&next(&mut updates).await), "A2");
}

#[tokio::test(start_paused = true)]
async fn a_closed_market_is_polled_less_often_until_it_opens() {
    let broker = embedded();
    let vendor = Vendor::moving();
    let mut updates = listen(&broker, Channel::Updates);
    let config = Config { closed_stretch: NonZeroU32::new(12).unwrap(), ..config() };
    // A Monday, ten minutes before Mumbai opens for orders; New York is closed until hours later.
    let (began, opens_in) = ("2026-11-30T03:20:00Z".parse::<Timestamp>().unwrap(), 600);
    let started = Instant::now();
    let clock = Arc::new(move || began.checked_add(started.elapsed()).unwrap());
    let _publisher = Running::of("p", &broker, vec![vendor.clone()], &config, clock);
    let _gateway = Gateway::watching(&broker, "g", &["RELIANCE", "AAPL", "BTC-USD"]).await;
    let states = |updates: &[serde_json::Value]| {
        let state = |update: &serde_json::Value| update["data"]["marketState"].as_str().unwrap().to_owned();
        let mut states: Vec<_> =
            updates.iter().map(|update| format!("{} {}", update["symbol"], state(update))).collect();
        states.sort();
        states.join(", ")
    };
    let first = states(&next(&mut updates).await);
    assert_eq!(first, r#""AAPL" CLOSED, "BTC-USD" REGULAR, "RELIANCE" CLOSED"#);
    sleep(Duration::from_secs(opens_in) + 29 * SECOND).await;
    let polls = |text| {
        let seconds = vendor.seconds(text);
        let (before, after): (Vec<_>, Vec<_>) = seconds.into_iter().partition(|second| *second < opens_in);
        (before.len(), after.len())
    };
    assert_eq!(polls("BTC-USD"), (120, 6));
    assert_eq!(polls("RELIANCE"), (20, 6), "it opened");
    assert!(matches!(polls("AAPL"), (20, 0..=1)), "{:?}", polls("AAPL"));
}
