//! Who is asked for a symbol: the first provider, in the configured order, that has it and can be asked.
//!
//! A provider without budget, with an open breaker or one that refused our key or plan is *away*, for every symbol, until
//! its lane says otherwise. A provider that does not know a symbol, has no price of it or failed to get it *refused*
//! that one, for a while. Either way the next provider that has the symbol is asked; when the absence or the refusal
//! ends, the symbol goes back to the one that comes first. Where every provider refused, the first that is there is asked
//! again, as often as the schedule lets it.
//!
//! It knows neither providers nor budgets nor the clock. Its owner is [`Wanted`](super::wanted::Wanted). Bounded by the
//! symbols that are wanted, and for each of them by the providers there are.

use std::time::Duration;

use hashbrown::HashMap;

use super::answer::Answer;
use crate::market::Symbol;
use crate::quota::schedule::Lane;

/// A provider that does not know a symbol is asked again after this long: new listings are rare, and a bad symbol in a
/// batch costs calls.
const UNKNOWN_FOR: Duration = Duration::from_secs(3600);
/// A provider without a price of a symbol, the first time; doubles with each time in a row, up to [`UNKNOWN_FOR`].
const NO_DATA_FOR: Duration = Duration::from_secs(60);
/// A provider that failed, although its breaker is still closed: half of what an open breaker takes.
const FAILED_FOR: Duration = Duration::from_secs(30);

/// Some of the lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lanes(u16);

/// Which symbol goes where.
#[derive(Debug, Default)]
pub struct Router {
    routes: HashMap<Symbol, Route>,
    unserved: usize,
    away: Lanes,
}

/// One symbol's providers.
#[derive(Debug)]
struct Route {
    serving: Lanes,
    refusals: Vec<Refusal>,
}

/// A provider that is passed over for one symbol.
#[derive(Debug)]
struct Refusal {
    lane: Lane,
    until: Duration,
    /// [`Answer::NoData`] in a row.
    misses: u32,
}

impl Lanes {
    /// These lanes are the ones that fit.
    pub const MAX: usize = u16::BITS as usize;

    /// Those of `lanes` that `holds` is true of.
    pub fn of(lanes: usize, holds: impl Fn(usize) -> bool) -> Lanes {
        Lanes((0..lanes.min(Lanes::MAX)).filter(|&i| holds(i)).fold(0, |set, i| set | 1 << i))
    }

    const fn without(self, others: Lanes) -> Lanes {
        Lanes(self.0 & !others.0)
    }

    const fn with(self, lane: Lane) -> Lanes {
        Lanes(self.0 | 1 << lane.0)
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn first(self) -> Option<Lane> {
        // At most 16, so it fits.
        (!self.is_empty()).then(|| Lane(u8::try_from(self.0.trailing_zeros()).unwrap_or(u8::MAX)))
    }
}

impl Router {
    /// Routes `symbol` to those who have it, unless it is routed already. False when nobody has it.
    pub fn add(&mut self, symbol: Symbol, serving: impl FnOnce() -> Lanes) -> bool {
        if let Some(route) = self.routes.get(&symbol) {
            return !route.serving.is_empty();
        }
        let serving = serving();
        self.unserved += usize::from(serving.is_empty());
        self.routes.insert(symbol, Route { serving, refusals: Vec::new() });
        !serving.is_empty()
    }

    /// Forgets `symbol`.
    pub fn remove(&mut self, symbol: Symbol) {
        if let Some(route) = self.routes.remove(&symbol) {
            self.unserved -= usize::from(route.serving.is_empty());
        }
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(Symbol) -> bool) {
        self.routes.retain(|&symbol, _| keep(symbol));
        self.unserved = self.routes.values().filter(|route| route.serving.is_empty()).count();
    }

    /// What is routed, to somebody or to nobody.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.routes.keys().copied()
    }

    /// Symbols that nobody has.
    #[must_use]
    pub const fn unserved(&self) -> usize {
        self.unserved
    }

    /// Who cannot be asked now, for anything.
    pub const fn set_away(&mut self, away: Lanes) {
        self.away = away;
    }

