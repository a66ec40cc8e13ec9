//! One vectored write for everything that waits for a lane.
//!
//! Order on the wire: the rest of a cut frame, replies, notices, updates. A short write blocks the lane: what was not
//! taken becomes marks in its backlog, and the next flush sends each marked symbol's newest update.

use std::io::{self, IoSlice};

use super::Hub;
use super::board::TopicId;
use super::chain::Item;
use super::lane::{Cut, CutFrame, LaneId, Pending, State};
use crate::protocol::frame;
use crate::protocol::publication::{Form, Freshness};
use crate::protocol::reply::Reply;

/// Slices per write. The kernel takes 1024 (UIO_MAXIOV); beyond a few hundred frames a larger write gains nothing and
/// would keep other lanes waiting.
const MAX_SLICES: usize = 256;

/// Where a flush left a lane.
#[derive(Debug)]
pub enum Flush {
    /// Nothing waits.
    Clean,
    /// The socket is full; flush again when it is writable.
    Blocked {
        /// Bytes it took this time.
        taken: usize,
    },
    /// The close frame is out: nothing will follow.
    Closed,
    /// The socket is broken.
    Failed(io::Error),
}

/// What the last flushes did, for metrics.
#[derive(Debug, Default)]
pub struct FlushStats {
    /// Arrival times (µs) of updates that their last lane has taken since the last call.
    pub finished_us: Vec<u64>,
}

/// Memory that every flush uses again.
#[derive(Default)]
pub(super) struct Scratch {
    slices: Vec<IoSlice<'static>>,
    pieces: Vec<Piece>,
}

/// Whether one write can take all that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gathered {
    All,
    Some,
}

/// What a slice is, in the order of the slices.
#[derive(Debug, Clone, Copy)]
struct Piece {
    what: What,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// The rest of the cut frame.
    Cut,
    /// The next reply.
    Reply,
    /// The next waiting notice.
    Notice,
    /// The chain's next entry.
    Entry,
    /// The backlog queue's next place, for which an update waits.
    Waiting,
    /// The backlog queue's next place, for which nothing waits any more. Has no slice.
    Stale,
}

