//! Symbols beside the vendor's spelling of them, which is what its rows are matched by.

use super::{Missing, Progress};
use crate::market::Symbol;

/// Symbols that a vendor can spell, each with its spelling. Two symbols may have one spelling: they are asked for once
/// and answered twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spelled(Vec<(Symbol, String)>);

impl Spelled {
    /// Spells `symbols`; those that cannot be spelled are unknown to the vendor, and so noted in `progress`.
    pub fn new<S>(symbols: &[Symbol], progress: &mut Progress<S>, spell: impl Fn(Symbol) -> Option<String>) -> Spelled {
        let mut spelled = Spelled::default();
        for &symbol in symbols {
            match spell(symbol) {
                Some(text) => spelled.0.push((symbol, text)),
                None => progress.missing.push((symbol, Missing::UnknownSymbol)),
            }
        }
        spelled
    }

    /// Each spelling once, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        let mut texts: Vec<&str> = Vec::with_capacity(self.0.len());
        for (_, text) in &self.0 {
            if !texts.contains(&text.as_str()) {
                texts.push(text);
            }
        }
        texts
    }

    /// The symbols.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        self.0.iter().map(|(symbol, _)| *symbol).collect()
    }

    /// Each symbol with its spelling.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &str)> {
        self.0.iter().map(|(symbol, text)| (*symbol, text.as_str()))
    }

    /// In pieces of at most `size` symbols.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Spelled> + '_ {
        self.0.chunks(size.max(1)).map(|chunk| Spelled(chunk.to_vec()))
    }

    /// Those whose spelling is like this, and the others.
    #[must_use]
    pub fn partition(self, is_like: impl Fn(&str) -> bool) -> (Spelled, Spelled) {
        let (like, unlike) = self.0.into_iter().partition(|(_, text)| is_like(text));
        (Spelled(like), Spelled(unlike))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Symbol, String)> for Spelled {
    fn from_iter<I: IntoIterator<Item = (Symbol, String)>>(spelled: I) -> Spelled {
        Spelled(spelled.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_symbols_of_one_spelling_are_asked_for_once() {
        let symbols = ["BRK.B", "BRK-B", "AAPL", "^X"].map(|text| Symbol::parse(text).unwrap());
        let mut progress: Progress<()> = Progress::default();
        let spell = |symbol: Symbol| (!symbol.as_str().starts_with('^')).then(|| symbol.as_str().replace('-', "."));
        let spelled = Spelled::new(&symbols, &mut progress, spell);
        assert_eq!(spelled.texts(), ["BRK.B", "AAPL"]);
        assert_eq!(spelled.symbols(), symbols[..3]);
        assert_eq!(progress.missing, [(symbols[3], Missing::UnknownSymbol)]);
        assert_eq!(spelled.chunks(2).map(|chunk| chunk.symbols().len()).collect::<Vec<_>>(), [2, 1]);
    }
}
