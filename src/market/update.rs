//! One published update: its raw bytes, its symbol and its `seq`, read once.
//!
//! Three message shapes arrive on the updates channel: one object, an array of objects, or
//! `{"type":"price_updates","updates":[…]}`. Each object is routed by its top-level `symbol`; one without a symbol but
//! with another `type` is a notice for every client. The bytes are never re-serialised: unknown fields, number text
//! and field order stay as they were published. The one addition is `data.timestamp`, where the publisher left it out.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::symbol::{Symbol, SymbolError};

/// The most bytes one update may have. A quote has a few hundred; the bound protects the gateway's memory, which
/// holds one update per watched symbol, and lets every client message limit stay far below it.
pub const MAX_UPDATE_BYTES: usize = 256 * 1024;

/// One update, borrowed from the message it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// Whose it is.
    pub symbol: Symbol,
    /// Its place in the symbol's order, when the publisher gave one.
    pub seq: Option<u64>,
    /// The object as published.
    pub raw: &'a str,
    stamp: Stamp,
}

/// Whether `data.timestamp` has to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Present,
    Missing,
}

/// What a message on the updates channel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// An update for the subscribers of its symbol.
    Update(Update<'a>),
    /// An object for every client, market status say.
    Notice {
        /// Its `type`; a newer notice of the same kind replaces an older one that still waits.
        kind: Cow<'a, str>,
        /// The object as published.
        raw: &'a str,
    },
}

/// Why a message, or one object in it, was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// Not JSON, or fields of the wrong type.
    #[error("not a JSON object with a string `symbol`")]
    Json,
    /// `price_updates` without its array.
    #[error("`price_updates` without an `updates` array")]
    NoArray,
    /// Neither a symbol nor a type of its own.
    #[error("no `symbol`, and no `type` that is for everyone")]
    NoSymbol,
    /// The symbol is none.
    #[error("bad symbol: {0}")]
    Symbol(#[from] SymbolError),
    /// Longer than [`MAX_UPDATE_BYTES`].
    #[error("longer than {MAX_UPDATE_BYTES} bytes")]
    TooBig,
}

impl Malformed {
    /// The `reason` label of `tickcast_updates_dropped_total`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Malformed::Utf8 => "bad_utf8",
            Malformed::Json => "bad_json",
            Malformed::NoArray => "no_array",
            Malformed::NoSymbol => "no_symbol",
            Malformed::Symbol(_) => "bad_symbol",
            Malformed::TooBig => "too_big",
        }
    }
}

/// Reads one message of the updates channel and hands each object in it to `each`, in order.
pub fn read_message<'a>(payload: &'a [u8], mut each: impl FnMut(Result<Item<'a>, Malformed>)) {
    let Ok(text) = std::str::from_utf8(payload) else {
        return each(Err(Malformed::Utf8));
    };
    if text.trim_start().starts_with('[') {
        return read_array(text, &mut each);
    }
    match Head::read(text) {
        Ok(head) if head.kind.as_deref() == Some("price_updates") && head.symbol.is_none() => match head.updates {
            Some(updates) if updates.get().starts_with('[') => read_array(updates.get(), &mut each),
            _ => each(Err(Malformed::NoArray)),
        },
        Ok(head) => each(head.into_item(text)),
        Err(malformed) => each(Err(malformed)),
    }
}

fn read_array<'a>(text: &'a str, each: &mut impl FnMut(Result<Item<'a>, Malformed>)) {
    struct Each<F>(F);
    impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Each<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of updates")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(raw) = seq.next_element::<&'de RawValue>()? {
                (self.0)(raw);
            }
            Ok(())
        }
    }
    // The array is delivered as it is read: what stands before a syntax error is whole and has its place.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_seq(Each(|raw: &'a RawValue| {
        let text = raw.get();
        each(Head::read(text).and_then(|head| head.into_item(text)));
    }));
    if read.and_then(|()| deserializer.end()).is_err() {
        each(Err(Malformed::Json));
    }
}

impl<'a> Update<'a> {
    /// Reads one update, as `cache:quote:{symbol}` holds it.
    ///
    /// # Errors
    /// [`Malformed`] when it is none.
    pub fn read(text: &'a str) -> Result<Update<'a>, Malformed> {
        match Head::read(text)?.into_item(text)? {
            Item::Update(update) => Ok(update),
            Item::Notice { .. } => Err(Malformed::NoSymbol),
        }
    }

    /// The update's JSON as clients get it: the published bytes, with `data.timestamp` added when it was left out (the
    /// outer `timestamp`, or else `received`).
    #[must_use]
    pub fn json(&self, received: Timestamp) -> Cow<'a, str> {
        match self.stamp {
            Stamp::Present => Cow::Borrowed(self.raw),
            Stamp::Missing => stamped(self.raw, received).map_or(Cow::Borrowed(self.raw), Cow::Owned),
        }
    }

    /// When it says it was published: its own `timestamp`, or else its data's.
    #[must_use]
    pub fn published_at(&self) -> Option<Timestamp> {
        let stamps = Stamps::read(self.raw);
        stamps.outer.or(stamps.data)
    }

    /// Whether this update is newer than `other`, both of the same symbol: a higher `seq`; without one on both, a later
    /// `data.timestamp`, then a later `timestamp`, then other bytes.
    #[must_use]
    pub fn is_newer_than(&self, other: &Update<'_>) -> bool {
        if let (Some(mine), Some(theirs)) = (self.seq, other.seq) {
            return mine > theirs;
        }
        let (mine, theirs) = (Stamps::read(self.raw), Stamps::read(other.raw));
        for (mine, theirs) in [(mine.data, theirs.data), (mine.outer, theirs.outer)] {
            if let (Some(mine), Some(theirs)) = (mine, theirs)
                && mine != theirs
            {
                return mine > theirs;
            }
        }
        self.raw != other.raw
    }
}

