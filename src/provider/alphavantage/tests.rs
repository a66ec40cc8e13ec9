use super::*;
use crate::provider::vendor::script::*;

fn alpha(plan: Option<&str>) -> AlphaVantage {
    AlphaVantage::new("s3cret".into(), &Config { plan: plan.map(str::to_owned), ..Config::default() })
}

fn quote(text: &str, body: &str) -> Result<Progress<Step>, Failure> {
    let mut alpha = alpha(None);
    let call = first(&mut alpha, &[text]);
    say(&mut alpha, &call, 200, &[], body)
}

fn row(day: &str) -> String {
    format!(
        r#"{{"Global Quote":{{"01. symbol":"IBM","02. open":"301.1000","03. high":"305.0000","04. low":"300.2000","05. price":"304.5500","06. volume":"3456789","07. latest trading day":"{day}","08. previous close":"301.0000","09. change":"3.5500","10. change percent":"1.1794%"}}}}"#
    )
}

const DAILY: &str = r#"{"Information":"We have detected your API key as S3CRET and our standard API rate limit is 25 requests per day. Please subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to instantly remove all daily rate limits."}"#;
const BURST: &str = r#"{"Information":"Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly (1 request per second). You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to lift the free key rate limit (25 requests per day)."}"#;
const MINUTE: &str = r#"{"Note":"Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls per day."}"#;
const PREMIUM: &str = r#"{"Information":"Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans ..."}"#;
const KEY: &str = r#"{"Error Message":"the parameter apikey is invalid or missing. Please claim your free API key on (https://www.alphavantage.co/support/#api-key)."}"#;
const INVALID: &str = r#"{"Error Message":"Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) for GLOBAL_QUOTE."}"#;

#[test]
fn a_free_key_asks_one_by_one() {
    let progress = alpha(None).begin(&symbols(&["IBM", "BRK.B", "RELIANCE", "TSCO.LON", "BTC-USD"]), at(NOW));
    assert_eq!(
        targets(&progress),
        ["IBM", "BRK-B", "RELIANCE.BSE", "TSCO.LON"]
            .map(|own| format!("/query?function=GLOBAL_QUOTE&symbol={own}&apikey=s3cret"))
    );
    assert_eq!(told(&progress), ["BTC-USD: unknown_symbol"]);
    assert!(!format!("{:?}", progress.calls).contains("s3cret"));
    let windows =
        |plan| alpha(plan).profile().windows.iter().map(|w| (w.length.as_secs(), w.limit.get())).collect::<Vec<_>>();
    assert_eq!(windows(None), [(1, 1), (86_400, 25)]);
    assert_eq!(windows(Some("paid")), [(60, 75)]);
}

