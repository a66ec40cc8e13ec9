use super::*;
use crate::provider::vendor::script::*;

fn massive(plan: Option<&str>) -> Massive {
    Massive::new("s3cret".into(), &Config { plan: plan.map(str::to_owned), ..Config::default() })
}

/// A row of the vendor's, with these in place of the last trade, the day and the minute.
fn snapshot(trade: &str, day: &str, min: &str) -> String {
    format!(
        r#"{{"status":"OK","request_id":"0c11","count":1,"tickers":[{{"ticker":"NVDA","todaysChange":1.50,"todaysChangePerc":0.84,"updated":1795208400123456789,"day":{day},"lastTrade":{trade},"lastQuote":{{"P":180.06,"S":3,"p":180.04,"s":5,"t":1795208400120000000}},"min":{min},"prevDay":{{"o":177,"h":179.5,"l":176.4,"c":178.55,"v":150332211,"vw":178.1}}}}]}}"#
    )
}

const TRADE: &str = r#"{"c":null,"i":"71","p":180.050,"s":100,"t":1795208399000000001,"x":12}"#;
const DAY: &str = r#"{"o":178.1,"h":181.2,"l":177.9,"c":180.02,"v":41203344.0,"vw":179.6}"#;
const MIN: &str =
    r#"{"av":41200001,"o":180,"h":180.1,"l":179.9,"c":180.03,"v":8123,"vw":180.01,"t":1795208340000,"n":91}"#;
const ZERO: &str = r#"{"o":0,"h":0,"l":0,"c":0,"v":0,"vw":0,"av":0}"#;

#[test]
fn symbols_are_spelled_as_the_vendor_does_and_stocks_and_crypto_asked_for_apart() {
    let mut massive = massive(Some("paid"));
    let asked = ["AAPL", "BRK.B", "BRK-B", "BTC-USD", "X:ETHUSD", "RELIANCE"];
    let progress = massive.begin(&symbols(&asked), at(NOW));
    assert_eq!(
        targets(&progress),
        [format!("{STOCKS}?tickers=AAPL%2CBRK.B"), format!("{CRYPTO}?tickers=X%3ABTCUSD%2CX%3AETHUSD")]
    );
    assert_eq!(progress.calls[0].symbols, symbols(&asked[..3]));
    assert_eq!(told(&progress), ["RELIANCE: unknown_symbol"]);
    assert_eq!(header(&progress.calls[0], "authorization"), Some("Bearer s3cret"));
    for (text, serves) in
        [("AAPL", true), ("BRK.B", true), ("X:BTCUSD", true), ("BTC-USD", false), ("TCS.NS", false), ("^NSEI", false)]
    {
        assert_eq!(massive.serves(symbol(text)), serves, "{text}");
    }
}

#[test]
fn a_batch_is_a_hundred_and_nothing_asked_is_no_call() {
    let many: Vec<Symbol> =
        (0..101).map(|i| symbol(&format!("{}{}", char::from(b'A' + i / 26), char::from(b'A' + i % 26)))).collect();
    let calls = massive(None).begin(&many, at(NOW)).calls;
    assert_eq!(calls.iter().map(|call| (call.symbols.len(), call.cost)).collect::<Vec<_>>(), [(100, 1), (1, 1)]);
    // An empty list would be the whole market.
    assert!(massive(None).begin(&[], at(NOW)).calls.is_empty());
    let budget = |plan| massive(plan).profile().windows[0].limit.get();
    assert_eq!((budget(None), budget(Some("free")), budget(Some("paid"))), (5, 5, 120));
}

