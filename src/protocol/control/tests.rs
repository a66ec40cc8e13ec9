use super::*;
use proptest::prelude::*;

fn control(text: &str) -> Control {
    read(text.as_bytes()).unwrap().control
}

fn refused(text: &str) -> Refused {
    *read(text.as_bytes()).unwrap_err()
}

fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| Symbol::parse(text).unwrap()).collect()
}

#[test]
fn each_action_is_read() {
    for (text, expected) in [
        (
            r#"{"action":"pause","data":{"reason":"maintenance"}}"#,
            Control::Pause { scope: Scope::All, reason: Some("maintenance".into()) },
        ),
        (
            r#"{"action":"pause","data":{"provider":"massive"}}"#,
            Control::Pause { scope: Scope::Provider("massive".into()), reason: None },
        ),
        (
            r#"{"action":"resume","data":{"symbols":["tcs","AAPL","TCS"]}}"#,
            Control::Resume { scope: Scope::Symbols(symbols(&["TCS", "AAPL"])) },
        ),
        (r#"{"action":"resume","data":null}"#, Control::Resume { scope: Scope::All }),
        (r#"{"action":"refresh"}"#, Control::Refresh { symbols: vec![] }),
        (r#"{"action":"refresh","data":{"symbols":"aapl"}}"#, Control::Refresh { symbols: symbols(&["AAPL"]) }),
        (
            r#"{"action":"set_interval","data":{"seconds":2.5}}"#,
            Control::SetInterval { provider: None, interval: Duration::from_millis(2500) },
        ),
        (r#"{"action":"drain","data":{"gateway":"g-1"}}"#, Control::Drain { gateway: "g-1".into() }),
        (r#"{"action":"log_level","data":{"level":"debug"}}"#, Control::LogLevel { level: "debug".into() }),
        (r#" {"action" : "status" , "more":1} "#, Control::Status),
    ] {
        assert_eq!(control(text), expected, "{text}");
        assert!(text.contains(control(text).action().as_str()));
    }
}

#[test]
fn a_refusal_is_coded_and_says_what_is_allowed() {
    for (text, code, says) in [
        ("", "invalid_json", "JSON"),
        ("{\"action\":", "invalid_json", "JSON"),
        ("\"pause\"", "invalid_request", "an object"),
        ("{}", "invalid_request", "pause, resume, refresh, set_interval, drain, log_level, status"),
        (r#"{"action":7}"#, "invalid_request", "`action` is one of"),
        (r#"{"action":"stop"}"#, "unknown_action", "\"stop\" is none of pause"),
        (r#"{"action":"pause","data":[]}"#, "invalid_request", "`data` is an object"),
        (r#"{"action":"pause","data":{"symbols":[]}}"#, "invalid_request", "at least one symbol"),
        (r#"{"action":"pause","data":{"symbols":["A B"]}}"#, "invalid_symbol", "\"A B\": a symbol is made of"),
        (r#"{"action":"pause","data":{"symbols":[1]}}"#, "invalid_request", "array of strings"),
        (r#"{"action":"pause","data":{"provider":"a","symbols":["A"]}}"#, "invalid_request", "not both"),
        (r#"{"action":"pause","data":{"reason":""}}"#, "invalid_request", "`data.reason` is a string of 1 to 200"),
        (r#"{"action":"set_interval"}"#, "invalid_request", "from 0.05 to 86400"),
        (r#"{"action":"set_interval","data":{"seconds":0.01}}"#, "invalid_request", "from 0.05 to 86400"),
        (r#"{"action":"set_interval","data":{"seconds":1e300}}"#, "invalid_request", "from 0.05 to 86400"),
        (r#"{"action":"set_interval","data":{"seconds":-1}}"#, "invalid_request", "from 0.05 to 86400"),
        (r#"{"action":"drain"}"#, "invalid_request", "names the gateway"),
        (r#"{"action":"log_level","data":{"level":5}}"#, "invalid_request", "`data.level`"),
        (r#"{"action":"status","id":[1]}"#, "invalid_request", "`id`"),
    ] {
        let error = refused(text).error;
        assert_eq!(error.code.as_str(), code, "{text}");
        assert!(error.message.contains(says), "{text}: {}", error.message);
    }
}

#[test]
fn what_is_too_big_is_refused() {
    let many: Vec<String> = (0..=MAX_SYMBOLS).map(|i| format!("\"S{i}\"")).collect();
    let text = format!(r#"{{"action":"refresh","data":{{"symbols":[{}]}}}}"#, many.join(","));
    assert_eq!(refused(&text).error.code, Code::TooManySymbols);
    let padded = format!(r#"{{"action":"status"{}}}"#, " ".repeat(MAX_MESSAGE_BYTES));
    assert_eq!(refused(&padded).error.code, Code::MessageTooBig);
}

#[test]
fn an_id_comes_back_from_a_refused_message_too() {
    assert_eq!(read(br#"{"action":"status","id":"x"}"#).unwrap().id, Some(Id::Text("x".into())));
    let refused = refused(r#"{"action":"drain","id":7}"#);
    assert_eq!((refused.id, refused.action), (Some(Id::Number(7.into())), Some(Action::Drain)));
}

#[test]
fn a_reply_reads_back() {
    let error = ControlError::new(Code::Paused, "paused: maintenance");
    let reply = Reply {
        id: Id::Number(1.into()),
        action: Some("refresh".into()),
        ok: false,
        error: Some(ReplyError::from(&error)),
        publisher: "p-1".into(),
        state: serde_json::json!({"leader": true}),
    };
    let json = serde_json::to_string(&reply).unwrap();
    assert_eq!(
        json,
        r#"{"id":1,"action":"refresh","ok":false,"error":{"code":"paused","message":"paused: maintenance"},"publisher":"p-1","state":{"leader":true}}"#
    );
    assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), reply);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&payload));
    }

    #[test]
    fn no_data_makes_it_panic(data in r#"[\[\]{}",:a-z0-9 \\.]{0,60}"#, action in 0usize..7) {
        drop(read(format!(r#"{{"action":"{}","data":{data}}}"#, Action::ALL[action]).as_bytes()));
    }
}
