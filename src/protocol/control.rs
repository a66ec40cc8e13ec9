//! Control messages: what operators say on `market-data:control`, what is answered to them, and the pause they leave
//! behind in `publisher:state`.
//!
//! `{"action":"pause","data":{"reason":"maintenance"},"id":1}`. A message that carries an `id` (a string or a number)
//! is answered on the replies channel. Publisher and gateway read the same messages and each does its part; neither
//! provider names nor gateways are known here, so whether a named one exists is checked by whoever acts on it.
//!
//! Pure. Everything is bounded: a message by [`MAX_MESSAGE_BYTES`], its symbols by [`MAX_SYMBOLS`], the paused ones by
//! [`MAX_PAUSED_SYMBOLS`]; beyond a bound the message is refused with a code that names it.

mod state;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::market::Symbol;

pub use state::{MAX_PAUSED_SYMBOLS, Pause, State, StateError};

/// The longest control message that is read, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// The most symbols one message may name; with 32 bytes a symbol they fit [`MAX_MESSAGE_BYTES`].
pub const MAX_SYMBOLS: usize = 1024;
/// The longest reason, provider name, gateway name, log level or `id`, in bytes.
pub const MAX_TEXT_BYTES: usize = 200;
/// Between two polls, at the least; as in `publisher.interval_s`.
pub const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Between two polls, at the most; as in `publisher.interval_s`.
pub const MAX_INTERVAL: Duration = Duration::from_secs(86_400);

/// One control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Wants an answer when there is one.
    pub id: Option<Id>,
    /// What to do.
    pub control: Control,
}

/// What a control message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Stop publishing what `scope` covers.
    Pause {
        /// What is paused.
        scope: Scope,
        /// Told to clients.
        reason: Option<String>,
    },
    /// Go on publishing what `scope` covers.
    Resume {
        /// What goes on; [`Scope::All`] ends every pause there is.
        scope: Scope,
    },
    /// Poll now, watched or not.
    Refresh {
        /// Empty: everything that is polled anyway.
        symbols: Vec<Symbol>,
    },
    /// Poll this often.
    SetInterval {
        /// `None`: every provider.
        provider: Option<String>,
        /// From [`MIN_INTERVAL`] to [`MAX_INTERVAL`].
        interval: Duration,
    },
    /// A gateway is to drain.
    Drain {
        /// Which one.
        gateway: String,
    },
    /// Log this much.
    LogLevel {
        /// `info`, or directives such as `tickcast=debug`.
        level: String,
    },
    /// Answer with what is going on.
    Status,
}

/// What a pause covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// What one provider serves.
    Provider(String),
    /// These symbols; never empty.
    Symbols(Vec<Symbol>),
}

/// An action's name, as a message spells it; the `action` label of `tickcast_control_messages_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `pause`.
    Pause,
    /// `resume`.
    Resume,
    /// `refresh`.
    Refresh,
    /// `set_interval`.
    SetInterval,
    /// `drain`.
    Drain,
    /// `log_level`.
    LogLevel,
    /// `status`.
    Status,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 7] = [
        Action::Pause,
        Action::Resume,
        Action::Refresh,
        Action::SetInterval,
        Action::Drain,
        Action::LogLevel,
        Action::Status,
    ];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Refresh => "refresh",
            Action::SetInterval => "set_interval",
            Action::Drain => "drain",
            Action::LogLevel => "log_level",
            Action::Status => "status",
        }
    }
}

impl Control {
    /// Its action.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Control::Pause { .. } => Action::Pause,
            Control::Resume { .. } => Action::Resume,
            Control::Refresh { .. } => Action::Refresh,
            Control::SetInterval { .. } => Action::SetInterval,
            Control::Drain { .. } => Action::Drain,
            Control::LogLevel { .. } => Action::LogLevel,
            Control::Status => Action::Status,
        }
    }
}

