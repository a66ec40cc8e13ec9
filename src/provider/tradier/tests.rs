use super::*;
use crate::provider::vendor::Body as Sent;
use crate::provider::vendor::script::*;

fn tradier() -> Tradier {
    Tradier::new("s3cret".into(), &Config::default())
}

fn quotes(texts: &[&str], body: &str) -> Result<Progress<Step>, Failure> {
    let mut tradier = tradier();
    let call = first(&mut tradier, texts);
    say(&mut tradier, &call, 200, &[], body)
}

const MSFT: &str = r#"{"symbol":"MSFT","description":"Microsoft Corp","exch":"Q","type":"stock","last":512.40,"change":-2.1,"volume":18233411,"open":514.0,"high":515.2,"low":510.9,"close":null,"bid":512.39,"ask":512.42,"change_percentage":-0.41,"average_volume":21000000,"last_volume":100,"trade_date":1795208400123,"prevclose":514.5,"week_52_high":555.4,"week_52_low":344.8,"bidsize":2,"bidexch":"Q","bid_date":1795208400000,"asksize":1,"askexch":"P","ask_date":1795208400000,"root_symbols":"MSFT"}"#;

#[test]
fn it_is_asked_for_json_with_a_bearer_and_class_shares_have_a_slash() {
    let call = first(&mut tradier(), &["AAPL", "BRK.B", "BRK-B"]);
    assert_eq!(call.request.target(), "/v1/markets/quotes?symbols=AAPL%2CBRK%2FB&greeks=false");
    assert_eq!(header(&call, "authorization"), Some("Bearer s3cret"));
    assert_eq!(header(&call, "accept"), Some("application/json"));
    let progress = tradier().begin(&symbols(&["RELIANCE", "BTC-USD"]), at(NOW));
    assert_eq!(told(&progress), ["RELIANCE: unknown_symbol", "BTC-USD: unknown_symbol"]);
    assert!(
        tradier().serves(symbol("BRK.B")) && !tradier().serves(symbol("TCS.NS")) && !tradier().serves(symbol("^VIX"))
    );
}

#[test]
fn more_than_a_hundred_go_by_post_where_that_is_configured() {
    let many: Vec<Symbol> =
        (0..101u8).map(|i| symbol(&format!("{}{}", char::from(b'A' + i / 26), char::from(b'A' + i % 26)))).collect();
    assert_eq!(tradier().begin(&many, at(NOW)).calls.len(), 2);
    let config = Config { batch: NonZeroU32::new(1000), ..Config::default() };
    let mut large = Tradier::new("s3cret".into(), &config);
    assert_eq!(large.profile().batch, POST_BATCH);
    let call = only(large.begin(&many, at(NOW)));
    let Sent::Form(form) = call.request.body() else { panic!("a form") };
    assert!(form.starts_with("symbols=AA%2CAB%2C") && form.ends_with("&greeks=false"), "{form}");
    assert_eq!(call.request.target(), QUOTES);
}

#[test]
fn the_sandbox_has_half_the_budget() {
    let budget = |url: Option<&str>| {
        let config = Config { base_url: url.map(str::to_owned), ..Config::default() };
        Tradier::new("s3cret".into(), &config).profile().windows[0].limit.get()
    };
    assert_eq!((budget(None), budget(Some("https://sandbox.tradier.com"))), (120, 60));
}

