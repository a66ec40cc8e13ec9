//! What waits for one stream (SSE): everything in order while it keeps up, the newest of each symbol when it does not.
//!
//! Pure; time is an argument. Bounded by [`MAX_QUEUED`] entries, and beyond that by one update per symbol of the stream and
//! [`MAX_NOTICES`] notices. Filled by the seat, emptied by the stream's connection.
//!
//! Updates leave in rising order of `seq`, so that the last one a reader got tells what else it must have got
//! (`Last-Event-ID`).

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Waker;

use crate::market::latest::Pushed;
use crate::market::{Latest, Symbol};
use crate::protocol::publication::{Freshness, Notice, Publication};

/// Entries that wait in order: some seconds of a busy page, 256 × 8 bytes and what the board holds anyway.
pub(super) const MAX_QUEUED: usize = 256;
/// Notices that wait once the queue is full, one of a kind; the oldest gives way.
const MAX_NOTICES: usize = 16;

/// Something a stream is told.
#[derive(Debug, Clone)]
pub enum Said {
    /// An update of a symbol.
    Update {
        /// Which.
        publication: Arc<Publication>,
        /// As it was published, or as the last known one.
        freshness: Freshness,
        /// Its `seq`, when everything before it has been said: a reader that comes back with it needs nothing older.
        id: Option<u64>,
    },
    /// A notice for every client.
    Notice(Arc<Notice>),
    /// The reader was slow: so many updates gave way to newer ones.
    Lagging(u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mail {
    queue: VecDeque<Said>,
    /// In use once the queue was full, until both are empty.
    newest: Latest<Symbol, Said>,
    notices: VecDeque<Arc<Notice>>,
    conflated: u64,
    /// Since when something waits and nothing was taken.
    waiting_since_ms: Option<u64>,
    waker: Option<Waker>,
    ended: bool,
}

impl Mail {
    /// For a stream of so many symbols.
    pub(super) fn new(symbols: NonZeroUsize) -> Mail {
        Mail {
            queue: VecDeque::new(),
            newest: Latest::new(symbols),
            notices: VecDeque::new(),
            conflated: 0,
            waiting_since_ms: None,
            waker: None,
            ended: false,
        }
    }

    /// Adds something. Returns how many updates gave way.
    pub(super) fn push(&mut self, said: Said, now_ms: u64) -> u64 {
        self.waiting_since_ms.get_or_insert(now_ms);
        let mut conflated = 0;
        if self.in_order() && self.queue.len() < MAX_QUEUED {
            self.queue.push_back(said);
        } else {
            let before = self.conflated;
            for earlier in std::mem::take(&mut self.queue) {
                self.conflate(earlier);
            }
            self.conflate(said);
            conflated = self.conflated - before;
        }
        self.wake();
        conflated
    }

    /// Nothing more comes: what waits is still taken.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.wake();
    }

    /// Takes up to `max` entries. False when none is left and none will come.
    pub(super) fn take(&mut self, max: usize, into: &mut Vec<Said>, now_ms: u64) -> bool {
        if !self.in_order() {
            self.restore_order();
        }
        into.extend(self.queue.drain(..max.min(self.queue.len())));
        self.waiting_since_ms = (!self.queue.is_empty()).then_some(now_ms);
        !(self.ended && self.queue.is_empty() && into.is_empty())
    }

    /// Whoever takes is woken when there is something.
    pub(super) fn wake_by(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Since when something waits and nothing was taken.
    pub(super) fn waiting_since_ms(&self) -> Option<u64> {
        self.waiting_since_ms
    }

    fn in_order(&self) -> bool {
        self.newest.is_empty() && self.notices.is_empty()
    }

    fn conflate(&mut self, said: Said) {
        match said {
            Said::Update { ref publication, freshness, .. } => {
                let pushed = self.newest.push(publication.symbol(), said.clone());
                self.conflated += u64::from(freshness == Freshness::Live && !matches!(pushed, Pushed::New));
            }
            Said::Notice(notice) => {
                self.notices.retain(|waiting| waiting.kind != notice.kind);
                if self.notices.len() == MAX_NOTICES {
                    self.notices.pop_front();
                }
                self.notices.push_back(notice);
            }
            Said::Lagging(conflated) => self.conflated += conflated,
        }
    }

    /// Puts what was conflated into the queue: how much gave way, notices, updates by `seq`.
    fn restore_order(&mut self) {
        let conflated = std::mem::take(&mut self.conflated);
        if conflated > 0 {
            self.queue.push_back(Said::Lagging(conflated));
        }
        self.queue.extend(self.notices.drain(..).map(Said::Notice));
        let mut updates: Vec<Said> = self.newest.drain().map(|(_, said)| said).collect();
        updates.sort_by_key(|said| match said {
            Said::Update { publication, .. } => publication.seq(),
            Said::Notice(_) | Said::Lagging(_) => None,
        });
        self.queue.extend(updates);
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Freshness = Freshness::Live;

    fn update(symbol: &str, seq: u64) -> Said {
        let symbol = Symbol::parse(symbol).unwrap();
        let publication = Arc::new(Publication::new(symbol, Some(seq), "{}", 0, 0));
        Said::Update { publication, freshness: LIVE, id: Some(seq) }
    }

    fn notice(kind: &str) -> Said {
        Said::Notice(Arc::new(Notice::new(kind, "{}")))
    }

    fn mail() -> Mail {
        Mail::new(NonZeroUsize::new(8).unwrap())
    }

    fn show(mail: &mut Mail, max: usize) -> String {
        let mut said = Vec::new();
        mail.take(max, &mut said, 7);
        let show = |said: &Said| match said {
            Said::Update { publication, .. } => format!("{}{}", publication.symbol(), publication.seq().unwrap()),
            Said::Notice(notice) => notice.kind.to_string(),
            Said::Lagging(conflated) => format!("lagging{conflated}"),
        };
        said.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_reader_that_keeps_up_gets_everything_in_order() {
        let mut mail = mail();
        for said in [update("A", 1), notice("n"), update("B", 2), update("A", 3)] {
            assert_eq!(mail.push(said, 5), 0);
        }
        assert_eq!(mail.waiting_since_ms(), Some(5));
        assert_eq!(show(&mut mail, 3), "A1 n B2");
        assert_eq!(mail.waiting_since_ms(), Some(7), "something was taken then");
        assert_eq!((show(&mut mail, 3).as_str(), mail.waiting_since_ms()), ("A3", None));
    }

    #[test]
    fn a_reader_that_does_not_gets_the_newest_of_each_symbol_by_seq() {
        let mut mail = mail();
        mail.push(update("B", 0), 0);
        for seq in 1..MAX_QUEUED as u64 {
            assert_eq!(mail.push(update("A", seq), 0), 0);
        }
        assert_eq!(mail.push(notice("n"), 0), 254);
        assert_eq!(mail.push(update("A", 1000), 0), 1);
        mail.push(update("C", 999), 0);
        mail.push(notice("n"), 0);
        assert_eq!(show(&mut mail, 3), "lagging255 n B0");
        assert_eq!(mail.push(update("B", 1001), 0), 0, "in order again");
        assert_eq!(show(&mut mail, 9), "C999 A1000 B1001");
    }

    #[test]
    fn what_was_said_before_the_end_is_still_taken() {
        let mut mail = mail();
        mail.push(update("A", 1), 0);
        mail.end();
        let mut said = Vec::new();
        assert!(mail.take(9, &mut said, 0));
        said.clear();
        assert!(!mail.take(9, &mut said, 0));
    }
}
