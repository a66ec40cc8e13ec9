//! What is polled: everything wanted, by whom it is polled, and what of it cannot wait.
//!
//! Wanted is what is watched ([demand](super::demand)), pinned, an index, or asked for by `refresh`. The [`Router`] says
//! who is asked for a symbol; one that nobody has is counted and not polled. The
//! [schedule] decides the order, [`Hours`] how much less often a symbol is polled whose market is
//! closed, [`Newest`] what of the answers is news.
//!
//! Its owner is the cycle; it waits for nothing. Bounded by the demand's and the schedule's bounds, and
//! [`MAX_REFRESHED`].

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hashbrown::HashSet;
use jiff::Timestamp;
use tracing::{debug, warn};

use super::answer::Answer;
use super::demand::{Change, Demand, MAX_WATCHED};
use super::hours::Hours;
use super::newest::Newest;
use super::router::{Lanes, Router};
use super::shared::Shared;
use crate::cache;
use crate::market::{Quote, Symbol};
use crate::protocol::control::State;
use crate::quota::schedule::{self, Lane, Outcome, Schedule};

/// Symbols that nobody watches and that were asked for by `refresh`, waiting for their poll.
const MAX_REFRESHED: usize = 8192;

/// See the module.
pub(super) struct Wanted {
    shared: Arc<Shared>,
    cache: cache::Config,
    demand: Demand,
    schedule: Schedule,
    newest: Newest,
    router: Router,
    hours: Hours,
    /// Polled whether or not anyone watches.
    kept: HashSet<Symbol>,
    /// Asked for by an operator and not watched.
    refreshed: HashSet<Symbol>,
    /// To be polled out of turn.
    urgent: HashSet<Symbol>,
}

impl Wanted {
    pub(super) fn new(shared: Arc<Shared>, cache: cache::Config, hours: Hours, min_age: Duration) -> Wanted {
        let schedule = Schedule::new(schedule::Config {
            min_age,
            max_age: cache.ttl_latest.max(min_age * 4),
            remember: cache.ttl_latest,
            capacity: NonZeroUsize::MIN.saturating_add(MAX_WATCHED + MAX_WATCHED / 4),
            ..schedule::Config::default()
        });
        Wanted {
            shared,
            cache,
            demand: Demand::default(),
            schedule,
            newest: Newest::default(),
            router: Router::default(),
            hours,
            kept: HashSet::new(),
            refreshed: HashSet::new(),
            urgent: HashSet::new(),
        }
    }

    /// Polls `symbol` whether or not anyone watches it.
    pub(super) fn keep(&mut self, symbol: Symbol, now: Duration) {
        self.kept.insert(symbol);
        if !self.is_served(symbol) {
            warn!(%symbol, "pinned, but no configured provider has it");
        } else if self.schedule.pin(symbol, now).is_err() {
            warn!(%symbol, "too many symbols are pinned; this one is not polled");
        }
        self.stretch(symbol, now);
        self.count();
    }

    /// What is polled whether or not anyone watches.
    pub(super) fn kept(&self) -> Vec<Symbol> {
        self.kept.iter().copied().collect()
    }

    /// Another publisher's quote of `symbol` is this old.
    pub(super) fn inherit(&mut self, symbol: Symbol, age: Duration, now: Duration) {
        self.schedule.inherit(symbol, now.saturating_sub(age), now);
    }

    /// Takes in an event of the subscriptions channel.
    pub(super) fn hear(&mut self, payload: &[u8], now: Duration) {
        if let Some(change) = self.demand.event(payload) {
            self.apply(change, now);
            self.count();
        }
    }

    /// The registry's list is being asked for.
    pub(super) fn begin_list(&mut self) {
        self.demand.begin_list();
    }

    /// Takes in the registry's list, or `None` when it could not be had.
    pub(super) fn end_list(&mut self, list: Option<Vec<(Symbol, u64)>>, now: Duration) {
        for change in self.demand.end_list(list, now) {
            self.apply(change, now);
        }
        let (demand, kept, refreshed) = (&self.demand, &self.kept, &self.refreshed);
        self.router.retain(|symbol| demand.contains(symbol) || kept.contains(&symbol) || refreshed.contains(&symbol));
        self.newest.forget_older_than(self.cache.ttl_latest * self.cache.popular_multiplier.max(1), now);
        self.count();
    }

    /// Polls these out of turn, watched or not; without any, everything that is polled anyway.
    pub(super) fn refresh(&mut self, symbols: Vec<Symbol>, now: Duration) {
        let symbols = if symbols.is_empty() { self.router.symbols().collect() } else { symbols };
        for symbol in symbols {
            let is_extra = !self.demand.contains(symbol) && !self.kept.contains(&symbol);
            let full = is_extra && self.refreshed.len() == MAX_REFRESHED;
            if full || !self.is_served(symbol) || self.schedule.refresh(symbol, now).is_err() {
                debug!(%symbol, "not refreshed");
                continue;
            }
            if is_extra {
                self.refreshed.insert(symbol);
            }
            self.router.forgive(symbol);
            self.stretch(symbol, now);
            self.hurry(symbol);
        }
    }

