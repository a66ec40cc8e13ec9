use super::*;
use crate::provider::vendor::script::*;

fn twelve(config: &Config) -> TwelveData {
    TwelveData::new("s3cret".into(), config)
}

fn free() -> TwelveData {
    twelve(&Config::default())
}

fn quotes(texts: &[&str], status: u16, body: &str) -> Result<Progress<Step>, Failure> {
    let mut twelve = free();
    let call = first(&mut twelve, texts);
    say(&mut twelve, &call, status, &[], body)
}

const AAPL: &str = r#"{"symbol":"AAPL","name":"Apple Inc.","exchange":"NASDAQ","mic_code":"XNGS","currency":"USD","datetime":"2026-11-20","timestamp":1795185000,"last_quote_at":1795208340,"open":"244.15","high":"246.01","low":"243.16","close":"244.8700","volume":"32129951","previous_close":"244.47","change":"0.40","percent_change":"0.16362","average_volume":"45391290","is_market_open":false,"fifty_two_week":{"low":"164.08","high":"260.10"}}"#;
const UNKNOWN: &str = r#"{"code":404,"message":"**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol according to API documentation: https://twelvedata.com/docs#reference-data","status":"error"}"#;
const QUOTED: &str = "AAPL 244.8700 0.40 0.16362% 32129951 2026-11-20T20:59:00Z";

#[test]
fn each_symbol_is_a_credit_and_the_key_is_in_a_header() {
    let asked = ["AAPL", "BRK-B", "RELIANCE", "M&M.NS", "TCS.BO", "BTC-USD", "BRK.B"];
    let call = first(&mut free(), &asked);
    assert_eq!(
        call.request.target(),
        "/quote?symbol=AAPL%2CBRK.B%2CRELIANCE%3ANSE%2CM%26M%3ANSE%2CTCS%3ABSE%2CBTC%2FUSD"
    );
    assert_eq!((call.cost, call.symbols.len()), (6, 7));
    assert_eq!(header(&call, "authorization"), Some("apikey s3cret"));
}

#[test]
fn a_batch_never_costs_more_than_a_window_holds() {
    let some = NonZeroU32::new;
    for (config, batch) in [
        (Config::default(), 8),
        (Config { per_minute: some(5), ..Config::default() }, 5),
        (Config { per_second: some(2), ..Config::default() }, 2),
        (Config { batch: some(4), ..Config::default() }, 4),
        (Config { batch: some(500), ..Config::default() }, 8),
        (Config { batch: some(500), per_minute: some(377), ..Config::default() }, 120),
    ] {
        assert_eq!(twelve(&config).profile().batch.get(), batch);
    }
    let windows = |plan: Option<&str>| {
        let config = Config { plan: plan.map(str::to_owned), ..Config::default() };
        twelve(&config).profile().windows.iter().map(|w| (w.length.as_secs(), w.limit.get())).collect::<Vec<_>>()
    };
    assert_eq!(windows(None), [(60, 8), (86_400, 800)]);
    assert_eq!(windows(Some("paid")), [(60, 8)]);
}

