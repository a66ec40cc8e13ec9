//! Ready bytes: the frames a server sends (RFC 6455 §5.2), unmasked and never fragmented.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::message::Close;

/// The longest header of a server's frame: 2 bytes and a 64-bit length.
pub const MAX_HEADER_BYTES: usize = 10;

const RSV1: u8 = 0x40;

/// A text frame.
#[must_use]
pub fn text(payload: &str) -> Box<[u8]> {
    build(OpCode::Data(Data::Text), payload.as_bytes())
}

/// A text frame whose payload is compressed (RSV1; RFC 7692 §6).
#[must_use]
pub fn deflated_text(compressed: &[u8]) -> Box<[u8]> {
    let mut frame = build(OpCode::Data(Data::Text), compressed);
    frame[0] |= RSV1;
    frame
}

/// A binary frame whose payload is compressed.
#[must_use]
pub fn deflated_binary(compressed: &[u8]) -> Box<[u8]> {
    let mut frame = build(OpCode::Data(Data::Binary), compressed);
    frame[0] |= RSV1;
    frame
}

/// A binary frame; tickcast itself sends none, the conformance echo does.
#[must_use]
pub fn binary(payload: &[u8]) -> Box<[u8]> {
    build(OpCode::Data(Data::Binary), payload)
}

/// A ping without payload.
#[must_use]
pub fn ping() -> Box<[u8]> {
    build(OpCode::Control(Control::Ping), &[])
}

/// The pong to a ping with this payload.
#[must_use]
pub fn pong(payload: &[u8]) -> Box<[u8]> {
    build(OpCode::Control(Control::Pong), payload)
}

/// A close frame.
#[must_use]
pub fn close(close: Close) -> Box<[u8]> {
    close_with(close.code.number(), close.reason)
}

/// The answer to a client's close: its own code, or nothing when it gave none.
#[must_use]
pub fn close_echo(code: Option<u16>) -> Box<[u8]> {
    match code {
        Some(code) => close_with(code, ""),
        None => build(OpCode::Control(Control::Close), &[]),
    }
}

fn close_with(code: u16, reason: &str) -> Box<[u8]> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    build(OpCode::Control(Control::Close), &payload)
}

/// Header and payload in one allocation of exactly their size.
fn build(opcode: OpCode, payload: &[u8]) -> Box<[u8]> {
    let header = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
    let length = payload.len() as u64;
    let mut frame = Vec::with_capacity(header.len(length) + payload.len());
    header.format(length, &mut frame).expect("writing to a Vec cannot fail");
    frame.extend_from_slice(payload);
    frame.into_boxed_slice()
}

/// The value of `Sec-WebSocket-Accept` that answers a client's key (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_key(key: &str) -> String {
    derive_accept_key(key.as_bytes())
}

/// Where the payload of a frame made here begins.
#[must_use]
pub fn payload_offset(frame: &[u8]) -> usize {
    match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::CloseCode;

    #[test]
    fn frames_are_the_rfcs_literal_bytes() {
        assert_eq!(&*text("Hello"), b"\x81\x05Hello");
        assert_eq!(&*ping(), b"\x89\x00");
        assert_eq!(&*pong(b"Hello"), b"\x8a\x05Hello");
        assert_eq!(&*close(Close::new(CloseCode::Normal, "bye")), b"\x88\x05\x03\xe8bye");
        assert_eq!(&*close_echo(None), b"\x88\x00");
    }

    #[test]
    fn lengths_take_seven_sixteen_or_sixty_four_bits() {
        for (length, header, offset) in [
            (125, &b"\x81\x7d"[..], 2),
            (126, &b"\x81\x7e\x00\x7e"[..], 4),
            (65_535, &b"\x81\x7e\xff\xff"[..], 4),
            (65_536, &b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"[..], 10),
        ] {
            let frame = text(&"x".repeat(length));
            assert!(frame.starts_with(header), "{length}");
            assert_eq!((frame.len(), payload_offset(&frame)), (header.len() + length, offset));
        }
    }
}
