use super::*;
use proptest::prelude::*;

fn read(payload: &[u8]) -> Vec<Result<Item<'_>, Malformed>> {
    let mut items = Vec::new();
    read_message(payload, |item| items.push(item));
    items
}

fn one(text: &str) -> Update<'_> {
    Update::read(text).unwrap()
}

fn received() -> Timestamp {
    "2026-11-21T10:00:00.123456Z".parse().unwrap()
}

#[test]
fn an_object_is_routed_by_its_symbol_and_keeps_its_bytes() {
    let text = " {\"odd\" : [1, {\"symbol\":\"NO\"}], \"symbol\":\"tcs\",\"seq\":7,  \"data\":{\"price\":2450.50,\"timestamp\":1}} ";
    let items = read(text.as_bytes());
    let [Ok(Item::Update(update))] = &items[..] else { panic!("{items:?}") };
    assert_eq!((update.symbol.as_str(), update.seq, &*update.json(received())), ("TCS", Some(7), text.trim()));
}

#[test]
fn arrays_and_wrappers_hold_many() {
    let symbols = |payload: &str| -> Vec<String> {
        read(payload.as_bytes())
            .into_iter()
            .map(|item| match item {
                Ok(Item::Update(update)) => update.symbol.to_string(),
                Ok(Item::Notice { kind, .. }) => format!("notice {kind}"),
                Err(malformed) => malformed.reason().to_owned(),
            })
            .collect()
    };
    assert_eq!(
        symbols(r#"[{"symbol":"A"},{"symbol":"B C"},{"x":1},7,{"symbol":"D"}]"#),
        ["A", "bad_symbol", "no_symbol", "bad_json", "D"]
    );
    assert_eq!(
        symbols(r#"{"type":"price_updates","updates":[{"symbol":"A"},{"type":"market_status"}]}"#),
        ["A", "notice market_status"]
    );
    assert_eq!(symbols(r#"{"type":"price_updates"}"#), ["no_array"]);
    assert_eq!(symbols(r#"{"type":"price_updates","updates":{}}"#), ["no_array"]);
    assert_eq!(symbols(r#"{"type":"price_update","price":1}"#), ["no_symbol"]);
    assert_eq!(symbols(r#"{"symbol":5}"#), ["bad_json"]);
    assert_eq!(symbols(r#"{"symbol":"A"} {"symbol":"B"}"#), ["bad_json"]);
    assert_eq!(symbols(r#"[{"symbol":"A"},{"symbol":"B""#), ["A", "bad_json"]);
    assert_eq!(symbols("[]"), Vec::<String>::new());
    assert_eq!(symbols("\"AAPL\""), ["bad_json"]);
    assert_eq!(read(b"{\"symbol\":\"A\",\"n\":\"\xff\"}"), [Err(Malformed::Utf8)]);
}

#[test]
fn escapes_in_a_symbol_are_read() {
    assert_eq!(one(r#"{"symbol":"\u0041APL"}"#).symbol.as_str(), "AAPL");
}

#[test]
fn an_odd_seq_counts_as_none() {
    for seq in ["-1", "1.5", "\"7\"", "null", "[1]", "{\"a\":1}", "true"] {
        assert_eq!(one(&format!("{{\"symbol\":\"A\",\"seq\":{seq}}}")).seq, None, "{seq}");
    }
    assert_eq!(one(r#"{"symbol":"A","seq":4294967297}"#).seq, Some(4_294_967_297));
}

#[test]
fn a_missing_inner_timestamp_is_added_last() {
    let json = |text: &str| one(text).json(received()).into_owned();
    assert_eq!(
        json(r#"{"symbol":"A","data":{"price":1.0},"timestamp":"2026-01-01T00:00:00Z"}"#),
        r#"{"symbol":"A","data":{"price":1.0,"timestamp":"2026-01-01T00:00:00Z"},"timestamp":"2026-01-01T00:00:00Z"}"#
    );
    assert_eq!(
        json(r#"{"symbol":"A","data":{ } }"#),
        r#"{"symbol":"A","data":{ "timestamp":"2026-11-21T10:00:00.123Z"} }"#
    );
    for whole in [r#"{"symbol":"A"}"#, r#"{"symbol":"A","data":[]}"#, r#"{"symbol":"A","data":{"timestamp":null}}"#] {
        assert_eq!(json(whole), whole);
    }
}

#[test]
fn newer_is_seq_then_times_then_other_bytes() {
    let newer = |a: &str, b: &str| one(a).is_newer_than(&one(b));
    assert!(newer(r#"{"symbol":"A","seq":2}"#, r#"{"symbol":"A","seq":1}"#));
    assert!(!newer(r#"{"symbol":"A","seq":1,"x":1}"#, r#"{"symbol":"A","seq":1}"#));
    let at =
        |inner: &str, outer: &str| format!(r#"{{"symbol":"A","data":{{"timestamp":{inner}}},"timestamp":{outer}}}"#);
    assert!(newer(&at("\"2026-01-01T00:00:01Z\"", "1"), &at("\"2026-01-01T00:00:00Z\"", "2")));
    assert!(newer(&at("5", "1767225600001"), &at("5", "1767225600")));
    assert!(!newer(&at("5", "5"), &at("5", "5")));
    assert!(newer(r#"{"symbol":"A","x":1}"#, r#"{"symbol":"A","x":2}"#));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&payload);
    }

    #[test]
    fn no_json_makes_it_panic(text in r#"[\[\]{}",:a-z0-9 \\.]{0,80}"#) {
        for update in read(text.as_bytes()).into_iter().flatten() {
            if let Item::Update(update) = update {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&update.json(received())).is_ok());
            }
        }
    }
}
