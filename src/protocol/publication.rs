//! One update, encoded for delivery: each variant of its frame is built at most once and shared by all who get it.
//!
//! The live frame is built when the update arrives; the others when the first client needs them. A publication is
//! immutable and crosses threads in an `Arc`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{deflate, frame};
use crate::market::{Symbol, Update};

/// Which form of update a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// `{"type":"price_update","symbol":…,"data":{…}}`: the bytes as published.
    #[default]
    Nested,
    /// `{"type":"price_update","ticker":…,"price":…}`: the fields of `data` on top.
    Flat,
}

/// How a client's messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coding {
    /// As they are.
    #[default]
    Plain,
    /// permessage-deflate was agreed: those that gain by it are compressed.
    Deflate,
}

/// What a client's updates look like on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    /// Which fields where.
    pub dialect: Dialect,
    /// Compressed or not.
    pub coding: Coding,
}

/// How an update came to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// As it was published.
    Live,
    /// As the last known quote: marked `"snapshot":true`.
    Snapshot,
}

/// An update on its way to clients.
pub struct Publication {
    symbol: Symbol,
    hash: u64,
    seq: Option<u64>,
    received_us: u64,
    /// From when it is fresh: its receipt, or when it was published, where it waited in a cache.
    fresh_us: u64,
    live: Box<[u8]>,
    /// Most updates are only ever sent as they were published.
    others: OnceLock<Box<Others>>,
}

/// The variants besides the live frame, each built for the first client that needs it.
#[derive(Default)]
struct Others {
    snapshot: OnceLock<Box<[u8]>>,
    flat: OnceLock<Box<[u8]>>,
    flat_snapshot: OnceLock<Box<[u8]>>,
    /// Compressed, in the order of [`deflated_index`]; `None` where that gains nothing.
    deflated: [OnceLock<Option<Box<[u8]>>>; 4],
}

impl Publication {
    /// Encodes `json`, the update's text as clients get it. `hash` is the symbol's, as the board hashes; `received_us`
    /// is when it arrived, on the process's monotonic clock.
    #[must_use]
    pub fn new(symbol: Symbol, seq: Option<u64>, json: &str, hash: u64, received_us: u64) -> Publication {
        Publication {
            symbol,
            hash,
            seq,
            received_us,
            fresh_us: received_us,
            live: frame::text(json),
            others: OnceLock::new(),
        }
    }

    /// Fresh only from `fresh_us`, having waited in a cache since.
    #[must_use]
    pub fn since(self, fresh_us: u64) -> Publication {
        Publication { fresh_us, ..self }
    }

    /// From when it is fresh, in µs on the process's monotonic clock.
    #[must_use]
    pub fn fresh_us(&self) -> u64 {
        self.fresh_us
    }

    /// Whose it is.
    #[must_use]
    pub fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// The symbol's hash.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Its place in the symbol's order.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// When it arrived, in µs on the process's monotonic clock.
    #[must_use]
    pub fn received_us(&self) -> u64 {
        self.received_us
    }

    /// The ready frame of one variant.
    #[must_use]
    pub fn frame(&self, form: Form, freshness: Freshness) -> &[u8] {
        let plain = self.plain(form.dialect, freshness);
        if form.coding == Coding::Plain || plain.len() < deflate::MIN_BYTES {
            return plain;
        }
        let cell = &self.others().deflated[deflated_index(form.dialect, freshness)];
        let deflated = cell.get_or_init(|| {
            let compressed = deflate::compress(&plain[frame::payload_offset(plain)..]);
            let frame = frame::deflated_text(&compressed);
            (frame.len() < plain.len()).then_some(frame)
        });
        deflated.as_deref().unwrap_or(plain)
    }

    /// The text of one variant, for readers that are not sockets.
    #[must_use]
    pub fn text(&self, dialect: Dialect, freshness: Freshness) -> &str {
        payload(self.plain(dialect, freshness))
    }

