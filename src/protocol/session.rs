//! One client's conversation as a state machine: a text comes in, replies and subscription changes go out.
//!
//! It holds no socket and no subscriptions: what it decides is carried out by its [`Desk`]. Time comes in as [`Now`].
//! Its limits are the gateway's [`Rules`]; a client that breaks one is told which, and only persistence (ten malformed
//! messages in a row, a burst's worth of refused ones) closes the connection.

mod token;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::auth::{Access, Verify};
use super::bucket::Bucket;
pub use super::bucket::Rate;
use super::message::{Close, CloseCode, ErrorCode, Rejected, Request, Selection, Terms};
use super::reader::ReadLimits;
use super::reply::{ConnectedLimits, Reply, Seconds, Stamp, echo, names};
use super::request::{Id, read_request};
use crate::market::Symbol;
use token::Pending;

/// Malformed messages in a row until 1008.
pub const MAX_MALFORMED_IN_A_ROW: u8 = 10;

/// The two clocks, read once per turn of the loop.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds on the process's monotonic clock.
    pub mono_ms: u64,
    /// The time of day.
    pub wall: Timestamp,
}

/// What holds for every client of a gateway.
pub struct Rules {
    /// Named in `connected`.
    pub name: String,
    /// Told as `api` in `connected`.
    pub api_base: Option<String>,
    /// Frame and message limits.
    pub read: ReadLimits,
    /// Symbols per client.
    pub symbols_per_client: usize,
    /// Messages per client and second, and at once.
    pub messages: Rate,
    /// Pings and unasked pongs per client and second, and at once.
    pub pings: Rate,
    /// Whether `*` may be subscribed.
    pub wildcard: Wildcard,
    /// Between a client's last sign of life and a ping.
    pub ping_interval: Duration,
    /// From a ping to 4408.
    pub pong_timeout: Duration,
    /// What the socket is for.
    pub talk: Talk,
    /// Checks tokens; `None` lets anyone in.
    pub verify: Option<Arc<dyn Verify>>,
}

/// What the socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Talk {
    /// The client protocol.
    #[default]
    Quotes,
    /// Every message comes back as it was, compressed where that was agreed: what conformance suites want.
    Echo,
}

/// Whether `["*"]` may be subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wildcard {
    /// It may.
    Allowed,
    /// It is answered with `wildcard_not_allowed`.
    Refused,
}

/// Carries out what a session decides. The hub's side of the conversation.
pub trait Desk {
    /// Watches a symbol, or changes the terms of one already watched.
    fn watch(&mut self, symbol: Symbol, terms: Terms);
    /// Watches every symbol.
    fn watch_all(&mut self, terms: Terms);
    /// Stops watching a symbol. False when it was not watched.
    fn unwatch(&mut self, symbol: Symbol) -> bool;
    /// Stops watching everything; names what was watched.
    fn unwatch_all(&mut self) -> Vec<Symbol>;
    /// Whether a symbol is watched by name.
    fn watches(&self, symbol: Symbol) -> bool;
    /// Whether every symbol is watched.
    fn watches_all(&self) -> bool;
    /// What is watched by name.
    fn watched(&self) -> Vec<Symbol>;
    /// How many symbols are watched by name.
    fn active(&self) -> usize;
    /// Sends one message, before any update that still waits.
    fn send(&mut self, json: &str);
}

/// What a session wants done about its connection.
pub type Flow = ControlFlow<Close>;

/// What [`Session::tick`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Nothing before this time (ms, monotonic).
    Quiet(u64),
    /// Send a ping, then look again at this time.
    Ping(u64),
    /// Close.
    Close(Close),
}

/// One client's state.
#[derive(Debug)]
pub struct Session {
    access: Access,
    messages: Bucket,
    pings: Bucket,
    refused_in_a_row: u32,
    malformed_in_a_row: u8,
    pinged: bool,
    /// Whether something may be due earlier than the last [`Session::tick`] said.
    hurried: bool,
    /// A token whose key is being fetched.
    pending: Option<Box<Pending>>,
    /// When the client was last heard, or since when it is being waited for.
    heard_at_ms: u64,
}

