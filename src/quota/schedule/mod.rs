//! Which symbols to poll next, so that watchers see the freshest quotes a limited budget can buy.
//!
//! **The rule.** With `B` refreshes a second and `wᵢ` watchers of symbol i, the watcher-weighted mean age is least when
//! every symbol is refreshed at even intervals at a rate proportional to `√wᵢ`; it is then `S²/(2·B·W)` with
//! `S = Σ√wᵢ`, `W = Σwᵢ` (the square-root rule of broadcast scheduling: Ammar & Wong, "The design of teletext broadcast
//! cycles", Performance Evaluation 5, 1985; "On the optimality of cyclic transmission in teletext systems", IEEE Trans.
//! Communications 35, 1987). On line, handing out the symbol with the greatest `wᵢ · ageᵢ²` comes within a few per cent
//! of it and needs to know neither `B` nor the future (Vaidya & Hameed, "Scheduling data broadcast in asymmetric
//! communication environments", Wireless Networks 5, 1999). So nobody starves: what waits grows more urgent.
//!
//! Around the rule, in this order:
//! - nothing is handed out twice, before [`Config::min_age`] is over, or while it rests after a failure;
//! - *cold* symbols, of which watchers have nothing yet, come first, but after three of them in a row comes one that is
//!   not cold, so that a flood of new symbols does not freeze the old ones;
//! - symbols near [`Config::max_age`] come next, oldest first, as long as the caller's pace is enough to keep everyone
//!   below it (see [`Lane`]); where it is not, the rule alone decides;
//! - a batch is filled with the next best.
//!
//! It does not know providers, budgets, HTTP or the clock: callers ask when they have something to spend. All state
//! belongs to the [`Schedule`]. At its limit ([`Config::capacity`] symbols) it forgets the longest unwatched symbol,
//! and refuses a new one only when all it knows are watched.
//!
//! **Cost.** n symbols, c weight classes with symbols in them (≤ 496; about 100 for zipf watchers): a demand change or
//! an outcome is O(log n); a batch of k is O(c + k·log n), plus one call of `accept` for each symbol that it turns down
//! on the way. Nothing is ever sorted as a whole.

mod config;
mod entry;
mod pace;
mod ranks;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use hashbrown::HashMap;

use crate::market::Symbol;
pub use config::{Config, Outcome};
use entry::{Entry, Flight, Place};
pub use pace::Lane;
use pace::Pace;
use ranks::Ranks;

/// After this many cold symbols in a row one that is not cold is handed out, if any waits.
const COLD_STREAK: u32 = 3;

/// There is no room for another watched symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} symbols are watched, and no more can be")]
pub struct Full(pub NonZeroUsize);

/// How many symbols are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Watched, pinned or asked for.
    pub watched: usize,
    /// Waiting and never refreshed.
    pub cold: usize,
    /// Waiting, cold ones included.
    pub waiting: usize,
    /// Handed out.
    pub in_flight: usize,
}

/// Decides which symbols are polled next.
#[derive(Debug)]
pub struct Schedule {
    config: Config,
    entries: HashMap<Symbol, Entry>,
    cold: Ranks,
    warm: Ranks,
    /// Warm waiting symbols by the moment from which they are nearly too old.
    deadlines: BTreeSet<(Duration, Symbol)>,
    /// Resting symbols by the moment they wait again, and those in flight by the moment they are taken for lost.
    timers: BTreeSet<(Duration, Symbol)>,
    /// Unwatched symbols by the moment they are forgotten.
    idle: BTreeSet<(Duration, Symbol)>,
    lanes: Vec<Pace>,
    in_flight: usize,
    /// Which [`replace_demand`](Self::replace_demand) this is.
    sweep: u64,
}

impl Schedule {
    /// One that knows no symbol.
    #[must_use]
    pub fn new(config: Config) -> Schedule {
        Schedule {
            config,
            entries: HashMap::new(),
            cold: Ranks::default(),
            warm: Ranks::default(),
            deadlines: BTreeSet::new(),
            timers: BTreeSet::new(),
            idle: BTreeSet::new(),
            lanes: Vec::new(),
            in_flight: 0,
            sweep: 0,
        }
    }

    /// Sets how many watch `symbol`.
    ///
    /// # Errors
    /// [`Full`] when it is new and all symbols known are watched; it will not be polled.
    pub fn set_demand(&mut self, symbol: Symbol, watchers: u64, now: Duration) -> Result<(), Full> {
        if watchers > 0 {
            self.admit(symbol, now)?;
        }
        self.change(symbol, now, |entry| entry.watchers = watchers);
        Ok(())
    }