#[test]
fn the_price_is_the_last_trade_or_else_the_next_best_close() {
    let old = "NVDA 178.55 - -% - 2026-11-20T21:00:00Z stale";
    for (trade, day, min, expected) in [
        (TRADE, DAY, MIN, "NVDA 180.050 1.50 0.84% 41203344.0 2026-11-20T20:59:59.000000001Z"),
        ("null", DAY, MIN, "NVDA 180.03 1.50 0.84% 41203344.0 2026-11-20T21:00:00.123456789Z"),
        ("null", DAY, ZERO, "NVDA 180.02 1.50 0.84% 41203344.0 2026-11-20T21:00:00.123456789Z"),
        ("null", ZERO, MIN, "NVDA 180.03 1.50 0.84% 41200001 2026-11-20T21:00:00.123456789Z"),
        (r#"{"p":0,"t":0}"#, ZERO, ZERO, old),
        ("null", "null", "null", old),
    ] {
        let mut massive = massive(None);
        let call = first(&mut massive, &["NVDA"]);
        let progress = say(&mut massive, &call, 200, &[], &snapshot(trade, day, min)).unwrap();
        assert_eq!(told(&progress), [expected]);
    }
}

#[test]
fn rows_are_matched_by_ticker_and_what_has_none_is_unknown() {
    let mut massive = massive(None);
    let call = first(&mut massive, &["ZZZZ", "NVDA", "AAPL"]);
    let body = r#"{"status":"DELAYED","tickers":[{"ticker":"AAPL","day":{"c":0},"prevDay":{"c":null}},{"ticker":"nvda","day":{"c":1}},{"ticker":"NVDA","day":{"c":"2.50"}}]}"#;
    let progress = say(&mut massive, &call, 200, &[], body).unwrap();
    assert_eq!(told(&progress), ["NVDA 2.50 - -% - -", "ZZZZ: unknown_symbol", "AAPL: no_data"]);
    let progress = say(&mut massive, &call, 200, &[], r#"{"status":"OK","count":0}"#).unwrap();
    assert_eq!(told(&progress).len(), 3);
}

#[test]
fn a_time_from_the_future_is_none() {
    let mut massive = massive(None);
    let call = first(&mut massive, &["NVDA"]);
    let trade = r#"{"p":180.05,"t":1795208760000000000}"#;
    let progress = say(&mut massive, &call, 200, &[], &snapshot(trade, DAY, MIN)).unwrap();
    assert!(told(&progress)[0].ends_with(" -"), "{:?}", told(&progress));
}

#[test]
fn each_refusal_has_its_class() {
    let limit = r#"{"status":"ERROR","request_id":"a1","error":"You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue."}"#;
    let key = r#"{"status":"ERROR","request_id":"a2","error":"Unknown API Key"}"#;
    for (status, fields, body, class) in [
        (429, &[][..], limit, "rate_limited: 429 You've exceeded"),
        (429, &[("retry-after", "7")][..], "", "rate_limited"),
        (429, &[][..], "<html>", "rate_limited: 429 (a web page)"),
        (401, &[][..], key, "auth: 401 Unknown API Key"),
        (403, &[][..], "<html>Forbidden</html>", "transient"),
        (502, &[][..], "", "transient"),
        (404, &[][..], r#"{"status":"NotFound","message":"Ticker not found."}"#, "malformed"),
        (200, &[][..], "<html>Maintenance</html>", "transient"),
        (200, &[][..], r#"{"status":"OK","tick"#, "transient"),
        (200, &[][..], r#"{"status":"NOT_AUTHORIZED","message":"not entitled"}"#, "plan: not entitled"),
        (200, &[][..], r#"{"tickers":"none"}"#, "malformed"),
        (200, &[][..], "{}", "malformed"),
        (200, &[][..], "[]", "malformed"),
    ] {
        let mut massive = massive(None);
        let call = first(&mut massive, &["NVDA"]);
        let failure = say(&mut massive, &call, status, fields, body).unwrap_err();
        let told = format!("{}: {}", failure.as_str(), failure.detail());
        assert!(told.starts_with(class), "{status} {body}: {told}");
    }
}

const NO_SNAPSHOTS: &str = r#"{"status":"NOT_AUTHORIZED","request_id":"a3","message":"You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"}"#;
const TOO_EARLY: &str = r#"{"status":"NOT_AUTHORIZED","request_id":"a4","message":"Attempted to request today's data before end of day. Please upgrade your plan"}"#;

fn grouped(rows: &[(&str, &str, &str)]) -> String {
    let row = |(t, c, v): &(&str, &str, &str)| {
        format!(r#"{{"T":"{t}","v":{v},"o":1,"c":{c},"h":2,"l":1,"t":1795208400000}}"#)
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!(r#"{{"status":"OK","adjusted":true,"resultsCount":{},"results":[{}]}}"#, rows.len(), rows.join(","))
}

#[test]
fn the_free_plan_gets_end_of_day_prices_by_two_calls_a_day() {
    let mut massive = massive(None);
    let snapshot = first(&mut massive, &["NVDA", "AAPL", "ZZZZ"]);
    let daily = only(say(&mut massive, &snapshot, 403, &[], NO_SNAPSHOTS).unwrap());
    assert_eq!(daily.request.target(), "/v2/aggs/grouped/locale/us/market/stocks/2026-11-20?adjusted=true");
    // The day has ended half a minute ago; the vendor does not have it yet.
    let daily = only(say(&mut massive, &daily, 403, &[], TOO_EARLY).unwrap());
    assert!(daily.request.path().ends_with("2026-11-19"));
    let rows = [("NVDA", "178.5500", "150332211.0"), ("AAPL", "244.00", "1")];
    let prior = only(say(&mut massive, &daily, 200, &[], &grouped(&rows)).unwrap());
    assert!(prior.request.path().ends_with("2026-11-18"));
    let progress = say(&mut massive, &prior, 200, &[], &grouped(&[("NVDA", "170", "2")])).unwrap();
    assert_eq!(
        told(&progress),
        [
            "NVDA 178.5500 8.5500 5.0294% 150332211.0 2026-11-19T21:00:00Z stale",
            "AAPL 244.00 - -% 1 2026-11-19T21:00:00Z stale",
            "ZZZZ: unknown_symbol"
        ]
    );
    // From then on no call is needed, until the hour has passed.
    let again = massive.begin(&symbols(&["NVDA"]), at("2026-11-20T21:59:00Z"));
    assert_eq!((again.calls.len(), told(&again).len()), (0, 1));
    let later = massive.begin(&symbols(&["NVDA"]), at("2026-11-20T22:01:00Z"));
    assert_eq!(targets(&later), [format!("{STOCKS}?tickers=NVDA")]);
}

#[test]
fn a_day_without_rows_is_passed_over_and_too_many_of_them_are_a_failure() {
    let mut massive = massive(None);
    let snapshot = first(&mut massive, &["NVDA"]);
    let mut call = only(say(&mut massive, &snapshot, 403, &[], NO_SNAPSHOTS).unwrap());
    for day in ["2026-11-20", "2026-11-19", "2026-11-18", "2026-11-17"] {
        assert!(call.request.path().ends_with(day), "{}", call.request.path());
        call = only(say(&mut massive, &call, 200, &[], r#"{"status":"OK","resultsCount":0}"#).unwrap());
    }
    assert_eq!(say(&mut massive, &call, 403, &[], TOO_EARLY).unwrap_err().as_str(), "plan");
}

#[test]
fn crypto_has_its_own_table_whose_day_ends_at_midnight() {
    let mut massive = massive(None);
    let snapshot = first(&mut massive, &["BTC-USD"]);
    let mut call = only(say(&mut massive, &snapshot, 403, &[], NO_SNAPSHOTS).unwrap());
    assert_eq!(call.request.path(), "/v2/aggs/grouped/locale/global/market/crypto/2026-11-19");
    call = only(say(&mut massive, &call, 200, &[], &grouped(&[("X:BTCUSD", "88199.90", "5.5")])).unwrap());
    let progress = say(&mut massive, &call, 200, &[], &grouped(&[("X:BTCUSD", "88000", "5.5")])).unwrap();
    assert_eq!(told(&progress), ["BTC-USD 88199.90 199.90 0.2272% 5.5 2026-11-20T00:00:00Z stale"]);
}

fn chart(massive: &mut Massive, text: &str, range: Range) -> Chart<Step> {
    massive.begin_bars(symbol(text), range, at(NOW)).unwrap()
}

#[test]
fn a_chart_ends_now_where_the_plan_has_today_and_with_yesterday_otherwise() {
    let millis = |text: &str| at(text).as_millisecond();
    let mut paid = massive(Some("paid"));
    for (range, part, from, interval_s) in [
        (Range::Day, "5/minute", "2026-11-19T21:00:00Z", 300),
        (Range::Week, "30/minute", "2026-11-13T21:00:00Z", 1800),
        (Range::Month, "1/day", "2026-10-20T04:00:00Z", 86_400),
    ] {
        let chart = chart(&mut paid, "BRK.B", range);
        assert_eq!(
            chart.call.request.target(),
            format!(
                "/v2/aggs/ticker/BRK.B/range/{part}/{}/{}?adjusted=true&sort=asc&limit=50000",
                millis(from),
                millis(NOW)
            )
        );
        assert_eq!((chart.from, chart.interval.as_secs()), (at(from), interval_s));
    }
    let free = chart(&mut massive(None), "NVDA", Range::Day);
    assert_eq!(free.from, at("2026-11-18T21:00:00Z"));
    assert!(free.call.request.path().ends_with(&(millis("2026-11-20T05:00:00Z") - 1).to_string()));
    assert!(massive(None).begin_bars(symbol("RELIANCE"), Range::Day, at(NOW)).is_none());
}

fn bars(next: Option<&str>) -> String {
    let next = next.map(|url| format!(r#","next_url":"{url}""#)).unwrap_or_default();
    format!(
        r#"{{"ticker":"NVDA","status":"OK","resultsCount":2,"results":[{{"t":1795064400000,"o":177,"h":179.50,"l":176.4,"c":178.55,"v":150332211.0,"vw":178.1,"n":9}},{{"t":1795064700000,"o":null,"h":1,"l":1,"c":1}}]{next}}}"#
    )
}

#[test]
fn pages_are_followed_at_our_base_url_with_our_key_and_a_pause() {
    let mut massive = massive(Some("paid"));
    let call = chart(&mut massive, "NVDA", Range::Day).call;
    let next = "https://elsewhere.example/v2/aggs/ticker/NVDA/range/5/minute/1/2?cursor=bGltaXQ9Mg";
    let progress = say(&mut massive, &call, 200, &[], &bars(Some(next))).unwrap();
    assert_eq!(drawn(&progress.bars), ["2026-11-19T05:00:00Z 177 179.50 176.4 178.55 150332211.0"]);
    let page = only(progress);
    assert_eq!(page.request.target(), "/v2/aggs/ticker/NVDA/range/5/minute/1/2?cursor=bGltaXQ9Mg");
    assert_eq!((page.request.origin(), header(&page, "authorization")), (None, Some("Bearer s3cret")));
    assert!(page.pause.is_some());
    let last = say(&mut massive, &page, 200, &[], r#"{"status":"OK","resultsCount":0}"#).unwrap();
    assert!(last.calls.is_empty() && last.bars.is_empty());
}

#[test]
fn a_circle_of_pages_and_a_chain_without_end_are_refused() {
    let mut massive = massive(Some("paid"));
    let mut call = chart(&mut massive, "NVDA", Range::Day).call;
    call = only(say(&mut massive, &call, 200, &[], &bars(Some("https://h/a?c=1"))).unwrap());
    let b = only(say(&mut massive, &call, 200, &[], &bars(Some("https://h/a?c=2"))).unwrap());
    let failure = say(&mut massive, &b, 200, &[], &bars(Some("https://h/a?c=1"))).unwrap_err();
    assert!(failure.to_string().contains("circle"));
    for page in 2.. {
        match say(&mut massive, &call, 200, &[], &bars(Some(&format!("https://h/a?c={page}")))) {
            Ok(progress) => call = only(progress),
            Err(failure) => {
                assert!(failure.to_string().contains("pages"), "{failure}");
                assert_eq!(page, MAX_PAGES);
                break;
            }
        }
    }
}

#[test]
fn bars_outside_the_plan_and_of_nobody_are_told_apart() {
    let mut massive = massive(Some("paid"));
    let call = chart(&mut massive, "NVDA", Range::Day).call;
    assert_eq!(say(&mut massive, &call, 403, &[], TOO_EARLY).unwrap_err().as_str(), "plan");
    let progress =
        say(&mut massive, &call, 404, &[], r#"{"status":"NotFound","message":"Ticker not found."}"#).unwrap();
    assert_eq!(told(&progress), ["NVDA: unknown_symbol"]);
}

#[test]
fn whatever_arrives_nobody_panics() {
    let mut massive = massive(None);
    let call = first(&mut massive, &["NVDA"]);
    survives(&mut massive, &call, &snapshot(TRADE, DAY, MIN));
    let call = chart(&mut massive, "NVDA", Range::Day).call;
    survives(&mut massive, &call, &bars(Some("https://h/a?c=1")));
}
