//! The published update: a realistic quote with the time it was due and its number inside, written and read by position.
//!
//! The text has a fixed shape, so that writing is a copy with a few digits patched in, and reading at the client is two
//! comparisons and a handful of multiplications rather than a JSON parse per delivery. A server that re-serialises
//! or adds a field (`"snapshot":true`) is read by searching instead.
//!
//! Does not know when updates are due nor what a gap means. The two numbers have 16 digits and stay below 2^53, so
//! that a server which reads JSON numbers as doubles passes them exactly.

use jiff::Timestamp;
use memchr::memmem;

use crate::clock::Ns;
use crate::plan::MAX_SYMBOLS;

/// The update without padding, in bytes: see [`UpdateWriter::new`].
pub(crate) const SMALLEST_UPDATE_BYTES: usize = 233;

const HEAD: &[u8] = br#"{"type":"price_update","symbol":"T"#;
const SENT: &[u8] = br#","sent_ns":"#;
const SEQ: &[u8] = br#","seq":"#;
const PAD: &[u8] = br#","pad":""#;
const SYMBOL_DIGITS: usize = 5;
const STAMP_DIGITS: usize = 16;
/// Added to the due time, so that it always has 16 digits: good for 104 days of run time.
const SENT_BASE: u64 = 1_000_000_000_000_000;
const TAIL: usize = SENT.len() + STAMP_DIGITS + SEQ.len() + STAMP_DIGITS + 1;

const _: () = assert!(SYMBOL_DIGITS == 5 && MAX_SYMBOLS <= 100_000);

/// The name of symbol number `symbol`.
pub(crate) fn symbol_name(symbol: u32) -> String {
    format!("T{symbol:05}")
}

/// The number of the symbol with this name, when it is one of ours.
pub(crate) fn symbol_number(name: &str) -> Option<u32> {
    let digits: &[u8; SYMBOL_DIGITS] = name.as_bytes().strip_prefix(b"T")?.try_into().ok()?;
    number5(digits)
}

/// A first `seq` for a run that begins now: microseconds since 1970, above whatever an earlier run used for a symbol
/// unless that published more than a million updates of it per second.
pub(crate) fn seq_base() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).expect("the clock is past 1970")
}

/// Writes updates.
pub(crate) struct UpdateWriter {
    template: Vec<u8>,
    symbols_at: [usize; 2],
    price_at: usize,
    volume_at: usize,
    times_at: [usize; 2],
    second: i64,
    seq_base: u64,
}

