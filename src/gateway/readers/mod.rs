//! Readers that are not sockets: REST requests and SSE streams.
//!
//! What they ask for counts as watched, so that publishers poll it and the feed keeps its last update; gateways
//! themselves ask no vendor. A request is answered with what is known, or waits a moment for the first update: one poll
//! serves all who wait, here and on every gateway.
//!
//! It does not know HTTP (`api` does) nor who publishes. Bounded by the board ([`board`]), by the number of streams, and
//! by each stream's mail ([`mail`]); a request for symbols beyond the bound takes the place of the one longest ago.

mod board;
mod held;
mod mail;
mod metrics;
mod seat;
mod stream;

use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub use mail::Said;
pub(super) use seat::{Seat, run};

use crate::broker::EPOCH_ORIGIN_S;
use crate::gateway::snapshots;
use crate::market::Symbol;
use crate::protocol::auth::{Access, Unauthorized, Verify};
use crate::protocol::publication::Publication;
use board::{Asked, Board, Joining};
use mail::Mail;

/// Bits of a publisher's `seq` below its epoch ([`EPOCH_ORIGIN_S`]).
const SEQ_COUNTER_BITS: u32 = 24;
/// By how much a publisher's clock may be ahead of ours.
const SKEW_S: u64 = 3600;

/// The way in for readers that are not sockets. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    seat: Arc<Seat>,
    verify: Option<Arc<dyn Verify>>,
    max_streams: NonZeroUsize,
    max_of_address: NonZeroU32,
}

/// A symbol's last update, and where it was found.
#[derive(Debug, Clone)]
pub struct Known {
    /// The update.
    pub publication: Arc<Publication>,
    /// Where.
    pub origin: Origin,
}

/// Where a request's answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was here.
    Memory,
    /// The broker's store had it.
    Store,
    /// It was published while the request waited.
    Feed,
}

/// Who has a stream, as `/connections` shows it.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Its name in logs and messages.
    pub name: String,
    /// Its address.
    pub peer: IpAddr,
    /// Ends its connection.
    pub hangup: CancellationToken,
}

/// What a stream is to bring.
pub struct StreamWish {
    /// Each once.
    pub symbols: Vec<Symbol>,
    /// The last id its reader got (`Last-Event-ID`).
    pub last_id: Option<u64>,
    /// When its token expires.
    pub expires: Option<Timestamp>,
    /// Who it is for.
    pub visitor: Visitor,
}

/// Why there is no stream to be had; try later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoStream {
    /// There are as many as there may be.
    #[error("this server has as many streams as it may have")]
    Full,
    /// This address has as many as one may have.
    #[error("too many streams from this address")]
    AddressFull,
    /// The gateway is going away.
    #[error("this server is restarting")]
    Draining,
}

/// What a returning reader has already.
#[derive(Debug, Clone, Copy)]
struct Resume {
    last_id: Option<u64>,
    /// It reads one symbol, whose `seq` rises whoever publishes it.
    alone: bool,
    /// The highest epoch there can be.
    max_epoch: u64,
}

impl Readers {
    pub(super) fn new(
        seat: Arc<Seat>,
        verify: Option<Arc<dyn Verify>>,
        max_streams: NonZeroUsize,
        max_of_address: NonZeroU32,
    ) -> Readers {
        Readers { seat, verify, max_streams, max_of_address }
    }

    /// Since an update was published, in milliseconds.
    #[must_use]
    pub fn age_ms(&self, publication: &Publication) -> u64 {
        self.seat.fanout.clock.micros().saturating_sub(publication.fresh_us()) / 1000
    }

    /// What a reader with this token may read.
    ///
    /// # Errors
    /// Why nothing.
    pub fn access(&self, token: Option<&str>) -> Result<Access, Unauthorized> {
        match &self.verify {
            None => Ok(Access::Open),
            Some(verify) => {
                let grant = verify.verify(token.ok_or(Unauthorized::Invalid)?, Timestamp::now())?;
                Ok(Access::granted(grant))
            }
        }
    }

    /// Counts these symbols as watched for a minute.
    pub fn hold(&self, symbols: &[Symbol]) {
        let (now_ms, mut board) = (self.seat.now_ms(), self.seat.board());
        for &symbol in symbols {
            board.hold(symbol, now_ms);
        }
        drop(board);
        self.seat.hurry();
    }

    /// The last updates of these symbols, in their order; waits until `deadline` for those of which there is none yet.
    /// All of them count as watched for a minute.
    pub async fn quotes(&self, symbols: &[Symbol], deadline: Instant) -> Vec<Option<Known>> {
        let mut found = Vec::with_capacity(symbols.len());
        let mut cold = Vec::new();
        {
            let (now_ms, mut board) = (self.seat.now_ms(), self.seat.board());
            for (at, &symbol) in symbols.iter().enumerate() {
                found.push(match board.ask(symbol, now_ms) {
                    Asked::Known(publication) => Some(Known { publication, origin: Origin::Memory }),
                    Asked::Cold(first) => {
                        cold.push((at, symbol, first));
                        None
                    }
                });
            }
        }
        if !cold.is_empty() {
            self.seat.hurry();
            self.seat.ask_for(cold.iter().map(|(_, symbol, _)| *symbol).collect());
            for (at, _, first) in cold {
                found[at] = first_of(first, deadline).await;
            }
        }
        found
    }