const MALFORMED: Close = Close::new(CloseCode::Policy, "ten malformed messages in a row");
const FLOOD: Close = Close::new(CloseCode::TooManyMessages, "too many messages");
const PING_FLOOD: Close = Close::new(CloseCode::TooManyMessages, "too many pings");
const NO_PONG: Close = Close::new(CloseCode::PongTimeout, "no pong");

impl Session {
    /// A client that has just connected.
    #[must_use]
    pub fn new(access: Access, rules: &Rules, now: Now) -> Session {
        Session {
            access,
            messages: Bucket::full(rules.messages, now),
            pings: Bucket::full(rules.pings, now),
            refused_in_a_row: 0,
            malformed_in_a_row: 0,
            pinged: false,
            hurried: false,
            pending: None,
            heard_at_ms: now.mono_ms,
        }
    }

    /// The first words: `connected`, and the answer to the symbols of the URL.
    pub fn greet(&mut self, client_id: &str, mut wanted: Selection, rules: &Rules, now: Now, desk: &mut impl Desk) {
        let connected = Reply::Connected {
            message: format!("Connected to {}", rules.name),
            client_id,
            limits: ConnectedLimits { symbols: rules.symbols_per_client, message_bytes: rules.read.message_bytes },
            ping_interval_s: Seconds(rules.ping_interval),
            api: rules.api_base.as_deref(),
            timestamp: Stamp(now.wall),
        };
        desk.send(&connected.to_json());
        let empty = wanted.symbols.is_empty() && !wanted.wildcard && wanted.rejected.is_empty();
        if empty {
            return;
        }
        match &mut self.access {
            Access::Waiting { wanted: later, .. } => *later = Some(Box::new(wanted)),
            Access::Open | Access::Granted { .. } => {
                let terms = Terms::default();
                self.subscribe(&mut wanted, terms, None, rules, now, desk);
            }
        }
    }

    /// A text message.
    pub fn on_text(&mut self, text: &str, rules: &Rules, now: Now, desk: &mut impl Desk) -> Flow {
        self.heard(now);
        if !self.messages.spend(rules.messages, now) {
            self.refused_in_a_row += 1;
            let Rate { per_second, burst } = rules.messages;
            let message = format!("at most {per_second} messages a second, {burst} at once; this one was not read");
            desk.send(&Reply::Error { code: ErrorCode::RateLimited, message: &message, id: None }.to_json());
            return if self.refused_in_a_row > burst { Flow::Break(FLOOD) } else { Flow::Continue(()) };
        }
        self.refused_in_a_row = 0;
        match read_request(text) {
            Ok((request, id)) => {
                self.malformed_in_a_row = 0;
                self.serve(request, id, rules, now, desk)
            }
            Err(refusal) => {
                let (code, message) = (refusal.code, &refusal.message);
                desk.send(&Reply::Error { code, message, id: echo(refusal.id) }.to_json());
                self.malformed_in_a_row += 1;
                if self.malformed_in_a_row >= MAX_MALFORMED_IN_A_ROW {
                    return Flow::Break(MALFORMED);
                }
                Flow::Continue(())
            }
        }
    }

    /// A ping or a pong: it shows that the client is there, and too many of them cost as much as messages.
    pub fn on_control(&mut self, rules: &Rules, now: Now) -> Flow {
        self.heard(now);
        if self.pings.spend(rules.pings, now) { Flow::Continue(()) } else { Flow::Break(PING_FLOOD) }
    }

    /// Whether [`Session::tick`] should be asked again now, since something may be due earlier than it last said.
    pub fn take_hurried(&mut self) -> bool {
        std::mem::take(&mut self.hurried)
    }

    /// The client is there.
    pub fn heard(&mut self, now: Now) {
        self.pinged = false;
        self.heard_at_ms = now.mono_ms;
    }

    /// Looks at the clock. `blocked`: the client's socket takes nothing now, so a missing pong is not its fault.
    pub fn tick(&mut self, blocked: bool, rules: &Rules, now: Now, desk: &mut impl Desk) -> Tick {
        let mut deadline = match self.access.tick(now, desk) {
            Ok(deadline) => deadline,
            Err(close) => return Tick::Close(close),
        };
        if let Some(pending) = self.pending.take() {
            match self.retry(pending, rules, now, desk) {
                Ok(next) => deadline = deadline.min(next),
                Err(close) => return Tick::Close(close),
            }
        }
        if blocked {
            self.heard(now);
        }
        let patience = if self.pinged { rules.pong_timeout } else { rules.ping_interval };
        let due = self.heard_at_ms.saturating_add(millis(patience));
        if now.mono_ms < due {
            return Tick::Quiet(due.min(deadline));
        }
        if self.pinged {
            return Tick::Close(NO_PONG);
        }
        self.pinged = true;
        self.heard_at_ms = now.mono_ms;
        Tick::Ping(now.mono_ms.saturating_add(millis(rules.pong_timeout)).min(deadline))
    }