/// A message's `id`, echoed in its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A JSON string.
    Text(String),
    /// A JSON number.
    Number(serde_json::Number),
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not JSON, or not UTF-8.
    InvalidJson,
    /// Fields missing, of the wrong type or out of range.
    InvalidRequest,
    /// No such action.
    UnknownAction,
    /// A symbol is none.
    InvalidSymbol,
    /// More symbols than allowed.
    TooManySymbols,
    /// Longer than [`MAX_MESSAGE_BYTES`].
    MessageTooBig,
    /// No provider of that name.
    UnknownProvider,
    /// What was asked for is paused.
    Paused,
    /// Not now: too much is asked for already, or what it takes is away.
    Unavailable,
}

impl Code {
    /// The code's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::InvalidJson => "invalid_json",
            Code::InvalidRequest => "invalid_request",
            Code::UnknownAction => "unknown_action",
            Code::InvalidSymbol => "invalid_symbol",
            Code::TooManySymbols => "too_many_symbols",
            Code::MessageTooBig => "message_too_big",
            Code::UnknownProvider => "unknown_provider",
            Code::Paused => "paused",
            Code::Unavailable => "unavailable",
        }
    }
}

/// A code, and a sentence that says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct ControlError {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl ControlError {
    /// An error of this code.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> ControlError {
        ControlError { code, message: message.into() }
    }
}

/// A refused message: what could be read of it, and why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Wants an answer when there is one.
    pub id: Option<Id>,
    /// What it asked for, when that is known.
    pub action: Option<Action>,
    /// Why.
    pub error: ControlError,
}

/// An answer to a message that carried an `id`, from one publisher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The message's.
    pub id: Id,
    /// What was asked for; `null` when that could not be read.
    pub action: Option<String>,
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyError>,
    /// Who answers.
    pub publisher: String,
    /// What is going on there now: `leader`, and what is `paused`.
    pub state: Value,
}

/// [`Reply::error`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyError {
    /// A [`Code`]'s text.
    pub code: String,
    /// For people.
    pub message: String,
}

impl From<&ControlError> for ReplyError {
    fn from(error: &ControlError) -> ReplyError {
        ReplyError { code: error.code.as_str().into(), message: error.message.clone() }
    }
}

/// Reads one control message.
///
/// # Errors
/// [`Refused`], with the message's `id` and action as far as they could be read.
pub fn read(payload: &[u8]) -> Result<Message, Box<Refused>> {
    let refuse = |error| Box::new(Refused { id: None, action: None, error });
    if payload.len() > MAX_MESSAGE_BYTES {
        let message = format!("a control message has at most {MAX_MESSAGE_BYTES} bytes");
        return Err(refuse(ControlError::new(Code::MessageTooBig, message)));
    }
    let mut value: Value = serde_json::from_slice(payload)
        .map_err(|error| refuse(ControlError::new(Code::InvalidJson, format!("not a JSON object: {error}"))))?;
    let id = read_id(value.get_mut("id").map(Value::take)).map_err(refuse)?;
    let action = read_action(&value).map_err(|error| Box::new(Refused { id: id.clone(), action: None, error }))?;
    match read_control(action, &value) {
        Ok(control) => Ok(Message { id, control }),
        Err(error) => Err(Box::new(Refused { id, action: Some(action), error })),
    }
}

fn read_id(id: Option<Value>) -> Result<Option<Id>, ControlError> {
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(Id::Number(number))),
        Some(Value::String(text)) if text.len() <= MAX_TEXT_BYTES => Ok(Some(Id::Text(text))),
        Some(_) => Err(invalid(format!("`id` is a number or a string of at most {MAX_TEXT_BYTES} bytes"))),
    }
}

fn read_action(value: &Value) -> Result<Action, ControlError> {
    let actions = || Action::ALL.map(Action::as_str).join(", ");
    let Value::Object(fields) = value else {
        return Err(invalid(format!("a control message is an object: {{\"action\":…}} with one of {}", actions())));
    };
    let Some(Value::String(name)) = fields.get("action") else {
        return Err(invalid(format!("`action` is one of {}", actions())));
    };
    Action::ALL.into_iter().find(|action| action.as_str() == name).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        ControlError::new(Code::UnknownAction, format!("{name:?} is none of {}", actions()))
    })
}

