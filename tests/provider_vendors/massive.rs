//! Massive: a paid key's snapshots and paged bars, and what a free key gets.

use jiff::Timestamp;
use tickcast::market::Range;
use tickcast::provider::{Missing, Name, NoBars, Why};

use crate::case::{self, Case, KEY, moments};
use crate::support::vendor::{Answer, Asked, MockVendor};

pub(crate) fn case() -> Case {
    Case {
        name: Name::Massive,
        has_key: true,
        serve: paid,
        ask: &["AAPL", "BRK.B", "ZZZZ"],
        prices: &["AAPL 180.050", "BRK.B 501.10"],
        missing: &[("ZZZZ", Missing::UnknownSymbol)],
        chart: ("AAPL", Range::Day),
    }
}

const SNAPSHOT: &str = "/v2/snapshot/locale/us/markets/stocks/tickers";

fn is_authorised(asked: &Asked) -> bool {
    asked.headers.get("authorization").is_some_and(|field| field == &*format!("Bearer {KEY}"))
}

fn paid(asked: &Asked) -> Answer {
    if !is_authorised(asked) {
        return Answer::new(401, r#"{"status":"ERROR","error":"Unknown API Key"}"#);
    }
    match asked.path() {
        SNAPSHOT => {
            let asked = asked.query("tickers").unwrap();
            let rows: Vec<String> = [("AAPL", "180.050"), ("BRK.B", "501.10")]
                .into_iter()
                .filter(|(ticker, _)| asked.split(',').any(|asked| asked == *ticker))
                .map(|(ticker, price)| {
                    let now = Timestamp::now().as_nanosecond();
                    format!(r#"{{"ticker":"{ticker}","lastTrade":{{"p":{price},"t":{now}}},"day":{{"c":1,"v":7.0}}}}"#)
                })
                .collect();
            Answer::json(format!(r#"{{"status":"OK","count":{},"tickers":[{}]}}"#, rows.len(), rows.join(",")))
        }
        path if path.starts_with("/v2/aggs/ticker/AAPL/range/5/minute/") => pages(asked),
        _ => Answer::new(404, r#"{"status":"NotFound","message":"Ticker not found."}"#),
    }
}

/// Three pages: a bar, nothing, and both bars; the links lead to another host.
fn pages(asked: &Asked) -> Answer {
    let [older, newer] = moments().map(|at| {
        let close = if at == moments()[0] { "1.50" } else { "2.50" };
        format!(r#"{{"t":{},"o":1,"h":3.0,"l":1,"c":{close},"v":7}}"#, at.as_millisecond())
    });
    let next = |cursor| format!(r#","next_url":"https://api.elsewhere.example{}?cursor={cursor}""#, asked.path());
    let (rows, next) = match asked.query("cursor").as_deref() {
        None => (format!(r#","results":[{older}]"#), next("a")),
        Some("a") => (String::new(), next("b")),
        Some(_) => (format!(r#","results":[{newer},{older}]"#), String::new()),
    };
    Answer::json(format!(r#"{{"status":"OK","resultsCount":1{rows}{next}}}"#))
}

#[tokio::test]
async fn pages_are_followed_at_our_address_and_go_on_after_a_limit() {
    let vendor = MockVendor::start(paid).await;
    let provider = case().provider(&vendor).await;
    let first = case::bars(&*provider, "AAPL", Range::Day).await.unwrap();
    assert_eq!(vendor.asked().len(), 3);
    assert!(vendor.asked().iter().all(is_authorised));
    // The second page meets a limit; the first is not asked for again.
    let body = format!(r#"{{"status":"OK","next_url":"https://x.example{}?cursor=a"}}"#, vendor.asked()[0].path());
    vendor.script([Answer::json(body), Answer::new(429, "").header("retry-after", "1")]);
    let second = case::bars(&*provider, "AAPL", Range::Day).await.unwrap();
    assert_eq!(first.bars.len(), second.bars.len());
    let cursors: Vec<Option<String>> = vendor.asked()[3..].iter().map(|asked| asked.query("cursor")).collect();
    let cursor = |text: &str| Some(text.to_owned());
    assert_eq!(cursors, [None, cursor("a"), cursor("a"), cursor("b")]);
}

#[tokio::test]
async fn pages_in_a_circle_end_in_a_failure() {
    let vendor = MockVendor::start(|asked| {
        Answer::json(format!(r#"{{"status":"OK","next_url":"http://h{}?cursor=a"}}"#, asked.path()))
    })
    .await;
    let provider = case().provider(&vendor).await;
    let Err(NoBars::Left { why: Why::Failed(failure), .. }) = case::bars(&*provider, "AAPL", Range::Day).await else {
        panic!("no bars");
    };
    assert!(failure.to_string().contains("circle"), "{failure}");
    assert_eq!(vendor.asked().len(), 2);
}

/// A free key: no snapshots, and of the days all but the newest.
fn free(asked: &Asked) -> Answer {
    const NOT_ENTITLED: &str = r#"{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"}"#;
    let Some(day) = asked.path().strip_prefix("/v2/aggs/grouped/locale/us/market/stocks/") else {
        return Answer::new(403, NOT_ENTITLED);
    };
    let day: jiff::civil::Date = day.parse().unwrap();
    let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    if day >= today {
        return Answer::new(
            403,
            r#"{"status":"NOT_AUTHORIZED","message":"Attempted to request today's data before end of day."}"#,
        );
    }
    Answer::json(r#"{"status":"OK","resultsCount":1,"results":[{"T":"AAPL","c":244.870,"v":7.0}]}"#)
}

#[tokio::test]
async fn a_free_key_gets_end_of_day_prices_and_is_not_parked() {
    let vendor = MockVendor::start(free).await;
    let provider = case().provider(&vendor).await;
    let fetched = case::fetch(&*provider, &["AAPL", "ZZZZ"]).await;
    assert_eq!(case::prices(&fetched), ["AAPL 244.870"]);
    assert_eq!(case::missing(&fetched), [("ZZZZ", Missing::UnknownSymbol)]);
    assert!(provider.status().parked.is_none());
    let asked = vendor.asked().len();
    assert_eq!(case::prices(&case::fetch(&*provider, &["AAPL"]).await), ["AAPL 244.870"]);
    assert_eq!(vendor.asked().len(), asked, "the tables are kept");
}