    fn serve(&mut self, request: Request, id: Id<'_>, rules: &Rules, now: Now, desk: &mut impl Desk) -> Flow {
        let timestamp = Stamp(now.wall);
        if matches!(self.access, Access::Waiting { .. }) && !matches!(request, Request::Auth { .. } | Request::Ping) {
            let message = "send {\"action\":\"auth\",\"token\":\"…\"} first";
            desk.send(&Reply::Error { code: ErrorCode::Unauthorized, message, id: echo(id) }.to_json());
            return Flow::Continue(());
        }
        match request {
            Request::Subscribe(mut selection, terms) => self.subscribe(&mut selection, terms, id, rules, now, desk),
            Request::Unsubscribe(selection) => unsubscribe(&selection, id, now, desk),
            Request::List => {
                let watched = desk.watched();
                let mut symbols = names(&watched);
                if desk.watches_all() {
                    symbols.push("*");
                }
                desk.send(&Reply::Subscriptions { symbols, id: echo(id), timestamp }.to_json());
            }
            Request::Ping => desk.send(&Reply::Pong { id: echo(id), timestamp }.to_json()),
            Request::Auth { token } => return self.authenticate(token, id, rules, now, desk),
        }
        Flow::Continue(())
    }

    fn subscribe(
        &self,
        selection: &mut Selection,
        terms: Terms,
        id: Id<'_>,
        rules: &Rules,
        now: Now,
        desk: &mut impl Desk,
    ) {
        let mut taken = Vec::with_capacity(selection.symbols.len());
        let mut active = desk.active();
        for &symbol in &selection.symbols {
            let refusal = if !self.access.covers(symbol) {
                Some(ErrorCode::ForbiddenSymbol)
            } else if active >= rules.symbols_per_client && !desk.watches(symbol) {
                Some(ErrorCode::TooManySymbols)
            } else {
                None
            };
            if let Some(code) = refusal {
                selection.rejected.push(Rejected { symbol: symbol.to_string(), code });
                continue;
            }
            desk.watch(symbol, terms);
            active = desk.active();
            taken.push(symbol);
        }
        let mut symbols = names(&taken);
        if selection.wildcard {
            let refusal = match (rules.wildcard, self.access.covers_all()) {
                (Wildcard::Allowed, true) => None,
                (Wildcard::Allowed, false) => Some(ErrorCode::ForbiddenSymbol),
                (Wildcard::Refused, _) => Some(ErrorCode::WildcardNotAllowed),
            };
            match refusal {
                Some(code) => selection.rejected.push(Rejected { symbol: "*".into(), code }),
                None => {
                    desk.watch_all(terms);
                    symbols.push("*");
                }
            }
        }
        let (rejected, timestamp) = (&selection.rejected[..], Stamp(now.wall));
        desk.send(&Reply::Subscribed { symbols, rejected, active, id: echo(id), timestamp }.to_json());
    }
}

fn unsubscribe(selection: &Selection, id: Id<'_>, now: Now, desk: &mut impl Desk) {
    let dropped = if selection.wildcard {
        desk.unwatch_all()
    } else {
        selection.symbols.iter().copied().filter(|&symbol| desk.unwatch(symbol)).collect()
    };
    tell_unsubscribed(names(&dropped), &selection.rejected, id, now, desk);
}

fn tell_unsubscribed(symbols: Vec<&str>, rejected: &[Rejected], id: Id<'_>, now: Now, desk: &mut impl Desk) {
    let (active, timestamp) = (desk.active(), Stamp(now.wall));
    desk.send(&Reply::Unsubscribed { symbols, rejected, active, id: echo(id), timestamp }.to_json());
}

/// A configured span in whole milliseconds.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
