//! What a gateway says, as far as `tail` can use it.
//!
//! Read leniently: a field of a wrong type counts as absent, and whatever carries a symbol is a quote, since any service
//! may publish. Both dialects are read. Numbers stay the text they came as. Pure; it does not know what was asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::market::number::Number;
use crate::market::update::read_time;

/// One message.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// An update of a symbol.
    Quote(Box<Quote>),
    /// The first words.
    Connected {
        /// How often the gateway pings.
        ping_interval: Option<Duration>,
    },
    /// The answer to our subscription.
    Subscribed {
        /// What is watched by it.
        symbols: Vec<String>,
        /// What is not: symbol and code.
        rejected: Vec<(String, String)>,
    },
    /// Something we said was not taken.
    Error {
        /// Which rule.
        code: String,
        /// In words.
        message: String,
    },
    /// The service's state changed.
    Status {
        /// `degraded`, `ok`, `paused`, `resumed`, `draining`, or what may come.
        status: String,
        /// Why.
        reason: Option<String>,
        /// The provider or the symbols it is narrowed to.
        scope: Option<String>,
        /// `draining`: when we will be asked to come back.
        reconnect_in: Option<Duration>,
    },
    /// A symbol's quote has grown old.
    Stale {
        /// Whose.
        symbol: String,
        /// How old.
        age: Option<Duration>,
    },
    /// A symbol's quotes come again.
    Fresh {
        /// Whose.
        symbol: String,
    },
    /// We read too slowly.
    Lagging {
        /// Updates that gave way to newer ones.
        conflated: u64,
    },
    /// Answers that say nothing new.
    SmallTalk,
    /// Published for everyone: market status, say.
    Notice,
}

/// An update, by its fields. What is absent was not said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Quote {
    pub(super) symbol: String,
    pub(super) price: Option<Number>,
    pub(super) change: Option<Number>,
    pub(super) change_percent: Option<Number>,
    pub(super) volume: Option<Number>,
    pub(super) traded_at: Option<Timestamp>,
    pub(super) published_at: Option<Timestamp>,
    pub(super) source: Option<String>,
    pub(super) market_state: Option<String>,
    pub(super) is_stale: bool,
    pub(super) is_snapshot: bool,
    pub(super) seq: Option<u64>,
}

/// Reads a message. `None` when it is no JSON object.
pub(super) fn read(text: &str) -> Option<Message> {
    let fields = Fields::read(text)?;
    let kind = fields.text("type").unwrap_or_default();
    Some(match kind.as_str() {
        "connected" => Message::Connected { ping_interval: fields.span("ping_interval_s", 1.0) },
        "subscribed" => Message::Subscribed { symbols: fields.texts("symbols"), rejected: fields.rejected() },
        "unsubscribed" | "subscriptions" | "pong" | "authenticated" => Message::SmallTalk,
        "error" => Message::Error {
            code: fields.text("code").unwrap_or_default(),
            message: fields.text("message").unwrap_or_default(),
        },
        "status" => fields.status(),
        "stale" => Message::Stale { symbol: fields.symbol().unwrap_or_default(), age: fields.span("age_ms", 0.001) },
        "fresh" => Message::Fresh { symbol: fields.symbol().unwrap_or_default() },
        "lagging" => Message::Lagging { conflated: fields.whole("conflated").unwrap_or(0) },
        _ => match fields.symbol() {
            Some(symbol) => Message::Quote(Box::new(fields.quote(symbol))),
            None => Message::Notice,
        },
    })
}