    /// The quote as a REST answer has it: the fields of the flat dialect under its `symbol`, then how old it is.
    #[must_use]
    pub fn quote(&self, age_ms: u64, is_old: bool) -> String {
        let flat = self.text(Dialect::Flat, Freshness::Live);
        let mut stale = is_old;
        let mut json = format!(r#"{{"symbol":"{}""#, self.symbol);
        for (name, raw) in fields(flat) {
            match &*name {
                "type" | "ticker" | "age_ms" => {}
                // What the publisher says of its age counts too.
                "stale" => stale |= raw.get() == "true",
                _ => {
                    json.push(',');
                    json.push_str(&serde_json::to_string(&*name).expect("a string is JSON"));
                    json.push(':');
                    json.push_str(raw.get());
                }
            }
        }
        write!(json, r#","age_ms":{age_ms},"stale":{stale}}}"#).expect("writing to a String cannot fail");
        json
    }

    fn plain(&self, dialect: Dialect, freshness: Freshness) -> &[u8] {
        let json = || self.json();
        let flat = || as_flat(self.symbol, self.json());
        match (dialect, freshness) {
            (Dialect::Nested, Freshness::Live) => &self.live,
            (Dialect::Nested, Freshness::Snapshot) => {
                self.others().snapshot.get_or_init(|| frame::text(&as_snapshot(json())))
            }
            (Dialect::Flat, Freshness::Live) => self.others().flat.get_or_init(|| frame::text(&flat())),
            (Dialect::Flat, Freshness::Snapshot) => {
                self.others().flat_snapshot.get_or_init(|| frame::text(&as_snapshot(&flat())))
            }
        }
    }

    fn others(&self) -> &Others {
        self.others.get_or_init(Box::default)
    }

    /// The update's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        payload(&self.live)
    }

    /// Whether it says that its market is closed, so that no newer one is to be expected.
    #[must_use]
    pub fn is_of_closed_market(&self) -> bool {
        self.json().contains(r#""marketState":"CLOSED""#)
    }

    /// Whether this is newer than `other`, of the same symbol: [`Update::is_newer_than`].
    #[must_use]
    pub fn is_newer_than(&self, other: &Publication) -> bool {
        if let (Some(mine), Some(theirs)) = (self.seq, other.seq) {
            return mine > theirs;
        }
        match (Update::read(self.json()), Update::read(other.json())) {
            (Ok(mine), Ok(theirs)) => mine.is_newer_than(&theirs),
            _ => self.live != other.live,
        }
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").field("symbol", &self.symbol).field("seq", &self.seq).finish_non_exhaustive()
    }
}

fn deflated_index(dialect: Dialect, freshness: Freshness) -> usize {
    match (dialect, freshness) {
        (Dialect::Nested, Freshness::Live) => 0,
        (Dialect::Nested, Freshness::Snapshot) => 1,
        (Dialect::Flat, Freshness::Live) => 2,
        (Dialect::Flat, Freshness::Snapshot) => 3,
    }
}

/// A notice for every client, ready to be sent; a newer one of the same kind replaces one that still waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its `type`, or the status it tells.
    pub kind: Box<str>,
    /// Its frame.
    pub frame: Box<[u8]>,
}

impl Notice {
    /// Encodes a notice.
    #[must_use]
    pub fn new(kind: &str, json: &str) -> Notice {
        Notice { kind: kind.into(), frame: frame::text(json) }
    }

    /// The notice's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        payload(&self.frame)
    }
}

/// The text of a frame made here.
fn payload(frame: &[u8]) -> &str {
    std::str::from_utf8(&frame[frame::payload_offset(frame)..]).expect("built from a str")
}

/// The object with `"snapshot":true` as its last field.
fn as_snapshot(json: &str) -> String {
    let open = json.trim_end().strip_suffix('}').unwrap_or(json);
    let comma = if open.trim() == "{" { "" } else { "," };
    [open, comma, "\"snapshot\":true}"].concat()
}

