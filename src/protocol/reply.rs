//! Writes what clients get, but for the updates themselves.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::message::{ErrorCode, Rejected};
use super::request::Id;
use crate::market::Symbol;

/// Everything the server says on its own account. `id` echoes the request's.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The first message on every connection.
    Connected {
        /// `Connected to {name}`.
        message: String,
        /// The connection's name, in logs too.
        #[serde(rename = "clientId")]
        client_id: &'a str,
        /// What this client may do.
        limits: ConnectedLimits,
        /// How often a ping comes, in seconds.
        ping_interval_s: Seconds,
        /// Base of the REST calls, for the polling fallback.
        #[serde(skip_serializing_if = "Option::is_none")]
        api: Option<&'a str>,
        /// Now.
        timestamp: Stamp,
    },
    /// The answer to `subscribe`.
    Subscribed {
        /// What is watched by it (known ones included); `*` for all.
        symbols: Vec<&'a str>,
        /// What is not.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        rejected: &'a [Rejected],
        /// Symbols watched in all.
        active: usize,
        /// Echo.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        /// Now.
        timestamp: Stamp,
    },
    /// The answer to `unsubscribe`.
    Unsubscribed {
        /// What is no longer watched.
        symbols: Vec<&'a str>,
        /// What cannot be a symbol.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        rejected: &'a [Rejected],
        /// Symbols watched in all.
        active: usize,
        /// Echo.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        /// Now.
        timestamp: Stamp,
    },
    /// The answer to `list`.
    Subscriptions {
        /// What is watched.
        symbols: Vec<&'a str>,
        /// Echo.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        /// Now.
        timestamp: Stamp,
    },
    /// The answer to `ping`.
    Pong {
        /// Echo.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        /// Now.
        timestamp: Stamp,
    },
    /// The answer to a good `auth`.
    Authenticated {
        /// When the token expires, if it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires: Option<Stamp>,
        /// Echo.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        /// Now.
        timestamp: Stamp,
    },
    /// The token in use expires soon: send another one by `auth`.
    AuthExpiring {
        /// When; the connection is closed then.
        expires: Stamp,
        /// From now, in milliseconds.
        expires_in_ms: u64,
    },
    /// Something was not taken.
    Error {
        /// Which rule.
        code: ErrorCode,
        /// What was wrong and what is allowed.
        message: &'a str,
        /// Echo.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
    },
    /// Nothing has come of a symbol for too long.
    Stale {
        /// Which.
        symbol: Symbol,
        /// Since its last update.
        age_ms: u64,
    },
    /// A stale symbol's next update follows.
    Fresh {
        /// Which.
        symbol: Symbol,
    },
    /// You read too slowly: you now get the newest only.
    Lagging {
        /// Updates that gave way to newer ones since the last such message.
        conflated: u64,
    },
    /// The service's state changed.
    Status {
        /// To what.
        status: Status,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        /// Paused or resumed: only what this provider serves.
        #[serde(skip_serializing_if = "Option::is_none")]
        provider: Option<&'a str>,
        /// Paused or resumed: only these symbols.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        symbols: Vec<&'a str>,
        /// Draining: when this client will be closed and should come back.
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_in_ms: Option<u64>,
        /// Now.
        timestamp: Stamp,
    },
}

/// What a client may do, told once.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ConnectedLimits {
    /// Symbols it may watch.
    pub symbols: usize,
    /// The longest message it may send.
    pub message_bytes: usize,
}

/// What the service tells everyone about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The broker is away; what you see may be old.
    Degraded,
    /// The broker is back.
    Ok,
    /// Publishing was paused.
    Paused,
    /// Publishing goes on.
    Resumed,
    /// This gateway is going away.
    Draining,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Degraded => "degraded",
            Status::Ok => "ok",
            Status::Paused => "paused",
            Status::Resumed => "resumed",
            Status::Draining => "draining",
        }
    }
}

/// A time as RFC 3339 in UTC with milliseconds and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub Timestamp);

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

/// A span as a number of seconds, whole where it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub std::time::Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Rejected {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Rejected", 2)?;
        object.serialize_field("symbol", &self.symbol)?;
        object.serialize_field("code", &self.code)?;
        object.end()
    }
}

impl Reply<'_> {
    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("replies hold nothing that JSON cannot")
    }
}

/// The id as raw JSON, for echoing.
#[must_use]
pub fn echo(id: Id<'_>) -> Option<&RawValue> {
    id.and_then(|text| serde_json::from_str(text).ok())
}

/// Symbols as texts.
pub fn names<'a>(symbols: impl IntoIterator<Item = &'a Symbol>) -> Vec<&'a str> {
    symbols.into_iter().map(Symbol::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Stamp {
        Stamp("2026-11-21T10:00:00.5Z".parse().unwrap())
    }

    #[test]
    fn replies_are_the_contracts() {
        let rejected = [Rejected { symbol: "TC S".into(), code: ErrorCode::InvalidSymbol }];
        let subscribed = Reply::Subscribed {
            symbols: vec!["RELIANCE"],
            rejected: &rejected,
            active: 1,
            id: echo(Some("1")),
            timestamp: now(),
        };
        for (reply, json) in [
            (
                subscribed,
                r#"{"type":"subscribed","symbols":["RELIANCE"],"rejected":[{"symbol":"TC S","code":"invalid_symbol"}],"active":1,"id":1,"timestamp":"2026-11-21T10:00:00.500Z"}"#,
            ),
            (
                Reply::Connected {
                    message: "Connected to tickcast".into(),
                    client_id: "client_7",
                    limits: ConnectedLimits { symbols: 1024, message_bytes: 65536 },
                    ping_interval_s: Seconds(std::time::Duration::from_secs(25)),
                    api: None,
                    timestamp: now(),
                },
                r#"{"type":"connected","message":"Connected to tickcast","clientId":"client_7","limits":{"symbols":1024,"message_bytes":65536},"ping_interval_s":25,"timestamp":"2026-11-21T10:00:00.500Z"}"#,
            ),
            (
                Reply::Pong { id: echo(Some("\"a\"")), timestamp: now() },
                r#"{"type":"pong","id":"a","timestamp":"2026-11-21T10:00:00.500Z"}"#,
            ),
            (
                Reply::Error { code: ErrorCode::InvalidJson, message: "no", id: None },
                r#"{"type":"error","code":"invalid_json","message":"no"}"#,
            ),
            (
                Reply::AuthExpiring { expires: now(), expires_in_ms: 30_000 },
                r#"{"type":"auth_expiring","expires":"2026-11-21T10:00:00.500Z","expires_in_ms":30000}"#,
            ),
            (
                Reply::Stale { symbol: Symbol::parse("TCS").unwrap(), age_ms: 91_000 },
                r#"{"type":"stale","symbol":"TCS","age_ms":91000}"#,
            ),
            (Reply::Fresh { symbol: Symbol::parse("TCS").unwrap() }, r#"{"type":"fresh","symbol":"TCS"}"#),
            (Reply::Lagging { conflated: 120 }, r#"{"type":"lagging","conflated":120}"#),
            (
                Reply::Status {
                    status: Status::Draining,
                    reason: None,
                    provider: None,
                    symbols: vec![],
                    reconnect_in_ms: Some(1234),
                    timestamp: now(),
                },
                r#"{"type":"status","status":"draining","reconnect_in_ms":1234,"timestamp":"2026-11-21T10:00:00.500Z"}"#,
            ),
        ] {
            assert_eq!(reply.to_json(), json);
        }
    }
}