impl UpdateWriter {
    /// A writer of updates of `bytes` each, or of [`SMALLEST_UPDATE_BYTES`] when `bytes` is less; between that and the
    /// least padding's nine bytes more, the smallest.
    pub(crate) fn new(bytes: usize, seq_base: u64) -> UpdateWriter {
        let padding = bytes.saturating_sub(SMALLEST_UPDATE_BYTES + PAD.len() + 1);
        let mut template = Vec::with_capacity(bytes.max(SMALLEST_UPDATE_BYTES));
        let mut put = |text: &[u8]| {
            template.extend_from_slice(text);
            template.len()
        };
        let symbol = put(HEAD);
        let symbol_again = put(br#"00000","data":{"symbol":"T"#);
        let price = put(br#"00000","price":"#);
        let volume = put(br#"100.00,"change":1.25,"volume":"#);
        let traded = put(br#"100000,"timestamp":""#);
        let published = put(br#"2026-01-01T00:00:00Z"},"timestamp":""#);
        put(br#"2026-01-01T00:00:00Z""#);
        if padding > 0 {
            put(PAD);
            put(&vec![b'x'; padding]);
            put(b"\"");
        }
        put(SENT);
        put(b"0000000000000000");
        put(SEQ);
        put(b"0000000000000000}");
        UpdateWriter {
            template,
            symbols_at: [symbol, symbol_again],
            price_at: price,
            volume_at: volume,
            times_at: [traded, published],
            second: 0,
            seq_base,
        }
    }

    /// Appends to `out` the update that is `symbol`'s `number`-th and due at `due`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, symbol: u32, number: u32, due: Ns) {
        let start = out.len();
        out.extend_from_slice(&self.template);
        let update = &mut out[start..];
        for at in self.symbols_at {
            put_digits(&mut update[at..at + SYMBOL_DIGITS], u64::from(symbol));
        }
        put_digits(&mut update[self.price_at..self.price_at + 3], u64::from(100 + (number % 900 + symbol % 900) % 900));
        put_digits(&mut update[self.price_at + 4..self.price_at + 6], u64::from(number % 100));
        put_digits(&mut update[self.volume_at..self.volume_at + 6], u64::from(100_000 + number % 900_000));
        let seq_at = update.len() - 1 - STAMP_DIGITS;
        put_digits(&mut update[seq_at..seq_at + STAMP_DIGITS], self.seq_base + u64::from(number));
        let sent_at = seq_at - SEQ.len() - STAMP_DIGITS;
        put_digits(&mut update[sent_at..sent_at + STAMP_DIGITS], SENT_BASE + due);
    }

    /// Sets the two wall-clock times of the updates to come; they have a resolution of one second.
    pub(crate) fn set_wall_clock(&mut self, now: Timestamp) {
        if now.as_second() == self.second {
            return;
        }
        self.second = now.as_second();
        let text = format!("{now:.0}");
        for at in self.times_at {
            self.template[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
    }
}

/// What a client needs to know of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) symbol: u32,
    pub(crate) seq: u64,
    /// When it was due.
    pub(crate) due: Ns,
    /// Sent as the last known quote rather than as news.
    pub(crate) snapshot: bool,
}

/// Reads an update; `None` when the payload is something else.
pub(crate) fn read_update(payload: &[u8]) -> Option<Update> {
    by_position(payload).or_else(|| by_search(payload))
}

fn by_position(payload: &[u8]) -> Option<Update> {
    let symbol = payload.strip_prefix(HEAD)?.first_chunk::<SYMBOL_DIGITS>()?;
    let tail = payload.last_chunk::<TAIL>()?;
    let (sent, seq) = tail.split_at(SENT.len() + STAMP_DIGITS);
    let sent = number16(sent.strip_prefix(SENT)?.try_into().ok()?)?;
    let seq = number16(seq.strip_prefix(SEQ)?.strip_suffix(b"}")?.try_into().ok()?)?;
    Some(Update { symbol: number5(symbol)?, seq, due: sent.checked_sub(SENT_BASE)?, snapshot: false })
}

fn by_search(payload: &[u8]) -> Option<Update> {
    let after = |name: &[u8]| memmem::rfind(payload, name).map(|at| payload[at + name.len()..].trim_ascii_start());
    let kind = after(br#""type":"#)?;
    if !kind.starts_with(br#""price_update""#) {
        return None;
    }
    let symbol = after(br#""symbol":"#)?.strip_prefix(br#""T"#)?.first_chunk::<SYMBOL_DIGITS>()?;
    let stamp = |name: &[u8]| number16(after(name)?.first_chunk()?);
    Some(Update {
        symbol: number5(symbol)?,
        seq: stamp(br#""seq":"#)?,
        due: stamp(br#""sent_ns":"#)?.checked_sub(SENT_BASE)?,
        snapshot: after(br#""snapshot":"#).is_some_and(|value| value.starts_with(b"true")),
    })
}

fn put_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("one digit");
        value /= 10;
    }
}

fn number5(digits: &[u8; SYMBOL_DIGITS]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 10 + u32::from(digit.checked_sub(b'0').filter(|d| *d < 10)?)))
}

fn number16(digits: &[u8; STAMP_DIGITS]) -> Option<u64> {
    let (high, low) = digits.split_at(8);
    Some(number8(high.try_into().ok()?)? * 100_000_000 + number8(low.try_into().ok()?)?)
}

/// Eight digits at once: neighbours are joined to pairs, pairs to fours, fours to the number.
fn number8(digits: [u8; 8]) -> Option<u64> {
    let text = u64::from_le_bytes(digits);
    let values = text.wrapping_sub(0x3030_3030_3030_3030);
    // A byte outside '0'..='9' has its high half set in the text's difference or in that plus six.
    if (values | values.wrapping_add(0x0606_0606_0606_0606)) & 0xF0F0_F0F0_F0F0_F0F0 != 0 {
        return None;
    }
    let pairs = (values.wrapping_mul(10).wrapping_add(values >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xFFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 1_790_000_000_000_000;

    fn written(bytes: usize, symbol: u32, number: u32, due: Ns) -> Vec<u8> {
        let mut writer = UpdateWriter::new(bytes, BASE);
        writer.set_wall_clock("2026-11-21T10:00:00.5Z".parse().unwrap());
        let mut out = b"before".to_vec();
        writer.write(&mut out, symbol, number, due);
        out.split_off(6)
    }

    #[test]
    fn an_update_is_a_quote_of_the_asked_size() {
        let text = String::from_utf8(written(0, 42, 7, 123_456_789)).unwrap();
        assert_eq!(
            text,
            r#"{"type":"price_update","symbol":"T00042","data":{"symbol":"T00042","price":149.07,"change":1.25,"volume":100007,"timestamp":"2026-11-21T10:00:00Z"},"timestamp":"2026-11-21T10:00:00Z","sent_ns":1000000123456789,"seq":1790000000000007}"#
        );
        assert_eq!(text.len(), SMALLEST_UPDATE_BYTES);
        for bytes in [243, 300, 4_096] {
            let padded = written(bytes, 99_999, u32::MAX, 1);
            assert_eq!(padded.len(), bytes);
            serde_json::from_slice::<serde_json::Value>(&padded).unwrap();
        }
    }

    #[test]
    fn what_was_written_is_read_by_position() {
        for (bytes, symbol, number, due) in [(0, 0, 0, 0), (300, 99_999, 1_234_567, 86_400_000_000_000)] {
            let update = by_position(&written(bytes, symbol, number, due)).unwrap();
            assert_eq!(update, Update { symbol, seq: BASE + u64::from(number), due, snapshot: false });
        }
    }

    #[test]
    fn another_servers_spelling_is_read_by_search() {
        let text = written(300, 42, 7, 5);
        let expected = Update { symbol: 42, seq: BASE + 7, due: 5, snapshot: false };
        let mut snapshot = text[..text.len() - 1].to_vec();
        snapshot.extend_from_slice(br#","snapshot":true}"#);
        assert_eq!(read_update(&snapshot), Some(Update { snapshot: true, ..expected }));
        // Sorted fields and spaces, as some serialisers write them.
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(by_position(pretty.as_bytes()), None);
        assert_eq!(read_update(pretty.as_bytes()), Some(expected));
    }

    #[test]
    fn anything_else_is_no_update() {
        for text in [
            &b""[..],
            b"{}",
            br#"{"type":"subscribed","symbols":["T00001"],"active":1}"#,
            br#"{"type":"price_update","symbol":"AAPL","data":{"price":1},"seq":4}"#,
            br#"{"type":"price_update","symbol":"T0000x","sent_ns":1000000000000000,"seq":1790000000000000}"#,
        ] {
            assert_eq!(read_update(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn eight_digits_are_read_at_once_and_others_refused() {
        assert_eq!(number8(*b"12345678"), Some(12_345_678));
        assert_eq!(number8(*b"00000000"), Some(0));
        assert_eq!(number8(*b"99999999"), Some(99_999_999));
        for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
            for at in 0..8 {
                let mut text = *b"90909090";
                text[at] = byte;
                assert_eq!(number8(text), None, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn symbols_have_names_and_names_numbers() {
        assert_eq!((symbol_name(7).as_str(), symbol_number("T00007")), ("T00007", Some(7)));
        for name in ["", "T", "T0000", "T000001", "X00001", "T0000a"] {
            assert_eq!(symbol_number(name), None, "{name}");
        }
    }
}