#[test]
fn one_row_several_and_none_are_read() {
    let spy = r#"{"symbol":"SPY","type":"etf","last":690.1}"#;
    for (body, expected) in [
        (
            format!(r#"{{"quotes":{{"quote":[{MSFT},{spy}]}}}}"#),
            vec!["MSFT 512.40 -2.1 -0.41% 18233411 2026-11-20T21:00:00.123Z", "SPY 690.1 - -% - -"],
        ),
        (
            format!(r#"{{"quotes":{{"quote":{spy},"unmatched_symbols":{{"symbol":"MSFT"}}}}}}"#),
            vec!["SPY 690.1 - -% - -", "MSFT: unknown_symbol"],
        ),
        (
            r#"{"quotes":{"unmatched_symbols":{"symbol":["MSFT","SPY"]}}}"#.into(),
            vec!["MSFT: unknown_symbol", "SPY: unknown_symbol"],
        ),
        (r#"{"quotes":null}"#.into(), vec!["MSFT: no_data", "SPY: no_data"]),
        (r#"{"quotes":{"quote":null}}"#.into(), vec!["MSFT: no_data", "SPY: no_data"]),
        (r#"{"quotes":"null"}"#.into(), vec!["MSFT: no_data", "SPY: no_data"]),
    ] {
        assert_eq!(told(&quotes(&["MSFT", "SPY"], &body).unwrap()), expected, "{body}");
    }
}

#[test]
fn without_a_trade_there_is_no_quote_and_without_a_percentage_it_is_derived() {
    for (row, expected) in [
        (r#""last":null,"trade_date":0"#, "SPY: no_data"),
        (r#""last":0"#, "SPY: no_data"),
        (
            r#""last":101.00,"prevclose":100.00,"trade_date":"2013-06-03T15:00:00-04:00","exch":7"#,
            "SPY 101.00 1.00 1% - 2013-06-03T19:00:00Z",
        ),
        (r#""last":101.00,"prevclose":null,"volume":0"#, "SPY 101.00 - -% 0 -"),
    ] {
        let body = format!(r#"{{"quotes":{{"quote":{{"symbol":"SPY",{row}}}}}}}"#);
        assert_eq!(told(&quotes(&["SPY"], &body).unwrap()), [expected]);
    }
}

#[test]
fn each_refusal_has_its_class() {
    let quota = r#"{"fault":{"faultstring":"Rate limit quota violation. Quota limit  exceeded. Identifier : X","detail":{"errorcode":"policies.ratelimit.QuotaViolation"}}}"#;
    let token = r#"{"fault":{"faultstring":"Invalid Access Token","detail":{"errorcode":"keymanagement.service.invalid_access_token"}}}"#;
    let store = r#"{"fault":{"faultstring":"Datastore Error","detail":{"errorcode":"datastore.ErrorWhileAccessing"}}}"#;
    for (status, body, class) in [
        (429, quota, "rate_limited"),
        (500, quota, "rate_limited"),
        (200, quota, "rate_limited"),
        (429, "", "rate_limited"),
        (401, token, "auth"),
        (200, token, "auth"),
        (401, "", "auth"),
        (500, store, "transient"),
        (200, store, "transient"),
        (400, "Invalid parameter, symbols: is required.", "malformed"),
        (200, "<html>Maintenance</html>", "transient"),
        (503, "<html>Maintenance</html>", "transient"),
        (200, "<quotes><quote/></quotes>", "transient"),
        (200, r#"{"quotes":{"quo"#, "transient"),
        (200, r#"{"quotes":[1]}"#, "malformed"),
    ] {
        let mut tradier = tradier();
        let call = first(&mut tradier, &["SPY"]);
        assert_eq!(say(&mut tradier, &call, status, &[], body).unwrap_err().as_str(), class, "{status} {body}");
    }
}

#[test]
fn a_spent_window_is_waited_out_whatever_the_unit_of_its_end() {
    let body = r#"{"quotes":null}"#;
    let mut tradier = tradier();
    let call = first(&mut tradier, &["SPY"]);
    let end = at(NOW).as_second() + 42;
    for (available, expiry, hold) in [
        ("0", end.to_string(), Some(42)),
        ("0", format!("{end}000"), Some(42)),
        ("0", format!("{}000", end + 9000), Some(60)),
        ("0", "1".into(), None),
        ("0", "soon".into(), None),
        ("7", end.to_string(), None),
    ] {
        let fields = [("x-ratelimit-available", available), ("x-ratelimit-expiry", &*expiry)];
        let progress = say(&mut tradier, &call, 200, &fields, body).unwrap();
        assert_eq!(progress.hold, hold.map(Duration::from_secs), "{available} {expiry}");
    }
    let fields = [("x-ratelimit-expiry", &*end.to_string())];
    let Failure::RateLimited { retry_after, .. } = say(&mut tradier, &call, 429, &fields, "").unwrap_err() else {
        panic!("a 429 is a limit");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(42)));
}

#[test]
fn charts_are_asked_for_by_clocks_of_new_york() {
    let targets = Range::ALL.map(|range| {
        let chart = tradier().begin_bars(symbol("BRK.B"), range, at(NOW)).unwrap();
        (chart.call.request.target(), chart.interval.as_secs(), chart.from)
    });
    assert_eq!(targets, [
        ("/v1/markets/timesales?symbol=BRK%2FB&interval=5min&start=2026-11-19%2016%3A00&end=2026-11-20%2016%3A00&session_filter=all".into(), 300, at("2026-11-19T21:00:00Z")),
        ("/v1/markets/timesales?symbol=BRK%2FB&interval=15min&start=2026-11-13%2016%3A00&end=2026-11-20%2016%3A00&session_filter=all".into(), 900, at("2026-11-13T21:00:00Z")),
        ("/v1/markets/history?symbol=BRK%2FB&interval=daily&start=2026-10-20&end=2026-11-20".into(), 86_400, at("2026-10-20T04:00:00Z")),
    ]);
    assert!(tradier().begin_bars(symbol("BTC-USD"), Range::Day, at(NOW)).is_none());
}

#[test]
fn bars_are_read_one_several_and_none() {
    let mut tradier = tradier();
    let ohlc = r#""open":1.0,"high":2.50,"low":0.5,"close":1.5,"volume":7"#;
    for (range, body, expected) in [
        (
            Range::Month,
            format!(r#"{{"history":{{"day":[{{"date":"2026-11-19",{ohlc}}},{{"date":"2026-11-20",{ohlc}}}]}}}}"#),
            vec!["2026-11-19T05:00:00Z 1.0 2.50 0.5 1.5 7", "2026-11-20T05:00:00Z 1.0 2.50 0.5 1.5 7"],
        ),
        (
            Range::Month,
            format!(r#"{{"history":{{"day":{{"date":"2026-11-19",{ohlc}}}}}}}"#),
            vec!["2026-11-19T05:00:00Z 1.0 2.50 0.5 1.5 7"],
        ),
        (Range::Month, r#"{"history":null}"#.into(), vec![]),
        (
            Range::Day,
            format!(
                r#"{{"series":{{"data":[{{"time":"2026-11-20T09:30:00","timestamp":1795185000,"price":1.0,{ohlc},"vwap":1.0}},{{"time":"2026-11-20T09:35:00",{ohlc}}},{{"time":"x",{ohlc}}}]}}}}"#
            ),
            vec!["2026-11-20T14:30:00Z 1.0 2.50 0.5 1.5 7", "2026-11-20T14:35:00Z 1.0 2.50 0.5 1.5 7"],
        ),
        (Range::Day, r#"{"series":null}"#.into(), vec![]),
        (Range::Day, r#"{"series":"null"}"#.into(), vec![]),
    ] {
        let call = tradier.begin_bars(symbol("SPY"), range, at(NOW)).unwrap().call;
        assert_eq!(drawn(&say(&mut tradier, &call, 200, &[], &body).unwrap().bars), expected, "{body}");
    }
}

#[test]
fn whatever_arrives_nobody_panics() {
    let mut tradier = tradier();
    let call = first(&mut tradier, &["MSFT"]);
    survives(&mut tradier, &call, &format!(r#"{{"quotes":{{"quote":[{MSFT}]}}}}"#));
}
