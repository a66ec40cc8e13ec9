//! What vendors answer: status, headers, body.

use fastrand::Rng;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue};
use tickcast::market::Symbol;
use tickcast::provider::Config;
use tickcast::provider::binance::Binance;
use tickcast::provider::vendor::{Reply, Vendor};

pub(crate) const CORPUS: &[&[u8]] = &[
    br#"[{"symbol":"BTCUSDT","priceChange":"-812.10000000","priceChangePercent":"-0.912","lastPrice":"88199.90000000","openPrice":"89012.0","volume":"18233.41000000","openTime":1795064400000,"closeTime":1795208400000},{"symbol":"ETHUSDT","lastPrice":"0"}]"#,
    br#"{"code":-1121,"msg":"Invalid symbol."}"#,
    br#"{"code":-1003,"msg":"Way too much request weight used; IP banned until 1795208400000."}"#,
    b"<html><head><title>502 Bad Gateway</title></head></html>",
    b"[]",
    b"",
];
pub(crate) const WORDS: &[&str] = &[
    "\"lastPrice\":",
    "\"symbol\":\"BTCUSDT\"",
    "\"closeTime\":",
    "9223372036854775807",
    "-1",
    "1e999",
    "NaN",
    "\"\"",
    "null",
    "[{",
    "}]",
    "\"99999999999999999999999999999999999999999\"",
    "0.00000000000000000000000000000000000001",
];
const STATUS: &[u16] = &[200, 200, 200, 204, 400, 401, 403, 418, 429, 500, 503];
const HEADERS: &[(&str, &[&str])] = &[
    ("retry-after", &["1", "0", "-1", "99999999999999999999", "Sat, 21 Nov 2026 10:00:00 GMT", "soon", ""]),
    ("x-mbx-used-weight-1m", &["1", "6000", "99999999999999999999", "x", ""]),
    ("content-type", &["application/json", "text/html"]),
];

/// Hands the body to every vendor there is, as the answer to each of its calls.
pub(crate) fn answer(body: &mut [u8], rng: &mut Rng) {
    let mut headers = HeaderMap::new();
    for (name, values) in HEADERS {
        if rng.bool() {
            headers.insert(*name, HeaderValue::from_static(values[rng.usize(..values.len())]));
        }
    }
    let status = STATUS[rng.usize(..STATUS.len())];
    read_by(Binance::new(&Config::default()), &["BTC-USDT", "BTCUSDT", "ETH-BTC"], status, &headers, body);
}

fn read_by<V: Vendor>(mut vendor: V, symbols: &[&str], status: u16, headers: &HeaderMap, body: &[u8]) {
    let now = Timestamp::from_second(1_795_208_400).unwrap();
    let symbols: Vec<Symbol> = symbols.iter().map(|text| Symbol::parse(text).unwrap()).collect();
    let calls = vendor.begin(&symbols, now).calls;
    for call in &calls {
        match vendor.answer(call, &Reply { status, headers, body, now }) {
            Ok(progress) => {
                for quote in &progress.quotes {
                    assert!(quote.price.is_positive(), "{quote:?}");
                    let json = quote.to_update_json(1, now);
                    // By its grammar: numbers travel as the vendor wrote them, however large.
                    assert!(serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok(), "{json}");
                }
            }
            Err(failure) => drop(failure.to_string()),
        }
    }
}
