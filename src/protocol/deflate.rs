//! permessage-deflate without context takeover (RFC 7692): every message stands alone, so that one compressed frame can be
//! sent to all, and a connection holds no compressor between messages.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::message::{Close, CloseCode};

/// What the handshake answers to an offer that is taken.
pub const RESPONSE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// Shorter messages are sent as they are: a lone quote of 230 bytes shrinks by a quarter, which a packet does not notice
/// and a browser's inflater does.
pub const MIN_BYTES: usize = 512;

/// Ends every compressed message and is left out on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// How much is inflated at a time.
const STEP_BYTES: usize = 16 * 1024;

const BAD_DATA: Close = Close::new(CloseCode::Protocol, "the compressed message cannot be inflated");
const TOO_BIG: Close = Close::new(CloseCode::TooBig, "message too big");

/// Whether one of the client's offers (the `Sec-WebSocket-Extensions` values) can be taken with [`RESPONSE`].
///
/// An offer is declined when it limits our window (`server_max_window_bits` below 15) or has a parameter that RFC 7692
/// does not define; the next one is looked at then.
pub fn accepts<'a>(offers: impl IntoIterator<Item = &'a str>) -> bool {
    let mut offers = offers.into_iter().flat_map(|value| value.split(','));
    offers.any(|offer| {
        let mut parameters = offer.split(';').map(str::trim);
        parameters.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) && {
            let mut seen: Vec<String> = Vec::new();
            parameters.all(|parameter| {
                let (name, value) = match parameter.split_once('=') {
                    Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                    None => (parameter, None),
                };
                let name = name.to_ascii_lowercase();
                let twice = seen.contains(&name);
                let known = match (name.as_str(), value) {
                    ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None)
                    | ("server_max_window_bits", Some("15")) => true,
                    ("client_max_window_bits", Some(bits)) => matches!(bits.parse(), Ok(8..=15)),
                    _ => false,
                };
                seen.push(name);
                known && !twice
            })
        }
    })
}

thread_local! {
    /// A compressor and an inflater take 300 and 50 KiB: one of each per thread is set back for each message.
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Compresses one message.
#[must_use]
pub fn compress(message: &[u8]) -> Vec<u8> {
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        compress_with(deflater, message)
    })
}

fn compress_with(deflater: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(message.len() / 2 + 64);
    loop {
        let taken = usize::try_from(deflater.total_in()).expect("a message is in memory");
        let status = deflater.compress_vec(&message[taken..], &mut compressed, FlushCompress::Sync);
        let whole = taken_all(deflater, message) && compressed.len() < compressed.capacity();
        if status.is_err() || whole {
            break;
        }
        compressed.reserve(STEP_BYTES);
    }
    let end = compressed.len().saturating_sub(TAIL.len());
    if compressed[end..] == TAIL {
        compressed.truncate(end);
    }
    compressed
}

fn taken_all(deflater: &Compress, message: &[u8]) -> bool {
    deflater.total_in() == message.len() as u64
}

/// Inflates one message of at most `limit` bytes.
///
/// # Errors
/// The close it calls for: bad data, or more than `limit` bytes.
pub fn inflate(compressed: &[u8], limit: usize) -> Result<Vec<u8>, Close> {
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        inflate_with(inflater, compressed, limit)
    })
}

fn inflate_with(inflater: &mut Decompress, compressed: &[u8], limit: usize) -> Result<Vec<u8>, Close> {
    let mut message = Vec::new();
    for part in [compressed, &TAIL] {
        let begin = inflater.total_in();
        loop {
            let taken = usize::try_from(inflater.total_in() - begin).expect("a message is in memory");
            let before = message.len();
            // One byte above the limit tells too big from exactly full.
            message.reserve((limit + 1 - before).min(STEP_BYTES));
            let status = inflater.decompress_vec(&part[taken..], &mut message, FlushDecompress::Sync);
            let status = status.map_err(|_| BAD_DATA)?;
            if message.len() > limit {
                return Err(TOO_BIG);
            }
            let done = usize::try_from(inflater.total_in() - begin).expect("a message is in memory") == part.len();
            match status {
                // A final block ends the message; what follows it is ignored, as zlib's own users do.
                Status::StreamEnd => return Ok(message),
                Status::Ok | Status::BufError if done && message.len() < message.capacity() => break,
                Status::BufError if message.len() == before && message.len() < message.capacity() => {
                    return Err(BAD_DATA);
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offers_are_taken_or_declined_as_the_rfc_says() {
        for (offer, taken) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=15", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", false),
            ("permessage-deflate; made_up", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(accepts([offer]), taken, "{offer}");
        }
    }

    #[test]
    fn the_rfcs_own_example_inflates() {
        assert_eq!(inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 5).unwrap(), b"Hello");
        assert_eq!(inflate(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], 5).unwrap(), b"Hello", "a final block");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = compress(&vec![0; 10_000_000]);
        assert!(bomb.len() < 200_000);
        assert_eq!(inflate(&bomb, 65_536).unwrap_err().code, CloseCode::TooBig);
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(inflate(&[0xff; 20], 65_536).unwrap_err().code, CloseCode::Protocol);
    }

    proptest! {
        #[test]
        fn what_was_compressed_inflates(message in prop::collection::vec(any::<u8>(), 0..5000), extra in 0usize..3) {
            let compressed = compress(&message);
            if !message.is_empty() {
                prop_assert_eq!(inflate(&compressed, message.len() - 1).unwrap_err().code, CloseCode::TooBig);
            }
            prop_assert_eq!(inflate(&compressed, message.len() + extra).unwrap(), message);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = inflate(&bytes, 4096);
        }
    }
}
