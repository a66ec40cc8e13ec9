//! Yahoo: cookies, crumbs, and charts without either.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use tickcast::market::Range;
use tickcast::provider::{Missing, Name};

use crate::case::{self, Case, moments};
use crate::support::vendor::{Answer, Asked, MockVendor};

pub(crate) fn case() -> Case {
    Case {
        name: Name::Yahoo,
        has_key: false,
        serve,
        ask: &["AAPL", "RELIANCE.NS", "ZZZZ"],
        prices: &["AAPL 244.870", "RELIANCE.NS 1540.30"],
        missing: &[("ZZZZ", Missing::UnknownSymbol)],
        chart: ("AAPL", Range::Day),
    }
}

fn serve(asked: &Asked) -> Answer {
    answer(asked, 1)
}

/// With the crumb of this session.
fn answer(asked: &Asked, session: u32) -> Answer {
    if !asked.headers["user-agent"].to_str().unwrap().starts_with("Mozilla/") {
        return Answer::new(429, "Edge: Too Many Requests");
    }
    let cookie = asked.headers.get("cookie").map(|field| field.to_str().unwrap());
    match asked.path() {
        "/" => Answer::new(404, "<html>").header("set-cookie", format!("A3=c{session}; Domain=.yahoo.com; Secure")),
        "/v1/test/getcrumb" => {
            Answer::new(200, cookie.map(|cookie| cookie.replace("A3=c", "crumb/")).unwrap_or_default())
        }
        "/v7/finance/quote" => {
            let crumb = asked.query("crumb");
            if crumb != Some(format!("crumb/{session}")) || cookie != Some(&*format!("A3=c{session}")) {
                return Answer::new(
                    401,
                    r#"{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#,
                );
            }
            let symbols = asked.query("symbols").unwrap();
            let rows: Vec<String> = symbols.split(',').filter_map(row).collect();
            Answer::json(format!(r#"{{"quoteResponse":{{"result":[{}],"error":null}}}}"#, rows.join(",")))
        }
        path => chart(path.strip_prefix("/v8/finance/chart/").unwrap()),
    }
}

fn row(symbol: &str) -> Option<String> {
    let price = match symbol {
        "AAPL" => "244.870",
        "RELIANCE.NS" => "1540.30",
        _ => return None,
    };
    let now = Timestamp::now().as_second();
    Some(format!(
        r#"{{"symbol":"{symbol}","quoteType":"EQUITY","regularMarketPrice":{price},"regularMarketTime":{now}}}"#
    ))
}

fn chart(symbol: &str) -> Answer {
    let Some(meta) = row(symbol) else {
        return Answer::new(
            404,
            r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}"#,
        );
    };
    let [older, newer] = moments().map(|at| at.as_second());
    let columns =
        r#""open":[1,null,1],"high":[3.0,null,3.0],"low":[1,null,1],"close":[1.50,null,2.50],"volume":[1,null,1]"#;
    Answer::json(format!(
        r#"{{"chart":{{"result":[{{"meta":{meta},"timestamp":[{older},{older},{newer}],"indicators":{{"quote":[{{{columns}}}]}}}}],"error":null}}}}"#
    ))
}

fn paths(vendor: &MockVendor) -> Vec<String> {
    vendor.asked().iter().map(|asked| asked.path().to_owned()).collect()
}

#[tokio::test]
async fn a_session_is_opened_kept_and_renewed_once() {
    static SESSION: AtomicU32 = AtomicU32::new(1);
    let vendor = MockVendor::start(|asked| answer(asked, SESSION.load(Ordering::SeqCst))).await;
    let provider = case().provider(&vendor).await;
    for _ in 0..2 {
        assert_eq!(case::prices(&case::fetch(&*provider, &["AAPL"]).await), ["AAPL 244.870"]);
    }
    let opened = ["/", "/v1/test/getcrumb", "/v7/finance/quote"];
    assert_eq!(paths(&vendor), [&opened[..], &["/v7/finance/quote"]].concat());
    SESSION.store(2, Ordering::SeqCst);
    assert_eq!(case::prices(&case::fetch(&*provider, &["AAPL"]).await), ["AAPL 244.870"]);
    assert_eq!(paths(&vendor)[4..], [&["/v7/finance/quote"], &opened[..]].concat());
}

#[tokio::test]
async fn behind_a_consent_page_charts_stand_in() {
    let vendor = MockVendor::start(|asked| match asked.path() {
        "/" => Answer::new(302, "").header("location", "https://consent.yahoo.com/"),
        _ => answer(asked, 1),
    })
    .await;
    let provider = case().provider(&vendor).await;
    let fetched = case::fetch(&*provider, case().ask).await;
    assert_eq!(case::prices(&fetched), case().prices);
    assert_eq!(case::missing(&fetched), case().missing);
    assert!(paths(&vendor)[1..].iter().all(|path| path.starts_with("/v8/finance/chart/")));
}
