//! Each vendor as it is built from its configuration, against a local server that behaves like it: what all of them
//! have to do alike is claimed here, what is one vendor's own beside its server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../support/mod.rs"]
mod support;

mod case;
mod crypto;
mod india;
mod logs;
mod massive;
mod stocks;
mod yahoo;

use std::time::Duration;

use case::{Case, KEY};
use support::vendor::{Answer, MockVendor, http_date_in};
use tickcast::provider::{Failure, NoBars, Why};
use tickcast::quota::breaker;

/// Every claim about every vendor.
macro_rules! vendors {
    ($($name:ident: $case:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn quotes_come_with_the_vendors_own_numbers() {
                super::quotes_come_with_the_vendors_own_numbers(&$case).await;
            }

            #[tokio::test]
            async fn bars_come_in_order() {
                super::bars_come_in_order(&$case).await;
            }

            #[tokio::test]
            async fn a_passing_failure_is_tried_again() {
                super::a_passing_failure_is_tried_again(&$case).await;
            }

            #[tokio::test]
            async fn too_many_requests_hold_everyone_and_break_nothing() {
                super::too_many_requests_hold_everyone_and_break_nothing(&$case).await;
            }

            #[tokio::test]
            async fn silence_is_a_failure_after_the_time_out() {
                super::silence_is_a_failure_after_the_time_out(&$case).await;
            }

        }
    )*};
}

vendors! {
    of_massive: massive::case();
    of_tradier: stocks::tradier();
    of_yahoo: yahoo::case();
    of_finnhub: stocks::finnhub();
    of_alphavantage: stocks::alphavantage();
    of_twelvedata: stocks::twelvedata();
    of_nse: india::case();
    of_binance: crypto::binance();
    of_coinbase: crypto::coinbase();
}

macro_rules! with_key {
    ($($name:ident: $case:expr;)*) => {$(
        mod $name {
            #[tokio::test]
            async fn a_key_is_never_shown() {
                super::a_key_is_never_shown(&$case).await;
            }
        }
    )*};
}

with_key! {
    key_of_massive: crate::massive::case();
    key_of_tradier: crate::stocks::tradier();
    key_of_finnhub: crate::stocks::finnhub();
    key_of_alphavantage: crate::stocks::alphavantage();
    key_of_twelvedata: crate::stocks::twelvedata();
}

async fn quotes_come_with_the_vendors_own_numbers(case: &Case) {
    let vendor = MockVendor::start(case.serve).await;
    let provider = case.provider(&vendor).await;
    assert!(case.ask.iter().all(|text| provider.serves(case::symbol(text))));
    let fetched = case::fetch(&*provider, case.ask).await;
    assert_eq!(case::prices(&fetched), case.prices);
    assert_eq!(case::missing(&fetched), case.missing);
    assert!(fetched.left.is_none(), "{:?}", fetched.left);
    assert!(fetched.quotes.iter().all(|quote| quote.source == case.name.as_str() && quote.traded_at.is_some()));
    // Whoever is unknown is not asked for again, and the others are.
    let before = vendor.asked().len();
    let again = case::fetch(&*provider, case.ask).await;
    assert_eq!(case::prices(&again), case.prices);
    let asked = &vendor.asked()[before..];
    for (text, _) in case.missing {
        assert!(asked.iter().all(|asked| !asked.target.contains(text)), "{text}");
    }
}

async fn bars_come_in_order(case: &Case) {
    let vendor = MockVendor::start(case.serve).await;
    let provider = case.provider(&vendor).await;
    let (text, range) = case.chart;
    let bars = case::bars(&*provider, text, range).await.unwrap();
    assert_eq!(bars.source, case.name.as_str());
    let closes: Vec<&str> = bars.bars.iter().map(|bar| bar.close.as_str()).collect();
    assert_eq!(closes, ["1.50", "2.50"], "the older one first, and the duplicate once");
    assert!(bars.bars[0].start < bars.bars[1].start && !bars.interval.is_zero());
    assert_eq!(bars.bars[0].high.as_str(), "3.0");
    assert_eq!(case::bars(&*provider, "Y:Z@Z", range).await.unwrap_err(), NoBars::NotServed);
}

