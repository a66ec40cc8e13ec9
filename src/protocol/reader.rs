//! Reads a client's frames (RFC 6455 §5) from whatever pieces the socket hands over.
//!
//! Takes all input it is given and keeps only what is unfinished: between messages it holds nothing, so an idle
//! connection costs one empty `Option`. A whole frame inside the caller's buffer is unmasked in place and read there;
//! only split frames and fragmented messages are copied. Limits are checked on the header, before a byte of payload is
//! taken; text is checked as it arrives, so that bad UTF-8 fails at its first bad byte.
//!
//! It does not know what messages mean, and writes nothing: a fault is returned as the close it calls for.

use std::io::Cursor;
use std::ops::ControlFlow;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode as WireCode, Control, Data, OpCode};

use super::deflate::inflate;
use super::message::{Close, CloseCode};
use super::publication::Coding;

/// The longest header of a client's frame: 2 bytes, a 64-bit length and the mask.
const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// Reserved for a message on its header's word alone; the rest grows as bytes really arrive, so that a thousand
/// announced 64 KiB messages cost 4 KiB each until they are sent.
const FIRST_RESERVE_BYTES: usize = 4096;

/// What one connection may send.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// The longest message, inclusive, over all its fragments.
    pub message_bytes: usize,
    /// The most frames of one message.
    pub fragments: u32,
    /// Whether binary messages are taken.
    pub binary: Binary,
}

/// The limits, and whether this connection may send compressed messages.
#[derive(Clone, Copy)]
struct Terms<'a> {
    limits: &'a ReadLimits,
    coding: Coding,
}

/// What to do about binary messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Close with 1003.
    Refuse,
    /// Hand them out.
    Accept,
}

/// Something whole that a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with its payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A close, to be echoed; nothing after it is read.
    Close(Option<u16>),
}

/// One connection's reading state.
#[derive(Debug, Default)]
pub struct Reader(Option<Box<Partial>>);

#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a header that was split.
    head: Vec<u8>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The payload so far, of a control frame that was split.
    control: Vec<u8>,
    /// The data message so far.
    message: Option<Message>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: OpCode,
    last: bool,
    /// RSV1: its message is compressed.
    compressed: bool,
    mask: [u8; 4],
    remaining: usize,
}

#[derive(Debug)]
struct Message {
    kind: Data,
    compressed: bool,
    bytes: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    valid: usize,
    fragments: u32,
}

const UNMASKED: Close = Close::new(CloseCode::Protocol, "a client masks its frames (RFC 6455 5.1)");
const RESERVED_BITS: Close = Close::new(CloseCode::Protocol, "reserved bits are set without an extension");
const BAD_OPCODE: Close = Close::new(CloseCode::Protocol, "reserved opcode");
const BAD_CONTROL: Close = Close::new(CloseCode::Protocol, "a control frame is whole and has at most 125 bytes");
const BAD_CONTINUATION: Close = Close::new(CloseCode::Protocol, "a continuation without a message");
const INTERLEAVED: Close = Close::new(CloseCode::Protocol, "a new message inside an unfinished one");
const BAD_CLOSE: Close = Close::new(CloseCode::Protocol, "bad close frame");
const NOT_UTF8: Close = Close::new(CloseCode::NotUtf8, "text is not UTF-8");
const NO_BINARY: Close = Close::new(CloseCode::Unsupported, "send text messages");
const TOO_BIG: Close = Close::new(CloseCode::TooBig, "message too big");
const TOO_MANY_FRAGMENTS: Close = Close::new(CloseCode::TooBig, "too many fragments");

impl Reader {
    /// Reads all of `input` (unmasking it in place) and hands each whole thing to `each`, which may break off; the
    /// rest of the input is dropped then.
    ///
    /// # Errors
    /// The close that a broken rule calls for. Nothing may be read afterwards.
    pub fn read(
        &mut self,
        mut input: &mut [u8],
        limits: &ReadLimits,
        coding: Coding,
        mut each: impl FnMut(Inbound<'_>) -> ControlFlow<()>,
    ) -> Result<(), Close> {
        let terms = Terms { limits, coding };
        while !input.is_empty() {
            let step = match &mut self.0 {
                None => read_fresh(input, terms, &mut each)?,
                Some(partial) => partial.read(input, terms, &mut each)?,
            };
            match step {
                Step::Used(used) => {
                    input = &mut input[used..];
                    if self.0.as_ref().is_some_and(|partial| partial.is_idle()) {
                        self.0 = None;
                    }
                }
                Step::Split => self.0 = Some(Box::default()),
                Step::Broken => return Ok(()),
            }
        }
        Ok(())
    }

    /// Bytes held for what is unfinished.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |partial| {
            size_of::<Partial>()
                + partial.control.capacity()
                + partial.message.as_ref().map_or(0, |message| message.bytes.capacity())
        })
    }
}