/// `raw` with `"timestamp"` as the last field of its `data` object.
fn stamped(raw: &str, received: Timestamp) -> Option<String> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
        #[serde(borrow, default)]
        timestamp: Option<&'a RawValue>,
    }
    let parts: Parts<'_> = serde_json::from_str(raw).ok()?;
    let data = parts.data.get();
    let brace = data.as_ptr().addr() - raw.as_ptr().addr() + data.len() - 1;
    let comma = if data[1..data.len() - 1].trim().is_empty() { "" } else { "," };
    let now;
    let stamp = if let Some(outer) = parts.timestamp.map(RawValue::get).filter(|&text| text != "null") {
        outer
    } else {
        now = format!("\"{received:.3}\"");
        &now
    };
    Some([&raw[..brace], comma, "\"timestamp\":", stamp, &raw[brace..]].concat())
}

/// The two times an update may carry, read only when two updates without `seq` are compared.
struct Stamps {
    data: Option<Timestamp>,
    outer: Option<Timestamp>,
}

impl Stamps {
    fn read(raw: &str) -> Stamps {
        #[derive(Deserialize)]
        struct Outer<'a> {
            #[serde(borrow, default)]
            data: Option<&'a RawValue>,
            #[serde(borrow, default)]
            timestamp: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Inner<'a> {
            #[serde(borrow, default)]
            timestamp: Option<&'a RawValue>,
        }
        let Ok(outer) = serde_json::from_str::<Outer<'_>>(raw) else {
            return Stamps { data: None, outer: None };
        };
        let inner = outer.data.and_then(|data| serde_json::from_str::<Inner<'_>>(data.get()).ok());
        Stamps {
            data: inner.and_then(|inner| inner.timestamp).and_then(|raw| read_time(raw.get())),
            outer: outer.timestamp.and_then(|raw| read_time(raw.get())),
        }
    }
}

/// A time as JSON: an RFC 3339 string, or a Unix time in seconds or, from 10^11 on (the year 5138 in seconds),
/// milliseconds.
#[must_use]
pub fn read_time(json: &str) -> Option<Timestamp> {
    if let Some(text) = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return text.parse().ok();
    }
    let number: i64 = json.split('.').next()?.parse().ok()?;
    if number >= 100_000_000_000 {
        Timestamp::from_millisecond(number).ok()
    } else {
        Timestamp::from_second(number).ok()
    }
}

/// The few fields that routing needs; the rest is skipped, not built.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    symbol: Option<Text<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(default)]
    seq: Seq,
    #[serde(default)]
    data: Data,
    #[serde(borrow, default)]
    updates: Option<&'a RawValue>,
}

impl<'a> Head<'a> {
    fn read(text: &'a str) -> Result<Head<'a>, Malformed> {
        serde_json::from_str(text).map_err(|_| Malformed::Json)
    }

    fn into_item(self, text: &'a str) -> Result<Item<'a>, Malformed> {
        let raw = text.trim();
        if raw.len() > MAX_UPDATE_BYTES {
            return Err(Malformed::TooBig);
        }
        match (self.symbol, self.kind) {
            (Some(symbol), _) => {
                let stamp = match self.data {
                    Data::Unstamped => Stamp::Missing,
                    Data::Stamped | Data::Other => Stamp::Present,
                };
                Ok(Item::Update(Update { symbol: Symbol::parse(&symbol)?, seq: self.seq.0, raw, stamp }))
            }
            (None, Some(kind)) if !matches!(&*kind, "price_update" | "price_updates") => {
                Ok(Item::Notice { kind: kind.0, raw })
            }
            (None, _) => Err(Malformed::NoSymbol),
        }
    }
}

/// A string borrowed where it has no escapes (`&str` alone fails on them).
struct Text<'a>(Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// A `seq` that is a whole number from 0; anything else counts as none, and the update still passes.
#[derive(Default)]
struct Seq(Option<u64>);

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seq, D::Error> {
        struct Lenient;
        impl<'de> Visitor<'de> for Lenient {
            type Value = Seq;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_u64<E>(self, seq: u64) -> Result<Seq, E> {
                Ok(Seq(Some(seq)))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Seq, E> {
                Ok(Seq(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Seq, E> {
                Ok(Seq(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Seq, E> {
                Ok(Seq(None))
            }
            fn visit_str<E>(self, _: &str) -> Result<Seq, E> {
                Ok(Seq(None))
            }
            fn visit_unit<E>(self) -> Result<Seq, E> {
                Ok(Seq(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seq, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Seq(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seq, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Seq(None))
            }
        }
        deserializer.deserialize_any(Lenient)
    }
}

/// What `data` is, as far as its timestamp goes.
#[derive(Default)]
enum Data {
    /// Absent, or no object.
    #[default]
    Other,
    Stamped,
    Unstamped,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Data, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Data;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_u64<E>(self, _: u64) -> Result<Data, E> {
                Ok(Data::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Data, E> {
                Ok(Data::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Data, E> {
                Ok(Data::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Data, E> {
                Ok(Data::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Data, E> {
                Ok(Data::Other)
            }
            fn visit_unit<E>(self) -> Result<Data, E> {
                Ok(Data::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Data::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut stamped = false;
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    stamped |= &*key == "timestamp";
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(if stamped { Data::Stamped } else { Data::Unstamped })
            }
        }
        deserializer.deserialize_any(Look)
    }
}

#[cfg(test)]
mod tests;