/// An object's fields, unread.
struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Option<Fields<'a>> {
        serde_json::from_str(text).ok().map(Fields)
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|raw| raw.get())
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.raw(name).and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
    }

    fn whole(&self, name: &str) -> Option<u64> {
        self.raw(name)?.parse().ok()
    }

    fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    fn number(&self, name: &str) -> Option<Number> {
        self.0.get(name).and_then(|raw| Number::from_json(raw))
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        read_time(self.raw(name)?)
    }

    /// A number of units of so many seconds each.
    fn span(&self, name: &str, unit_s: f64) -> Option<Duration> {
        let units: f64 = self.raw(name)?.parse().ok()?;
        Duration::try_from_secs_f64(units * unit_s).ok()
    }

    fn symbol(&self) -> Option<String> {
        self.text("symbol").or_else(|| self.text("ticker"))
    }

    fn rejected(&self) -> Vec<(String, String)> {
        let listed: Vec<&RawValue> =
            self.raw("rejected").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let read = |entry: &RawValue| {
            let entry = Fields::read(entry.get())?;
            Some((entry.text("symbol")?, entry.text("code")?))
        };
        listed.into_iter().filter_map(read).collect()
    }

    fn status(&self) -> Message {
        let symbols = self.texts("symbols");
        let scope = self.text("provider").or_else(|| (!symbols.is_empty()).then(|| symbols.join(", ")));
        Message::Status {
            status: self.text("status").unwrap_or_default(),
            reason: self.text("reason"),
            scope,
            reconnect_in: self.span("reconnect_in_ms", 0.001),
        }
    }

    /// What the nested dialect has in `data` stands beside the symbol in the flat one.
    fn quote(&self, symbol: String) -> Quote {
        let nested = self.raw("data").and_then(Fields::read);
        let data = nested.as_ref().unwrap_or(self);
        Quote {
            symbol,
            price: data.number("price"),
            change: data.number("change"),
            change_percent: data.number("changePercent"),
            volume: data.number("volume"),
            traded_at: data.time("timestamp"),
            published_at: self.time("timestamp"),
            source: data.text("source"),
            market_state: data.text("marketState"),
            is_stale: data.is_true("stale"),
            is_snapshot: self.is_true("snapshot"),
            seq: self.whole("seq"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(text: &str) -> Quote {
        match read(text) {
            Some(Message::Quote(quote)) => *quote,
            other => panic!("{other:?} is no quote"),
        }
    }

    fn number(text: &str) -> Option<Number> {
        Some(Number::parse(text).unwrap())
    }

    #[test]
    fn both_dialects_say_the_same() {
        let data = r#""price":2450.50,"change":-12.30,"changePercent":"0.50","volume":1234567,"source":"nse","marketState":"CLOSED","stale":true"#;
        let nested = format!(
            r#"{{"type":"price_update","symbol":"TCS","data":{{{data},"timestamp":"2026-11-21T10:00:00Z"}},"timestamp":"2026-11-21T10:00:00Z","seq":7,"snapshot":true}}"#
        );
        let flat = format!(
            r#"{{"type":"price_update","ticker":"TCS",{data},"timestamp":"2026-11-21T10:00:00Z","seq":7,"snapshot":true}}"#
        );
        assert_eq!(quote(&nested), quote(&flat));
        let quote = quote(&nested);
        assert_eq!((quote.price, quote.change), (number("2450.50"), number("-12.30")));
        assert_eq!((quote.change_percent, quote.volume), (number("0.50"), number("1234567")));
        assert!(quote.is_stale && quote.is_snapshot);
        assert_eq!((quote.seq, quote.source.as_deref()), (Some(7), Some("nse")));
        assert_eq!(quote.traded_at, Some("2026-11-21T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_field_of_a_wrong_type_counts_as_absent() {
        for text in [
            r#"{"symbol":"A"}"#,
            r#"{"type":7,"symbol":"A","seq":-1,"data":[1]}"#,
            r#"{"symbol":"A","data":{"price":"n/a","change":null,"source":5,"stale":"true","timestamp":{}}}"#,
        ] {
            assert_eq!(quote(text), Quote { symbol: "A".into(), ..Quote::default() }, "{text}");
        }
    }

    #[test]
    fn each_message_of_the_contract_is_known() {
        let status = |status: &str, scope: Option<&str>, reconnect_in| Message::Status {
            status: status.into(),
            reason: Some("r".into()),
            scope: scope.map(Into::into),
            reconnect_in,
        };
        for (text, expected) in [
            (
                r#"{"type":"connected","ping_interval_s":25}"#,
                Message::Connected { ping_interval: Some(Duration::from_secs(25)) },
            ),
            (
                r#"{"type":"subscribed","symbols":["A"],"rejected":[{"symbol":"*","code":"wildcard_not_allowed"},7]}"#,
                Message::Subscribed {
                    symbols: vec!["A".into()],
                    rejected: vec![("*".into(), "wildcard_not_allowed".into())],
                },
            ),
            (
                r#"{"type":"error","code":"unauthorized","message":"m"}"#,
                Message::Error { code: "unauthorized".into(), message: "m".into() },
            ),
            (
                r#"{"type":"status","status":"draining","reason":"r","reconnect_in_ms":1500}"#,
                status("draining", None, Some(Duration::from_millis(1500))),
            ),
            (
                r#"{"type":"status","status":"paused","reason":"r","provider":"nse"}"#,
                status("paused", Some("nse"), None),
            ),
            (
                r#"{"type":"status","status":"paused","reason":"r","symbols":["A","B"]}"#,
                status("paused", Some("A, B"), None),
            ),
            (
                r#"{"type":"stale","symbol":"TCS","age_ms":91000}"#,
                Message::Stale { symbol: "TCS".into(), age: Some(Duration::from_secs(91)) },
            ),
            (r#"{"type":"fresh","symbol":"TCS"}"#, Message::Fresh { symbol: "TCS".into() }),
            (r#"{"type":"lagging","conflated":120}"#, Message::Lagging { conflated: 120 }),
            (r#"{"type":"pong"}"#, Message::SmallTalk),
            (r#"{"type":"market_status","open":true}"#, Message::Notice),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["", "[]", "{", "7"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