/// What one step of reading did.
enum Step {
    /// This much input is done with.
    Used(usize),
    /// The input's first frame is not whole: go on with state.
    Split,
    /// The caller broke off, or a close was read.
    Broken,
}

/// The common case: nothing is held and a whole single-frame message lies in the input.
fn read_fresh(
    input: &mut [u8],
    terms: Terms<'_>,
    each: &mut impl FnMut(Inbound<'_>) -> ControlFlow<()>,
) -> Result<Step, Close> {
    let Some((frame, head)) = parse_header(input, terms.coding)? else { return Ok(Step::Split) };
    check(&frame, None, terms.limits)?;
    let data = matches!(frame.opcode, OpCode::Data(_));
    let end = head + frame.remaining;
    if input.len() < end || (data && !frame.last) {
        return Ok(Step::Split);
    }
    let payload = &mut input[head..end];
    unmask(payload, frame.mask);
    let inflated;
    let inbound = match frame.opcode {
        OpCode::Data(kind) if frame.compressed => {
            inflated = inflate(payload, terms.limits.message_bytes)?;
            whole_message(kind, &inflated)?
        }
        OpCode::Data(kind) => whole_message(kind, payload)?,
        OpCode::Control(control) => read_control(control, payload)?,
    };
    Ok(hand_out(inbound, each, end))
}

fn hand_out(inbound: Inbound<'_>, each: &mut impl FnMut(Inbound<'_>) -> ControlFlow<()>, used: usize) -> Step {
    let close = matches!(inbound, Inbound::Close(_));
    if each(inbound).is_break() || close { Step::Broken } else { Step::Used(used) }
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    fn read(
        &mut self,
        input: &mut [u8],
        terms: Terms<'_>,
        each: &mut impl FnMut(Inbound<'_>) -> ControlFlow<()>,
    ) -> Result<Step, Close> {
        let (frame, head) = match self.frame {
            Some(frame) => (frame, 0),
            None => match self.read_header(input, terms)? {
                Some(read) => read,
                None => return Ok(Step::Used(input.len())),
            },
        };
        let rest = &mut input[head..];
        let taken = frame.remaining.min(rest.len());
        let payload = &mut rest[..taken];
        unmask(payload, frame.mask);
        let mut left = frame;
        left.remaining -= taken;
        left.mask.rotate_left(taken % 4);
        let whole = left.remaining == 0;
        self.frame = (!whole).then_some(left);
        match frame.opcode {
            OpCode::Control(control) => {
                self.control.extend_from_slice(payload);
                if whole {
                    let payload = std::mem::take(&mut self.control);
                    return Ok(hand_out(read_control(control, &payload)?, each, head + taken));
                }
            }
            OpCode::Data(_) => {
                let message = self.message.as_mut().expect("read_header opens a message for every data frame");
                message.append(payload)?;
                if whole && frame.last {
                    let message = self.message.take().expect("just appended to");
                    let inflated;
                    let bytes = if message.compressed {
                        inflated = inflate(&message.bytes, terms.limits.message_bytes)?;
                        &inflated
                    } else {
                        &message.bytes
                    };
                    return Ok(hand_out(whole_message(message.kind, bytes)?, each, head + taken));
                }
            }
        }
        Ok(Step::Used(head + taken))
    }

    /// Completes the next header. `None`: the input ended before it did.
    fn read_header(&mut self, input: &[u8], terms: Terms<'_>) -> Result<Option<(Frame, usize)>, Close> {
        let held = self.head.len();
        self.head.extend_from_slice(&input[..input.len().min(MAX_HEADER_BYTES - held)]);
        let Some((frame, head)) = parse_header(&self.head, terms.coding)? else { return Ok(None) };
        self.head.clear();
        check(&frame, self.message.as_ref(), terms.limits)?;
        if let OpCode::Data(kind) = frame.opcode {
            let compressed = frame.compressed;
            let message = self.message.get_or_insert_with(|| Message {
                kind,
                compressed,
                bytes: Vec::new(),
                valid: 0,
                fragments: 0,
            });
            message.fragments += 1;
            message.bytes.reserve(frame.remaining.min(FIRST_RESERVE_BYTES));
        }
        Ok(Some((frame, head - held)))
    }
}

impl Message {
    fn append(&mut self, payload: &[u8]) -> Result<(), Close> {
        self.bytes.extend_from_slice(payload);
        if self.kind == Data::Text && !self.compressed {
            match std::str::from_utf8(&self.bytes[self.valid..]) {
                Ok(_) => self.valid = self.bytes.len(),
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(NOT_UTF8),
            }
        }
        Ok(())
    }
}

fn whole_message(kind: Data, bytes: &[u8]) -> Result<Inbound<'_>, Close> {
    if kind == Data::Binary {
        return Ok(Inbound::Binary(bytes));
    }
    std::str::from_utf8(bytes).map(Inbound::Text).map_err(|_| NOT_UTF8)
}

