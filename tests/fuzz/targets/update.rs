//! What is published, and the frames made of it.

use jiff::Timestamp;
use tickcast::market::update::{Item, read_message};
use tickcast::protocol::publication::{Coding, Dialect, Form, Freshness, Publication};

pub(crate) const CORPUS: &[&[u8]] = &[
    br#"{"type":"price_update","symbol":"RELIANCE","data":{"symbol":"RELIANCE","price":2450.50,"change":12.30,"changePercent":0.50,"volume":1234567,"timestamp":"2026-11-21T10:00:00Z"},"timestamp":"2026-11-21T10:00:00Z","seq":4294967297}"#,
    br#"[{"symbol":"A","seq":1},{"symbol":"b"},{"symbol":"C","data":{"price":1e-7}}]"#,
    br#"{"type":"price_updates","updates":[{"symbol":"a","seq":2,"data":{}}]}"#,
    br#"{"type":"market_status","market":"open"}"#,
    br#"{"symbol":"X\u0041","data":{"timestamp":1795208400000,"price":"1"},"x":[1,{"y":null}]}"#,
];
pub(crate) const WORDS: &[&str] = &[
    "\"symbol\":",
    "\"data\":{",
    "\"seq\":",
    "9007199254740993",
    "-1",
    "1e999",
    "\"updates\":[",
    "\"timestamp\":",
    "\\\"",
    "\\u0000",
    "\"snapshot\":true",
    "null",
    "[[[[[[",
];

pub(crate) fn read(input: &[u8]) {
    let now = Timestamp::from_second(1_795_000_000).unwrap();
    read_message(input, |item| match item {
        Ok(Item::Update(update)) => {
            let json = update.json(now);
            assert!(is_json(json.as_bytes()), "{json}");
            let publication = Publication::new(update.symbol, update.seq, &json, 0, 0);
            for dialect in [Dialect::Nested, Dialect::Flat] {
                for freshness in [Freshness::Live, Freshness::Snapshot] {
                    let form = Form { dialect, coding: Coding::Plain };
                    let text = payload(publication.frame(form, freshness));
                    assert!(is_json(text), "{dialect:?} {freshness:?}");
                    assert!(!publication.frame(Form { dialect, coding: Coding::Deflate }, freshness).is_empty());
                }
            }
        }
        Ok(Item::Notice { kind, raw }) => drop(format!("{kind} {raw}")),
        Err(malformed) => drop(malformed.to_string()),
    });
}

/// By its grammar: a number may be larger than any type of ours, and travels all the same.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(text).is_ok()
}

/// What an unmasked frame carries.
fn payload(frame: &[u8]) -> &[u8] {
    match frame[1] {
        0..=125 => &frame[2..],
        126 => &frame[4..],
        _ => &frame[10..],
    }
}
