//! As much of the Redis protocol (RESP2) as a publisher, a subscriber and a readiness check need. Pure.

use anyhow::{Context, bail};

/// Appends a command.
pub(crate) fn put_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    put_number(out, b'*', parts.len());
    for part in parts {
        put_number(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn put_number(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A reply, borrowed from the buffer it came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Number(i64),
    Bulk(&'a [u8]),
    Nil,
    Array(Vec<Reply<'a>>),
}

/// The reply at the start of `buffer` and how many bytes it takes; `None` while incomplete.
///
/// # Errors
/// When it is not RESP2.
pub(crate) fn read_reply(buffer: &[u8]) -> anyhow::Result<Option<(Reply<'_>, usize)>> {
    let Some(end) = memchr::memmem::find(buffer, b"\r\n") else { return Ok(None) };
    let after = end + 2;
    let Some((&kind, line)) = buffer[..end].split_first() else { bail!("an empty reply") };
    Ok(match kind {
        b'+' => Some((Reply::Simple(line), after)),
        b'-' => Some((Reply::Error(line), after)),
        b':' => Some((Reply::Number(number(line)?), after)),
        b'$' => match usize::try_from(number(line)?) {
            Err(_) => Some((Reply::Nil, after)),
            Ok(length) => {
                let whole = after + length + 2;
                (buffer.len() >= whole).then(|| (Reply::Bulk(&buffer[after..after + length]), whole))
            }
        },
        b'*' => match usize::try_from(number(line)?) {
            Err(_) => Some((Reply::Nil, after)),
            Ok(length) => read_array(buffer, after, length)?,
        },
        other => bail!("a Redis reply does not begin with {:?}", char::from(other)),
    })
}

fn read_array(buffer: &[u8], mut used: usize, length: usize) -> anyhow::Result<Option<(Reply<'_>, usize)>> {
    let mut items = Vec::with_capacity(length.min(16));
    for _ in 0..length {
        let Some((item, bytes)) = read_reply(&buffer[used..])? else { return Ok(None) };
        items.push(item);
        used += bytes;
    }
    Ok(Some((Reply::Array(items), used)))
}

fn number(line: &[u8]) -> anyhow::Result<i64> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).context("a Redis reply has a bad number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_strings() {
        let mut out = Vec::new();
        put_command(&mut out, &[b"PUBLISH", b"a", b"{}"]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$2\r\n{}\r\n");
    }

    #[test]
    fn every_kind_of_reply_is_read_and_none_before_it_is_whole() {
        let message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhe\r\no\r\n";
        let array = Reply::Array(vec![Reply::Bulk(b"message"), Reply::Bulk(b"c"), Reply::Bulk(b"he\r\no")]);
        for (text, expected) in [
            (&b"+OK\r\n"[..], Reply::Simple(b"OK")),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":-3\r\n", Reply::Number(-3)),
            (b"$-1\r\n", Reply::Nil),
            (b"$0\r\n\r\n", Reply::Bulk(b"")),
            (b"*-1\r\n", Reply::Nil),
            (message, array),
        ] {
            for cut in 0..text.len() {
                assert_eq!(read_reply(&text[..cut]).unwrap(), None, "{cut} of {text:?}");
            }
            let more = [text, b"+more"].concat();
            assert_eq!(read_reply(&more).unwrap(), Some((expected, text.len())));
        }
        assert!(read_reply(b"HTTP/1.1 400\r\n").is_err());
        assert!(read_reply(b":x\r\n").is_err());
    }
}
