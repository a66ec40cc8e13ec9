//! A cached value, as it is kept in memory and in the store.
//!
//! In the store it is a line for people and programs, then the body: `tickcast 1 FETCHED FRESH_UNTIL KEPT_UNTIL KIND CODING\n`,
//! times in Unix milliseconds. Bodies from [`COMPRESS_FROM`] bytes on are gzip, in memory too: they are handed out as they are
//! to whoever takes gzip. Pure; time is an argument. A body has at most [`MAX_BODY`] bytes, also after inflation.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// From here on a body is compressed: below it the gain is smaller than a network packet.
pub const COMPRESS_FROM: usize = 2048;
/// The longest body: [`MAX_BARS`](crate::market::bar::MAX_BARS) bars of 200 bytes, four times over.
pub const MAX_BODY: usize = 4 << 20;
/// What begins a value in the store; the number is the layout's.
const MARK: &str = "tickcast 1";
/// The longest first line.
const MAX_HEAD: usize = 100;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// When it was fetched, in Unix milliseconds.
    pub fetched_ms: u64,
    /// Until when it is answered with before it is fetched again.
    pub fresh_until_ms: u64,
    /// Until when it is better than nothing, if it cannot be fetched anew: for as long again as it was fresh.
    pub kept_until_ms: u64,
    /// What the body is.
    pub kind: Kind,
    body: Body,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for.
    Found,
    /// What was asked for some time ago; it could not be had anew.
    Old,
    /// Why there is nothing, in a word.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Plain(Bytes),
    Gzip(Bytes),
}

/// A value in the store that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cached value of this version")]
pub struct NotAValue;

impl Kind {
    const ALL: [Kind; 3] = [Kind::Found, Kind::Old, Kind::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Kind::Found => "found",
            Kind::Old => "old",
            Kind::Failed => "failed",
        }
    }
}

impl Value {
    /// A value fetched at `now_ms`, fresh for `ttl`. Compresses.
    #[must_use]
    pub fn new(kind: Kind, body: Bytes, now_ms: u64, ttl: Duration) -> Value {
        let body = match compress(&body) {
            Some(gzip) => Body::Gzip(gzip),
            None => Body::Plain(body),
        };
        let after = |span| now_ms.saturating_add(millis(span));
        Value { fetched_ms: now_ms, fresh_until_ms: after(ttl), kept_until_ms: after(ttl * 2), kind, body }
    }

    /// The same, answered with for another `ttl`, since it could not be fetched anew.
    #[must_use]
    pub fn grown_old(&self, now_ms: u64, ttl: Duration) -> Value {
        Value { fresh_until_ms: now_ms.saturating_add(millis(ttl)), kind: Kind::Old, ..self.clone() }
    }

    /// Whether it is answered with.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms < self.fresh_until_ms
    }

    /// Whether it may be answered with for want of a fresh one.
    #[must_use]
    pub fn is_better_than_nothing(&self, now_ms: u64) -> bool {
        self.kind != Kind::Failed && now_ms < self.kept_until_ms
    }

    /// Since it was fetched.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.fetched_ms)
    }

    /// The body, if it is kept as gzip.
    #[must_use]
    pub fn gzip(&self) -> Option<Bytes> {
        match &self.body {
            Body::Gzip(gzip) => Some(gzip.clone()),
            Body::Plain(_) => None,
        }
    }

    /// The body as it was given; empty if what came from the store cannot be inflated.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match &self.body {
            Body::Plain(body) => body.clone(),
            Body::Gzip(gzip) => inflate(gzip).unwrap_or_default(),
        }
    }

    /// What it takes in memory, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Plain(body) | Body::Gzip(body) => body.len() + size_of::<Value>(),
        }
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Bytes {
        let (coding, body) = match &self.body {
            Body::Plain(body) => ("plain", body),
            Body::Gzip(body) => ("gzip", body),
        };
        let Value { fetched_ms, fresh_until_ms, kept_until_ms, kind, .. } = self;
        let head = format!("{MARK} {fetched_ms} {fresh_until_ms} {kept_until_ms} {} {coding}\n", kind.as_str());
        let mut stored = head.into_bytes();
        stored.extend_from_slice(body);
        stored.into()
    }

    /// Reads what the store keeps.
    ///
    /// # Errors
    /// When it is something else, of another version say, or longer than allowed.
    pub fn read(stored: &Bytes) -> Result<Value, NotAValue> {
        let end = stored.iter().take(MAX_HEAD).position(|&byte| byte == b'\n').ok_or(NotAValue)?;
        let head = std::str::from_utf8(&stored[..end]).map_err(|_| NotAValue)?;
        let mut words = head.strip_prefix(MARK).ok_or(NotAValue)?.split_ascii_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(NotAValue);
        let (fetched_ms, fresh_until_ms, kept_until_ms) = (number()?, number()?, number()?);
        let kind = words.next().ok_or(NotAValue)?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or(NotAValue)?;
        let body = stored.slice(end + 1..);
        if body.len() > MAX_BODY {
            return Err(NotAValue);
        }
        let body = match (words.next(), words.next()) {
            (Some("plain"), None) => Body::Plain(body),
            (Some("gzip"), None) => inflate(&body).map(|_| Body::Gzip(body)).ok_or(NotAValue)?,
            _ => return Err(NotAValue),
        };
        Ok(Value { fetched_ms, fresh_until_ms, kept_until_ms, kind, body })
    }
}

