//! What a swarm's clients saw, entered as it comes: the only thing done per delivery besides reading.
//!
//! The [`Ledger`] belongs to the swarm, one [`Account`] to each client. Neither knows sockets; the time is an argument.

use std::ops::Range;

use crate::clock::Ns;
use crate::plan::Reader;
use crate::schedule::Schedule;
use crate::update::Update;
use crate::verify::{Arrival, Gaps, Subscription};
use crate::wire::{SwarmOutcome, Watch};

/// A client that leaves is owed only what was due so long before: less may still have been on its way. Far above any
/// latency that counts as good.
const ON_ITS_WAY: Ns = 10_000_000_000;

/// How many kinds of errors are told apart.
const MAX_ERROR_KINDS: usize = 20;

/// One client's subscriptions, ascending by symbol.
pub(crate) struct Account {
    subscriptions: Box<[Subscription]>,
    /// Updates skipped on this connection.
    gaps: u64,
    /// How many of them the server said it skipped.
    told: u64,
}

/// The counts of all clients of a swarm.
pub(crate) struct Ledger {
    pub(crate) outcome: SwarmOutcome,
    seq_base: u64,
    schedule: Option<Schedule>,
    window: Range<Ns>,
    /// Once publishing has ended: how many updates there were, and how many subscriptions still miss their last.
    published: Option<u64>,
    unsettled: u64,
}

impl Ledger {
    pub(crate) fn new(seq_base: u64) -> Ledger {
        let outcome = SwarmOutcome::default();
        Ledger { outcome, seq_base, schedule: None, window: 0..0, published: None, unsettled: 0 }
    }

    /// Publishing begins by this timetable.
    pub(crate) fn watch(&mut self, watch: &Watch) {
        (self.schedule, self.window) = (Some(watch.schedule), watch.window.clone());
    }

    /// Publishing has ended after `published` updates; `accounts` are those that will get the rest.
    pub(crate) fn finish<'a>(&mut self, published: u64, accounts: impl Iterator<Item = &'a Account>) {
        self.published = Some(published);
        let unsettled = |account: &Account| account.subscriptions.iter().filter(|s| !self.is_settled(s)).count() as u64;
        self.unsettled = accounts.map(unsettled).sum();
    }

    /// Whether every subscription has its last update.
    pub(crate) fn is_settled_up(&self) -> bool {
        self.unsettled == 0
    }

    /// A read that brought `updates` updates in `bytes` bytes.
    #[inline]
    pub(crate) fn read(&mut self, updates: u64, bytes: usize, now: Ns) {
        if updates > 0 && self.window.contains(&now) {
            self.outcome.window_updates += updates;
            self.outcome.window_reads += 1;
            self.outcome.window_bytes += bytes as u64;
        }
    }

    /// Something went wrong that has no count of its own.
    pub(crate) fn error(&mut self, what: &str) {
        let errors = &mut self.outcome.errors;
        let what = if errors.len() < MAX_ERROR_KINDS || errors.contains_key(what) { what } else { "others" };
        *errors.entry(what.to_owned()).or_default() += 1;
    }

    fn is_settled(&self, subscription: &Subscription) -> bool {
        subscription.is_settled(self.end_of(subscription.symbol))
    }

    /// One past the last update of `symbol` that must have come by the end.
    fn end_of(&self, symbol: u32) -> u32 {
        match (self.schedule, self.published) {
            (Some(schedule), Some(published)) => schedule.published_of(symbol, published),
            _ => 0,
        }
    }
}

impl Account {
    pub(crate) fn new(symbols: &[u32]) -> Account {
        Account { subscriptions: symbols.iter().map(|&s| Subscription::new(s)).collect(), gaps: 0, told: 0 }
    }

    pub(crate) fn symbols(&self) -> impl Iterator<Item = u32> + '_ {
        self.subscriptions.iter().map(|subscription| subscription.symbol)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// A subscribe request for all symbols was sent on a new connection.
    pub(crate) fn asked(&mut self) {
        self.subscriptions.iter_mut().for_each(Subscription::asked);
    }

    /// An unsubscribe and another subscribe request were sent.
    pub(crate) fn asked_again(&mut self, now: Ns, ledger: &mut Ledger) {
        for subscription in &mut self.subscriptions {
            let end = owed_when_leaving(ledger.schedule, subscription.symbol, now);
            subscription.asked_again(end, &mut ledger.outcome.tally);
        }
    }

    /// The ack came.
    pub(crate) fn acknowledged(&mut self, now: Ns, ledger: &Ledger) {
        for subscription in &mut self.subscriptions {
            let symbol = subscription.symbol;
            subscription.acknowledged(ledger.schedule.map_or(0, |schedule| schedule.first_due_after(symbol, now)));
        }
    }