#[test]
fn one_row_stands_alone_and_several_under_their_names() {
    let batch = format!(r#"{{"AAPL":{AAPL},"ZZZZ":{UNKNOWN}}}"#);
    for (texts, body, expected) in [
        (&["AAPL"][..], AAPL, vec![QUOTED]),
        (&["AAPL", "ZZZZ"], &*batch, vec![QUOTED, "ZZZZ: unknown_symbol"]),
        (&["ZZZZ", "AAPL", "IBM"], &*batch, vec![QUOTED, "ZZZZ: unknown_symbol", "IBM: no_data"]),
        (&["AAPL"], &*batch, vec![QUOTED]),
        (&["ZZZZ"], UNKNOWN, vec!["ZZZZ: unknown_symbol"]),
        (&["AAPL"], r#"{"symbol":"AAPL","close":null}"#, vec!["AAPL: no_data"]),
        (&["AAPL"], r#"{"symbol":"AAPL","close":"0.00"}"#, vec!["AAPL: no_data"]),
        (
            &["AAPL"],
            r#"{"symbol":"AAPL","close":"101.00","previous_close":"100","timestamp":1795185000}"#,
            vec!["AAPL 101.00 1.00 1.00% - 2026-11-20T14:30:00Z"],
        ),
        (&["AAPL"], "{}", vec!["AAPL: no_data"]),
    ] {
        assert_eq!(told(&quotes(texts, 200, body).unwrap()), expected, "{body}");
    }
}

#[test]
fn failures_come_with_any_status() {
    let minute = r#"{"code":429,"message":"You have run out of API credits for the current minute. 9 API credits were used, with the current limit being 8. Wait for the next minute or consider upgrading your plan at https://twelvedata.com/pricing","status":"error"}"#;
    let day = r#"{"code":429,"message":"You have run out of API credits for the day. 801 API credits were used, with the current limit being 800.","status":"error"}"#;
    let key = r#"{"code":401,"message":"**apikey** parameter is incorrect or not specified. You can get your free API key instantly following this link: https://twelvedata.com/pricing.","status":"error"}"#;
    let inner = r#"{"code":500,"message":"Internal error","status":"error"}"#;
    for (statuses, body, class) in [
        ([200, 429], minute, "rate_limited"),
        ([200, 429], day, "quota_exhausted"),
        ([200, 401], key, "auth"),
        ([200, 500], inner, "transient"),
        ([429, 429], "", "rate_limited"),
        ([502, 200], "<html>", "transient"),
        ([200, 200], r#"{"symbol":"AA"#, "transient"),
        ([200, 200], "[1]", "malformed"),
    ] {
        for status in statuses {
            assert_eq!(quotes(&["AAPL"], status, body).unwrap_err().as_str(), class, "{status} {body}");
            let Err(failure) = quotes(&["AAPL", "IBM"], status, body) else { panic!("{status} {body}") };
            assert_eq!(failure.as_str(), class, "{status} {body}");
        }
    }
    // In one symbol's place it is still everyone's.
    let body = format!(r#"{{"AAPL":{AAPL},"IBM":{minute}}}"#);
    assert_eq!(quotes(&["AAPL", "IBM"], 200, &body).unwrap_err().as_str(), "rate_limited");
    let wait = |body| match quotes(&["AAPL"], 429, body).unwrap_err() {
        Failure::RateLimited { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!((wait(minute), wait("")), (Some(Duration::from_secs(30)), Some(Duration::from_secs(30))));
    let Failure::QuotaExhausted { until, .. } = quotes(&["AAPL"], 200, day).unwrap_err() else { panic!("a quota") };
    assert_eq!(until, at("2026-11-21T00:00:00Z"));
}

#[test]
fn a_batch_that_fails_for_one_symbol_is_halved() {
    let plan = r#"{"code":403,"message":"SBIN:NSE is available exclusively with grow plan","status":"error"}"#;
    for (status, body) in
        [(404, UNKNOWN), (200, UNKNOWN), (403, plan), (414, r#"{"code":414,"message":"too long","status":"error"}"#)]
    {
        let progress = quotes(&["AAPL", "SBIN.NS", "IBM"], status, body).unwrap();
        assert_eq!(targets(&progress), ["/quote?symbol=AAPL%2CSBIN%3ANSE", "/quote?symbol=IBM"]);
    }
    assert_eq!(told(&quotes(&["SBIN.NS"], 403, plan).unwrap()), ["SBIN.NS: not_in_plan"]);
    // Two spellings of one symbol are one.
    assert_eq!(
        told(&quotes(&["BRK.B", "BRK-B"], 200, UNKNOWN).unwrap()),
        ["BRK.B: unknown_symbol", "BRK-B: unknown_symbol"]
    );
}

#[test]
fn the_last_credit_holds_until_the_clocks_next_minute() {
    let mut twelve = free();
    let call = first(&mut twelve, &["AAPL"]);
    let mut hold = |left| say(&mut twelve, &call, 200, &[("api-credits-left", left)], AAPL).unwrap().hold;
    assert_eq!((hold("0"), hold("1"), hold("x")), (Some(Duration::from_secs(30)), None, None));
}

#[test]
fn charts_are_read_by_the_exchanges_clock() {
    let mut twelve = free();
    let charts = Range::ALL.map(|range| twelve.begin_bars(symbol("AAPL"), range, at(NOW)).unwrap());
    assert_eq!(
        charts.each_ref().map(|chart| chart.call.request.target()),
        [
            "/time_series?symbol=AAPL&interval=5min&outputsize=300",
            "/time_series?symbol=AAPL&interval=30min&outputsize=350",
            "/time_series?symbol=AAPL&interval=1day&outputsize=35",
        ]
    );
    let body = |zone: &str, datetime: &str| {
        format!(
            r#"{{"meta":{{"symbol":"AAPL","interval":"5min","currency":"USD"{zone}}},"values":[{{"datetime":"{datetime}","open":"1.0","high":"2.50","low":"0.5","close":"1.5","volume":"7"}},{{"datetime":"x","open":"1"}}],"status":"ok"}}"#
        )
    };
    let new_york = r#","exchange_timezone":"America/New_York""#;
    for (body, expected) in [
        (body(new_york, "2026-11-20 15:55:00"), "2026-11-20T20:55:00Z 1.0 2.50 0.5 1.5 7"),
        (body(new_york, "2026-11-20"), "2026-11-20T05:00:00Z 1.0 2.50 0.5 1.5 7"),
        (
            body(r#","exchange_timezone":"Asia/Kolkata""#, "2026-11-20 15:25:00"),
            "2026-11-20T09:55:00Z 1.0 2.50 0.5 1.5 7",
        ),
        (body("", "2026-11-20 15:55:00"), "2026-11-20T15:55:00Z 1.0 2.50 0.5 1.5 7"),
    ] {
        assert_eq!(drawn(&say(&mut twelve, &charts[0].call, 200, &[], &body).unwrap().bars), [expected]);
        survives(&mut twelve, &charts[0].call, &body);
    }
    for (body, expected) in [
        (UNKNOWN, "AAPL: unknown_symbol"),
        (r#"{"code":400,"message":"No data is available on the specified dates.","status":"error"}"#, "AAPL: no_data"),
    ] {
        assert_eq!(told(&say(&mut twelve, &charts[0].call, 200, &[], body).unwrap()), [expected]);
    }
}

#[test]
fn india_is_served_to_those_who_pay() {
    let paid = twelve(&Config { plan: Some("paid".into()), ..Config::default() });
    for (text, without, with) in [
        ("AAPL", true, true),
        ("TCS.NS", false, true),
        ("BTC-USD", true, true),
        ("BTC-USDT", false, false),
        ("^NSEI", false, false),
    ] {
        assert_eq!((free().serves(symbol(text)), paid.serves(symbol(text))), (without, with), "{text}");
    }
}