    /// Sets who watches what, for all symbols at once: those not named are unwatched. Returns how many were refused
    /// for want of room.
    pub fn replace_demand(&mut self, watched: impl IntoIterator<Item = (Symbol, u64)>, now: Duration) -> usize {
        self.sweep += 1;
        let sweep = self.sweep;
        let mut refused = 0;
        for (symbol, watchers) in watched {
            refused += usize::from(self.set_demand(symbol, watchers, now).is_err());
            if let Some(entry) = self.entries.get_mut(&symbol) {
                entry.sweep = sweep;
            }
        }
        let left = |entry: &Entry| entry.watchers > 0 && entry.sweep != sweep;
        let gone: Vec<_> = self.entries.iter().filter(|(_, entry)| left(entry)).map(|(symbol, _)| *symbol).collect();
        for symbol in gone {
            self.change(symbol, now, |entry| entry.watchers = 0);
        }
        refused
    }

    /// Makes `symbol` count as watched by one at least, from now on.
    ///
    /// # Errors
    /// [`Full`].
    pub fn pin(&mut self, symbol: Symbol, now: Duration) -> Result<(), Full> {
        self.admit(symbol, now)?;
        self.change(symbol, now, |entry| entry.pinned = true);
        Ok(())
    }

    /// Polls `symbol` once as soon as possible, watched or not, whatever it rests for: an operator's `refresh`, or
    /// preloading.
    ///
    /// # Errors
    /// [`Full`].
    pub fn refresh(&mut self, symbol: Symbol, now: Duration) -> Result<(), Full> {
        self.admit(symbol, now)?;
        self.change(symbol, now, |entry| {
            entry.asked_for = true;
            (entry.rest_until, entry.misses) = (Duration::ZERO, 0);
            entry.chill(now);
        });
        Ok(())
    }

    /// Makes both age bounds of `symbol` `stretch` times as long, and its age count that much less: its market is
    /// closed. 1 ends it, at once. Nothing happens to a symbol that is not known.
    pub fn set_stretch(&mut self, symbol: Symbol, stretch: NonZeroU32, now: Duration) {
        self.change(symbol, now, |entry| entry.stretch = stretch);
    }

    /// Changes how soon a symbol may be handed out again, for those that rest now too. O(n log n).
    pub fn set_min_age(&mut self, min_age: Duration, now: Duration) {
        self.config.min_age = min_age;
        let symbols: Vec<Symbol> = self.entries.keys().copied().collect();
        for symbol in symbols {
            self.change(symbol, now, |_| {});
        }
    }

    /// Up to `max` symbols to poll now, most urgent first, of those `accept` takes. Each is in flight until
    /// [`done`](Self::done). `accept` is asked about some symbols that are not handed out in the end.
    pub fn next_batch(
        &mut self,
        lane: Lane,
        max: usize,
        now: Duration,
        accept: impl Fn(Symbol) -> bool,
    ) -> Vec<Symbol> {
        self.wake(now);
        let pace = *self.lane(lane);
        let keeps_up = pace.keeps_up(self.config.max_age, now);
        let (batch, cold_streak) = self.choose(max, now, keeps_up, pace.cold_streak, accept);
        self.lane(lane).cold_streak = cold_streak;
        for symbol in &batch {
            self.change(*symbol, now, |entry| entry.flight = Some(Flight { asked: now, lane }));
        }
        batch
    }

    /// The most urgent ones, and how many cold ones in a row that makes.
    fn choose(
        &self,
        max: usize,
        now: Duration,
        keeps_up: bool,
        mut cold_streak: u32,
        accept: impl Fn(Symbol) -> bool,
    ) -> (Vec<Symbol>, u32) {
        let mut cold = self.cold.by_urgency(now).filter(|symbol| accept(*symbol));
        let is_overdue = |place| keeps_up && matches!(place, Place::Warm { deadline, .. } if deadline <= now);
        let overdue = self.deadlines.iter().take_while(|(deadline, _)| keeps_up && *deadline <= now);
        let others = self.warm.by_urgency(now).filter(|symbol| !is_overdue(self.entries[symbol].place));
        let warm = overdue.map(|(_, symbol)| *symbol).chain(others);
        let mut warm = warm.filter(|symbol| accept(*symbol)).peekable();

        let mut batch = Vec::with_capacity(max.min(self.cold.len() + self.warm.len()));
        while batch.len() < max {
            let others_wait = warm.peek().is_some();
            let next = if cold_streak < COLD_STREAK || !others_wait { cold.next() } else { None };
            cold_streak = if next.is_some() && others_wait { cold_streak + 1 } else { 0 };
            let Some(symbol) = next.or_else(|| warm.next()) else { break };
            batch.push(symbol);
        }
        (batch, cold_streak)
    }

