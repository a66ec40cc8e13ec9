//! Everything that is said on a client's socket: requests, replies, error codes, close codes.
//!
//! The vocabulary only; `request` reads what clients send, `reply` writes what they get.

use std::fmt;

use crate::market::Symbol;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Watch symbols.
    Subscribe(Selection, Terms),
    /// Stop watching symbols; a wildcard stops all.
    Unsubscribe(Selection),
    /// Name what is watched.
    List,
    /// Answer with a pong.
    Ping,
    /// Prove who I am.
    Auth {
        /// A static token or a JWT.
        token: Token,
    },
}

/// What a client proves itself with. Its `Debug` shows nothing of it, so that no log can.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The symbols a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The good ones, in the order given, each once.
    pub symbols: Vec<Symbol>,
    /// Whether `*` was among them.
    pub wildcard: bool,
    /// The bad ones, as they were written.
    pub rejected: Vec<Rejected>,
}

/// A symbol that a request named and that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// As it was written, cut after [`MAX_ECHOED_CHARS`].
    pub symbol: String,
    /// Why.
    pub code: ErrorCode,
}

/// A bad symbol is named back to the client up to this many characters.
pub const MAX_ECHOED_CHARS: usize = 64;

/// On what terms a client watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// At least this long between two updates of a symbol, in milliseconds; 0 is every update.
    pub min_gap_ms: u32,
    /// Whether the last known quote is sent right after subscribing.
    pub snapshot: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { min_gap_ms: 0, snapshot: true }
    }
}

/// Why a request, or a part of it, was not taken. `message` in the reply says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The text is no JSON object.
    InvalidJson,
    /// Fields are missing or of the wrong type.
    InvalidRequest,
    /// There is no such action.
    UnknownAction,
    /// The text is no symbol.
    InvalidSymbol,
    /// More symbols than one client may watch.
    TooManySymbols,
    /// The message is longer than allowed; the connection closes with 1009.
    MessageTooBig,
    /// Too many messages; the message was not read.
    RateLimited,
    /// No token, or a bad one.
    Unauthorized,
    /// The token does not cover this symbol.
    ForbiddenSymbol,
    /// `*` is not offered here.
    WildcardNotAllowed,
}

impl ErrorCode {
    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidJson => "invalid_json",
            ErrorCode::InvalidRequest => "invalid_request",
            ErrorCode::UnknownAction => "unknown_action",
            ErrorCode::InvalidSymbol => "invalid_symbol",
            ErrorCode::TooManySymbols => "too_many_symbols",
            ErrorCode::MessageTooBig => "message_too_big",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::ForbiddenSymbol => "forbidden_symbol",
            ErrorCode::WildcardNotAllowed => "wildcard_not_allowed",
        }
    }
}

/// Every code the server closes with (RFC 6455 §7.4; 4000–4999 are ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum CloseCode {
    /// The client asked for it.
    Normal = 1000,
    /// The server is going away without a slot for the client.
    GoingAway = 1001,
    /// The client broke RFC 6455.
    Protocol = 1002,
    /// A binary message; we speak text.
    Unsupported = 1003,
    /// A text message that is not UTF-8.
    NotUtf8 = 1007,
    /// Ten malformed messages in a row.
    Policy = 1008,
    /// A message above the limit.
    TooBig = 1009,
    /// Our own fault.
    Internal = 1011,
    /// Drained: reconnect at once.
    Restart = 1012,
    /// Full: try later.
    TryLater = 1013,
    /// The token is bad or has expired.
    Unauthorized = 4401,
    /// No pong.
    PongTimeout = 4408,
    /// The client reads too slowly.
    TooSlow = 4409,
    /// Too many messages.
    TooManyMessages = 4429,
}

/// Whether a client that was closed with a code should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// At once.
    Now,
    /// With exponential back-off and jitter.
    BackOff,
    /// After its cause was mended: a client bug or a token.
    AfterMending,
    /// The client wanted to leave.
    No,
}

impl CloseCode {
    /// All of them, in order.
    pub const ALL: [CloseCode; 14] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Unsupported,
        CloseCode::NotUtf8,
        CloseCode::Policy,
        CloseCode::TooBig,
        CloseCode::Internal,
        CloseCode::Restart,
        CloseCode::TryLater,
        CloseCode::Unauthorized,
        CloseCode::PongTimeout,
        CloseCode::TooSlow,
        CloseCode::TooManyMessages,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// What the client should do next.
    #[must_use]
    pub const fn reconnect(self) -> Reconnect {
        match self {
            CloseCode::Normal => Reconnect::No,
            CloseCode::Restart => Reconnect::Now,
            CloseCode::GoingAway
            | CloseCode::Internal
            | CloseCode::TryLater
            | CloseCode::PongTimeout
            | CloseCode::TooSlow
            | CloseCode::TooManyMessages => Reconnect::BackOff,
            CloseCode::Protocol
            | CloseCode::Unsupported
            | CloseCode::NotUtf8
            | CloseCode::Policy
            | CloseCode::TooBig
            | CloseCode::Unauthorized => Reconnect::AfterMending,
        }
    }
}

/// A close the server makes: the code and the sentence beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// For people; at most 123 bytes, as a control frame holds.
    pub reason: &'static str,
}

impl Close {
    /// A close with its sentence.
    #[must_use]
    pub const fn new(code: CloseCode, reason: &'static str) -> Close {
        assert!(reason.len() <= 123, "a close frame's reason has at most 123 bytes (RFC 6455 §5.5)");
        Close { code, reason }
    }
}