/// The flat dialect: `type`, `ticker`, the fields of `data` in their order, then what else the update had on top.
/// Values keep their text.
fn as_flat(symbol: Symbol, json: &str) -> String {
    let outer = fields(json);
    let data = outer.iter().find(|(name, _)| name == "data").map_or_else(Vec::new, |(_, raw)| fields(raw.get()));
    let mut flat = format!(r#"{{"type":"price_update","ticker":"{symbol}""#);
    let mut written: Vec<&str> = vec!["type", "ticker", "symbol"];
    let rest = outer.iter().filter(|(name, raw)| name != "data" || !raw.get().starts_with('{'));
    for (name, raw) in data.iter().chain(rest) {
        if written.contains(&&**name) {
            continue;
        }
        written.push(name);
        flat.push(',');
        flat.push_str(&serde_json::to_string(&**name).expect("a string is JSON"));
        flat.push(':');
        flat.push_str(raw.get());
    }
    flat.push('}');
    flat
}

/// An object's fields in their order; nothing for what is no object.
fn fields(json: &str) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                fields.push((name, map.next_value::<&'de RawValue>()?));
            }
            Ok(fields)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(InOrder).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: Form = Form { dialect: Dialect::Nested, coding: Coding::Plain };
    const FLAT: Form = Form { dialect: Dialect::Flat, coding: Coding::Plain };

    fn publication(json: &str) -> Publication {
        let update = Update::read(json).unwrap();
        Publication::new(update.symbol, update.seq, json, 0, 0)
    }

    const JSON: &str = r#"{"type":"price_update", "symbol":"aapl","data":{"symbol":"AAPL","price":178.50,"odd":{"a":[1, 2]},"timestamp":"T"},"seq":9,"timestamp":"U"}"#;

    #[test]
    fn a_live_frame_holds_the_published_bytes() {
        let publication = publication(JSON);
        assert_eq!(payload(publication.frame(NESTED, Freshness::Live)), JSON);
    }

    #[test]
    fn a_snapshot_is_marked_last() {
        let publication = publication(JSON);
        let snapshot = payload(publication.frame(NESTED, Freshness::Snapshot));
        assert_eq!(snapshot, format!("{},\"snapshot\":true}}", &JSON[..JSON.len() - 1]));
    }

    #[test]
    fn a_rest_answer_says_how_old_the_quote_is() {
        assert_eq!(
            publication(JSON).quote(1200, false),
            r#"{"symbol":"AAPL","price":178.50,"odd":{"a":[1, 2]},"timestamp":"T","seq":9,"age_ms":1200,"stale":false}"#
        );
        let told = publication(r#"{"symbol":"A","data":{"price":1,"stale":true},"age_ms":5,"timestamp":"U"}"#);
        assert_eq!(told.quote(7, false), r#"{"symbol":"A","price":1,"timestamp":"U","age_ms":7,"stale":true}"#);
    }

    #[test]
    fn the_flat_dialect_keeps_number_text_and_order() {
        let publication = publication(JSON);
        assert_eq!(
            payload(publication.frame(FLAT, Freshness::Live)),
            r#"{"type":"price_update","ticker":"AAPL","price":178.50,"odd":{"a":[1, 2]},"timestamp":"T","seq":9}"#
        );
        assert!(payload(publication.frame(FLAT, Freshness::Snapshot)).ends_with(r#","seq":9,"snapshot":true}"#));
    }

    #[test]
    fn an_update_without_data_is_flat_already() {
        let publication = publication(r#"{"symbol":"A","price":1.0,"data":null}"#);
        assert_eq!(
            payload(publication.frame(FLAT, Freshness::Live)),
            r#"{"type":"price_update","ticker":"A","price":1.0,"data":null}"#
        );
    }

    #[test]
    fn a_long_update_is_compressed_once_for_those_who_agreed_a_short_one_never() {
        let form = Form { dialect: Dialect::Nested, coding: Coding::Deflate };
        let short = publication(JSON);
        assert_eq!(short.frame(form, Freshness::Live), short.frame(NESTED, Freshness::Live));
        let json = format!(r#"{{"symbol":"A","pad":"{}"}}"#, "quote ".repeat(700));
        let long = publication(&json);
        let frame = long.frame(form, Freshness::Live);
        assert_eq!(frame[0], 0xc1, "final, RSV1, text");
        let inflated = deflate::inflate(&frame[frame::payload_offset(frame)..], 1 << 20).unwrap();
        assert_eq!(inflated, json.as_bytes());
        assert!(std::ptr::eq(frame, long.frame(form, Freshness::Live)), "built once");
        assert_eq!(payload(long.frame(NESTED, Freshness::Live)), json);
    }

    #[test]
    fn what_does_not_shrink_is_sent_as_it_is() {
        let noise: String = (0..600).map(|_| char::from(fastrand::u8(b'a'..=b'z'))).collect();
        let json = format!(r#"{{"symbol":"A","x":"{noise}"}}"#);
        let publication = publication(&json);
        let form = Form { dialect: Dialect::Nested, coding: Coding::Deflate };
        let frame = publication.frame(form, Freshness::Live);
        assert!(frame.len() <= publication.frame(NESTED, Freshness::Live).len());
    }
}
