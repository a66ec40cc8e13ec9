//! One client's conversation as a state machine: a text comes in, replies and subscription changes go out.
//!
//! It holds no socket and no subscriptions: what it decides is carried out by its [`Desk`]. Time comes in as [`Now`].
//! Its limits are the gateway's [`Rules`]; a client that breaks one is told which, and only persistence (ten malformed
//! messages in a row, a burst's worth of refused ones) closes the connection.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::auth::{Access, Grant, Verify};
use super::message::{Close, CloseCode, ErrorCode, Rejected, Request, Selection, Terms};
use super::reader::ReadLimits;
use super::reply::{ConnectedLimits, Reply, Seconds, Stamp, echo, names};
use super::request::{Id, read_request};
use crate::market::Symbol;

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

/// A token bucket's size: so many a second, so many at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Refill.
    pub per_second: u32,
    /// Capacity.
    pub burst: u32,
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
    /// Thousandths of a message that may still be sent.
    credit: u32,
    credited_at_ms: u64,
    refused_in_a_row: u32,
    malformed_in_a_row: u8,
    pinged: bool,
    /// When the client was last heard, or since when it is being waited for.
    heard_at_ms: u64,
}

const MALFORMED: Close = Close::new(CloseCode::Policy, "ten malformed messages in a row");
const FLOOD: Close = Close::new(CloseCode::TooManyMessages, "too many messages");
const NO_PONG: Close = Close::new(CloseCode::PongTimeout, "no pong");

impl Session {
    /// A client that has just connected.
    #[must_use]
    pub fn new(access: Access, rules: &Rules, now: Now) -> Session {
        Session {
            access,
            credit: rules.messages.burst.saturating_mul(1000),
            credited_at_ms: now.mono_ms,
            refused_in_a_row: 0,
            malformed_in_a_row: 0,
            pinged: false,
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
            Access::Open | Access::Granted(_) => {
                let terms = Terms::default();
                self.subscribe(&mut wanted, terms, None, rules, now, desk);
            }
        }
    }

    /// A text message.
    pub fn on_text(&mut self, text: &str, rules: &Rules, now: Now, desk: &mut impl Desk) -> Flow {
        self.heard(now);
        if !self.spend(rules, now) {
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

    /// Anything else that shows the client is there: a pong, a ping.
    pub fn heard(&mut self, now: Now) {
        self.pinged = false;
        self.heard_at_ms = now.mono_ms;
    }

    /// Looks at the clock. `blocked`: the client's socket takes nothing now, so a missing pong is not its fault.
    pub fn tick(&mut self, blocked: bool, rules: &Rules, now: Now, desk: &mut impl Desk) -> Tick {
        let deadline = match self.access.tick(now, desk) {
            Ok(deadline) => deadline,
            Err(close) => return Tick::Close(close),
        };
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
            Request::Auth { token } => return self.authenticate(&token, id, rules, now, desk),
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

    fn authenticate(&mut self, token: &str, id: Id<'_>, rules: &Rules, now: Now, desk: &mut impl Desk) -> Flow {
        let timestamp = Stamp(now.wall);
        let Some(verify) = &rules.verify else {
            desk.send(&Reply::Authenticated { expires: None, id: echo(id), timestamp }.to_json());
            return Flow::Continue(());
        };
        let grant = match verify.verify(token, now.wall) {
            Ok(grant) => grant,
            Err(refusal) => {
                let message = refusal.to_string();
                let code = ErrorCode::Unauthorized;
                desk.send(&Reply::Error { code, message: &message, id: echo(id) }.to_json());
                return Flow::Break(Close::new(CloseCode::Unauthorized, "token refused"));
            }
        };
        let expires = grant.expires.map(Stamp);
        desk.send(&Reply::Authenticated { expires, id: echo(id), timestamp }.to_json());
        self.admit(grant, rules, now, desk);
        Flow::Continue(())
    }

    /// Puts a new grant in force: what was wanted at connect is subscribed now, what it no longer covers is dropped.
    fn admit(&mut self, grant: Grant, rules: &Rules, now: Now, desk: &mut impl Desk) {
        let before = std::mem::replace(&mut self.access, Access::Granted(Box::new(grant)));
        if let Access::Waiting { wanted: Some(mut wanted), .. } = before {
            self.subscribe(&mut wanted, Terms::default(), None, rules, now, desk);
        }
        let lost: Vec<Symbol> = desk.watched().into_iter().filter(|&symbol| !self.access.covers(symbol)).collect();
        let wildcard = desk.watches_all() && !self.access.covers_all();
        if wildcard {
            let kept: Vec<Symbol> =
                desk.unwatch_all().into_iter().filter(|&symbol| self.access.covers(symbol)).collect();
            for symbol in kept {
                desk.watch(symbol, Terms::default());
            }
        }
        if wildcard || !lost.is_empty() {
            let selection = Selection { symbols: lost, ..Selection::default() };
            unsubscribe(&selection, None, now, desk);
        }
    }

    /// Takes one message from the token bucket.
    fn spend(&mut self, rules: &Rules, now: Now) -> bool {
        let elapsed_ms = now.mono_ms.saturating_sub(self.credited_at_ms);
        let refill = elapsed_ms.saturating_mul(u64::from(rules.messages.per_second));
        let capacity = u64::from(rules.messages.burst.max(1)) * 1000;
        let credit = u64::from(self.credit).saturating_add(refill).min(capacity);
        self.credited_at_ms = now.mono_ms;
        let left = credit.checked_sub(1000);
        self.credit = u32::try_from(left.unwrap_or(credit)).unwrap_or(u32::MAX);
        left.is_some()
    }
}

fn unsubscribe(selection: &Selection, id: Id<'_>, now: Now, desk: &mut impl Desk) {
    let dropped = if selection.wildcard {
        desk.unwatch_all()
    } else {
        selection.symbols.iter().copied().filter(|&symbol| desk.unwatch(symbol)).collect()
    };
    let reply = Reply::Unsubscribed {
        symbols: names(&dropped),
        rejected: &selection.rejected,
        active: desk.active(),
        id: echo(id),
        timestamp: Stamp(now.wall),
    };
    desk.send(&reply.to_json());
}

/// A configured span in whole milliseconds.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
