//! Providers that fail, and a broker that is away.

use std::num::NonZeroUsize;
use std::time::Duration;

use tickcast::broker::Channel;
use tickcast::market::Symbol;
use tickcast::provider::{Fetched, Left, Missing, Why};
use tokio::time::{Instant, sleep};

use super::stage::*;
use super::support::switch::Switch;

fn left(symbols: &[Symbol], why: Why, retry_in: Duration) -> Fetched {
    Fetched { left: Some(Left { symbols: symbols.to_vec(), why, retry_in }), ..Fetched::default() }
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_budget_is_left_alone_until_it_said() {
    let vendor = Vendor::new(|call, symbols| match call {
        0 => left(symbols, Why::Budget, 12 * SECOND),
        _ => quotes(symbols, call as u64),
    });
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    let gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(3 * SECOND).await;
    gateway.set("B", 1).await;
    assert_eq!(show(&next(&mut updates).await), "A1 B1");
    assert_eq!((vendor.seconds("A"), vendor.seconds("B")), (vec![0, 12], vec![12]));
    let calls = publisher.handle.stats().providers["massive"].calls;
    assert_eq!((calls.total.expected, calls.total.actual), (1, 2), "what was never asked was not expected either");
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_spent_when_it_is_there_and_not_with_the_next_cycle() {
    let one = NonZeroUsize::MIN;
    let vendor = Vendor::with(one, Duration::ZERO, |call, symbols| match call {
        2 => left(symbols, Why::Budget, 3 * SECOND),
        _ => quotes(symbols, call as u64),
    });
    let broker = embedded();
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    sleep(14 * SECOND).await;
    let mut all = [vendor.seconds("A"), vendor.seconds("B")].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 0, 5, 5, 8, 8], "what was left is asked for after 3 s, and so is what is due by then");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_symbol_is_not_asked_for_in_every_cycle() {
    let vendor = Vendor::new(|call, symbols| {
        let mut fetched = quotes(symbols, call as u64 + 1);
        fetched.quotes.retain(|quote| quote.symbol.as_str() != "ZZZZ");
        fetched.missing = vec![(symbol("ZZZZ"), Missing::UnknownSymbol)];
        fetched
    });
    let broker = embedded();
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["ZZZZ", "A"]).await;
    sleep(600 * SECOND).await;
    assert_eq!(vendor.seconds("ZZZZ").len(), 1);
    assert!(vendor.seconds("A").len() > 100);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_does_not_end_the_publisher() {
    let vendor = Vendor::new(|call, symbols| match call {
        0 => panic!("a test's panic"),
        _ => quotes(symbols, 7),
    });
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &broker, vendor, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A7");
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_quote_from_while_the_broker_was_away_arrives_first_when_it_is_back() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &far, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    let before = next(&mut updates).await;
    line.cut();
    silence(&mut updates, 58 * SECOND).await;
    let polled = vendor.calls();
    assert!(polled >= 11, "it goes on polling");
    assert_eq!(publisher.handle.stats().buffered, 2, "one quote a symbol");
    let back = Instant::now();
    line.mend();
    let after = next(&mut updates).await;
    assert!(back.elapsed() < SECOND);
    assert_eq!(show(&after), format!("A{polled} B{polled}"));
    assert!(seqs(&after).iter().min() > seqs(&before).iter().max());
    assert_eq!(show(&next(&mut updates).await), format!("A{0} B{0}", polled + 1));
    publisher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn demand_that_was_missed_while_the_broker_was_away_is_learnt_on_return() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let _publisher = Running::start("p", &far, vendor.clone(), &config());
    let gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    line.cut();
    sleep(SECOND).await;
    gateway.set("B", 1).await;
    sleep(9 * SECOND).await;
    assert!(vendor.seconds("B").is_empty());
    line.mend();
    sleep(SECOND).await;
    assert_eq!(vendor.seconds("B").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn quotes_that_wait_when_it_stops_are_published() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let mut updates = listen(&broker, Channel::Updates);
    let publisher = Running::start("p", &far, vendor, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    next(&mut updates).await;
    line.cut();
    sleep(6 * SECOND).await;
    line.mend();
    publisher.stop().await;
    assert_eq!(show(&next(&mut updates).await), "A2");
}
