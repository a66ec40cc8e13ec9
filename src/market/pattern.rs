//! Patterns of symbols, in which `*` matches any run of characters.

use super::symbol::Symbol;

/// A symbol in which `*` matches any run of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<[u8]>);

impl Pattern {
    /// Upper-cases like symbols.
    #[must_use]
    pub fn new(text: &str) -> Pattern {
        Pattern(text.trim().to_ascii_uppercase().into_bytes().into())
    }

    /// Whether the whole of `symbol` is matched.
    #[must_use]
    pub fn matches(&self, symbol: Symbol) -> bool {
        matches(&self.0, symbol.as_str().as_bytes())
    }
}

/// A list of patterns; matches what any of them matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// In order.
    #[must_use]
    pub fn new(patterns: &[String]) -> Patterns {
        Patterns(patterns.iter().map(|pattern| Pattern::new(pattern)).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches.
    #[must_use]
    pub fn matches(&self, symbol: Symbol) -> bool {
        self.0.iter().any(|pattern| pattern.matches(symbol))
    }
}

/// Greedy with one step back: linear in practice, `pattern · text` at worst (32 bytes of text).
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and where in the text its run began.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_run() {
        for (pattern, text, expected) in [
            ("*", "AAPL", true),
            ("AAPL", "AAPL", true),
            ("AAPL", "AAPLX", false),
            ("*-usd", "BTC-USD", true),
            ("*-USD", "BTC-USDT", false),
            ("B*-*T", "BTC-USDT", true),
            ("*A*A*", "BANANA", true),
            ("*A*A*A*A*", "BANANA", false),
            ("^*", "^NSEI", true),
            ("", "A", false),
        ] {
            let patterns = Patterns::new(&[pattern.to_owned()]);
            assert_eq!(patterns.matches(Symbol::parse(text).unwrap()), expected, "{pattern} {text}");
        }
    }
}