    /// Who is asked for `symbol`; `None` when all who might be are away.
    #[must_use]
    pub fn lane(&self, symbol: Symbol, now: Duration) -> Option<Lane> {
        let route = self.routes.get(&symbol)?;
        let willing = route.willing(now);
        let candidates = if willing.is_empty() { route.serving } else { willing };
        candidates.without(self.away).first()
    }

    /// The one that is asked first when nothing is wrong.
    #[must_use]
    pub fn preferred(&self, symbol: Symbol) -> Option<Lane> {
        self.routes.get(&symbol)?.serving.first()
    }

    /// Takes in what `lane` answered about `symbol`. True when it is to be asked for elsewhere instead; that one may be
    /// away too.
    pub fn answer(&mut self, symbol: Symbol, lane: Lane, answer: Answer, now: Duration) -> bool {
        let Some(route) = self.routes.get_mut(&symbol) else { return false };
        match answer {
            Answer::Quote => route.refusals.retain(|refusal| refusal.lane != lane),
            Answer::Unknown => route.refuse(lane, |_| UNKNOWN_FOR, 0, now),
            Answer::NoData => {
                route.refuse(lane, |misses| NO_DATA_FOR.saturating_mul(1 << misses.min(6)).min(UNKNOWN_FOR), 1, now);
            }
            Answer::Failed => route.refuse(lane, |_| FAILED_FOR, 0, now),
            Answer::Away => {}
        }
        answer != Answer::Quote && !route.willing(now).without(Lanes::default().with(lane)).is_empty()
    }

    /// Forgets who refused `symbol`: an operator wants it asked for.
    pub fn forgive(&mut self, symbol: Symbol) {
        if let Some(route) = self.routes.get_mut(&symbol) {
            route.refusals.clear();
        }
    }
}

impl Route {
    /// Who has it and did not refuse it.
    fn willing(&self, now: Duration) -> Lanes {
        let refused = self.refusals.iter().filter(|refusal| now < refusal.until);
        self.serving.without(refused.fold(Lanes::default(), |set, refusal| set.with(refusal.lane)))
    }