async fn a_passing_failure_is_tried_again(case: &Case) {
    let vendor = MockVendor::start(case.serve).await;
    let provider = case.provider(&vendor).await;
    let one = &case.ask[..1];
    // With whatever session there is.
    case::fetch(&*provider, one).await;
    let before = vendor.asked().len();
    vendor.script([
        Answer::new(503, "<html>busy</html>").header("content-type", "text/html"),
        Answer::json(format!("{{{}}}", " ".repeat(64))).cut(),
        Answer::new(200, "<!DOCTYPE html>maintenance").header("content-type", "text/html"),
    ]);
    let fetched = case::fetch(&*provider, one).await;
    assert_eq!(case::prices(&fetched), case.prices[..1]);
    assert!(vendor.asked().len() >= before + 4);
    assert_eq!(provider.status().breaker, Some(breaker::State::Closed));
}

async fn too_many_requests_hold_everyone_and_break_nothing(case: &Case) {
    let one = &case.ask[..1];
    for field in [Some("1800".to_owned()), Some(http_date_in(Duration::from_secs(1800))), None] {
        let vendor = MockVendor::start(case.serve).await;
        let broker = case::embedded();
        let provider = case.provider_on(&vendor, &broker).await;
        let answer = Answer::new(429, "<html>Too Many Requests").header("content-type", "text/html");
        let is_said = field.is_some();
        vendor.script([match field {
            Some(field) => answer.header("retry-after", field),
            None => answer,
        }]);
        let fetched = case::fetch(&*provider, one).await;
        match fetched.left {
            // A second is waited for.
            None => assert!(!is_said && case.prices[..1] == case::prices(&fetched)),
            Some(left) => {
                let Why::Failed(failure) = &left.why else { panic!("{:?}", left.why) };
                assert_eq!(failure.as_str(), "rate_limited");
                assert!(left.retry_in > Duration::from_secs(if is_said { 800 } else { 10 }), "{:?}", left.retry_in);
                let asked = vendor.asked().len();
                for provider in [provider, case.provider_on(&vendor, &broker).await] {
                    assert_eq!(case::fetch(&*provider, one).await.left.unwrap().why, Why::Budget);
                    assert_eq!(provider.status().breaker, Some(breaker::State::Closed));
                }
                assert_eq!(vendor.asked().len(), asked, "nobody asks while the vendor is angry");
            }
        }
    }
}

async fn silence_is_a_failure_after_the_time_out(case: &Case) {
    let vendor = MockVendor::start(|_| Answer::json("[]".repeat(50)).hanging()).await;
    let mut config = case.config(&vendor);
    config.timeout = Some(Duration::from_millis(100));
    let provider = case::build(case.name, config, &case::embedded()).await;
    let left = case::fetch(&*provider, &case.ask[..1]).await.left.unwrap();
    let Why::Failed(failure) = &left.why else { panic!("{:?}", left.why) };
    assert!(failure.to_string().contains("no whole answer within 0.1 s"), "{failure}");
    assert_eq!(provider.status().breaker, Some(breaker::State::Open));
}

async fn a_key_is_never_shown(case: &Case) {
    let logs = logs::capture();
    let vendor = MockVendor::start(|asked| {
        let body = format!(
            r#"{{"error":"your key {KEY} ({}) is unknown","message":"your key {} is unknown","code":401}}"#,
            asked.target,
            KEY.to_ascii_uppercase()
        );
        Answer::new(401, body)
    })
    .await;
    let provider = case.provider(&vendor).await;
    let fetched = case::fetch(&*provider, case.ask).await;
    let status = provider.status();
    let (text, range) = case.chart;
    let bars = case::bars(&*provider, text, range).await;
    let Why::Failed(failure) = &fetched.left.as_ref().unwrap().why else { panic!("{fetched:?}") };
    assert!(matches!(failure, Failure::Auth(_)), "{failure}");
    assert!(status.parked.is_some() && matches!(bars, Err(NoBars::Left { why: Why::Parked, .. })), "{bars:?}");
    assert!(logs.text().contains("provider parked"), "{}", logs.text());
    assert!(vendor.asked().iter().all(case::shows_key), "the key was sent");
    assert_eq!(vendor.asked().len(), 1, "a bad key is not tried again");
    let shown = format!("{fetched:?} {status:?} {bars:?} {}", logs.text()).to_ascii_lowercase();
    for secret in case::KEY_SPELLINGS {
        assert!(!shown.contains(&secret.to_ascii_lowercase()), "{shown}");
    }
}