impl Hub {
    /// Flushes the next dirty lane through `write`, which gets the lane and the slices and says how many bytes the
    /// socket took. `None`: no lane is dirty.
    pub fn flush_next(
        &mut self,
        mut write: impl FnMut(LaneId, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Option<(LaneId, Flush)> {
        let lane = self.dirty.pop(&mut self.lanes)?;
        Some((lane, self.flush_lane(lane, |slices| write(lane, slices))))
    }

    /// Flushes one lane, blocked or not: for when its socket has become writable.
    pub fn flush_lane(&mut self, lane: LaneId, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flush {
        if let Some(flush) = self.flush_single(lane, &mut write) {
            return flush;
        }
        self.tell_lag(lane);
        let mut taken = 0;
        loop {
            let mut slices = recycle(std::mem::take(&mut self.flush.slices));
            let mut pieces = std::mem::take(&mut self.flush.pieces);
            let gathered = self.gather(lane, &mut slices, &mut pieces);
            if pieces.is_empty() {
                self.flush.slices = recycle(slices);
                self.flush.pieces = pieces;
                return self.drained(lane);
            }
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let written = if slices.is_empty() { Ok(0) } else { write(&slices) };
            self.flush.slices = recycle(slices);
            let written = match self.counted(written) {
                Ok(written) => written,
                Err(error) => {
                    // The next lane's would follow them, and pay for them.
                    pieces.clear();
                    self.flush.pieces = pieces;
                    return Flush::Failed(error);
                }
            };
            taken += written;
            self.consume(lane, &mut pieces, written);
            self.flush.pieces = pieces;
            if written < offered {
                self.block(lane);
                return Flush::Blocked { taken };
            }
            if gathered == Gathered::All {
                return self.drained(lane);
            }
        }
    }

    /// The usual case: one update and nothing else waits for a client that keeps up. `None`: it is not so.
    fn flush_single(
        &mut self,
        lane: LaneId,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Option<Flush> {
        let hot = self.lanes.hot(lane);
        if hot.head != hot.tail || hot.state != State::Open || !self.lanes.side(lane).is_quiet() {
            return None;
        }
        let (Item::Update(publication), _, freshness) = self.chain.first(hot)? else { return None };
        let bytes = publication.frame(hot.form, freshness);
        let offered = bytes.len();
        let written = write(&[IoSlice::new(bytes)]);
        let written = match self.counted(written) {
            Ok(written) => written,
            Err(error) => return Some(Flush::Failed(error)),
        };
        if written == offered {
            self.counters.deliveries += 1;
            self.chain.pop(self.lanes.hot_mut(lane));
            return Some(Flush::Clean);
        }
        if written > 0 {
            self.cut(lane, What::Entry, offered - written);
        }
        self.block(lane);
        Some(Flush::Blocked { taken: written })
    }

    /// Counts a write, and takes a full socket for one that took nothing.
    fn counted(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        let written = match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.counters.writes += 1;
        self.counters.bytes += written as u64;
        Ok(written)
    }

    /// Takes the figures gathered since the last call.
    pub fn take_flush_stats(&mut self, into: &mut FlushStats) {
        into.finished_us.clear();
        std::mem::swap(&mut into.finished_us, &mut self.chain.finished);
    }

    /// Collects what waits, in order, up to the bound of one write.
    fn gather<'a>(&'a self, lane: LaneId, slices: &mut Vec<IoSlice<'a>>, pieces: &mut Vec<Piece>) -> Gathered {
        let (hot, side) = (self.lanes.hot(lane), self.lanes.side(lane));
        let mut add = |what: What, bytes: &'a [u8]| {
            slices.push(IoSlice::new(bytes));
            pieces.push(Piece { what, length: bytes.len() });
            slices.len() < MAX_SLICES
        };
        if let Some(cut) = side.backlog().and_then(|backlog| backlog.cut.as_ref()) {
            add(What::Cut, &cut.frame.bytes()[cut.offset..]);
        }
        for frame in side.replies() {
            if !add(What::Reply, frame) {
                return Gathered::Some;
            }
        }
        let Some(backlog) = side.backlog() else {
            for (item, _, freshness) in self.chain.iter(hot) {
                if !add(What::Entry, item_bytes(item, hot.form, freshness)) {
                    return Gathered::Some;
                }
            }
            return Gathered::All;
        };
        for notice in &backlog.notices {
            if !add(What::Notice, &notice.frame) {
                return Gathered::Some;
            }
        }
        for &pending in backlog.queue.iter().take(4 * MAX_SLICES) {
            let waiting = match pending {
                Pending::Sub(sub) => side.waiting(sub),
                Pending::Topic(topic) => backlog.waits_for(topic).map(|freshness| (topic, freshness)),
            };
            let last = waiting.and_then(|(topic, freshness)| Some((self.board.last(topic)?, freshness)));
            match last {
                Some((last, freshness)) => {
                    let bytes = last.frame(hot.form, freshness);
                    slices.push(IoSlice::new(bytes));
                    pieces.push(Piece { what: What::Waiting, length: bytes.len() });
                    if slices.len() == MAX_SLICES {
                        return Gathered::Some;
                    }
                }
                None => pieces.push(Piece { what: What::Stale, length: 0 }),
            }
        }
        if backlog.queue.len() > 4 * MAX_SLICES { Gathered::Some } else { Gathered::All }
    }

    /// Drops what was written from the lane, and keeps the rest of the frame that was cut.
    fn consume(&mut self, lane: LaneId, pieces: &mut Vec<Piece>, mut written: usize) {
        for Piece { what, length } in pieces.drain(..) {
            if written < length {
                if written > 0 {
                    self.cut(lane, what, length - written);
                }
                break;
            }
            written -= length;
            self.drop_first(lane, what);
        }
    }

    /// Removes a piece from what waits.
    fn drop_first(&mut self, lane: LaneId, what: What) {
        let (hot, side) = self.lanes.both_mut(lane);
        match what {
            What::Cut => side.open_backlog().cut = None,
            What::Reply => {
                side.pop_reply();
            }
            What::Notice => {
                side.open_backlog().notices.pop_front();
            }
            What::Entry => {
                if let Some((Item::Update(_), ..)) = self.chain.first(hot) {
                    self.counters.deliveries += 1;
                }
                self.chain.pop(hot);
            }
            What::Waiting => {
                self.counters.deliveries += 1;
                self.pop_pending(lane);
            }
            What::Stale => {
                self.pop_pending(lane);
            }
        }
    }

    /// Removes a piece from what waits, but for its last `left` bytes, which must go before anything else.
    fn cut(&mut self, lane: LaneId, what: What, left: usize) {
        let (hot, side) = self.lanes.both_mut(lane);
        let form = hot.form;
        let frame = match what {
            What::Cut => side.open_backlog().cut.take().map(|cut| cut.frame),
            What::Reply => side.pop_reply().map(CutFrame::Reply),
            What::Notice => side.open_backlog().notices.pop_front().map(CutFrame::Notice),
            What::Entry => {
                let frame = self.chain.first(hot).map(|(item, _, freshness)| match item {
                    Item::Update(publication) => {
                        self.counters.deliveries += 1;
                        CutFrame::Update(publication.clone(), form, freshness)
                    }
                    Item::Notice(notice) => CutFrame::Notice(notice.clone()),
                });
                self.chain.pop(hot);
                frame
            }
            What::Waiting => {
                self.counters.deliveries += 1;
                let waiting = self.pop_pending(lane);
                waiting.and_then(|(topic, freshness)| {
                    Some(CutFrame::Update(self.board.last(topic)?.clone(), form, freshness))
                })
            }
            What::Stale => None,
        };
        let frame = frame.expect("a piece with a length stands for something that waits");
        let offset = frame.bytes().len() - left;
        self.lanes.side_mut(lane).open_backlog().cut = Some(Cut { frame, offset });
    }

    /// Takes the backlog queue's next place; what waited there, if anything.
    fn pop_pending(&mut self, lane: LaneId) -> Option<(TopicId, Freshness)> {
        let side = self.lanes.side_mut(lane);
        match side.backlog_mut()?.queue.pop_front()? {
            Pending::Sub(sub) => {
                let waiting = side.waiting(sub);
                side.sent(sub);
                waiting
            }
            Pending::Topic(topic) => {
                let backlog = side.backlog_mut()?;
                let waits = backlog.waits_for(topic);
                backlog.sent_topic(topic);
                waits.map(|freshness| (topic, freshness))
            }
        }
    }

    /// The socket is full: what still stands in the chain becomes marks.
    fn block(&mut self, lane: LaneId) {
        let (hot, side) = self.lanes.both_mut(lane);
        side.open_backlog();
        if hot.state == State::Open {
            hot.state = State::Blocked;
        }
        while let Some((item, sub, freshness)) = self.chain.first(hot) {
            match item {
                Item::Notice(notice) => side.open_backlog().wait_notice(notice),
                Item::Update(publication) if hot.wild => {
                    if let Some(topic) = self.board.find_hashed(publication.hash(), publication.symbol()) {
                        self.counters.conflated += u64::from(side.open_backlog().wait_topic(topic, freshness));
                    }
                }
                Item::Update(_) => self.counters.conflated += u64::from(side.wait(sub, freshness)),
            }
            self.chain.pop(hot);
        }
    }

    /// Nothing waits: the lane is open again, or its close is out.
    fn drained(&mut self, lane: LaneId) -> Flush {
        let (hot, side) = self.lanes.both_mut(lane);
        side.close_backlog();
        match hot.state {
            State::Closing => Flush::Closed,
            State::Open | State::Blocked => {
                hot.state = State::Open;
                Flush::Clean
            }
        }
    }

    /// Tells a client that was too slow how many updates gave way.
    fn tell_lag(&mut self, lane: LaneId) {
        let (hot, side) = self.lanes.both_mut(lane);
        let Some(backlog) = side.backlog_mut() else { return };
        let conflated = std::mem::take(&mut backlog.conflated);
        if conflated > 0 && hot.state != State::Closing {
            side.push_reply(frame::text(&Reply::Lagging { conflated }.to_json()));
        }
    }
}

fn item_bytes(item: &Item, form: Form, freshness: Freshness) -> &[u8] {
    match item {
        Item::Update(publication) => publication.frame(form, freshness),
        Item::Notice(notice) => &notice.frame,
    }
}

/// The same allocation for slices of another lifetime: an empty vector's elements convert vacuously, in place.
fn recycle<'to>(mut slices: Vec<IoSlice<'_>>) -> Vec<IoSlice<'to>> {
    slices.clear();
    slices.into_iter().map(|_| unreachable!("the vector was cleared")).collect()
}
