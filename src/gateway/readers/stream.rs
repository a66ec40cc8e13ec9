//! One open stream, as the board sees it: its mail, its symbols, when it ends.
//!
//! Owned by the board, under its lock. It knows neither HTTP nor other streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::mail::{Mail, Said};
use super::{Resume, Visitor};
use crate::gateway::shard::Description;
use crate::market::Symbol;
use crate::protocol::publication::{Notice, Publication};
use crate::protocol::reply::{Reply, Stamp, Status};

/// See the module.
pub(super) struct Stream {
    pub(super) mail: Arc<Mutex<Mail>>,
    pub(super) symbols: Box<[Symbol]>,
    /// Symbols of which it was given a later update than this board had by then, with its `seq`.
    pub(super) ahead: Vec<(Symbol, u64)>,
    pub(super) resume: Resume,
    /// Its token expires then, or a drain has come to it.
    pub(super) ends_at_ms: u64,
    pub(super) ended: bool,
    pub(super) visitor: Visitor,
    pub(super) opened_ms: u64,
}

impl Stream {
    /// Whether its reader was given this update, or a later one, when it came.
    pub(super) fn has_already(&mut self, publication: &Publication) -> bool {
        if self.ahead.is_empty() {
            return false;
        }
        let Some(at) = self.ahead.iter().position(|(symbol, _)| *symbol == publication.symbol()) else { return false };
        if publication.seq().is_some_and(|seq| seq <= self.ahead[at].1) {
            return true;
        }
        self.ahead.swap_remove(at);
        false
    }

    /// Nothing more comes after what waits.
    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            lock(&self.mail).end();
        }
    }

    /// Ends after `wait_ms`; tells it so.
    pub(super) fn leave_in(&mut self, wait_ms: u64, now_ms: u64, now: Timestamp) {
        let reply = Reply::Status {
            status: Status::Draining,
            reason: Some("server restarts"),
            provider: None,
            symbols: vec![],
            reconnect_in_ms: Some(wait_ms),
            timestamp: Stamp(now),
        };
        let notice = Arc::new(Notice::new("status: drain", &reply.to_json()));
        lock(&self.mail).push(Said::Notice(notice), now_ms);
        self.ends_at_ms = self.ends_at_ms.min(now_ms + wait_ms);
    }

    pub(super) fn describe(&self, now_ms: u64) -> Description {
        let waiting_since_ms = lock(&self.mail).waiting_since_ms();
        Description {
            client_id: self.visitor.name.clone(),
            peer: self.visitor.peer.to_string(),
            open_s: now_ms.saturating_sub(self.opened_ms) / 1000,
            symbols: self.symbols.len(),
            wildcard: false,
            blocked_ms: waiting_since_ms.map(|since| now_ms.saturating_sub(since)),
            closing: self.ended,
        }
    }
}

pub(super) fn lock(mail: &Mutex<Mail>) -> MutexGuard<'_, Mail> {
    mail.lock().unwrap_or_else(PoisonError::into_inner)
}