    /// With nobody else to ask there is nothing to remember: the schedule alone says when it is asked again.
    fn refuse(&mut self, lane: Lane, span: impl Fn(u32) -> Duration, miss: u32, now: Duration) {
        if self.serving.without(Lanes::default().with(lane)).is_empty() {
            return;
        }
        let at = self.refusals.iter().position(|refusal| refusal.lane == lane).unwrap_or_else(|| {
            self.refusals.push(Refusal { lane, until: now, misses: 0 });
            self.refusals.len() - 1
        });
        let refusal = &mut self.refusals[at];
        refusal.until = now + span(refusal.misses);
        refusal.misses = (refusal.misses + miss) * miss;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: Lane = Lane(0);
    const SECOND: Lane = Lane(1);
    const THIRD: Lane = Lane(2);

    fn symbol() -> Symbol {
        Symbol::parse("A").unwrap()
    }

    fn lanes(lanes: &[Lane]) -> Lanes {
        lanes.iter().fold(Lanes::default(), |set, lane| set.with(*lane))
    }

    fn router(serving: &[Lane]) -> Router {
        let mut router = Router::default();
        router.add(symbol(), || lanes(serving));
        router
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_that_has_it_is_asked() {
        let router = router(&[SECOND, THIRD]);
        assert_eq!((router.lane(symbol(), at(0)), router.preferred(symbol())), (Some(SECOND), Some(SECOND)));
        assert_eq!(router.lane(Symbol::parse("B").unwrap(), at(0)), None);
    }

    #[test]
    fn the_next_one_is_asked_while_the_first_is_away_and_the_first_again_afterwards() {
        let mut router = router(&[FIRST, SECOND]);
        router.set_away(lanes(&[FIRST]));
        assert!(router.answer(symbol(), FIRST, Answer::Away, at(0)));
        assert_eq!(router.lane(symbol(), at(0)), Some(SECOND));
        router.set_away(lanes(&[FIRST, SECOND]));
        assert_eq!(router.lane(symbol(), at(0)), None);
        router.set_away(lanes(&[]));
        assert_eq!(router.lane(symbol(), at(0)), Some(FIRST));
    }

    #[test]
    fn a_refusal_is_remembered_for_a_while() {
        for (answer, span) in [(Answer::Unknown, 3600), (Answer::NoData, 60), (Answer::Failed, 30)] {
            let mut router = router(&[FIRST, SECOND]);
            assert!(router.answer(symbol(), FIRST, answer, at(0)), "{answer:?}");
            assert_eq!(router.lane(symbol(), at(span - 1)), Some(SECOND), "{answer:?}");
            assert_eq!(router.lane(symbol(), at(span)), Some(FIRST), "{answer:?}");
        }
    }

    #[test]
    fn a_symbol_without_a_price_is_asked_for_ever_less_often_until_there_is_one() {
        let mut router = router(&[FIRST, SECOND]);
        let until = |router: &mut Router, now| {
            router.answer(symbol(), FIRST, Answer::NoData, at(now));
            (now..).find(|&now| router.lane(symbol(), at(now)) == Some(FIRST)).unwrap()
        };
        assert_eq!([until(&mut router, 0), until(&mut router, 60), until(&mut router, 180)], [60, 180, 420]);
        router.answer(symbol(), FIRST, Answer::Quote, at(420));
        assert_eq!(until(&mut router, 420), 480);
    }

    #[test]
    fn one_that_is_away_is_waited_for_rather_than_asking_again_who_refused() {
        let mut router = router(&[FIRST, SECOND]);
        router.set_away(lanes(&[FIRST]));
        assert!(router.answer(symbol(), SECOND, Answer::Unknown, at(0)));
        assert_eq!(router.lane(symbol(), at(0)), None);
    }

    #[test]
    fn when_all_refused_the_first_that_is_there_is_asked_again() {
        let mut router = router(&[FIRST, SECOND]);
        assert!(router.answer(symbol(), FIRST, Answer::Failed, at(0)));
        assert!(!router.answer(symbol(), SECOND, Answer::Failed, at(0)), "there is nobody else");
        assert_eq!(router.lane(symbol(), at(1)), Some(FIRST));
        router.set_away(lanes(&[FIRST]));
        assert_eq!(router.lane(symbol(), at(1)), Some(SECOND));
    }

    #[test]
    fn with_one_provider_nothing_is_remembered() {
        let mut router = router(&[FIRST]);
        for answer in [Answer::Unknown, Answer::NoData, Answer::Failed, Answer::Away] {
            assert!(!router.answer(symbol(), FIRST, answer, at(0)), "{answer:?}");
            assert_eq!(router.lane(symbol(), at(0)), Some(FIRST), "{answer:?}");
        }
    }

    #[test]
    fn symbols_that_nobody_has_are_counted() {
        let mut router = router(&[]);
        assert_eq!((router.unserved(), router.lane(symbol(), at(0))), (1, None));
        assert!(!router.add(symbol(), || lanes(&[FIRST])), "it is known that nobody has it");
        router.remove(symbol());
        assert_eq!(router.unserved(), 0);
        router.add(symbol(), Lanes::default);
        router.retain(|_| false);
        assert_eq!((router.unserved(), router.symbols().count()), (0, 0));
    }

    proptest! {
        /// Whatever was answered: nobody is asked who does not have the symbol or is away, and an hour after the last
        /// refusal it is the preferred one again.
        #[test]
        fn it_finds_back(
            serving in 1u16..8,
            answers in prop::collection::vec((0u8..3, 0usize..5, 0u64..100, 0u16..8), 0..40),
        ) {
            let kinds = [Answer::Quote, Answer::Unknown, Answer::NoData, Answer::Failed, Answer::Away];
            let (mut router, mut now) = (Router::default(), Duration::ZERO);
            router.add(symbol(), || Lanes(serving));
            for (lane, kind, wait, away) in answers {
                now += Duration::from_secs(wait);
                router.set_away(Lanes(away));
                router.answer(symbol(), Lane(lane), kinds[kind], now);
                if let Some(lane) = router.lane(symbol(), now) {
                    prop_assert!(serving & !away & (1 << lane.0) != 0);
                }
            }
            router.set_away(Lanes(0));
            prop_assert_eq!(router.lane(symbol(), now + UNKNOWN_FOR), router.preferred(symbol()));
        }
    }
}