/// The body as gzip, where that is shorter.
fn compress(body: &[u8]) -> Option<Bytes> {
    if body.len() < COMPRESS_FROM {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    encoder.write_all(body).ok()?;
    let gzip = encoder.finish().ok()?;
    (gzip.len() < body.len()).then(|| gzip.into())
}

/// `None`: not gzip, or longer than [`MAX_BODY`].
fn inflate(gzip: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    let read = GzDecoder::new(gzip).take(MAX_BODY as u64 + 1).read_to_end(&mut body).ok()?;
    (read <= MAX_BODY).then(|| body.into())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_value_reads_back_from_the_store() {
        for (kind, body) in
            [(Kind::Found, "short".to_owned()), (Kind::Failed, String::new()), (Kind::Old, "x".repeat(9000))]
        {
            let value = Value::new(kind, body.clone().into(), 1000, TTL);
            let stored = value.to_stored();
            let read = Value::read(&stored).unwrap();
            assert_eq!(read, value);
            assert_eq!((read.body(), read.age_ms(1500)), (Bytes::from(body), 500));
            assert!(read.is_fresh(10_999) && !read.is_fresh(11_000));
        }
    }

    #[test]
    fn large_bodies_are_compressed_and_small_ones_are_legible() {
        let large = Value::new(Kind::Found, r#"{"open":1.25,"close":1.5},"#.repeat(400).into(), 0, TTL);
        assert!(large.gzip().is_some() && large.to_stored().len() < 1000);
        let small = Value::new(Kind::Found, Bytes::from_static(b"{\"a\":1}"), 7, TTL);
        assert_eq!(
            (small.gzip(), &small.to_stored()[..]),
            (None, &b"tickcast 1 7 10007 20007 found plain\n{\"a\":1}"[..])
        );
    }

    #[test]
    fn what_will_not_shrink_stays_as_it_is() {
        let mut rng = fastrand::Rng::with_seed(1);
        let noise: Bytes = std::iter::repeat_with(|| rng.u8(..)).take(5000).collect::<Vec<u8>>().into();
        let value = Value::new(Kind::Found, noise.clone(), 0, TTL);
        assert_eq!((value.gzip(), value.body()), (None, noise));
    }

    #[test]
    fn what_others_wrote_is_not_taken_for_a_value() {
        let bomb = {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&vec![0; MAX_BODY + 1]).unwrap();
            [&b"tickcast 1 1 2 3 found gzip\n"[..], &encoder.finish().unwrap()].concat()
        };
        for stored in [
            &b""[..],
            b"{\"price\":1}\n",
            b"tickcast 2 1 2 3 found plain\n{}",
            b"tickcast 1 1 2 3 found plain",
            b"tickcast 1 1 2 x found plain\n{}",
            b"tickcast 1 1 2 3 lost plain\n{}",
            b"tickcast 1 1 2 3 found plain more\n{}",
            b"tickcast 1 1 2 3 found gzip\nnot gzip",
            &bomb,
        ] {
            assert_eq!(Value::read(&Bytes::copy_from_slice(stored)), Err(NotAValue));
        }
    }
}
