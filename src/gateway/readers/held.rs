//! Symbols that were asked for lately: each counts as watched until its time is over.
//!
//! Pure; time is an argument. Bounded: beyond its capacity the symbol whose last request is longest ago gives way, since
//! whoever still wants it asks again, and a flood of made-up symbols pushes out its own first.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use hashbrown::HashMap;

use crate::market::Symbol;

/// See the module. Its owner is the seat.
#[derive(Debug)]
pub(super) struct Held {
    until_ms: HashMap<Symbol, u64>,
    by_end: BTreeSet<(u64, Symbol)>,
    capacity: NonZeroUsize,
}

/// What [`Held::touch`] did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// It was held already.
    Known,
    /// It was not held.
    New,
    /// It was not held, and took the place of this one.
    InsteadOf(Symbol),
}

impl Held {
    pub(super) fn new(capacity: NonZeroUsize) -> Held {
        Held { until_ms: HashMap::new(), by_end: BTreeSet::new(), capacity }
    }

    /// Holds `symbol` until then; never shortens.
    pub(super) fn touch(&mut self, symbol: Symbol, until_ms: u64) -> Touched {
        if let Some(known) = self.until_ms.get_mut(&symbol) {
            if *known < until_ms {
                self.by_end.remove(&(*known, symbol));
                self.by_end.insert((until_ms, symbol));
                *known = until_ms;
            }
            return Touched::Known;
        }
        let full = self.until_ms.len() == self.capacity.get();
        let evicted = if full { self.by_end.pop_first() } else { None };
        self.until_ms.insert(symbol, until_ms);
        self.by_end.insert((until_ms, symbol));
        match evicted {
            Some((_, evicted)) => {
                self.until_ms.remove(&evicted);
                Touched::InsteadOf(evicted)
            }
            None => Touched::New,
        }
    }

    /// Takes out the next symbol whose time is over.
    pub(super) fn pop_ended(&mut self, now_ms: u64) -> Option<Symbol> {
        let &(until_ms, symbol) = self.by_end.first()?;
        if until_ms > now_ms {
            return None;
        }
        self.by_end.pop_first();
        self.until_ms.remove(&symbol);
        Some(symbol)
    }

    /// When the next one's time is over.
    pub(super) fn next_end_ms(&self) -> Option<u64> {
        self.by_end.first().map(|&(until_ms, _)| until_ms)
    }

    pub(super) fn contains(&self, symbol: Symbol) -> bool {
        self.until_ms.contains_key(&symbol)
    }

    pub(super) fn len(&self) -> usize {
        self.until_ms.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    fn held(capacity: usize) -> Held {
        Held::new(NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn a_symbol_is_held_until_its_last_request_is_old() {
        let mut held = held(9);
        assert_eq!(held.touch(symbol("A"), 60), Touched::New);
        assert_eq!(held.touch(symbol("B"), 70), Touched::New);
        assert_eq!(held.touch(symbol("A"), 90), Touched::Known);
        assert_eq!(held.touch(symbol("A"), 80), Touched::Known, "never shortened");
        assert_eq!((held.pop_ended(69), held.next_end_ms()), (None, Some(70)));
        assert_eq!((held.pop_ended(70), held.pop_ended(89)), (Some(symbol("B")), None));
        assert_eq!((held.pop_ended(90), held.next_end_ms(), held.len()), (Some(symbol("A")), None, 0));
    }

    #[test]
    fn the_one_asked_for_longest_ago_gives_way() {
        let mut held = held(2);
        held.touch(symbol("A"), 1);
        held.touch(symbol("B"), 2);
        held.touch(symbol("A"), 3);
        assert_eq!(held.touch(symbol("C"), 4), Touched::InsteadOf(symbol("B")));
        assert_eq!((held.len(), held.contains(symbol("A")), held.contains(symbol("B"))), (2, true, false));
    }
}
