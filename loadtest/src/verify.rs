//! What must arrive, what did, and what to call the difference.
//!
//! One [`Subscription`] per client and symbol follows the symbol's numbers, which rise by one per published update. An
//! update is owed to a client when it was due after the client had its `subscribed` ack; earlier ones may come. Whatever is owed
//! ends as exactly one of: arrived, a gap (a later one came instead), or undelivered (nothing came any more). Whether a gap is a loss
//! or the server's announced conflation is the client's matter, see [`Tally::settle`].
//!
//! Pure: knows no socket, no clock. Sixteen bytes per subscription.

use serde::{Deserialize, Serialize};

/// One client's view of one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) symbol: u32,
    /// One past the highest number seen since the ack; 0 before the first.
    next: u32,
    /// The first number that is owed.
    owed_from: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked for on this connection.
    Off,
    /// Asked for, not acknowledged.
    Asked,
    /// Unsubscribed and asked for again in one breath: updates may come at any moment.
    AskedAgain,
    /// Acknowledged.
    Live,
}

/// What one update was to its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one, or one of those that need not have come.
    InOrder,
    /// So many before it did not come.
    AfterGap(u32),
    /// The same number again.
    Duplicate,
    /// A lower number than one before.
    Reordered,
    /// Not subscribed, or not yet acknowledged.
    Unsolicited,
}

/// Counts over all subscriptions; those of several processes add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Updates that were owed, by the time each subscription ended.
    pub(crate) owed: u64,
    /// Of those: arrived.
    pub(crate) arrived: u64,
    /// Of those: skipped, and nobody said so.
    pub(crate) lost: u64,
    /// Of those: skipped for a client that read well, and the server told it of so many (`lagging`).
    pub(crate) conflated: u64,
    /// Of those: skipped for a client that read too slowly or not at all.
    pub(crate) skipped_for_bad_readers: u64,
    /// Of those: still missing when waiting ended, though nothing newer came either.
    pub(crate) undelivered: u64,
    /// Came although they were due before the ack.
    pub(crate) early: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    /// Updates of symbols the client had not subscribed, or before the ack.
    pub(crate) unsolicited: u64,
    /// Updates that are not of this run.
    pub(crate) foreign: u64,
}

/// How to call a client's gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// It read well and was not told of them.
    Lost,
    /// It read well and was told of them.
    Conflated,
    /// It read badly.
    BadReader,
}

impl Subscription {
    pub(crate) fn new(symbol: u32) -> Subscription {
        Subscription { symbol, next: 0, owed_from: 0, state: State::Off }
    }

    /// A subscribe request is on its way on a connection that had none of this symbol.
    pub(crate) fn asked(&mut self) {
        self.state = State::Asked;
    }

    /// An unsubscribe and another subscribe request are on their way; all below `end` should have come before.
    pub(crate) fn asked_again(&mut self, end: u32, tally: &mut Tally) {
        self.ended(end, tally);
        self.state = State::AskedAgain;
    }

    /// The ack came; from now on `owed_from` and later ones are owed.
    pub(crate) fn acknowledged(&mut self, owed_from: u32) {
        (self.next, self.owed_from, self.state) = (0, owed_from, State::Live);
    }

    /// Update `number` came.
    #[inline]
    pub(crate) fn arrived(&mut self, number: u32, tally: &mut Tally) -> Arrival {
        match self.state {
            State::Live => {}
            State::AskedAgain => {
                tally.early += 1;
                return Arrival::InOrder;
            }
            State::Off | State::Asked => {
                tally.unsolicited += 1;
                return Arrival::Unsolicited;
            }
        }
        if number < self.next {
            return if number + 1 == self.next {
                tally.duplicated += 1;
                Arrival::Duplicate
            } else {
                tally.out_of_order += 1;
                Arrival::Reordered
            };
        }
        let missing = number.saturating_sub(self.next.max(self.owed_from));
        if number >= self.owed_from {
            tally.arrived += 1;
        } else {
            tally.early += 1;
        }
        self.next = number + 1;
        if missing == 0 { Arrival::InOrder } else { Arrival::AfterGap(missing) }
    }

    /// The last known quote came: it may repeat, and what it skips is a gap like any other.
    pub(crate) fn snapshot(&mut self, number: u32, tally: &mut Tally) -> Arrival {
        if self.state == State::Live && number < self.next { Arrival::InOrder } else { self.arrived(number, tally) }
    }

    /// Whether everything below `end` that is owed has come or was skipped.
    pub(crate) fn is_settled(&self, end: u32) -> bool {
        self.state != State::Live || self.next.max(self.owed_from) >= end
    }

    /// The subscription ends, and all below `end` should have come.
    pub(crate) fn ended(&mut self, end: u32, tally: &mut Tally) {
        if self.state == State::Live {
            let reached = self.next.max(self.owed_from);
            tally.undelivered += u64::from(end.saturating_sub(reached));
            tally.owed += u64::from(end.max(reached) - self.owed_from);
        }
        *self = Subscription::new(self.symbol);
    }
}

impl Tally {
    /// Gives a client's gaps their name.
    pub(crate) fn settle(&mut self, gaps: u64, name: Gaps) {
        match name {
            Gaps::Lost => self.lost += gaps,
            Gaps::Conflated => self.conflated += gaps,
            Gaps::BadReader => self.skipped_for_bad_readers += gaps,
        }
    }

    /// What became of all that was owed: equal to `owed` once every client has been settled.
    pub(crate) fn fates(&self) -> u64 {
        self.arrived + self.lost + self.conflated + self.skipped_for_bad_readers + self.undelivered
    }

