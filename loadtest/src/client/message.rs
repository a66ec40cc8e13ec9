//! The gateway's messages other than updates: rare, so read with a JSON parser.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::update::symbol_name;

/// What a client does something about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The subscribe request was taken; so many of its symbols were not.
    Subscribed { rejected: usize },
    /// The server skips updates for this client, and has skipped so many.
    Lagging { conflated: u64 },
    /// The server reports an error.
    Error(String),
    /// The last known quote of a symbol that is not ours, a greeting, a status: nothing to do.
    Other,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    rejected: Vec<IgnoredAny>,
    #[serde(default)]
    conflated: u64,
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

impl Message {
    pub(crate) fn read(payload: &[u8]) -> Message {
        let Ok(raw) = serde_json::from_slice::<Raw<'_>>(payload) else { return Message::Other };
        match &*raw.kind {
            "subscribed" => Message::Subscribed { rejected: raw.rejected.len() },
            "lagging" => Message::Lagging { conflated: raw.conflated },
            "error" => Message::Error(format!("{}: {}", raw.code, raw.message)),
            _ => Message::Other,
        }
    }
}

/// A subscribe request.
pub(crate) fn subscribe(symbols: impl Iterator<Item = u32>) -> String {
    request("subscribe", symbols, r#","snapshot":false"#)
}

/// An unsubscribe request.
pub(crate) fn unsubscribe(symbols: impl Iterator<Item = u32>) -> String {
    request("unsubscribe", symbols, "")
}

fn request(action: &str, symbols: impl Iterator<Item = u32>, more: &str) -> String {
    // Our symbols' names need no JSON escape.
    let names: Vec<String> = symbols.map(|symbol| format!("\"{}\"", symbol_name(symbol))).collect();
    format!(r#"{{"action":"{action}","symbols":[{}]{more}}}"#, names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_examples_are_read() {
        let read = |text: &str| Message::read(text.as_bytes());
        let subscribed = r#"{"type":"subscribed","symbols":["RELIANCE"],"rejected":[{"symbol":"TC S","code":"invalid_symbol"}],"active":1,"id":1,"timestamp":"…"}"#;
        assert_eq!(read(subscribed), Message::Subscribed { rejected: 1 });
        assert_eq!(read(r#"{"type":"subscribed","symbols":["A"]}"#), Message::Subscribed { rejected: 0 });
        assert_eq!(read(r#"{"type":"lagging","conflated":120}"#), Message::Lagging { conflated: 120 });
        assert_eq!(
            read(r#"{"type":"error","code":"rate_limited","message":"too fast"}"#),
            Message::Error("rate_limited: too fast".to_owned())
        );
        for other in [r#"{"type":"status","status":"ok"}"#, r#"{"a":1}"#, "no json"] {
            assert_eq!(read(other), Message::Other);
        }
    }

    #[test]
    fn requests_are_json_with_our_symbols() {
        assert_eq!(
            subscribe([1, 20].into_iter()),
            r#"{"action":"subscribe","symbols":["T00001","T00020"],"snapshot":false}"#
        );
        assert_eq!(unsubscribe([1].into_iter()), r#"{"action":"unsubscribe","symbols":["T00001"]}"#);
    }
}
