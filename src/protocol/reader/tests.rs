use super::*;
use proptest::prelude::*;

const LIMITS: ReadLimits = ReadLimits { message_bytes: 1000, fragments: 4, binary: Binary::Accept };

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 77, 177, 27];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// What was read, as texts, and the close code of the fault that ended it.
fn read_pieces(input: &[u8], piece: usize, limits: ReadLimits) -> (Vec<String>, Option<u16>) {
    read_coded(input, piece, limits, Coding::Plain)
}

fn read_coded(input: &[u8], piece: usize, limits: ReadLimits, coding: Coding) -> (Vec<String>, Option<u16>) {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for piece in input.chunks(piece) {
        let result = reader.read(&mut piece.to_vec(), &limits, coding, |inbound| {
            seen.push(match inbound {
                Inbound::Text(text) => format!("text {text}"),
                Inbound::Binary(bytes) => format!("binary {}", bytes.len()),
                Inbound::Ping(bytes) => format!("ping {}", String::from_utf8_lossy(bytes)),
                Inbound::Pong => "pong".into(),
                Inbound::Close(code) => format!("close {code:?}"),
            });
            ControlFlow::Continue(())
        });
        if let Err(close) = result {
            return (seen, Some(close.code.number()));
        }
        if seen.last().is_some_and(|last| last.starts_with("close")) {
            break;
        }
    }
    (seen, None)
}

#[test]
fn messages_are_the_same_however_they_are_split() {
    let mut input = frame(0x81, "größe".as_bytes());
    input.extend(frame(0x01, b"one "));
    input.extend(frame(0x89, b"hi"));
    input.extend(frame(0x00, "tw\u{f6}".as_bytes()));
    input.extend(frame(0x80, b""));
    input.extend(frame(0x82, &[9; 300]));
    input.extend(frame(0x8a, b""));
    input.extend(frame(0x88, b"\x03\xe8bye"));
    input.extend(frame(0x81, b"never read"));
    let expected = ["text größe", "ping hi", "text one twö", "binary 300", "pong", "close Some(1000)"];
    for piece in 1..=input.len() {
        let (seen, fault) = read_pieces(&input, piece, LIMITS);
        assert_eq!((seen, fault), (expected.map(String::from).to_vec(), None), "in pieces of {piece}");
    }
}

#[test]
fn each_fault_has_its_close_code() {
    let unmasked = b"\x81\x02hi".to_vec();
    let text_in_text = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
    let five_fragments = [frame(0x01, b"a"), frame(0, b"b"), frame(0, b"c"), frame(0, b"d"), frame(0x80, b"e")];
    let split_character = [frame(0x01, b"\xc3"), frame(0x80, b"(")].concat();
    for (input, code) in [
        (unmasked, 1002),
        (frame(0xc1, b"rsv1"), 1002),
        (frame(0x83, b"opcode 3"), 1002),
        (frame(0x8b, b"opcode 11"), 1002),
        (frame(0x09, b"fragmented ping"), 1002),
        (frame(0x89, &[0; 126]), 1002),
        (frame(0x80, b"continuation of nothing"), 1002),
        (text_in_text, 1002),
        (frame(0x88, b"x"), 1002),
        (frame(0x88, b"\x03\xe7"), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x81, b"\xc3"), 1007),
        (split_character, 1007),
        (frame(0x81, &[b'a'; 1001]), 1009),
        (five_fragments.concat(), 1009),
    ] {
        for piece in [1, 2, 3, input.len()] {
            assert_eq!(read_pieces(&input, piece, LIMITS).1, Some(code), "{input:02x?} in pieces of {piece}");
        }
    }
    let refuse = ReadLimits { binary: Binary::Refuse, ..LIMITS };
    assert_eq!(read_pieces(&frame(0x82, b"x"), 99, refuse).1, Some(1003));
    assert_eq!(read_pieces(&frame(0x81, &[b'a'; 1000]), 99, LIMITS).1, None);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_payload() {
    let mut reader = Reader::default();
    let mut header = b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04".to_vec();
    let fault = reader.read(&mut header, &LIMITS, Coding::Plain, |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(fault.code, CloseCode::TooBig);
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn bad_text_fails_at_its_first_bad_byte() {
    let mut reader = Reader::default();
    let whole = frame(0x81, b"good\xffmore to come");
    let fault = reader.read(&mut whole[..6 + 5].to_vec(), &LIMITS, Coding::Plain, |_| ControlFlow::Continue(()));
    assert_eq!(fault.unwrap_err().code, CloseCode::NotUtf8);
}

#[test]
fn compressed_messages_are_read_once_agreed_however_they_are_split() {
    let compressed = crate::protocol::deflate::compress("größe größe".as_bytes());
    let (first, rest) = compressed.split_at(3);
    let mut input = frame(0xc1, &compressed);
    input.extend(frame(0x41, first));
    input.extend(frame(0x89, b"hi"));
    input.extend(frame(0x80, rest));
    input.extend(frame(0x81, b"plain"));
    let expected = ["text größe größe", "ping hi", "text größe größe", "text plain"].map(String::from).to_vec();
    for piece in 1..=input.len() {
        assert_eq!(read_coded(&input, piece, LIMITS, Coding::Deflate), (expected.clone(), None), "{piece}");
    }
    assert_eq!(read_pieces(&input, 99, LIMITS).1, Some(1002), "not agreed");
    let bomb = crate::protocol::deflate::compress(&[0; 100_000]);
    for (input, code) in [
        (frame(0xc1, &bomb), 1009),
        (frame(0xc1, &[0xff; 9]), 1002),
        (frame(0xc1, &crate::protocol::deflate::compress(b"\xff")), 1007),
        (frame(0xc9, b""), 1002),
        ([frame(0x01, b"a"), frame(0xc0, b"b")].concat(), 1002),
    ] {
        assert_eq!(read_coded(&input, 99, LIMITS, Coding::Deflate).1, Some(code));
    }
}

#[test]
fn nothing_is_held_between_messages() {
    let mut reader = Reader::default();
    let whole = frame(0x81, b"hello");
    for byte in whole {
        reader.read(&mut [byte], &LIMITS, Coding::Plain, |_| ControlFlow::Continue(())).unwrap();
    }
    assert_eq!(reader.held_bytes(), 0);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_splitting_changes_nothing(
        input in prop::collection::vec(any::<u8>(), 0..120), piece in 1usize..20,
    ) {
        let whole = read_pieces(&input, usize::MAX, LIMITS);
        prop_assert_eq!(read_pieces(&input, piece, LIMITS), whole);
    }

    #[test]
    fn well_formed_streams_read_the_same_in_pieces(
        frames in prop::collection::vec((0usize..8, prop::collection::vec(any::<u8>(), 0..200)), 0..8),
        piece in 1usize..40,
    ) {
        let input: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, payload)| {
                let first = [0x81, 0x01, 0x00, 0x80, 0x82, 0x02, 0x89, 0x8a][*kind];
                frame(first, &payload[..if *kind > 5 { payload.len().min(125) } else { payload.len() }])
            })
            .collect();
        prop_assert_eq!(read_pieces(&input, piece, LIMITS), read_pieces(&input, usize::MAX, LIMITS));
    }
}