    pub(crate) fn merge(&mut self, other: &Tally) {
        let Tally { owed, arrived, lost, conflated, skipped_for_bad_readers, undelivered, .. } = other;
        let Tally { early, duplicated, out_of_order, unsolicited, foreign, .. } = other;
        self.owed += owed;
        self.arrived += arrived;
        self.lost += lost;
        self.conflated += conflated;
        self.skipped_for_bad_readers += skipped_for_bad_readers;
        self.undelivered += undelivered;
        self.early += early;
        self.duplicated += duplicated;
        self.out_of_order += out_of_order;
        self.unsolicited += unsolicited;
        self.foreign += foreign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A live subscription that has seen `numbers`; the tally, with gaps counted as lost.
    fn after(owed_from: u32, numbers: &[u32], end: u32) -> Tally {
        let (mut subscription, mut tally) = (Subscription::new(0), Tally::default());
        subscription.asked();
        subscription.acknowledged(owed_from);
        for &number in numbers {
            if let Arrival::AfterGap(missing) = subscription.arrived(number, &mut tally) {
                tally.settle(missing.into(), Gaps::Lost);
            }
        }
        assert_eq!(subscription.is_settled(end), numbers.iter().max().map_or(0, |n| n + 1).max(owed_from) >= end);
        subscription.ended(end, &mut tally);
        assert_eq!(tally.owed, tally.fates(), "{numbers:?}: {tally:?}");
        tally
    }

    #[test]
    fn everything_in_order_is_everything_owed() {
        assert_eq!(after(0, &[0, 1, 2, 3], 4), Tally { owed: 4, arrived: 4, ..Tally::default() });
        assert_eq!(after(7, &[7, 8], 9), Tally { owed: 2, arrived: 2, ..Tally::default() });
        assert_eq!(after(7, &[], 7), Tally::default());
    }

    #[test]
    fn what_was_due_before_the_ack_may_come_or_not() {
        assert_eq!(after(5, &[3, 4, 5], 6), Tally { owed: 1, arrived: 1, early: 2, ..Tally::default() });
        assert_eq!(after(5, &[1, 4, 5], 6), Tally { owed: 1, arrived: 1, early: 2, ..Tally::default() });
        assert_eq!(after(5, &[4], 5), Tally { early: 1, ..Tally::default() });
    }

    #[test]
    fn a_skipped_update_is_lost_even_the_first_one_owed() {
        assert_eq!(after(0, &[0, 3], 4), Tally { owed: 4, arrived: 2, lost: 2, ..Tally::default() });
        assert_eq!(after(5, &[7], 8), Tally { owed: 3, arrived: 1, lost: 2, ..Tally::default() });
        assert_eq!(after(5, &[3, 7], 8), Tally { owed: 3, arrived: 1, early: 1, lost: 2, ..Tally::default() });
    }

    #[test]
    fn a_missing_tail_is_undelivered() {
        assert_eq!(after(0, &[0, 1], 5), Tally { owed: 5, arrived: 2, undelivered: 3, ..Tally::default() });
        assert_eq!(after(3, &[], 5), Tally { owed: 2, undelivered: 2, ..Tally::default() });
    }

    #[test]
    fn repeats_and_steps_back_are_counted_apart() {
        let tally = after(0, &[0, 1, 1, 2, 0, 3], 4);
        assert_eq!(tally, Tally { owed: 4, arrived: 4, duplicated: 1, out_of_order: 1, ..Tally::default() });
        // Swapped neighbours: one gap, and the late one is out of order, or a repeat for all one can know.
        let tally = after(0, &[0, 2, 1, 3], 4);
        assert_eq!((tally.lost, tally.duplicated + tally.out_of_order), (1, 1));
    }

    #[test]
    fn an_update_before_the_ack_is_unsolicited() {
        let (mut subscription, mut tally) = (Subscription::new(0), Tally::default());
        assert_eq!(subscription.arrived(0, &mut tally), Arrival::Unsolicited);
        subscription.asked();
        assert_eq!(subscription.arrived(0, &mut tally), Arrival::Unsolicited);
        assert_eq!(tally, Tally { unsolicited: 2, ..Tally::default() });
    }

    #[test]
    fn after_asking_again_only_what_follows_the_new_ack_is_owed() {
        let (mut subscription, mut tally) = (Subscription::new(0), Tally::default());
        subscription.asked();
        subscription.acknowledged(0);
        subscription.arrived(0, &mut tally);
        subscription.asked_again(1, &mut tally);
        assert_eq!(subscription.arrived(5, &mut tally), Arrival::InOrder, "still on its way");
        subscription.acknowledged(9);
        assert_eq!(subscription.arrived(9, &mut tally), Arrival::InOrder);
        assert_eq!(tally, Tally { owed: 1, arrived: 2, early: 1, ..Tally::default() });
        subscription.ended(10, &mut tally);
        assert_eq!((tally.owed, tally.undelivered), (2, 0));
    }

    #[test]
    fn a_snapshot_may_repeat_but_not_hide_a_gap() {
        let (mut subscription, mut tally) = (Subscription::new(0), Tally::default());
        subscription.asked();
        subscription.acknowledged(0);
        subscription.arrived(0, &mut tally);
        assert_eq!(subscription.snapshot(0, &mut tally), Arrival::InOrder);
        assert_eq!(subscription.snapshot(3, &mut tally), Arrival::AfterGap(2));
        assert_eq!((tally.arrived, tally.duplicated), (2, 0));
    }
}
