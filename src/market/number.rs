//! A decimal number as the vendor wrote it.
//!
//! Prices travel as text from the vendor's body to the client's: `2450.50` stays `2450.50`, never `2450.5` and never
//! through a binary float. Arithmetic, where it is needed at all, is decimal.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

/// The longest number text taken from a vendor, in bytes; far above any price or volume there is.
pub const MAX_NUMBER_BYTES: usize = 40;

/// The text of a JSON number (RFC 8259 §6), at most [`MAX_NUMBER_BYTES`] long.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Box<str>);

/// The text is no JSON number, or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number")]
pub struct NumberError;

impl Number {
    /// Takes `text` as it is when it is a JSON number, or after dropping what vendors add around one: blanks, a
    /// leading `+`, a trailing `%`, thousands commas, leading zeros before digits.
    ///
    /// # Errors
    /// [`NumberError`] for anything else, `NaN` and empty text included.
    pub fn parse(text: &str) -> Result<Number, NumberError> {
        let text = text.trim();
        if is_json_number(text) {
            return Ok(Number(text.into()));
        }
        let text = text.strip_suffix('%').unwrap_or(text).trim_end();
        let text = text.strip_prefix('+').unwrap_or(text);
        let mut plain: String = text.chars().filter(|&c| c != ',').collect();
        let sign = usize::from(plain.starts_with('-'));
        while plain[sign..].len() > 1 && plain[sign..].starts_with('0') && plain.as_bytes()[sign + 1].is_ascii_digit() {
            plain.remove(sign);
        }
        if plain[sign..].starts_with('.') {
            plain.insert(sign, '0');
        }
        if is_json_number(&plain) { Ok(Number(plain.into_boxed_str())) } else { Err(NumberError) }
    }

    /// The number in a JSON value: a bare number or a string holding one. `None` for null, empty strings, anything else.
    #[must_use]
    pub fn from_json(raw: &RawValue) -> Option<Number> {
        let text = raw.get();
        if let Some(inner) = text.strip_prefix('"') {
            return Number::parse(inner.strip_suffix('"')?).ok();
        }
        is_json_number(text).then(|| Number(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, when it fits 96 bits of decimal mantissa.
    #[must_use]
    pub fn to_decimal(&self) -> Option<Decimal> {
        if self.0.contains(['e', 'E']) {
            Decimal::from_scientific(&self.0).ok()
        } else {
            Decimal::from_str(&self.0).ok()
        }
    }

    /// Whether the value is above zero. A price that is not is no price.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        let mantissa = self.0.split(['e', 'E']).next().unwrap_or_default();
        !mantissa.starts_with('-') && mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b))
    }
}

impl From<Decimal> for Number {
    fn from(value: Decimal) -> Number {
        Number(value.to_string().into_boxed_str())
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        Number(value.to_string().into_boxed_str())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`, and no larger than what its readers' numbers hold (RFC 8259 §6
/// suggests IEEE 754 doubles; a browser would read 1e999 as infinity).
fn is_json_number(text: &str) -> bool {
    if text.len() > MAX_NUMBER_BYTES {
        return false;
    }
    let rest = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let places = digits(fraction);
        if places == 0 {
            return false;
        }
        rest = &fraction[places..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let places = digits(exponent);
        return places > 0 && places == exponent.len() && text.parse().is_ok_and(f64::is_finite);
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vendors_text_is_kept() {
        for text in ["2450.50", "0", "-0.10", "1e5", "642646396.0", "88199.90000000"] {
            assert_eq!(Number::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_vendors_add_around_a_number_is_dropped() {
        for (text, plain) in [
            ("+1.20", "1.20"),
            ("1.1794%", "1.1794"),
            ("1,234,567", "1234567"),
            (".5", "0.5"),
            ("007.5", "7.5"),
            (" 24.1 ", "24.1"),
        ] {
            assert_eq!(Number::parse(text).unwrap().as_str(), plain);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "NaN", "1.", "1e", "0x10", "1 2", "--1", "Infinity", "1.2.3", "1e999", "88199.91e999000"]
        {
            assert_eq!(Number::parse(text), Err(NumberError), "{text}");
        }
        assert!(Number::parse(&"1".repeat(41)).is_err());
    }

    #[test]
    fn zero_and_negative_prices_are_no_prices() {
        for (text, positive) in [("0.00", false), ("0e9", false), ("-1", false), ("0.01", true), ("1e-9", true)] {
            assert_eq!(Number::parse(text).unwrap().is_positive(), positive, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_always_json(text in "[-+0-9.,eE% ]{0,24}") {
            if let Ok(number) = Number::parse(&text) {
                prop_assert!(serde_json::from_str::<&RawValue>(number.as_str()).is_ok());
                prop_assert!(serde_json::from_str::<serde_json::Number>(number.as_str()).is_ok());
            }
        }
    }
}
