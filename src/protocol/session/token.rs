//! Tokens within a conversation: checking one, putting its grant in force, waiting for the key of one.
//!
//! A token whose key is being fetched is kept and tried again at every tick until [`KEY_PATIENCE_MS`] are over; one such
//! token a client. A good token replaces whatever was in force; a bad one closes.

use super::super::auth::{Access, Grant, KEY_PATIENCE_MS, KEY_RETRY_MS, Unauthorized};
use super::super::message::{Close, CloseCode, ErrorCode, Terms, Token};
use super::super::reply::{Reply, Stamp, echo, names};
use super::super::request::Id;
use super::{Desk, Flow, Now, Rules, Session, tell_unsubscribed};
use crate::market::Symbol;

const REFUSED: Close = Close::new(CloseCode::Unauthorized, "token refused");

/// A token that could not be checked yet.
#[derive(Debug)]
pub(super) struct Pending {
    token: Token,
    /// Of the request, as JSON text.
    id: Option<Box<str>>,
    until_ms: u64,
}

impl Session {
    pub(super) fn authenticate(
        &mut self,
        token: Token,
        id: Id<'_>,
        rules: &Rules,
        now: Now,
        desk: &mut impl Desk,
    ) -> Flow {
        if let Some(before) = self.pending.take() {
            refuse(Unauthorized::Unavailable, before.id.as_deref(), desk);
        }
        self.hurried = true;
        let pending = Pending { token, id: id.map(Into::into), until_ms: now.mono_ms + KEY_PATIENCE_MS };
        match self.check(Box::new(pending), rules, now, desk) {
            Some(close) => Flow::Break(close),
            None => Flow::Continue(()),
        }
    }

    /// Checks a token again whose key was being fetched. When to look again, or why to close.
    pub(super) fn retry(
        &mut self,
        pending: Box<Pending>,
        rules: &Rules,
        now: Now,
        desk: &mut impl Desk,
    ) -> Result<u64, Close> {
        if let Some(close) = self.check(pending, rules, now, desk) {
            return Err(close);
        }
        if self.pending.is_some() {
            return Ok(now.mono_ms + KEY_RETRY_MS);
        }
        self.access.tick(now, desk)
    }

    /// Checks a token; keeps it when its key is not at hand and there is still time. Returns why to close.
    fn check(&mut self, pending: Box<Pending>, rules: &Rules, now: Now, desk: &mut impl Desk) -> Option<Close> {
        let id = pending.id.as_deref();
        let verified = rules.verify.as_ref().map(|verify| verify.verify(&pending.token.0, now.wall)).transpose();
        match verified {
            Ok(grant) => {
                let expires = grant.as_ref().and_then(|grant| grant.expires).map(Stamp);
                desk.send(&Reply::Authenticated { expires, id: echo(id), timestamp: Stamp(now.wall) }.to_json());
                if let Some(grant) = grant {
                    self.admit(grant, rules, now, desk);
                }
                None
            }
            Err(Unauthorized::Unavailable) if now.mono_ms < pending.until_ms => {
                self.pending = Some(pending);
                None
            }
            // Not the client's fault: what it may do stays as it is, and it may try again.
            Err(Unauthorized::Unavailable) => {
                refuse(Unauthorized::Unavailable, id, desk);
                None
            }
            Err(refusal) => {
                refuse(refusal, id, desk);
                Some(REFUSED)
            }
        }
    }

    /// Puts a new grant in force: what was wanted at connect is subscribed now, what it no longer covers is dropped.
    fn admit(&mut self, grant: Grant, rules: &Rules, now: Now, desk: &mut impl Desk) {
        let before = std::mem::replace(&mut self.access, Access::granted(grant));
        if let Access::Waiting { wanted: Some(mut wanted), .. } = before {
            self.subscribe(&mut wanted, Terms::default(), None, rules, now, desk);
        }
        let (kept, lost): (Vec<Symbol>, Vec<Symbol>) =
            desk.watched().into_iter().partition(|&symbol| self.access.covers(symbol));
        let mut dropped = names(&lost);
        if desk.watches_all() && !self.access.covers_all() {
            desk.unwatch_all();
            for symbol in kept {
                desk.watch(symbol, Terms::default());
            }
            dropped.push("*");
        } else {
            for &symbol in &lost {
                desk.unwatch(symbol);
            }
        }
        if !dropped.is_empty() {
            tell_unsubscribed(dropped, &[], None, now, desk);
        }
    }
}

fn refuse(refusal: Unauthorized, id: Id<'_>, desk: &mut impl Desk) {
    let error = Reply::Error { code: ErrorCode::Unauthorized, message: refusal.words(), id: echo(id) };
    desk.send(&error.to_json());
}