#[test]
fn a_day_is_its_close_and_old_once_there_was_trade_since() {
    for (text, body, expected) in [
        ("IBM", row("2026-11-20"), "IBM 304.5500 3.5500 1.1794% 3456789 2026-11-20T21:00:00Z"),
        ("IBM", row("2026-11-19"), "IBM 304.5500 3.5500 1.1794% 3456789 2026-11-19T21:00:00Z stale"),
        ("RELIANCE", row("2026-11-20"), "RELIANCE 304.5500 3.5500 1.1794% 3456789 2026-11-20T10:00:00Z"),
        ("IBM", row("2026-11-23"), "IBM 304.5500 3.5500 1.1794% 3456789 -"),
        ("IBM", row("n/a"), "IBM 304.5500 3.5500 1.1794% 3456789 -"),
        (
            "IBM",
            row("2026-11-20").replace("Global Quote", "Global Quote - DATA DELAYED BY 15 MINUTES"),
            "IBM 304.5500 3.5500 1.1794% 3456789 2026-11-20T21:00:00Z",
        ),
        ("IBM", r#"{"Global Quote":{}}"#.into(), "IBM: unknown_symbol"),
        ("IBM", r#"{"Global Quote":{"05. price":""}}"#.into(), "IBM: no_data"),
        ("IBM", r#"{"Global Quote":{"05. price":"0.0000"}}"#.into(), "IBM: no_data"),
        ("IBM", INVALID.into(), "IBM: unknown_symbol"),
    ] {
        assert_eq!(told(&quote(text, &body).unwrap()), [expected], "{body}");
    }
}

#[test]
fn each_sentence_has_its_class_though_its_status_is_200() {
    for (body, class, wait) in [
        (DAILY, "quota_exhausted", None),
        (BURST, "rate_limited", Some(1)),
        (MINUTE, "rate_limited", Some(60)),
        (PREMIUM, "plan", None),
        (KEY, "auth", None),
        (r#"{"Information":"Something new"}"#, "malformed", None),
        ("{}", "malformed", None),
        (r#"{"Global Quote":7}"#, "malformed", None),
        (r#"{"Global Q"#, "transient", None),
        ("<html>", "transient", None),
    ] {
        let failure = quote("IBM", body).unwrap_err();
        assert_eq!(failure.as_str(), class, "{body}");
        if let Failure::RateLimited { retry_after, .. } = failure {
            assert_eq!(retry_after, wait.map(Duration::from_secs));
        }
    }
    let Failure::QuotaExhausted { until, .. } = quote("IBM", DAILY).unwrap_err() else { panic!("a quota") };
    assert_eq!(until, at("2026-11-21T05:00:00Z"));
    let mut alpha = alpha(None);
    let call = first(&mut alpha, &["IBM"]);
    for (status, class) in [(503, "transient"), (429, "rate_limited"), (403, "plan")] {
        assert_eq!(say(&mut alpha, &call, status, &[], "").unwrap_err().as_str(), class);
    }
}

#[test]
fn a_paid_key_asks_for_a_hundred_at_once() {
    let mut alpha = alpha(Some("paid"));
    let call = first(&mut alpha, &["MSFT", "BRK.B", "ZZZZ", "IBM"]);
    assert_eq!(
        call.request.target(),
        "/query?function=REALTIME_BULK_QUOTES&symbol=MSFT%2CBRK-B%2CZZZZ%2CIBM&apikey=s3cret"
    );
    let body = r#"{"endpoint":"Realtime Bulk Quotes","message":"","data":[{"symbol":"MSFT","timestamp":"2026-11-20 15:59:59.123","open":"514","high":"","low":"","close":"512.40","volume":"18233411","previous_close":"514.50","change":"-2.1000","change_percent":"-0.4100","extended_hours_quote":""},{"symbol":"IBM","timestamp":"","close":"","volume":""},{"symbol":"BRK-B","timestamp":"2026-11-20 15:59:59","close":"101.00","volume":"","previous_close":"100.00","change":"","change_percent":""}]}"#;
    assert_eq!(
        told(&say(&mut alpha, &call, 200, &[], body).unwrap()),
        [
            "MSFT 512.40 -2.1000 -0.4100% 18233411 2026-11-20T20:59:59.123Z",
            "BRK.B 101.00 1.00 1% - 2026-11-20T20:59:59Z",
            "ZZZZ: unknown_symbol",
            "IBM: no_data",
        ]
    );
    assert!(first(&mut alpha, &["IBM"]).request.target().contains("GLOBAL_QUOTE"));
}

#[test]
fn a_plan_without_the_batch_is_asked_one_by_one_for_an_hour() {
    let mut alpha = alpha(Some("paid"));
    let call = first(&mut alpha, &["MSFT", "IBM"]);
    let progress = say(&mut alpha, &call, 200, &[], PREMIUM).unwrap();
    assert_eq!(progress.calls.len(), 2);
    assert_eq!(alpha.begin(&symbols(&["MSFT", "IBM"]), at("2026-11-20T22:00:00Z")).calls.len(), 2);
    assert_eq!(alpha.begin(&symbols(&["MSFT", "IBM"]), at("2026-11-20T22:01:00Z")).calls.len(), 1);
}

#[test]
fn charts_are_the_newest_hundred() {
    let mut alpha = alpha(None);
    let charts = Range::ALL.map(|range| alpha.begin_bars(symbol("IBM"), range, at(NOW)).unwrap());
    assert_eq!(
        charts.each_ref().map(|chart| chart.call.request.target()),
        [
            "/query?function=TIME_SERIES_INTRADAY&symbol=IBM&apikey=s3cret&outputsize=compact&interval=15min",
            "/query?function=TIME_SERIES_INTRADAY&symbol=IBM&apikey=s3cret&outputsize=compact&interval=60min",
            "/query?function=TIME_SERIES_DAILY&symbol=IBM&apikey=s3cret&outputsize=compact",
        ]
    );
    let ohlc = r#"{"1. open":"1.0","2. high":"2.50","3. low":"0.5","4. close":"1.5","5. volume":"7"}"#;
    for (body, expected) in [
        (
            format!(
                r#"{{"Meta Data":{{"1. Information":"Intraday","6. Time Zone":"US/Eastern"}},"Time Series (15min)":{{"2026-11-20 15:55:00":{ohlc},"2026-11-20 15:40:00":{ohlc},"x":{ohlc}}}}}"#
            ),
            vec!["2026-11-20T20:40:00Z 1.0 2.50 0.5 1.5 7", "2026-11-20T20:55:00Z 1.0 2.50 0.5 1.5 7"],
        ),
        (
            format!(r#"{{"Meta Data":{{"5. Time Zone":"US/Eastern"}},"Time Series (Daily)":{{"2026-11-20":{ohlc}}}}}"#),
            vec!["2026-11-20T05:00:00Z 1.0 2.50 0.5 1.5 7"],
        ),
        (r#"{"Meta Data":{},"Time Series (Daily)":{}}"#.into(), vec![]),
    ] {
        assert_eq!(drawn(&say(&mut alpha, &charts[0].call, 200, &[], &body).unwrap().bars), expected);
        survives(&mut alpha, &charts[0].call, &body);
    }
    assert_eq!(say(&mut alpha, &charts[0].call, 200, &[], PREMIUM).unwrap_err().as_str(), "plan");
    assert_eq!(told(&say(&mut alpha, &charts[0].call, 200, &[], INVALID).unwrap()), ["IBM: unknown_symbol"]);
}
