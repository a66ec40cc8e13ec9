use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName};

use super::*;

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| symbol(text)).collect()
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn answer(asked: &[&str], status: u16, fields: &[(&'static str, &str)], body: &str) -> Result<Progress<Step>, Failure> {
    let headers = headers(fields);
    let now = "2026-11-21T10:00:42Z".parse().unwrap();
    let reply = Reply { status, headers: &headers, body: body.as_bytes(), now };
    Binance::new(&Config::default()).answer(&call(&symbols(asked)), &reply)
}

fn targets(progress: &Progress<Step>) -> Vec<String> {
    progress.calls.iter().map(|call| call.request.target()).collect()
}

/// The vendor's own example, shortened where fields are not read.
const BTC: &str = r#"{"symbol":"BTCUSDT","priceChange":"-812.10000000","priceChangePercent":"-0.912","weightedAvgPrice":"88500.1","prevClosePrice":"89012.0","lastPrice":"88199.90000000","lastQty":"0.01","bidPrice":"88199.80","openPrice":"89012.0","volume":"18233.41000000","quoteVolume":"1","openTime":1795064400000,"closeTime":1795208400000,"firstId":1,"lastId":2,"count":2}"#;

#[test]
fn a_row_becomes_a_quote_with_the_vendors_text() {
    let progress = answer(&["BTC-USDT"], 200, &[], &format!("[{BTC}]")).unwrap();
    let [quote] = &progress.quotes[..] else { panic!("{progress:?}") };
    assert_eq!(
        quote.to_update_json(1, "2026-11-21T10:00:00Z".parse().unwrap()),
        r#"{"type":"price_update","symbol":"BTC-USDT","data":{"symbol":"BTC-USDT","price":88199.90000000,"change":-812.10000000,"changePercent":-0.912,"volume":18233.41000000,"timestamp":"2026-11-20T21:00:00.000Z","source":"binance"},"timestamp":"2026-11-21T10:00:00.000Z","seq":1}"#
    );
    assert!(progress.missing.is_empty() && progress.calls.is_empty() && progress.hold.is_none());
}

#[test]
fn one_call_takes_twenty_symbols_and_costs_weight_two() {
    let many: Vec<Symbol> = (0..41).map(|i| symbol(&format!("S{i}-USDT"))).collect();
    let progress = Binance::new(&Config::default()).begin(&many, Timestamp::UNIX_EPOCH);
    assert_eq!(
        progress.calls.iter().map(|call| (call.symbols.len(), call.cost)).collect::<Vec<_>>(),
        [(20, 2), (20, 2), (1, 2)]
    );
    let config = Config { batch: NonZeroU32::new(5), ..Config::default() };
    assert_eq!(Binance::new(&config).begin(&many, Timestamp::UNIX_EPOCH).calls.len(), 9);
    let config = Config { batch: NonZeroU32::new(100), ..Config::default() };
    assert_eq!(Binance::new(&config).profile().batch, BATCH);
}

#[test]
fn both_spellings_of_a_pair_are_asked_for_once_and_answered_twice() {
    let progress =
        Binance::new(&Config::default()).begin(&symbols(&["BTC-USDT", "BTCUSDT", "ETH-BTC"]), Timestamp::UNIX_EPOCH);
    assert_eq!(targets(&progress), ["/api/v3/ticker/24hr?symbols=%5B%22BTCUSDT%22%2C%22ETHBTC%22%5D"]);
    let progress = answer(&["BTC-USDT", "BTCUSDT"], 200, &[], BTC).unwrap();
    assert_eq!(progress.quotes.iter().map(|quote| quote.symbol).collect::<Vec<_>>(), symbols(&["BTC-USDT", "BTCUSDT"]));
}

#[test]
fn symbols_that_cannot_be_spelled_are_unknown_without_a_call() {
    let odd = symbols(&["^NSEI", "BRK.B", "-USDT", "A-B-C", "ABCDEFGHIJKLMNOPQRSTU"]);
    let progress = Binance::new(&Config::default()).begin(&odd, Timestamp::UNIX_EPOCH);
    assert!(progress.calls.is_empty());
    assert_eq!(progress.missing.iter().map(|(symbol, _)| *symbol).collect::<Vec<_>>(), odd);
}

#[test]
fn it_serves_pairs_and_leaves_stocks_alone() {
    let binance = Binance::new(&Config::default());
    for (text, serves) in [
        ("BTC-USDT", true),
        ("BTCUSDT", true),
        ("1000SATS-USDT", true),
        ("ETH-BTC", true),
        ("ETHBTC", true),
        ("BTC-USD", false),
        ("AAPL", false),
        ("BTC", false),
        ("USDT", false),
        ("GBTC", false),
        ("MICRON", false),
        ("RELIANCE", false),
        ("^USDT", false),
        ("-USDT", false),
        ("BINANCE:BTCUSDT", false),
    ] {
        assert_eq!(binance.serves(symbol(text)), serves, "{text}");
    }
}

#[test]
fn rows_without_a_price_or_missing_are_no_data() {
    for body in [
        "[]",
        r#"[{"symbol":"BTCUSDT","lastPrice":"0.00000000","closeTime":1795208400000}]"#,
        r#"[{"symbol":"BTCUSDT","lastPrice":"NaN"}]"#,
        r#"[{"symbol":"BTCUSDT","lastPrice":null}]"#,
        r#"[{"symbol":"ETHUSDT","lastPrice":"1.0"}]"#,
    ] {
        let progress = answer(&["BTC-USDT"], 200, &[], body).unwrap();
        assert_eq!(progress.missing, [(symbol("BTC-USDT"), Missing::NoData)], "{body}");
        assert!(progress.quotes.is_empty());
    }
}

#[test]
fn a_time_in_the_future_is_no_time() {
    let body = r#"[{"symbol":"BTCUSDT","lastPrice":"1.5","closeTime":1895208400000}]"#;
    let progress = answer(&["BTC-USDT"], 200, &[], body).unwrap();
    assert_eq!(progress.quotes[0].traded_at, None);
}

#[test]
fn a_batch_with_an_invalid_symbol_is_halved_until_it_stands_alone() {
    let body = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
    let progress = answer(&["A-USDT", "B-USDT", "C-USDT"], 400, &[], body).unwrap();
    assert_eq!(
        progress.calls.iter().map(|call| call.symbols.clone()).collect::<Vec<_>>(),
        [symbols(&["A-USDT"]), symbols(&["B-USDT", "C-USDT"])]
    );
    let progress = answer(&["A-USDT", "AUSDT"], 400, &[], body).unwrap();
    assert!(progress.calls.is_empty());
    assert_eq!(progress.missing.len(), 2);
    assert!(progress.missing.iter().all(|(_, missing)| *missing == Missing::UnknownSymbol));
}

#[test]
fn each_refusal_has_its_class() {
    let weight = r#"{"code":-1003,"msg":"Too much request weight used; current limit is 6000"}"#;
    for (status, fields, body, class) in [
        (429, &[][..], weight, "rate_limited"),
        (429, &[("retry-after", "7")][..], "", "rate_limited"),
        (403, &[][..], "<html>", "rate_limited"),
        (418, &[("retry-after", "172800")][..], weight, "quota_exhausted"),
        (451, &[][..], r#"{"code":0,"msg":"Service unavailable from a restricted location"}"#, "plan"),
        (500, &[][..], "", "transient"),
        (502, &[][..], "<html>", "transient"),
        (400, &[][..], r#"{"code":-1102,"msg":"Mandatory parameter"}"#, "malformed"),
        (200, &[][..], "<html>Maintenance</html>", "transient"),
        (200, &[][..], r#"[{"symbol":"BTC"#, "transient"),
        (200, &[][..], r#"{"quotes":[]}"#, "malformed"),
    ] {
        assert_eq!(answer(&["BTC-USDT"], status, fields, body).unwrap_err().as_str(), class, "{status} {body}");
    }
}

#[test]
fn retry_after_is_obeyed_and_a_ban_in_full() {
    let failure = answer(&["BTC-USDT"], 429, &[("retry-after", "7")], "").unwrap_err();
    assert!(matches!(failure, Failure::RateLimited { retry_after: Some(wait), .. } if wait == Duration::from_secs(7)));
    let Failure::QuotaExhausted { until, .. } =
        answer(&["BTC-USDT"], 418, &[("retry-after", "172800")], "").unwrap_err()
    else {
        panic!("a ban is an exhausted quota");
    };
    assert_eq!(until.to_string(), "2026-11-23T10:00:42Z");
}

#[test]
fn weight_spent_by_others_holds_until_the_next_minute() {
    let body = format!("[{BTC}]");
    let hold = |used: &str| answer(&["BTC-USDT"], 200, &[("x-mbx-used-weight-1m", used)], &body).unwrap().hold;
    assert_eq!((hold("5998"), hold("5999"), hold("odd")), (None, Some(Duration::from_secs(18)), None));
}

#[test]
fn bars_are_lists_and_cost_the_same() {
    use crate::provider::vendor::script::{NOW, at, drawn, say, told};
    let mut binance = Binance::new(&Config::default());
    let charts = Range::ALL.map(|range| binance.begin_bars(symbol("BTC-USDT"), range, at(NOW)).unwrap());
    assert_eq!(
        charts.each_ref().map(|chart| (chart.call.request.target(), chart.call.cost, chart.interval.as_secs())),
        [
            ("5m", "2026-11-19T21:00:30Z", 300),
            ("30m", "2026-11-13T21:00:30Z", 1800),
            ("1d", "2026-10-20T00:00:00Z", 86_400)
        ]
        .map(|(interval, from, seconds)| {
            let (from, to) = (at(from).as_millisecond(), at(NOW).as_millisecond());
            let target =
                format!("/api/v3/klines?symbol=BTCUSDT&interval={interval}&startTime={from}&endTime={to}&limit=1000");
            (target, 2, seconds)
        })
    );
    let body =
        r#"[[1795185000000,"1.0","2.50","0.5","1.5","7.25",1795185299999,"1",9,"1","1","0"],[1795185300000,"1"],[]]"#;
    let bars = say(&mut binance, &charts[0].call, 200, &[], body).unwrap().bars;
    assert_eq!(drawn(&bars), ["2026-11-20T14:30:00Z 1.0 2.50 0.5 1.5 7.25"]);
    let body = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
    let progress = say(&mut binance, &charts[0].call, 400, &[], body).unwrap();
    assert_eq!(told(&progress), ["BTC-USDT: unknown_symbol"]);
    assert_eq!(say(&mut binance, &charts[0].call, 200, &[], "{}").unwrap_err().as_str(), "malformed");
    assert!(binance.begin_bars(symbol("A.B"), Range::Day, at(NOW)).is_none());
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(
        status in prop::sample::select(vec![200u16, 400, 418, 429, 500]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        drop(answer(&["BTC-USDT"], status, &[], &String::from_utf8_lossy(&body)));
    }

    #[test]
    fn whatever_a_row_holds_a_price_is_above_zero(price in r#"(null|"?-?[0-9.eE+%,]{0,12}"?)"#, time in any::<i64>()) {
        let body = format!(r#"[{{"symbol":"BTCUSDT","lastPrice":{price},"closeTime":{time}}}]"#);
        if let Ok(progress) = answer(&["BTC-USDT"], 200, &[], &body) {
            prop_assert_eq!(progress.quotes.len() + progress.missing.len(), 1);
            prop_assert!(progress.quotes.iter().all(|quote| quote.price.is_positive()));
        }
    }
}