fn read_control(action: Action, value: &Value) -> Result<Control, ControlError> {
    let data = Data::of(value)?;
    Ok(match action {
        Action::Pause => Control::Pause { scope: data.scope()?, reason: data.text("reason")? },
        Action::Resume => Control::Resume { scope: data.scope()? },
        Action::Refresh => Control::Refresh { symbols: data.symbols()?.unwrap_or_default() },
        Action::SetInterval => Control::SetInterval { provider: data.text("provider")?, interval: data.interval()? },
        Action::Drain => Control::Drain { gateway: data.required_text("gateway", "names the gateway to drain")? },
        Action::LogLevel => {
            Control::LogLevel { level: data.required_text("level", "is a level such as \"debug\", or directives")? }
        }
        Action::Status => Control::Status,
    })
}

/// A message's `data`.
struct Data<'a>(Option<&'a serde_json::Map<String, Value>>);

impl<'a> Data<'a> {
    fn of(message: &'a Value) -> Result<Data<'a>, ControlError> {
        match message.get("data") {
            None | Some(Value::Null) => Ok(Data(None)),
            Some(Value::Object(fields)) => Ok(Data(Some(fields))),
            Some(_) => Err(invalid("`data` is an object")),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0?.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<String>, ControlError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_TEXT_BYTES => Ok(Some(text.clone())),
            Some(_) => Err(invalid(format!("`data.{key}` is a string of 1 to {MAX_TEXT_BYTES} bytes"))),
        }
    }

    fn required_text(&self, key: &str, what: &str) -> Result<String, ControlError> {
        self.text(key)?.ok_or_else(|| invalid(format!("`data.{key}` {what}")))
    }

    fn scope(&self) -> Result<Scope, ControlError> {
        match (self.text("provider")?, self.symbols()?) {
            (None, None) => Ok(Scope::All),
            (Some(provider), None) => Ok(Scope::Provider(provider)),
            (None, Some(symbols)) if !symbols.is_empty() => Ok(Scope::Symbols(symbols)),
            (None, Some(_)) => Err(invalid("`data.symbols` names at least one symbol; leave it out to mean all")),
            (Some(_), Some(_)) => Err(invalid("`data.provider` or `data.symbols`, not both")),
        }
    }

    /// `symbols` as an array or one string, each kept once, in order.
    fn symbols(&self) -> Result<Option<Vec<Symbol>>, ControlError> {
        let texts: Vec<&Value> = match self.get("symbols") {
            None => return Ok(None),
            Some(Value::Array(texts)) => texts.iter().collect(),
            Some(text @ Value::String(_)) => vec![text],
            Some(_) => return Err(invalid("`data.symbols` is an array of strings")),
        };
        if texts.len() > MAX_SYMBOLS {
            let message = format!("at most {MAX_SYMBOLS} symbols in one message");
            return Err(ControlError::new(Code::TooManySymbols, message));
        }
        let mut symbols = Vec::with_capacity(texts.len());
        for text in texts {
            let Value::String(text) = text else { return Err(invalid("`data.symbols` is an array of strings")) };
            let symbol = Symbol::parse(text).map_err(|error| {
                let text: String = text.chars().take(40).collect();
                ControlError::new(Code::InvalidSymbol, format!("{text:?}: {error}"))
            })?;
            if !symbols.contains(&symbol) {
                symbols.push(symbol);
            }
        }
        Ok(Some(symbols))
    }

    fn interval(&self) -> Result<Duration, ControlError> {
        self.get("seconds")
            .and_then(Value::as_f64)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|interval| (MIN_INTERVAL..=MAX_INTERVAL).contains(interval))
            .ok_or_else(|| {
                let (least, most) = (MIN_INTERVAL.as_secs_f64(), MAX_INTERVAL.as_secs());
                invalid(format!("`data.seconds` is a number from {least} to {most}"))
            })
    }
}

fn invalid(message: impl Into<String>) -> ControlError {
    ControlError::new(Code::InvalidRequest, message)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests;
