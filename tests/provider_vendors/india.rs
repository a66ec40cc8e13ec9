//! NSE: the cookies of a page, baskets, and days.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::tz::TimeZone;
use tickcast::market::Range;
use tickcast::provider::{Missing, Name, Why};

use crate::case::{self, Case, days};
use crate::support::vendor::{Answer, Asked, MockVendor};

pub(crate) fn case() -> Case {
    Case {
        name: Name::Nse,
        has_key: false,
        serve,
        ask: &["M&M", "RELIANCE", "ZZZZZZ"],
        prices: &["M&M 3210.50", "RELIANCE 1540.30"],
        missing: &[("ZZZZZZ", Missing::UnknownSymbol)],
        chart: ("RELIANCE", Range::Month),
    }
}

fn serve(asked: &Asked) -> Answer {
    answer(asked, 1)
}

/// With the cookies of this session.
fn answer(asked: &Asked, session: u32) -> Answer {
    let header = |name| asked.headers.get(name).map(|field| field.to_str().unwrap()).unwrap_or_default();
    if !header("user-agent").starts_with("Mozilla/") || header("accept-language").is_empty() {
        return Answer::new(403, "<html>Access Denied").header("content-type", "text/html");
    }
    match asked.path() {
        "/option-chain" => Answer::new(200, "<html>")
            .header("set-cookie", format!("nsit={session}; Path=/; Secure"))
            .header("set-cookie", "ak=1"),
        _ if header("cookie") != format!("ak=1; nsit={session}") || header("referer").is_empty() => {
            Answer::new(401, "Unauthorized")
        }
        "/api/equity-stock-indices" => Answer::json(
            r#"{"data":[{"symbol":"NIFTY 50","priority":1,"lastPrice":26010.30,"series":null},{"symbol":"RELIANCE","priority":0,"series":"EQ","lastPrice":1540.30}],"timestamp":"20-Nov-2026 11:54:31"}"#,
        ),
        _ => match (&*asked.query("functionName").unwrap(), &*asked.query("symbol").unwrap()) {
            ("getSymbolData", "RELIANCE") => quote("RELIANCE", "1540.30"),
            ("getSymbolData", "M&M") => quote("M&M", "3210.50"),
            ("getHistoricalTradeData", "RELIANCE") => {
                let day = |at: jiff::Timestamp| at.to_zoned(TimeZone::UTC).strftime("%d-%b-%Y").to_string();
                let [older, newer] = days().map(day);
                let row = |day, close| {
                    format!(
                        r#"{{"mtimestamp":"{day}","chOpeningPrice":1,"chTradeHighPrice":3.0,"chTradeLowPrice":1,"chClosingPrice":{close},"chTotTradedQty":7}}"#
                    )
                };
                Answer::json(format!("[{},{},{}]", row(&newer, "2.50"), row(&older, "1.50"), row(&older, "1.50")))
            }
            _ => Answer::json("{}"),
        },
    }
}

fn quote(symbol: &str, price: &str) -> Answer {
    Answer::json(format!(
        r#"{{"equityResponse":[{{"orderBook":{{"lastPrice":{price}}},"metaData":{{"symbol":"{symbol}"}},"lastUpdateTime":"20-Nov-2026 11:54:31"}}]}}"#
    ))
}

#[tokio::test]
async fn old_cookies_are_renewed_once() {
    static SESSION: AtomicU32 = AtomicU32::new(1);
    let vendor = MockVendor::start(|asked| answer(asked, SESSION.load(Ordering::SeqCst))).await;
    let provider = case().provider(&vendor).await;
    let pages = |vendor: &MockVendor| vendor.asked().iter().filter(|asked| asked.path() == "/option-chain").count();
    for _ in 0..2 {
        assert_eq!(case::prices(&case::fetch(&*provider, &["RELIANCE"]).await), ["RELIANCE 1540.30"]);
    }
    assert_eq!((vendor.asked().len(), pages(&vendor)), (3, 1));
    SESSION.store(2, Ordering::SeqCst);
    assert_eq!(case::prices(&case::fetch(&*provider, &["RELIANCE"]).await), ["RELIANCE 1540.30"]);
    assert_eq!((vendor.asked().len(), pages(&vendor)), (6, 2));
}

#[tokio::test]
async fn a_closed_gate_is_left_alone_for_minutes() {
    let vendor =
        MockVendor::start(|_| Answer::new(403, "<html>Access Denied").header("content-type", "text/html")).await;
    let provider = case().provider(&vendor).await;
    let left = case::fetch(&*provider, &["RELIANCE"]).await.left.unwrap();
    assert!(left.retry_in.as_secs() >= 300, "{left:?}");
    assert_eq!(case::fetch(&*provider, &["RELIANCE"]).await.left.unwrap().why, Why::Budget);
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn an_index_and_its_stocks_are_one_call() {
    let vendor = MockVendor::start(serve).await;
    let provider = case().provider(&vendor).await;
    assert_eq!(
        case::prices(&case::fetch(&*provider, &["^NSEI", "RELIANCE"]).await),
        ["RELIANCE 1540.30", "^NSEI 26010.30"]
    );
    assert_eq!(vendor.asked().len(), 2);
}
