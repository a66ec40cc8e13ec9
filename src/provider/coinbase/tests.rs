use super::*;
use crate::provider::vendor::script::*;

const STATS: &str = r#"{"open":"89012.00","high":"89100.00","low":"87000.00","last":"88199.90","volume":"5360.2","volume_30day":"160000"}"#;
const TICKER: &str = r#"{"trade_id":1,"price":"88199.90","size":"0.01","time":"2026-11-20T20:59:59.123456Z","bid":"88199.80","ask":"88199.90","volume":"5360.2"}"#;

fn coinbase() -> Coinbase {
    Coinbase::new(&Config::default())
}

/// The call for the ticker, after the one for the change.
fn ticker_call(coinbase: &mut Coinbase, stats: &str) -> Call<Step> {
    let call = first(coinbase, &["BTC-USD"]);
    only(say(coinbase, &call, 200, &[], stats).unwrap())
}

#[test]
fn the_change_is_asked_for_once_a_minute_and_the_ticker_each_time() {
    let mut coinbase = coinbase();
    let stats = first(&mut coinbase, &["BTC-USD"]);
    assert_eq!(stats.request.target(), "/products/BTC-USD/stats");
    let ticker = only(say(&mut coinbase, &stats, 200, &[], STATS).unwrap());
    assert_eq!(ticker.request.target(), "/products/BTC-USD/ticker");
    let progress = say(&mut coinbase, &ticker, 200, &[], TICKER).unwrap();
    assert_eq!(told(&progress), ["BTC-USD 88199.90 -812.10 -0.9123% 5360.2 2026-11-20T20:59:59.123456Z"]);
    let later = |seconds: i64| at(NOW).checked_add(SignedDuration::from_secs(seconds)).unwrap();
    let path = |coinbase: &mut Coinbase, seconds| {
        only(coinbase.begin(&symbols(&["BTC-USD"]), later(seconds))).request.target()
    };
    assert_eq!(path(&mut coinbase, 59), "/products/BTC-USD/ticker");
    assert_eq!(path(&mut coinbase, 60), "/products/BTC-USD/stats");
}

#[test]
fn pairs_are_served_and_nothing_else() {
    for (text, serves) in [
        ("BTC-USD", true),
        ("BTC/USD", true),
        ("ETH-BTC", true),
        ("BTC-INR", false),
        ("AAPL", false),
        ("BRK-B", false),
        ("BTCUSDT", false),
    ] {
        assert_eq!(coinbase().serves(symbol(text)), serves, "{text}");
    }
    assert_eq!(told(&coinbase().begin(&symbols(&["AAPL"]), at(NOW))), ["AAPL: unknown_symbol"]);
    assert_eq!(coinbase().profile().windows[0].limit.get(), 10);
}

#[test]
fn what_is_missing_is_left_out() {
    for (stats, ticker, expected) in [
        ("{}", TICKER, "BTC-USD 88199.90 - -% 5360.2 2026-11-20T20:59:59.123456Z"),
        (r#"{"open":"0"}"#, r#"{"price":"1.50","time":"soon"}"#, "BTC-USD 1.50 - -% - -"),
        (STATS, r#"{"price":"0.00"}"#, "BTC-USD: no_data"),
        (STATS, r#"{"price":null}"#, "BTC-USD: no_data"),
        (STATS, "{}", "BTC-USD: no_data"),
    ] {
        let mut coinbase = coinbase();
        let call = ticker_call(&mut coinbase, stats);
        assert_eq!(told(&say(&mut coinbase, &call, 200, &[], ticker).unwrap()), [expected]);
    }
}

#[test]
fn each_refusal_has_its_class() {
    let mut coinbase = coinbase();
    let call = first(&mut coinbase, &["NO-USD"]);
    let progress = say(&mut coinbase, &call, 404, &[], r#"{"message":"NotFound"}"#).unwrap();
    assert_eq!((told(&progress), progress.calls.len()), (vec!["NO-USD: unknown_symbol".to_owned()], 0));
    for (status, body, class) in [
        (429, r#"{"message":"Public rate limit exceeded"}"#, "rate_limited"),
        (429, "", "rate_limited"),
        (404, "<html>", "malformed"),
        (403, "<html>", "transient"),
        (500, r#"{"message":"Internal server error"}"#, "transient"),
        (200, "<html>", "transient"),
        (200, r#"{"op"#, "transient"),
        (200, "7", "malformed"),
    ] {
        assert_eq!(say(&mut coinbase, &call, status, &[], body).unwrap_err().as_str(), class, "{status} {body}");
    }
}

#[test]
fn bars_have_low_before_high_and_newest_first() {
    let mut coinbase = coinbase();
    let charts = Range::ALL.map(|range| coinbase.begin_bars(symbol("BTC-USD"), range, at(NOW)).unwrap());
    assert_eq!(
        charts.each_ref().map(|chart| chart.call.request.target()),
        [
            "/products/BTC-USD/candles?granularity=300&start=2026-11-19T21%3A00%3A30Z&end=2026-11-20T21%3A00%3A30Z",
            "/products/BTC-USD/candles?granularity=3600&start=2026-11-13T21%3A00%3A30Z&end=2026-11-20T21%3A00%3A30Z",
            "/products/BTC-USD/candles?granularity=86400&start=2026-10-20T00%3A00%3A00Z&end=2026-11-20T21%3A00%3A30Z",
        ]
    );
    let body = "[[1795185300,0.5,2.50,1.0,1.5,7.25],[1795185000,1,2,1,2,0],[1795184700,1,2],[null]]";
    let progress = say(&mut coinbase, &charts[0].call, 200, &[], body).unwrap();
    assert_eq!(drawn(&progress.bars), ["2026-11-20T14:35:00Z 1.0 2.50 0.5 1.5 7.25", "2026-11-20T14:30:00Z 1 2 1 2 0"]);
    survives(&mut coinbase, &charts[0].call, body);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut coinbase = coinbase();
    for i in 0..3 * MAX_OPENS {
        coinbase.keep(&format!("A{i}-USD"), Number::from(1), at(NOW));
        assert!(coinbase.opens.len() <= MAX_OPENS);
    }
}
