//! Which symbols a provider serves: patterns in which `*` matches any run of characters.

use crate::market::Symbol;

/// A list of patterns; matches what any of them matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Box<[u8]>>);

impl Patterns {
    /// Upper-cases like symbols.
    #[must_use]
    pub fn new(patterns: &[String]) -> Patterns {
        Patterns(patterns.iter().map(|pattern| pattern.trim().to_ascii_uppercase().into_bytes().into()).collect())
    }

    /// Whether there are none: the provider's own default holds.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them matches.
    #[must_use]
    pub fn matches(&self, symbol: Symbol) -> bool {
        self.0.iter().any(|pattern| matches(pattern, symbol.as_str().as_bytes()))
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
