//! A ticker symbol, parsed and upper-cased once at the border.
//!
//! Held inline in 32 bytes, zero-padded, so that a symbol is `Copy`, costs no allocation and hashes and compares as
//! a fixed block. It does not know which market or vendor it belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest symbol there is, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 32;

/// A valid symbol: 1–32 of `A–Z 0–9 . - _ : ^ = / & @`, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol([u8; MAX_SYMBOL_BYTES]);

/// Why a text is no symbol. Every variant is `invalid_symbol` to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SymbolError {
    /// Nothing there.
    #[error("a symbol must not be empty")]
    Empty,
    /// More than [`MAX_SYMBOL_BYTES`].
    #[error("a symbol has at most {MAX_SYMBOL_BYTES} characters")]
    TooLong,
    /// A character outside the allowed set.
    #[error("a symbol is made of A-Z 0-9 . - _ : ^ = / & @")]
    BadCharacter,
}

impl Symbol {
    /// Parses and upper-cases `text`.
    ///
    /// # Errors
    /// [`SymbolError`] when it is empty, too long or has a character outside the set.
    pub fn parse(text: &str) -> Result<Symbol, SymbolError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(SymbolError::Empty);
        }
        if bytes.len() > MAX_SYMBOL_BYTES {
            return Err(SymbolError::TooLong);
        }
        let mut block = [0; MAX_SYMBOL_BYTES];
        for (to, from) in block.iter_mut().zip(bytes) {
            let upper = from.to_ascii_uppercase();
            if !is_symbol_byte(upper) {
                return Err(SymbolError::BadCharacter);
            }
            *to = upper;
        }
        Ok(Symbol(block))
    }

    /// The symbol's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0[..self.len()]).expect("parse admits ASCII only")
    }

    /// Length in bytes, 1 to 32.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a symbol is never empty")]
    pub fn len(&self) -> usize {
        self.0.iter().position(|&b| b == 0).unwrap_or(MAX_SYMBOL_BYTES)
    }
}

const fn is_symbol_byte(upper: u8) -> bool {
    matches!(upper, b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'^' | b'=' | b'/' | b'&' | b'@')
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;
    fn from_str(text: &str) -> Result<Symbol, SymbolError> {
        Symbol::parse(text)
    }
}

impl AsRef<str> for Symbol {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Serialize for Symbol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Symbol, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Symbol::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn symbols_are_upper_cased_once_at_the_border() {
        assert_eq!(Symbol::parse("brk.b").unwrap().as_str(), "BRK.B");
        assert_eq!(Symbol::parse("M&M").unwrap().to_string(), "M&M");
        assert_eq!(Symbol::parse("binance:BTCUSDT").unwrap().as_str(), "BINANCE:BTCUSDT");
    }

    #[test]
    fn a_bad_symbol_says_what_is_wrong() {
        assert_eq!(Symbol::parse(""), Err(SymbolError::Empty));
        assert_eq!(Symbol::parse("TC S"), Err(SymbolError::BadCharacter));
        assert_eq!(Symbol::parse("é"), Err(SymbolError::BadCharacter));
        assert_eq!(Symbol::parse("A\0"), Err(SymbolError::BadCharacter));
        assert_eq!(Symbol::parse("*"), Err(SymbolError::BadCharacter));
        assert_eq!(Symbol::parse(&"A".repeat(33)), Err(SymbolError::TooLong));
        assert_eq!(Symbol::parse(&"A".repeat(32)).unwrap().len(), 32);
    }

    proptest! {
        #[test]
        fn whatever_parses_is_its_own_upper_case(text in "\\PC{0,40}") {
            match Symbol::parse(&text) {
                Ok(symbol) => {
                    prop_assert_eq!(symbol.as_str(), text.to_ascii_uppercase());
                    prop_assert_eq!(Symbol::parse(symbol.as_str()).unwrap(), symbol);
                }
                Err(SymbolError::Empty) => prop_assert!(text.is_empty()),
                Err(SymbolError::TooLong) => prop_assert!(text.len() > MAX_SYMBOL_BYTES),
                Err(SymbolError::BadCharacter) => prop_assert!(!text.is_empty()),
            }
        }
    }
}
