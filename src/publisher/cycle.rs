//! The heart: what is [wanted](super::wanted) → what is due → fetch → off to the outlet.
//!
//! Demand comes from the registry: its events at once, its whole list every [`LIST_EVERY`]. Each provider's
//! [lane](super::lane) says when its next cycle begins; a symbol's first watcher does not wait for it. Without demand nobody
//! is called.
//!
//! Polls only while this publisher leads, knows what is paused, and has asked what the [former leader](super::heritage)
//! polled. A lease that ran out counts as none, unless the broker is
//! known to be away: then nobody can take over, and polling goes on. The loop itself waits for nothing: fetches and
//! broker calls are tasks of its own, all awaited here; their number is bounded by the lanes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hashbrown::HashMap;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, debug as as_debug};
use tracing::{Instrument as _, Span, debug, error, info_span};

use super::Config;
use super::answer::Answer;
use super::control::Command;
use super::heritage;
use super::hours::{Clock, Hours};
use super::lane::Lane;
use super::router::Lanes;
use super::shared::{Cost, Role, Shared};
use super::wanted::Wanted;
use crate::broker::{self, Channel, Epoch, Event};
use crate::cache;
use crate::market::Symbol;
use crate::protocol::control::State;
use crate::provider::{Fetched, Left, Provider, Why};
use crate::quota::schedule;

/// How often the registry's whole list is read, to learn watcher counts and to heal missed events. Reading it also subtracts
/// gateways whose lease has run out: where no other gateway is left to do it, a killed one is gone after 9 s + 5 s, below the
/// 15 s that the contract allows.
const LIST_EVERY: Duration = Duration::from_secs(5);
const _: () = assert!(broker::LEASE.as_secs() + LIST_EVERY.as_secs() < 15);
/// How soon a list that could not be had is asked for again.
const LIST_RETRY: Duration = Duration::from_secs(1);
/// A provider that wants to be left alone for longer is asked whether it still does; that costs no call, and notices an
/// operator who reset its budget.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// The cycle's time of its own start: what a former leader polled lies before it.
const PAST: Duration = Duration::from_secs(86_400);
/// How often budgets are read for `/stats` and metrics, while they are used.
const BUDGET_EVERY: Duration = Duration::from_secs(10);

/// The polling part.
pub(super) struct Cycle {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    lanes: Vec<Lane>,
    wanted: Wanted,
    clock: Clock,
    jobs: JoinSet<Done>,
    fetches: HashMap<Id, Fetch>,
    started: Instant,
    /// The task that reads the registry's list.
    listing: Option<Id>,
    list_at: Instant,
    budget_at: Instant,
    /// While leading.
    epoch: Option<Epoch>,
    /// Leads, and does not know yet what its predecessor polled.
    is_heir: bool,
}

/// A fetch under way.
struct Fetch {
    lane: schedule::Lane,
    symbols: Vec<Symbol>,
}

/// What a task brought.
enum Done {
    Fetched(Fetched),
    /// Who watches what, and how old the cached quotes are if that was to be found out.
    List(broker::Result<Vec<(Symbol, u64)>>, Option<Vec<(Symbol, Duration)>>),
    Budgets,
}