    /// Whether something of `lane` is to be polled out of turn.
    pub(super) fn hurries(&self, lane: Lane, now: Duration) -> bool {
        self.urgent.iter().any(|&symbol| self.router.lane(symbol, now) == Some(lane))
    }

    /// Nothing hurries any more: it was handed out, or comes first in its lane's cycle.
    pub(super) fn calm(&mut self) {
        self.urgent.clear();
    }

    /// The next symbols of `lane`, most urgent first; only those that hurry, if `urgent_only`.
    pub(super) fn next_batch(
        &mut self,
        lane: Lane,
        max: NonZeroUsize,
        urgent_only: bool,
        paused: &State,
        now: Duration,
    ) -> Vec<Symbol> {
        let (urgent, router) = (&self.urgent, &self.router);
        if urgent_only && urgent.is_empty() {
            return vec![];
        }
        self.schedule.next_batch(lane, max.get(), now, |symbol| {
            router.lane(symbol, now) == Some(lane)
                && (!urgent_only || urgent.contains(&symbol))
                && !paused.symbols.contains_key(&symbol)
        })
    }

    /// Who cannot be asked now, for anything.
    pub(super) const fn set_away(&mut self, away: Lanes) {
        self.router.set_away(away);
    }

    /// Takes back a symbol that was handed out, with what `lane` answered about it. Says who is asked for it instead, if
    /// another provider may have it and is there.
    pub(super) fn settle(&mut self, symbol: Symbol, lane: Lane, answer: Answer, now: Duration) -> Option<Lane> {
        let elsewhere = self.router.answer(symbol, lane, answer, now);
        let outcome = match answer {
            Answer::Quote => Outcome::Refreshed,
            _ if elsewhere => Outcome::NotAsked,
            Answer::Unknown => Outcome::Unknown,
            Answer::NoData => Outcome::NoData,
            Answer::Failed => Outcome::Failed,
            Answer::Away => Outcome::NotAsked,
        };
        self.schedule.done(symbol, outcome, now);
        if !matches!(outcome, Outcome::Failed | Outcome::NotAsked) {
            self.refreshed.remove(&symbol);
        }
        if elsewhere { self.router.lane(symbol, now) } else { None }
    }

    /// Follows the markets' hours.
    pub(super) fn keep_hours(&mut self, at: Timestamp, now: Duration) {
        if self.hours.turn(at) {
            let symbols: Vec<Symbol> = self.router.symbols().collect();
            for symbol in symbols {
                self.stretch(symbol, now);
            }
        }
    }

    /// Says of each quote whether its market trades, where the vendor did not.
    pub(super) fn mark(&self, quotes: &mut [Quote]) {
        for quote in quotes {
            self.hours.mark(quote);
        }
    }

    /// What of `quotes` is news.
    pub(super) fn news(&mut self, quotes: Vec<Quote>, now: Duration) -> Vec<Quote> {
        let (cache, newest) = (&self.cache, &mut self.newest);
        quotes.into_iter().filter(|quote| newest.admit(quote, cache.quote_ttl(quote.symbol), now)).collect()
    }

    /// Takes everything for news: somebody else published meanwhile, or what was sent was dropped on the way.
    pub(super) fn forget_news(&mut self) {
        self.newest.clear();
    }

    pub(super) fn set_min_age(&mut self, min_age: Duration, now: Duration) {
        self.schedule.set_min_age(min_age, now);
    }

    /// Symbols ready to be polled.
    pub(super) fn waiting(&self) -> usize {
        self.schedule.counts().waiting
    }

    fn apply(&mut self, Change { symbol, watchers, is_new }: Change, now: Duration) {
        if watchers > 0 && !self.is_served(symbol) {
            return;
        }
        if self.schedule.set_demand(symbol, watchers, now).is_err() {
            warn!(%symbol, "too many symbols are watched; this one is not polled");
        }
        if watchers == 0 && !self.kept.contains(&symbol) {
            self.router.remove(symbol);
            self.urgent.remove(&symbol);
            self.newest.forget(symbol);
        } else if is_new {
            self.stretch(symbol, now);
            self.hurry(symbol);
        }
    }

    /// Polls `symbol` out of turn, and takes for news what comes.
    fn hurry(&mut self, symbol: Symbol) {
        self.urgent.insert(symbol);
        self.newest.forget(symbol);
    }

    /// Polls `symbol` as often as its market's hours say. One whose quotes are invented or recorded has no market.
    fn stretch(&mut self, symbol: Symbol, now: Duration) {
        let lane = self.router.preferred(symbol).map(|lane| &self.shared.lanes[usize::from(lane.0)]);
        if lane.is_some_and(|lane| lane.provider.name().has_market()) {
            self.schedule.set_stretch(symbol, self.hours.stretch(symbol), now);
        }
    }

    /// Whether a provider has it.
    fn is_served(&mut self, symbol: Symbol) -> bool {
        let lanes = &self.shared.lanes;
        self.router.add(symbol, || Lanes::of(lanes.len(), |i| lanes[i].provider.serves(symbol)))
    }

    fn count(&self) {
        let unserved = self.router.unserved();
        let watched = self.schedule.counts().watched;
        self.shared.unserved.store(unserved, Ordering::Relaxed);
        self.shared.watched.store(watched, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a count of at most some 100,000")]
        self.shared.meters.watched.set(watched as f64);
    }
}