/// The next frame's header and its length, or `None` when it is not whole yet.
fn parse_header(input: &[u8], coding: Coding) -> Result<Option<(Frame, usize)>, Close> {
    let mut cursor = Cursor::new(input);
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| BAD_OPCODE)? else {
        // The first two bytes already tell most faults; a client that breaks them need not send more to be told.
        if let [first, second, ..] = input {
            let data = first & 0x08 == 0;
            if first & 0x30 != 0 || (first & 0x40 != 0 && !may_be_compressed(first & 0x0f, coding)) {
                return Err(RESERVED_BITS);
            }
            if second & 0x80 == 0 {
                return Err(UNMASKED);
            }
            if !data && second & 0x7f > 125 {
                return Err(BAD_CONTROL);
            }
        }
        return Ok(None);
    };
    let compressed = header.rsv1;
    if header.rsv2 || header.rsv3 || (compressed && !may_be_compressed(header.opcode.into(), coding)) {
        return Err(RESERVED_BITS);
    }
    let mask = header.mask.ok_or(UNMASKED)?;
    let remaining = usize::try_from(length).map_err(|_| TOO_BIG)?;
    let head = usize::try_from(cursor.position()).expect("a header has at most 14 bytes");
    Ok(Some((Frame { opcode: header.opcode, last: header.is_final, compressed, mask, remaining }, head)))
}

/// RSV1 may stand on a message's first frame, once permessage-deflate was agreed (RFC 7692 §6).
fn may_be_compressed(opcode: u8, coding: Coding) -> bool {
    coding == Coding::Deflate && matches!(opcode, 1 | 2)
}

/// Whether a frame may come now and is within the limits.
fn check(frame: &Frame, message: Option<&Message>, limits: &ReadLimits) -> Result<(), Close> {
    match (frame.opcode, message) {
        (OpCode::Control(_), _) => {
            if !frame.last || frame.remaining > MAX_CONTROL_BYTES {
                return Err(BAD_CONTROL);
            }
            return Ok(());
        }
        (OpCode::Data(Data::Continue), None) => return Err(BAD_CONTINUATION),
        (OpCode::Data(Data::Text | Data::Binary), Some(_)) => return Err(INTERLEAVED),
        (OpCode::Data(Data::Binary), None) if limits.binary == Binary::Refuse => return Err(NO_BINARY),
        (OpCode::Data(_), _) => {}
    }
    let (held, fragments) = message.map_or((0, 0), |message| (message.bytes.len(), message.fragments));
    if frame.remaining > limits.message_bytes.saturating_sub(held) {
        return Err(TOO_BIG);
    }
    if fragments + 1 > limits.fragments {
        return Err(TOO_MANY_FRAGMENTS);
    }
    Ok(())
}

fn read_control(control: Control, payload: &[u8]) -> Result<Inbound<'_>, Close> {
    match control {
        Control::Ping => Ok(Inbound::Ping(payload)),
        Control::Pong => Ok(Inbound::Pong),
        Control::Close => match payload {
            [] => Ok(Inbound::Close(None)),
            [_] => Err(BAD_CLOSE),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !WireCode::from(code).is_allowed() {
                    return Err(BAD_CLOSE);
                }
                std::str::from_utf8(reason).map_err(|_| NOT_UTF8)?;
                Ok(Inbound::Close(Some(code)))
            }
        },
        Control::Reserved(_) => Err(BAD_OPCODE),
    }
}

/// XOR with the mask (RFC 6455 §5.3), eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("chunks of eight")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
