//! RFC 6455 frames as a load-testing client needs them: read from a buffer without copying, written masked.
//!
//! It reads what a server of small messages sends: whole, unmasked, uncompressed frames. Anything else is an error that
//! names it. Pure; the buffer and what to do with an incomplete frame are the caller's. A frame over [`MAX_FRAME_BYTES`] is
//! refused, so the caller's buffer has a bound.

/// The longest frame a server may send; four of the gateway's own largest messages.
pub(crate) const MAX_FRAME_BYTES: usize = 256 * 1024;

/// What a frame is for (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// One frame at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) bytes: usize,
}

/// A frame that a well-behaved server of small messages does not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the server masked a frame")]
    Masked,
    #[error("the server compressed a frame, though no extension was offered")]
    Reserved,
    #[error("the server fragmented a message, which this client does not put together")]
    Fragmented,
    #[error("opcode {0:#x} is none")]
    Opcode(u8),
    #[error("a frame of {0} bytes, more than {MAX_FRAME_BYTES}")]
    TooLong(u64),
}

/// The frame at the start of `buffer`; `None` while it is incomplete.
///
/// # Errors
/// [`FrameError`]: the connection cannot be read on.
#[inline]
pub(crate) fn next_frame(buffer: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let &[first, second, ref rest @ ..] = buffer else { return Ok(None) };
    let (header, length) = match second {
        0..=125 => (2, u64::from(second)),
        126 => match rest.first_chunk() {
            Some(&length) => (4, u64::from(u16::from_be_bytes(length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(&length) => (10, u64::from_be_bytes(length)),
            None => return Ok(None),
        },
        _ => return Err(FrameError::Masked),
    };
    let opcode = opcode(first)?;
    let bytes = match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME_BYTES - 10 => header + length,
        _ => return Err(FrameError::TooLong(length)),
    };
    let Some(payload) = buffer.get(header..bytes) else { return Ok(None) };
    Ok(Some(Frame { opcode, payload, bytes }))
}

fn opcode(first: u8) -> Result<Opcode, FrameError> {
    match first {
        0x81 => Ok(Opcode::Text),
        0x82 => Ok(Opcode::Binary),
        0x88 => Ok(Opcode::Close),
        0x89 => Ok(Opcode::Ping),
        0x8A => Ok(Opcode::Pong),
        reserved if reserved & 0x70 != 0 => Err(FrameError::Reserved),
        0x00..=0x02 | 0x80 => Err(FrameError::Fragmented),
        other => Err(FrameError::Opcode(other & 0x0F)),
    }
}

/// Appends a masked frame, as a client sends it. The mask is always the same: servers cannot tell, and no proxy that it
/// would protect is in the way.
pub(crate) fn put_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    const MASK: [u8; 4] = [0x5A, 0xC3, 0x96, 0x69];
    put_header(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends an unmasked frame, as a server sends it.
pub(crate) fn put_unmasked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_header(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

fn put_header(out: &mut Vec<u8>, opcode: Opcode, length: usize, mask_bit: u8) {
    out.push(match opcode {
        Opcode::Text => 0x81,
        Opcode::Binary => 0x82,
        Opcode::Close => 0x88,
        Opcode::Ping => 0x89,
        Opcode::Pong => 0x8A,
    });
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=125), _) => out.push(mask_bit | length),
        (_, Ok(length)) => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Undoes a client's mask: the payload of the masked frame at the start of `buffer`, and the frame's length; `None` while
/// incomplete. For the floor's bare sender, whose only clients are ours, so the frame is trusted to be well-formed.
pub(crate) fn unmask(buffer: &[u8]) -> Option<(Vec<u8>, usize)> {
    let &[_, second, ref rest @ ..] = buffer else { return None };
    let (header, length) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let mask: &[u8] = buffer.get(header..header + 4)?;
    let payload = buffer.get(header + 4..(header + 4).checked_add(length)?)?;
    let plain = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((plain, header + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_unmasked_hello_is_read_in_place() {
        let buffer = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x81];
        let frame = next_frame(&buffer).unwrap().unwrap();
        assert_eq!(frame, Frame { opcode: Opcode::Text, payload: b"Hello", bytes: 7 });
    }

    #[test]
    fn every_length_is_read_back_and_no_prefix_is_taken_for_a_frame() {
        for length in [0, 1, 125, 126, 127, 234, 65_535, 65_536, 100_000] {
            let payload = vec![b'x'; length];
            let mut buffer = Vec::new();
            put_unmasked(&mut buffer, Opcode::Text, &payload);
            for cut in (0..buffer.len().min(16)).chain([buffer.len() - 1]) {
                assert_eq!(next_frame(&buffer[..cut]), Ok(None), "{cut} bytes of {}", buffer.len());
            }
            let whole = buffer.len();
            put_unmasked(&mut buffer, Opcode::Ping, b"next");
            let frame = next_frame(&buffer).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload.len(), frame.bytes), (Opcode::Text, length, whole));
            let next = next_frame(&buffer[whole..]).unwrap().unwrap();
            assert_eq!((next.opcode, next.payload), (Opcode::Ping, &b"next"[..]));
        }
    }

    #[test]
    fn a_masked_frame_is_what_was_put_in() {
        for length in [0, 5, 125, 126, 65_536] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let mut buffer = Vec::new();
            put_masked(&mut buffer, Opcode::Text, &payload);
            assert_eq!(next_frame(&buffer), Err(FrameError::Masked));
            assert_eq!(unmask(&buffer[..buffer.len() - 1]), None);
            let bytes = buffer.len();
            buffer.push(0x81);
            assert_eq!(unmask(&buffer), Some((payload, bytes)));
        }
    }

    #[test]
    fn what_this_client_cannot_read_is_named() {
        let error = |bytes: &[u8]| next_frame(bytes).unwrap_err();
        assert_eq!(error(&[0xC1, 0x00]), FrameError::Reserved);
        assert_eq!(error(&[0x01, 0x00]), FrameError::Fragmented);
        assert_eq!(error(&[0x80, 0x00]), FrameError::Fragmented);
        assert_eq!(error(&[0x83, 0x00]), FrameError::Opcode(3));
        assert_eq!(error(&[0x81, 127, 0, 0, 0, 0, 1, 0, 0, 0]), FrameError::TooLong(1 << 24));
        assert_eq!(error(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]), FrameError::TooLong(u64::MAX));
    }
}
