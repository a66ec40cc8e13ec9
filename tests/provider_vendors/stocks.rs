//! Tradier, Finnhub, Alpha Vantage and Twelve Data.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tickcast::market::Range;
use tickcast::provider::{Config, Missing, Name, NoBars, Why};

use crate::case::{self, Case, KEY, moments};
use crate::support::vendor::{Answer, Asked, MockVendor};

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn has_header(asked: &Asked, name: &str, value: &str) -> bool {
    asked.headers.get(name).is_some_and(|field| field == value)
}

/// The clock of UTC, as `2026-11-20 15:55:00`.
fn civil(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

pub(crate) fn tradier() -> Case {
    Case {
        name: Name::Tradier,
        has_key: true,
        serve: serve_tradier,
        ask: &["AAPL", "BRK.B", "ZZZZ"],
        prices: &["AAPL 180.050", "BRK.B 501.10"],
        missing: &[("ZZZZ", Missing::UnknownSymbol)],
        chart: ("AAPL", Range::Day),
    }
}

fn serve_tradier(asked: &Asked) -> Answer {
    if !has_header(asked, "authorization", &format!("Bearer {KEY}")) {
        return Answer::new(
            401,
            r#"{"fault":{"faultstring":"Invalid Access Token","detail":{"errorcode":"keymanagement.service.invalid_access_token"}}}"#,
        );
    }
    if !has_header(asked, "accept", "application/json") {
        return Answer::new(200, "<quotes/>").header("content-type", "application/xml");
    }
    match asked.path() {
        "/v1/markets/quotes" => {
            let symbols = asked.query("symbols").unwrap();
            let (mut rows, mut unmatched) = (vec![], vec![]);
            for symbol in symbols.split(',') {
                let price = match symbol {
                    "AAPL" => "180.050",
                    "BRK/B" => "501.10",
                    _ => {
                        unmatched.push(format!("\"{symbol}\""));
                        continue;
                    }
                };
                rows.push(format!(
                    r#"{{"symbol":"{symbol}","last":{price},"close":null,"trade_date":{}}}"#,
                    now() * 1000
                ));
            }
            // One is an object, several are an array, none is nothing: it was XML.
            let listed = |name: &str, rows: &[String]| match rows {
                [] => None,
                [one] => Some(format!(r#""{name}":{one}"#)),
                several => Some(format!(r#""{name}":[{}]"#, several.join(","))),
            };
            let unmatched = listed("symbol", &unmatched).map(|list| format!(r#""unmatched_symbols":{{{list}}}"#));
            let parts: Vec<String> = [listed("quote", &rows), unmatched].into_iter().flatten().collect();
            Answer::json(format!(r#"{{"quotes":{{{}}}}}"#, parts.join(",")))
                .header("x-ratelimit-available", "100")
                .header("x-ratelimit-expiry", format!("{}000", now() + 60))
        }
        "/v1/markets/timesales" => {
            let [older, newer] = moments().map(|at| at.as_second());
            let row = |at, close| {
                format!(r#"{{"timestamp":{at},"price":1,"open":1,"high":3.0,"low":1,"close":{close},"volume":1}}"#)
            };
            let rows = [row(newer, "2.50"), row(older, "1.50"), row(newer, "2.50")].join(",");
            Answer::json(format!(r#"{{"series":{{"data":[{rows}]}}}}"#))
        }
        _ => Answer::new(400, "Invalid parameter"),
    }
}

#[tokio::test]
async fn tradiers_spent_window_is_not_asked_into() {
    let vendor = MockVendor::start(|_| {
        Answer::json(format!(
            r#"{{"quotes":{{"quote":{{"symbol":"AAPL","last":1.5,"trade_date":{}}}}}}}"#,
            now() * 1000
        ))
        .header("x-ratelimit-available", "0")
        .header("x-ratelimit-expiry", (now() + 50).to_string())
    })
    .await;
    let provider = tradier().provider(&vendor).await;
    assert_eq!(case::prices(&case::fetch(&*provider, &["AAPL"]).await), ["AAPL 1.5"]);
    let left = case::fetch(&*provider, &["AAPL"]).await.left.unwrap();
    assert_eq!(left.why, Why::Budget);
    assert!(left.retry_in > Duration::from_secs(10), "{:?}", left.retry_in);
    assert_eq!(vendor.asked().len(), 1);
}

pub(crate) fn finnhub() -> Case {
    Case {
        name: Name::Finnhub,
        has_key: true,
        serve: serve_finnhub,
        ask: &["AAPL", "BTC-USD", "ZZZZ"],
        prices: &["AAPL 244.870", "BTC-USD 88199.90"],
        missing: &[("ZZZZ", Missing::UnknownSymbol)],
        chart: ("AAPL", Range::Day),
    }
}

fn serve_finnhub(asked: &Asked) -> Answer {
    if !has_header(asked, "x-finnhub-token", KEY) {
        return Answer::new(401, r#"{"error":"Invalid API key"}"#);
    }
    let quote = |price| {
        Answer::json(format!(r#"{{"c":{price},"d":0.4,"dp":0.1636,"h":1,"l":1,"o":1,"pc":244.47,"t":{}}}"#, now()))
    };
    match (asked.path(), &*asked.query("symbol").unwrap()) {
        ("/api/v1/quote", "AAPL") => quote("244.870"),
        ("/api/v1/quote", "BINANCE:BTCUSDT") => quote("88199.90"),
        ("/api/v1/quote", "SHOP") => Answer::new(403, r#"{"error":"You don't have access to this resource."}"#),
        ("/api/v1/quote", _) => Answer::json(r#"{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}"#),
        ("/api/v1/stock/candle", "AAPL") => {
            let [older, newer] = moments().map(|at| at.as_second());
            Answer::json(format!(
                r#"{{"s":"ok","t":[{newer},{older},{newer}],"o":[1,1,1],"h":[3.0,3.0,3.0],"l":[1,1,1],"c":[2.50,1.50,2.50],"v":[1,1,1]}}"#
            ))
        }
        _ => Answer::new(403, r#"{"error":"You don't have access to this resource."}"#),
    }
}

#[tokio::test]
async fn at_finnhub_a_plan_without_bars_keeps_its_quotes() {
    let vendor = MockVendor::start(serve_finnhub).await;
    let provider = finnhub().provider(&vendor).await;
    let refused = case::bars(&*provider, "MSFT", Range::Day).await.unwrap_err();
    assert!(matches!(refused, NoBars::Left { why: Why::Failed(_), .. }), "{refused:?}");
    let parked = case::bars(&*provider, "AAPL", Range::Day).await.unwrap_err();
    assert!(matches!(parked, NoBars::Left { why: Why::Parked, .. }), "{parked:?}");
    let fetched = case::fetch(&*provider, &["SHOP", "AAPL"]).await;
    assert_eq!(
        (case::prices(&fetched), case::missing(&fetched)),
        (vec!["AAPL 244.870".into()], vec![("SHOP", Missing::NotInPlan)])
    );
}

pub(crate) fn alphavantage() -> Case {
    Case {
        name: Name::AlphaVantage,
        has_key: true,
        serve: serve_alphavantage,
        ask: &["BRK.B", "IBM", "ZZZZ"],
        prices: &["BRK.B 501.1000", "IBM 304.5500"],
        missing: &[("ZZZZ", Missing::UnknownSymbol)],
        chart: ("IBM", Range::Day),
    }
}

fn serve_alphavantage(asked: &Asked) -> Answer {
    if asked.query("apikey").as_deref() != Some(KEY) {
        return Answer::json(
            r#"{"Error Message":"the parameter apikey is invalid or missing. Please claim your free API key."}"#,
        );
    }
    let quote = |price| {
        Answer::json(format!(
            r#"{{"Global Quote":{{"05. price":"{price}","06. volume":"7","07. latest trading day":"2026-11-16"}}}}"#
        ))
    };
    match (&*asked.query("function").unwrap(), &*asked.query("symbol").unwrap()) {
        ("GLOBAL_QUOTE", "IBM") => quote("304.5500"),
        ("GLOBAL_QUOTE", "BRK-B") => quote("501.1000"),
        ("GLOBAL_QUOTE", _) => Answer::json(r#"{"Global Quote":{}}"#),
        ("TIME_SERIES_INTRADAY", "IBM") => {
            let [older, newer] = moments().map(civil);
            let row = |at, close| {
                format!(r#""{at}":{{"1. open":"1","2. high":"3.0","3. low":"1","4. close":"{close}","5. volume":"7"}}"#)
            };
            Answer::json(format!(
                r#"{{"Meta Data":{{"6. Time Zone":"UTC"}},"Time Series (15min)":{{{},{}}}}}"#,
                row(newer, "2.50"),
                row(older, "1.50")
            ))
        }
        _ => Answer::json(r#"{"Error Message":"Invalid API call."}"#),
    }
}

#[tokio::test]
async fn at_alphavantage_the_daily_limit_parks_and_its_sentence_does_not_give_the_key_away() {
    let logs = crate::logs::capture();
    let vendor = MockVendor::start(|_| {
        Answer::json(format!(
            r#"{{"Information":"We have detected your API key as {} and our standard API rate limit is 25 requests per day. Please subscribe."}}"#,
            KEY.to_ascii_uppercase()
        ))
    })
    .await;
    let provider = alphavantage().provider(&vendor).await;
    let fetched = case::fetch(&*provider, &["IBM"]).await;
    let Why::Failed(failure) = &fetched.left.as_ref().unwrap().why else { panic!("{fetched:?}") };
    assert_eq!(failure.as_str(), "quota_exhausted");
    assert!(failure.to_string().contains("API key as ***"), "{failure}");
    assert!(matches!(case::fetch(&*provider, &["IBM"]).await.left.unwrap().why, Why::Parked));
    assert_eq!(vendor.asked().len(), 1);
    assert!(logs.text().contains("***") && !logs.text().to_ascii_lowercase().contains(&KEY.to_ascii_lowercase()));
}

pub(crate) fn twelvedata() -> Case {
    Case {
        name: Name::TwelveData,
        has_key: true,
        serve: serve_twelvedata,
        ask: &["AAPL", "BTC-USD", "ZZZZ"],
        prices: &["AAPL 244.8700", "BTC-USD 88199.90"],
        missing: &[("ZZZZ", Missing::UnknownSymbol)],
        chart: ("AAPL", Range::Day),
    }
}

const NO_CREDITS: &str = r#"{"code":429,"message":"You have run out of API credits for the current minute. 9 API credits were used, with the current limit being 8.","status":"error"}"#;

fn serve_twelvedata(asked: &Asked) -> Answer {
    if !has_header(asked, "authorization", &format!("apikey {KEY}")) {
        return Answer::json(
            r#"{"code":401,"message":"**apikey** parameter is incorrect or not specified.","status":"error"}"#,
        );
    }
    let row = |symbol: &str| match symbol {
        "AAPL" | "BTC/USD" => {
            let price = if symbol == "AAPL" { "244.8700" } else { "88199.90" };
            format!(r#"{{"symbol":"{symbol}","close":"{price}","timestamp":1,"last_quote_at":{}}}"#, now())
        }
        _ => r#"{"code":404,"message":"**symbol** or **figi** parameter is missing or invalid.","status":"error"}"#
            .to_owned(),
    };
    let symbols = asked.query("symbol").unwrap();
    let symbols: Vec<&str> = symbols.split(',').collect();
    match (asked.path(), &symbols[..]) {
        ("/quote", [one]) => Answer::json(row(one)),
        ("/quote", several) => {
            let rows: Vec<String> = several.iter().map(|symbol| format!(r#""{symbol}":{}"#, row(symbol))).collect();
            Answer::json(format!("{{{}}}", rows.join(",")))
        }
        ("/time_series", _) => {
            let [older, newer] = moments().map(civil);
            let row =
                |at, close| format!(r#"{{"datetime":"{at}","open":"1","high":"3.0","low":"1","close":"{close}"}}"#);
            let rows = [row(&newer, "2.50"), row(&older, "1.50"), row(&older, "1.50")].join(",");
            Answer::json(format!(r#"{{"meta":{{"exchange_timezone":"UTC"}},"values":[{rows}],"status":"ok"}}"#))
        }
        _ => Answer::new(404, ""),
    }
}

#[tokio::test]
async fn twelvedata_is_charged_by_the_symbol_and_never_runs_out_of_credits() {
    let used = std::sync::atomic::AtomicU32::new(0);
    let vendor = MockVendor::start(move |asked| {
        let cost = u32::try_from(asked.query("symbol").unwrap().split(',').count()).unwrap();
        let used = used.fetch_add(cost, std::sync::atomic::Ordering::SeqCst) + cost;
        if used > 8 { Answer::json(NO_CREDITS) } else { serve_twelvedata(asked) }
    })
    .await;
    let config = Config { per_minute: NonZeroU32::new(8), ..twelvedata().config(&vendor) };
    let provider = case::build(Name::TwelveData, config, &case::embedded()).await;
    for _ in 0..2 {
        assert!(case::fetch(&*provider, &["AAPL", "BTC-USD", "ZZZZ"]).await.left.is_none());
    }
    // 3 and, the unknown one left out, 2 more; then 2, and the last credit buys no batch.
    assert!(case::fetch(&*provider, &["AAPL", "BTC-USD"]).await.left.is_none());
    assert_eq!(case::fetch(&*provider, &["AAPL", "BTC-USD"]).await.left.unwrap().why, Why::Budget);
    assert!(case::fetch(&*provider, &["AAPL"]).await.left.is_none());
    assert_eq!(vendor.asked().len(), 4);
}