    /// Takes back a symbol that was handed out. [`Outcome::Refreshed`] also counts for one that was not: a quote that
    /// came along unasked makes it as fresh as any.
    pub fn done(&mut self, symbol: Symbol, outcome: Outcome, now: Duration) {
        let Some(entry) = self.entries.get(&symbol) else { return };
        let (asked, lane) = match entry.flight {
            Some(flight) => (flight.asked, Some(flight.lane)),
            None if outcome == Outcome::Refreshed => (now, None),
            None => return,
        };
        let config = self.config;
        if let (Some(lane), Outcome::Refreshed) = (lane, outcome) {
            self.lane(lane).count_refresh(config.max_age, now);
        }
        self.change(symbol, now, |entry| entry.land(outcome, asked, lane, &config, now));
    }

    /// `symbol` was refreshed by another process, which asked for it at `asked`. Nothing happens to one that is handed out
    /// or that is to be polled in any case, nor to one that is not known.
    pub fn inherit(&mut self, symbol: Symbol, asked: Duration, now: Duration) {
        self.change(symbol, now, |entry| entry.inherit(asked));
    }

    /// How long until a symbol waits to be handed out; zero when one does. `None` when nothing is watched.
    #[must_use]
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        if self.cold.len() + self.warm.len() > 0 {
            return Some(Duration::ZERO);
        }
        self.timers.first().map(|(at, _)| at.saturating_sub(now))
    }

    /// How many symbols are where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            watched: self.entries.len() - self.idle.len(),
            cold: self.cold.len(),
            waiting: self.cold.len() + self.warm.len(),
            in_flight: self.in_flight,
        }
    }

    /// Changes what is known of a symbol, and moves it to where that puts it.
    fn change(&mut self, symbol: Symbol, now: Duration, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&symbol) else { return };
        let load_before = (entry.lane, entry.load());
        change(entry);
        entry.note_demand(now);
        let load = (entry.lane, entry.load());
        let old = entry.place;
        let new = entry.place_at(&self.config, now);
        entry.place = new;
        if load != load_before {
            if let (Some(lane), load) = load_before {
                self.lane(lane).load -= load;
            }
            if let (Some(lane), load) = load {
                self.lane(lane).load += load;
            }
        }
        if new != old {
            self.take_out(symbol, old);
            self.put_in(symbol, new);
        }
    }

    fn put_in(&mut self, symbol: Symbol, place: Place) {
        match place {
            Place::Cold { class, since } => self.cold.insert(class, since, symbol),
            Place::Warm { class, since, deadline } => {
                self.warm.insert(class, since, symbol);
                self.deadlines.insert((deadline, symbol));
            }
            Place::Resting { until } => _ = self.timers.insert((until, symbol)),
            Place::InFlight { until } => {
                self.timers.insert((until, symbol));
                self.in_flight += 1;
            }
            Place::Idle { until } => _ = self.idle.insert((until, symbol)),
        }
    }

    fn take_out(&mut self, symbol: Symbol, place: Place) {
        match place {
            Place::Cold { class, since } => self.cold.remove(class, since, symbol),
            Place::Warm { class, since, deadline } => {
                self.warm.remove(class, since, symbol);
                self.deadlines.remove(&(deadline, symbol));
            }
            Place::Resting { until } => _ = self.timers.remove(&(until, symbol)),
            Place::InFlight { until } => {
                self.timers.remove(&(until, symbol));
                self.in_flight -= 1;
            }
            Place::Idle { until } => _ = self.idle.remove(&(until, symbol)),
        }
    }

    /// Lets those wait again that have rested enough, or were lost in flight; forgets the long unwatched.
    fn wake(&mut self, now: Duration) {
        while let Some(&(at, symbol)) = self.timers.first()
            && at <= now
        {
            // Due, so whoever is still in flight is lost.
            self.change(symbol, now, |entry| entry.flight = None);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Duration) {
        while let Some(&(until, symbol)) = self.idle.first()
            && until <= now
        {
            self.idle.pop_first();
            self.entries.remove(&symbol);
        }
    }

    /// Makes room for `symbol` if it is new.
    fn admit(&mut self, symbol: Symbol, now: Duration) -> Result<(), Full> {
        // Also when it is known: it may be about to be forgotten, and then it is new.
        self.forget(now);
        if self.entries.contains_key(&symbol) {
            return Ok(());
        }
        if self.entries.len() >= self.config.capacity.get() {
            let (_, forgotten) = self.idle.pop_first().ok_or(Full(self.config.capacity))?;
            self.entries.remove(&forgotten);
        }
        let entry = Entry::new(now);
        self.put_in(symbol, entry.place);
        self.entries.insert(symbol, entry);
        Ok(())
    }

    fn lane(&mut self, lane: Lane) -> &mut Pace {
        let index = usize::from(lane.0);
        if index >= self.lanes.len() {
            self.lanes.resize(index + 1, Pace::default());
        }
        &mut self.lanes[index]
    }
}