    /// The server said that it skips updates.
    pub(crate) fn told_lagging(&mut self, conflated: u64, ledger: &mut Ledger) {
        self.told += conflated;
        ledger.outcome.told_conflated += conflated;
    }

    /// An update came.
    #[inline]
    pub(crate) fn update(&mut self, update: &Update, reader: Reader, now: Ns, ledger: &mut Ledger) {
        let tally = &mut ledger.outcome.tally;
        let number = update.seq.checked_sub(ledger.seq_base).and_then(|number| u32::try_from(number).ok());
        let Some(number) = number.filter(|&number| number < u32::MAX) else {
            tally.foreign += 1;
            return;
        };
        let place = match &*self.subscriptions {
            [only] if only.symbol == update.symbol => Ok(0),
            several => several.binary_search_by_key(&update.symbol, |subscription| subscription.symbol),
        };
        let Ok(place) = place else {
            tally.unsolicited += 1;
            return;
        };
        let subscription = &mut self.subscriptions[place];
        let settled_before = ledger.published.is_none_or(|_| ledger.is_settled(subscription));
        let tally = &mut ledger.outcome.tally;
        let arrival = if update.snapshot {
            ledger.outcome.snapshots += 1;
            subscription.snapshot(number, tally)
        } else {
            subscription.arrived(number, tally)
        };
        match arrival {
            Arrival::AfterGap(missing) => self.gaps += u64::from(missing),
            Arrival::InOrder | Arrival::Duplicate | Arrival::Reordered | Arrival::Unsolicited => {}
        }
        if !settled_before && ledger.is_settled(subscription) && reader != Reader::Stuck {
            ledger.unsettled -= 1;
        }
        if reader == Reader::Healthy && !update.snapshot && ledger.window.contains(&update.due) {
            ledger.outcome.latencies.record(now.saturating_sub(update.due));
        }
    }

    /// The connection ended before the run did, by either side.
    pub(crate) fn left(&mut self, reader: Reader, now: Ns, ledger: &mut Ledger) {
        for subscription in &mut self.subscriptions {
            if ledger.published.is_some() && reader != Reader::Stuck && !ledger.is_settled(subscription) {
                ledger.unsettled -= 1;
            }
            let end = match reader {
                Reader::Healthy => owed_when_leaving(ledger.schedule, subscription.symbol, now),
                Reader::Slow | Reader::Stuck => 0,
            };
            subscription.ended(end, &mut ledger.outcome.tally);
        }
        self.settle_gaps(reader, ledger);
    }

    /// The run ended: whoever read, however slowly, should have the newest of each symbol.
    pub(crate) fn finished(&mut self, reader: Reader, ledger: &mut Ledger) {
        for subscription in &mut self.subscriptions {
            let end = match reader {
                Reader::Healthy | Reader::Slow => ledger.end_of(subscription.symbol),
                Reader::Stuck => 0,
            };
            subscription.ended(end, &mut ledger.outcome.tally);
        }
        self.settle_gaps(reader, ledger);
    }

    fn settle_gaps(&mut self, reader: Reader, ledger: &mut Ledger) {
        let tally = &mut ledger.outcome.tally;
        match reader {
            Reader::Healthy => {
                let told = self.gaps.min(self.told);
                tally.settle(told, Gaps::Conflated);
                tally.settle(self.gaps - told, Gaps::Lost);
            }
            Reader::Slow | Reader::Stuck => tally.settle(self.gaps, Gaps::BadReader),
        }
        (self.gaps, self.told) = (0, 0);
    }
}

