//! A field of a vendor's JSON, whatever type it has today.
//!
//! Vendors send numbers as numbers and as strings, times in four units, one row as an object and several as an array,
//! and change their minds. So rows are read as raw fields, and each is asked for what it should be: one odd field loses
//! that field and not the whole answer.

use std::borrow::Cow;

use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Failure;
use crate::market::{Bar, Number};

/// A field as it came; missing and `null` are the same.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub struct Field<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl<'a> Field<'a> {
    /// Its JSON, unless it is missing.
    #[must_use]
    pub fn json(self) -> Option<&'a str> {
        self.0.map(RawValue::get)
    }

    /// Its number, the vendor's own text; of a string the number in it.
    #[must_use]
    pub fn number(self) -> Option<Number> {
        Number::from_json(self.0?)
    }

    /// A number above zero: a price.
    #[must_use]
    pub fn price(self) -> Option<Number> {
        self.number().filter(Number::is_positive)
    }

    /// A whole number; of one with a fraction the whole part.
    #[must_use]
    pub fn whole(self) -> Option<i64> {
        let number = self.number()?;
        number.as_str().parse().ok().or_else(|| number.to_decimal()?.to_i64())
    }

    /// Its text, if it is a string.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        let json = self.json()?;
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
    }

    /// A time in seconds since 1970; 0 is none.
    #[must_use]
    pub fn seconds(self) -> Option<Timestamp> {
        self.time(|seconds| Timestamp::from_second(seconds).ok())
    }

    /// A time in milliseconds since 1970; 0 is none.
    #[must_use]
    pub fn millis(self) -> Option<Timestamp> {
        self.time(|millis| Timestamp::from_millisecond(millis).ok())
    }

    /// A time in nanoseconds since 1970; 0 is none.
    #[must_use]
    pub fn nanos(self) -> Option<Timestamp> {
        self.time(|nanos| Timestamp::from_nanosecond(nanos.into()).ok())
    }

    fn time(self, read: impl Fn(i64) -> Option<Timestamp>) -> Option<Timestamp> {
        self.whole().filter(|&whole| whole > 0).and_then(read)
    }

    /// Its rows: of an array all, of anything else that one, of nothing none.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when they have another shape.
    pub fn rows<T: Deserialize<'a>>(self) -> Result<Vec<T>, Failure> {
        match self.json() {
            None => Ok(Vec::new()),
            Some(json) if json.starts_with('[') => read(json),
            Some(json) => Ok(vec![read(json)?]),
        }
    }

    /// What it holds; `None` when it is missing.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it has another shape.
    pub fn read<T: Deserialize<'a>>(self) -> Result<Option<T>, Failure> {
        self.json().map(read).transpose()
    }
}

/// The bar of these: open, high, low, close, and the volume. `None` where one of the prices is missing.
#[must_use]
pub fn bar(start: Option<Timestamp>, prices: [Field<'_>; 4], volume: Field<'_>) -> Option<Bar> {
    let [open, high, low, close] = prices.map(Field::price);
    Some(Bar { start: start?, open: open?, high: high?, low: low?, close: close?, volume: volume.number() })
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| Failure::Malformed(error.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Row<'a> {
        #[serde(borrow, default)]
        f: Field<'a>,
    }

    fn field(json: &str) -> Field<'_> {
        serde_json::from_str::<Row<'_>>(json).unwrap().f
    }

    #[test]
    fn a_field_is_what_it_is_asked_for_or_nothing() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for (json, number, whole) in [
            (r#"{"f":1.50}"#, Some("1.50"), Some(1)),
            (r#"{"f":"1,234.5"}"#, Some("1234.5"), Some(1234)),
            (r#"{"f":642646396.0}"#, Some("642646396.0"), Some(642_646_396)),
            (r#"{"f":" 7 "}"#, Some("7"), Some(7)),
            (r#"{"f":null}"#, None, None),
            (r#"{"f":""}"#, None, None),
            (r#"{"f":[1]}"#, None, None),
            (r#"{"f":true}"#, None, None),
            ("{}", None, None),
        ] {
            let number = number.map(|text| Number::parse(text).unwrap());
            assert_eq!((field(json).number(), field(json).whole()), (number, whole), "{json}");
        }
        assert_eq!(field(r#"{"f":1795208400}"#).seconds(), at("2026-11-20T21:00:00Z"));
        assert_eq!(field(r#"{"f":1795208400123}"#).millis(), at("2026-11-20T21:00:00.123Z"));
        assert_eq!(field(r#"{"f":1795208400123456789}"#).nanos(), at("2026-11-20T21:00:00.123456789Z"));
        assert_eq!(field(r#"{"f":0}"#).seconds(), None);
        assert_eq!(field(r#"{"f":-5}"#).seconds(), None);
        assert_eq!(field(r#"{"f":9223372036854775807}"#).seconds(), None);
    }

    #[test]
    fn a_text_is_unescaped() {
        assert_eq!(field(r#"{"f":"BRK\/B"}"#).text().unwrap(), "BRK/B");
        assert_eq!(field(r#"{"f":"AAPL"}"#).text().unwrap(), "AAPL");
        assert_eq!(field(r#"{"f":7}"#).text(), None);
    }

    #[test]
    fn one_row_is_an_object_several_an_array_and_none_nothing() {
        for (json, rows) in [
            (r#"{"f":[1,2]}"#, Some(vec![1, 2])),
            (r#"{"f":1}"#, Some(vec![1])),
            (r#"{"f":null}"#, Some(vec![])),
            ("{}", Some(vec![])),
            (r#"{"f":"x"}"#, None),
        ] {
            assert_eq!(field(json).rows::<u8>().ok(), rows, "{json}");
        }
    }
}