    /// Opens a stream: the last known update of each symbol first, then what is published.
    ///
    /// # Errors
    /// [`NoStream`].
    pub async fn stream(&self, wish: StreamWish) -> Result<Stream, NoStream> {
        let StreamWish { symbols, last_id, expires, visitor } = wish;
        self.has_room(&self.seat.board(), visitor.peer)?;
        self.hold(&symbols);
        let known = self.seat.fanout.picture_of(&symbols).updates;
        let unknown: Vec<Symbol> =
            symbols.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(symbol, _)| *symbol).collect();
        // What cannot be read now is brought when the broker is back.
        let whole = snapshots::look_up(&self.seat.fanout, &unknown).await;
        let now = Timestamp::now();
        let resume = Resume { last_id, alone: symbols.len() == 1, max_epoch: epoch_at(now) + SKEW_S };
        let lives = expires.map(|expires| Duration::try_from(expires.duration_since(now)).unwrap_or_default());
        let joining = Joining { symbols: symbols.into(), resume, lives, visitor };
        let (place, mail) = {
            let mut board = self.seat.board();
            self.has_room(&board, joining.visitor.peer)?;
            board.join(joining, self.seat.now_ms())
        };
        if !whole {
            self.seat.fanout.snapshots.ask_recovery();
        }
        self.seat.hurry();
        Ok(Stream { seat: Arc::clone(&self.seat), mail, place })
    }

    /// Forgets the last updates of these symbols, or of all, so that the next answer is a new one.
    pub fn forget(&self, symbols: Option<&[Symbol]>) {
        self.seat.fanout.forget(symbols);
        self.seat.board().forget(symbols);
    }

    fn has_room(&self, board: &Board, peer: IpAddr) -> Result<(), NoStream> {
        if board.is_draining() {
            Err(NoStream::Draining)
        } else if board.census().1 >= self.max_streams.get() {
            Err(NoStream::Full)
        } else if board.streams_of(peer) >= self.max_of_address.get() {
            Err(NoStream::AddressFull)
        } else {
            Ok(())
        }
    }

    pub(super) fn set_gauges(&self) {
        let (held, streams) = self.seat.board().census();
        metrics::set_gauges(held, streams);
    }
}

async fn first_of(mut first: watch::Receiver<Option<Known>>, deadline: Instant) -> Option<Known> {
    match timeout_at(deadline, first.wait_for(Option::is_some)).await {
        Ok(Ok(known)) => known.clone(),
        // Its time is over, or the symbol had to give way to others.
        Ok(Err(_)) | Err(_) => None,
    }
}

/// One reader's stream; its place is free again when it is dropped.
pub struct Stream {
    seat: Arc<Seat>,
    mail: Arc<Mutex<Mail>>,
    place: usize,
}

impl Stream {
    /// Takes up to `max` of what waits; ready when there is something, or, without anything, when the stream has ended.
    pub fn poll_take(&mut self, cx: &mut Context<'_>, max: usize, into: &mut Vec<Said>) -> Poll<()> {
        let mut mail = stream::lock(&self.mail);
        let goes_on = mail.take(max, into, self.seat.now_ms());
        if into.is_empty() && goes_on {
            mail.wake_by(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.seat.board().leave(self.place, self.seat.now_ms());
        self.seat.hurry();
    }
}

impl Resume {
    /// Whether the reader has what was published as number `seq`. Ids of several symbols tell that only when one
    /// publisher numbers all of them, as ours does; whatever else a `seq` is, its update is sent once too often.
    fn has(&self, seq: u64) -> bool {
        let is_ours = |seq: u64| (1..=self.max_epoch).contains(&(seq >> SEQ_COUNTER_BITS));
        self.last_id.is_some_and(|last| seq <= last && (self.alone || is_ours(seq) && is_ours(last)))
    }
}

/// An address as limits count it: IPv6 by its /64, since one customer has that many.
#[must_use]
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The epoch of a publisher that takes over at `now`.
fn epoch_at(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0).saturating_sub(EPOCH_ORIGIN_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_speaks_for_all_symbols_only_where_one_publisher_numbers_them() {
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let resume = |last_id, alone| Resume { last_id: Some(last_id), alone, max_epoch: epoch_at(now) + SKEW_S };
        let ours = epoch_at(now) << SEQ_COUNTER_BITS;
        assert!(resume(ours + 5, false).has(ours + 5) && resume(ours + 5, false).has(ours));
        assert!(!resume(ours + 5, false).has(ours + 6));
        assert!(!resume(1000, false).has(5), "each symbol may have its own count");
        assert!(resume(1000, true).has(5));
        // Microseconds since 1970.
        assert!(!resume(1_795_000_000_000_000, false).has(ours));
        assert!(!Resume { last_id: None, alone: true, max_epoch: 0 }.has(0));
    }
}