fn owed_when_leaving(schedule: Option<Schedule>, symbol: u32, now: Ns) -> u32 {
    match (schedule, now.checked_sub(ON_ITS_WAY)) {
        (Some(schedule), Some(time)) if schedule.per_second.is_some() => {
            schedule.first_due_after(symbol, time).min(schedule.published_of(symbol, schedule.total))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Tally;

    const BASE: u64 = 1_000;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(BASE);
        let schedule = Schedule { start: 0, per_second: Some(10.0), cycle: 1, symbols: 2, total: 100 };
        let window = 0..u64::MAX;
        ledger.watch(&Watch { schedule, window, reconnects_per_second: 0.0, resubscribes_per_second: 0.0 });
        ledger
    }

    fn account() -> Account {
        let mut account = Account::new(&[0, 1]);
        account.asked();
        account
    }

    fn update(symbol: u32, number: u64) -> Update {
        Update { symbol, seq: BASE + number, due: 5, snapshot: false }
    }

    fn owed_equals_its_fates(tally: &Tally) {
        assert_eq!(tally.owed, tally.fates(), "{tally:?}");
    }

    #[test]
    fn a_healthy_clients_gap_is_lost_but_for_what_the_server_told_of_and_a_bad_readers_is_its_own_fault() {
        for (told, reader, expected) in [
            (0, Reader::Healthy, (2, 0, 0)),
            (1, Reader::Healthy, (1, 1, 0)),
            (9, Reader::Healthy, (0, 2, 0)),
            (0, Reader::Slow, (0, 0, 2)),
            (2, Reader::Stuck, (0, 0, 2)),
        ] {
            let (mut ledger, mut account) = (ledger(), account());
            account.subscriptions.iter_mut().for_each(|subscription| subscription.acknowledged(0));
            account.update(&update(0, 0), reader, 7, &mut ledger);
            account.update(&update(0, 3), reader, 7, &mut ledger);
            account.told_lagging(told, &mut ledger);
            account.left(reader, 8, &mut ledger);
            let tally = ledger.outcome.tally;
            let gaps = (tally.lost, tally.conflated, tally.skipped_for_bad_readers);
            assert_eq!(gaps, expected, "{told} {reader:?}");
            owed_equals_its_fates(&tally);
        }
    }

    #[test]
    fn the_end_is_reached_when_every_subscription_has_its_last_update() {
        let (mut ledger, mut account) = (ledger(), account());
        account.subscriptions.iter_mut().for_each(|subscription| subscription.acknowledged(0));
        account.update(&update(0, 0), Reader::Healthy, 7, &mut ledger);
        ledger.finish(3, [&account].into_iter());
        assert!(!ledger.is_settled_up());
        account.update(&update(1, 0), Reader::Healthy, 7, &mut ledger);
        assert!(!ledger.is_settled_up(), "number 1 of symbol 0 is missing");
        account.update(&update(0, 1), Reader::Healthy, 7, &mut ledger);
        assert!(ledger.is_settled_up());
        account.update(&update(0, 1), Reader::Healthy, 7, &mut ledger);
        account.finished(Reader::Healthy, &mut ledger);
        let tally = ledger.outcome.tally;
        assert_eq!(tally, Tally { owed: 3, arrived: 3, duplicated: 1, ..Tally::default() });
    }

    #[test]
    fn a_slow_client_must_have_the_newest_in_the_end_and_a_stuck_one_need_not() {
        for (reader, undelivered) in [(Reader::Slow, 4), (Reader::Stuck, 0)] {
            let (mut ledger, mut account) = (ledger(), account());
            account.subscriptions.iter_mut().for_each(|subscription| subscription.acknowledged(0));
            ledger.finish(4, std::iter::empty());
            account.finished(reader, &mut ledger);
            assert_eq!(ledger.outcome.tally.undelivered, undelivered, "{reader:?}");
            owed_equals_its_fates(&ledger.outcome.tally);
        }
    }

    #[test]
    fn a_client_that_leaves_is_owed_what_was_due_long_before() {
        let (mut ledger, mut account) = (ledger(), account());
        account.subscriptions.iter_mut().for_each(|subscription| subscription.acknowledged(0));
        // 1.05 s of updates, ten per second for two symbols, are older than what may be on its way.
        account.left(Reader::Healthy, ON_ITS_WAY + 1_050_000_000, &mut ledger);
        assert_eq!(ledger.outcome.tally.undelivered, 11);
        owed_equals_its_fates(&ledger.outcome.tally);
    }

    #[test]
    fn other_publishers_and_other_symbols_are_told_apart() {
        let (mut ledger, mut account) = (ledger(), account());
        account.update(&Update { symbol: 0, seq: BASE - 1, due: 5, snapshot: false }, Reader::Healthy, 7, &mut ledger);
        account.update(&update(9, 0), Reader::Healthy, 7, &mut ledger);
        let tally = ledger.outcome.tally;
        assert_eq!((tally.foreign, tally.unsolicited, tally.arrived), (1, 1, 0));
    }

    #[test]
    fn only_latencies_due_in_the_window_at_healthy_clients_count() {
        let (mut ledger, mut account) = (ledger(), account());
        ledger.window = 10..20;
        account.subscriptions.iter_mut().for_each(|subscription| subscription.acknowledged(0));
        for (number, due, reader) in
            [(0, 5, Reader::Healthy), (1, 10, Reader::Healthy), (2, 19, Reader::Slow), (3, 20, Reader::Healthy)]
        {
            account.update(&Update { due, ..update(0, number) }, reader, 1_000_000, &mut ledger);
        }
        assert_eq!(ledger.outcome.latencies.percentiles().unwrap().count, 1);
    }
}