impl Cycle {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: &Config,
        cache: cache::Config,
        commands: mpsc::Receiver<Command>,
        clock: Clock,
    ) -> Cycle {
        let now = Instant::now();
        let lane = |provider: &dyn Provider| {
            Lane::new(provider.name(), config.interval.unwrap_or_else(|| provider.interval()), now)
        };
        let lanes: Vec<Lane> = shared.lanes.iter().map(|board| lane(&*board.provider)).collect();
        let min_age = min_age(&lanes);
        // Not so seldom that what is polled vanishes from the cache in between.
        let most = cache.ttl_latest.as_nanos() / 2 / min_age.as_nanos().max(1);
        let most = u32::try_from(most).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let hours = Hours::new(config.listings.clone(), config.closed_stretch.min(most), clock());
        let mut wanted = Wanted::new(Arc::clone(&shared), cache, hours, min_age);
        for &symbol in config.pinned.iter().chain(&config.indices) {
            wanted.keep(symbol, PAST);
        }
        Cycle {
            shared,
            commands,
            lanes,
            wanted,
            clock,
            jobs: JoinSet::new(),
            fetches: HashMap::new(),
            started: now,
            listing: None,
            list_at: now,
            budget_at: now,
            epoch: None,
            is_heir: false,
        }
    }

    /// Polls until `stop`; fetches under way are given up.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut feed = self.shared.broker.feeds.subscribe(&[Channel::Subscriptions]);
        let (mut role, mut paused) = (self.shared.role.subscribe(), self.shared.paused.subscribe());
        let (mut status, mut status_lives) = (self.shared.broker.status.clone(), true);
        let mut connected = status.borrow_and_update().connected;
        let mut events = Vec::new();
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                () = stop.cancelled() => break,
                // Both senders are ours: they live as long as we do.
                _ = role.changed() => {}
                // What was dropped while it was paused was not sent.
                _ = paused.changed() => self.wanted.forget_news(),
                () = feed.next(&mut events) => {}
                changed = status.changed(), if status_lives => {
                    status_lives = changed.is_ok();
                    let was_connected = std::mem::replace(&mut connected, status.borrow_and_update().connected);
                    // The shared budgets are told what was spent meanwhile before anyone else asks them.
                    if connected && !was_connected && self.epoch.is_some() {
                        self.read_budgets(Instant::now());
                    }
                }
                Some(command) = self.commands.recv() => self.obey(command),
                Some(done) = self.jobs.join_next_with_id() => self.take_in(done),
                () = sleep_until(wake_at) => {}
            }
            for event in events.drain(..) {
                match event {
                    Event::Message(_, payload) => self.wanted.hear(&payload, self.at(Instant::now())),
                    Event::Resumed | Event::Lagged(_) => self.list_at = Instant::now(),
                    Event::Interrupted => {}
                }
            }
            self.note_role();
            if self.epoch.is_some() {
                self.begin_list();
                self.poll();
            }
        }
        self.jobs.shutdown().await;
    }

    /// `now` as [`Wanted`] counts time.
    fn at(&self, now: Instant) -> Duration {
        PAST + (now - self.started)
    }

    fn wake_at(&self) -> Instant {
        let idle = Instant::now() + LIST_EVERY;
        if self.epoch.is_none() {
            return idle;
        }
        let is_paused = self.shared.paused.borrow().as_ref().is_none_or(State::is_all_paused);
        let polls = self.holds_lease() && !is_paused && !self.is_heir;
        let lanes = self.lanes.iter().filter(|_| polls).map(Lane::wake_at);
        let list = self.listing.is_none().then_some(self.list_at);
        lanes.chain(list).min().unwrap_or(idle)
    }

    /// Whether nobody else can be leading.
    fn holds_lease(&self) -> bool {
        match self.shared.role() {
            Role::Leading { until, .. } => Instant::now() < until || !self.shared.broker.status.borrow().connected,
            Role::Standby => false,
        }
    }

    fn note_role(&mut self) {
        let epoch = match self.shared.role() {
            Role::Leading { epoch, .. } => Some(epoch),
            Role::Standby => None,
        };
        let before = std::mem::replace(&mut self.epoch, epoch);
        if before == epoch {
            return;
        }
        // Somebody else polled or polls now, or the broker lost what it knew: what we sent does not count.
        self.wanted.forget_news();
        let now = Instant::now();
        self.list_at = now;
        // What the former leader spent is to be known in case the broker goes next.
        self.budget_at = now;
        if before.is_none() {
            for lane in &mut self.lanes {
                lane.restart(now);
            }
        }
        // What the former one polled is asked for at once, but not by a list that is under way.
        self.is_heir = epoch.is_some() && (before.is_none() || self.is_heir);
        if epoch.is_none() {
            self.jobs.abort_all();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Refresh(symbols) => self.wanted.refresh(symbols, self.at(Instant::now())),
            Command::SetInterval(lane, interval) => {
                let now = Instant::now();
                for (i, other) in self.lanes.iter_mut().enumerate() {
                    if lane.is_none_or(|lane| lane == i) {
                        other.set_interval(interval, now);
                    }
                }
                self.wanted.set_min_age(min_age(&self.lanes), self.at(Instant::now()));
            }
        }
    }

    /// Asks for the registry's list, if it is time.
    fn begin_list(&mut self) {
        if self.listing.is_some() || self.list_at > Instant::now() {
            return;
        }
        self.wanted.begin_list();
        // An interruption in between brings it forward again.
        self.list_at = Instant::now() + LIST_EVERY;
        let (registry, store) = (Arc::clone(&self.shared.broker.registry), Arc::clone(&self.shared.broker.store));
        let heir = self.is_heir.then(|| (self.wanted.kept(), Timestamp::now()));
        let task = self.jobs.spawn(async move {
            let list = registry.watched().await;
            let (Ok(watched), Some((mut symbols, now))) = (&list, heir) else { return Done::List(list, None) };
            symbols.extend(watched.iter().map(|(symbol, _)| *symbol));
            let ages = heritage::ages(&*store, &symbols, now).await;
            Done::List(list, Some(ages))
        });
        self.listing = Some(task.id());
    }

    fn end_list(&mut self, list: broker::Result<Vec<(Symbol, u64)>>) {
        self.listing = None;
        if list.is_err() {
            self.list_at = self.list_at.min(Instant::now() + LIST_RETRY);
        }
        let list = list.inspect_err(|error| debug!(%error, "who watches what could not be read")).ok();
        self.wanted.end_list(list, self.at(Instant::now()));
    }

    /// Starts what is due.
    fn poll(&mut self) {
        let paused = self.shared.paused.borrow().clone();
        let polls = !self.is_heir && self.holds_lease();
        let Some(paused) = paused.filter(|state| !state.is_all_paused() && polls) else { return };
        let now = Instant::now();
        let at = self.at(now);
        self.wanted.keep_hours((self.clock)(), at);
        for lane in &mut self.lanes {
            lane.turn(now);
        }
        self.note_away(&paused);
        let mut used = false;
        let shared = Arc::clone(&self.shared);
        for (i, board) in (0u8..).zip(&shared.lanes) {
            let (lane, own) = (schedule::Lane(i), &mut self.lanes[usize::from(i)]);
            if paused.covers_provider(board.provider.name().as_str()) {
                own.close(now).into_iter().for_each(|cost| board.note_cycle(cost));
                continue;
            }
            if own.room() == 0 && self.wanted.hurries(lane, at) {
                own.open();
            }
            while own.room() > 0 {
                let batch = self.wanted.next_batch(lane, board.provider.batch(), !own.is_open(), &paused, at);
                if batch.is_empty() {
                    own.close(now).into_iter().for_each(|cost| board.note_cycle(cost));
                    break;
                }
                let cycle = own.begin_fetch();
                let task = self.jobs.spawn(fetch(Arc::clone(&board.provider), batch.clone(), cycle));
                self.fetches.insert(task.id(), Fetch { lane, symbols: batch });
                used = true;
            }
            board.queued.store(if own.is_open() { self.wanted.waiting() } else { 0 }, Ordering::Relaxed);
        }
        self.wanted.calm();
        if used && self.budget_at <= now {
            self.read_budgets(now);
        }
    }

    /// Tells who cannot be asked now.
    fn note_away(&mut self, paused: &State) {
        let (lanes, boards) = (&self.lanes, &self.shared.lanes);
        let is_paused = |i: usize| paused.covers_provider(boards[i].provider.name().as_str());
        self.wanted.set_away(Lanes::of(lanes.len(), |i| lanes[i].is_held() || is_paused(i)));
    }

    fn read_budgets(&mut self, now: Instant) {
        self.budget_at = now + BUDGET_EVERY;
        let shared = Arc::clone(&self.shared);
        self.jobs.spawn(async move {
            for board in &shared.lanes {
                board.provider.read_budget().await;
            }
            Done::Budgets
        });
    }

    fn take_in(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((id, Done::Fetched(fetched))) => self.settle(id, fetched),
            Ok((_, Done::List(list, ages))) => {
                // One that was asked for before the lead was taken says nothing about it.
                self.is_heir &= list.is_ok() && ages.is_none();
                self.end_list(list);
                let now = self.at(Instant::now());
                for (symbol, age) in ages.into_iter().flatten() {
                    self.wanted.inherit(symbol, age, now);
                }
            }
            Ok((_, Done::Budgets)) => {}
            Err(failed) => self.lose(&failed),
        }
    }

    /// A task was given up, or it panicked.
    fn lose(&mut self, failed: &JoinError) {
        if failed.is_panic() {
            error!(%failed, "a task of the publisher panicked");
        }
        if self.listing == Some(failed.id()) {
            self.end_list(Err(broker::BrokerError::Unavailable("given up".into())));
        }
        if let Some(Fetch { lane, symbols }) = self.fetches.remove(&failed.id()) {
            self.end_fetch(lane, Cost::default());
            let answer = if failed.is_panic() { Answer::Failed } else { Answer::Away };
            self.settle_symbols(lane, symbols, |_| answer);
        }
    }

    /// Takes in what a fetch got.
    fn settle(&mut self, id: Id, mut fetched: Fetched) {
        let Some(Fetch { lane, symbols }) = self.fetches.remove(&id) else { return };
        let now = self.at(Instant::now());
        self.settle_lane(lane, symbols.len(), &fetched);
        self.settle_symbols(lane, symbols, |symbol| Answer::about(symbol, &fetched));
        if !self.shared.role().is_leading() {
            self.shared.meters.not_leading.increment(fetched.quotes.len() as u64);
            return;
        }
        let got = fetched.quotes.len();
        self.wanted.mark(&mut fetched.quotes);
        let news = self.wanted.news(fetched.quotes, now);
        let unchanged = (got - news.len()) as u64;
        self.shared.unchanged.fetch_add(unchanged, Ordering::Relaxed);
        self.shared.meters.unchanged.increment(unchanged);
        if !news.is_empty() {
            self.shared.push(news);
        }
    }

    /// Takes symbols back from `lane`; those that another provider may have go there at once, not with its next cycle.
    fn settle_symbols(&mut self, lane: schedule::Lane, symbols: Vec<Symbol>, answer: impl Fn(Symbol) -> Answer) {
        let now = self.at(Instant::now());
        let paused = self.shared.paused.borrow().clone().unwrap_or_default();
        self.note_away(&paused);
        for symbol in symbols {
            let answer = answer(symbol);
            if let Some(next) = self.wanted.settle(symbol, lane, answer, now) {
                self.lanes[usize::from(lane.0)].passed_on(answer);
                self.lanes[usize::from(next.0)].open();
            }
        }
    }

    /// What a fetch left undone holds its lane.
    fn settle_lane(&mut self, lane: schedule::Lane, symbols: usize, fetched: &Fetched) {
        let left = fetched.left.as_ref();
        let asked = left.is_none_or(|left| matches!(left.why, Why::Failed(_)) || left.symbols.len() < symbols);
        self.end_fetch(lane, Cost { expected: u64::from(asked), actual: fetched.calls });
        let (own, board) = (&mut self.lanes[usize::from(lane.0)], &self.shared.lanes[usize::from(lane.0)]);
        if let Some(Left { why, retry_in, symbols }) = left {
            let (provider, left) = (board.provider.name().as_str(), symbols.len());
            debug!(provider, ?why, left, retry_in_s = retry_in.as_secs_f64(), "a fetch was not completed");
            if !retry_in.is_zero() {
                own.hold((*retry_in).min(LONGEST_HOLD), Instant::now());
                // Goes on when that is over, not with the cycle after it: a budget that waits is a budget lost.
                own.open();
            }
        }
    }

    fn end_fetch(&mut self, lane: schedule::Lane, cost: Cost) {
        let (own, board) = (&mut self.lanes[usize::from(lane.0)], &self.shared.lanes[usize::from(lane.0)]);
        board.expected.fetch_add(cost.expected, Ordering::Relaxed);
        own.end_fetch(cost, Instant::now()).into_iter().for_each(|cost| board.note_cycle(cost));
    }
}

/// Fetches, traced as a part of `cycle`.
async fn fetch(provider: Arc<dyn Provider>, symbols: Vec<Symbol>, cycle: Span) -> Done {
    let (name, asked) = (provider.name().as_str(), symbols.len());
    let trace = info_span!(
        target: "traces", parent: &cycle, "fetch",
        provider = name, symbols = asked, quotes = Empty, calls = Empty, left = Empty,
    );
    let fetched = provider.fetch(&symbols).instrument(trace.clone()).await;
    trace.record("quotes", fetched.quotes.len()).record("calls", fetched.calls);
    if let Some(left) = &fetched.left {
        trace.record("left", as_debug(&left.why));
    }
    Done::Fetched(fetched)
}

/// Half the shortest interval: a symbol polled out of turn is polled again in the next cycle or the one after, and the
/// grid of cycles says how often otherwise.
fn min_age(lanes: &[Lane]) -> Duration {
    lanes.iter().map(Lane::interval).min().unwrap_or_default() / 2
}
