//! Bytes on an upgraded socket: frames, messages, the conversation.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use tickcast::market::Symbol;
use tickcast::protocol::auth::Access;
use tickcast::protocol::deflate;
use tickcast::protocol::message::Terms;
use tickcast::protocol::publication::Coding;
use tickcast::protocol::reader::{Binary, Inbound, ReadLimits, Reader};
use tickcast::protocol::session::{Desk, Now, Rate, Rules, Session, Talk, Wildcard};

use super::request;

const MESSAGE_BYTES: usize = 1_024;
/// What a reader holds beside a message: a control frame, its own state, the growth of a buffer.
const HELD_BESIDE: usize = 1_024;

/// Conversations: every good request in frames of every kind, and some that are none.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let texts = || request::CORPUS.iter().copied();
    let whole = texts().map(|text| frame(0x81, text));
    let cut = texts().map(|text| [frame(0x01, &text[..4]), frame(0x89, b"p"), frame(0x80, &text[4..])].concat());
    let packed = texts().map(|text| frame(0xC1, &deflate::compress(text)));
    let close = [frame(0x88, &[3, 232]), frame(0x88, b""), frame(0x8A, b"pong"), frame(0x82, b"binary")];
    let all = texts().flat_map(|text| frame(0x81, text)).collect();
    whole.chain(cut).chain(packed).chain(close).chain([all]).collect()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Reads the input in pieces as sockets give them, and answers.
pub(crate) fn converse(input: &mut [u8], rng: &mut Rng) {
    let limits = ReadLimits { message_bytes: MESSAGE_BYTES, fragments: 8, binary: Binary::Refuse };
    let coding = if rng.bool() { Coding::Deflate } else { Coding::Plain };
    let rules = rules(limits);
    let (mut now, mut desk) = (at(0), Paper::default());
    let mut session = Session::new(Access::Open, &rules, now);
    session.greet("c", request::selection(rng), &rules, now, &mut desk);
    let mut reader = Reader::default();
    let mut rest = input;
    while !rest.is_empty() {
        let piece = rng.usize(1..=rest.len());
        let (now_read, later) = rest.split_at_mut(piece);
        rest = later;
        now = at(now.mono_ms + rng.u64(..2_000));
        let mut open = true;
        let read = reader.read(now_read, &limits, coding, |inbound| {
            session.heard(now);
            if let Inbound::Text(text) = inbound {
                assert!(text.len() <= MESSAGE_BYTES);
                open = session.on_text(text, &rules, now, &mut desk).is_continue();
            }
            if open { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(reader.held_bytes() <= 2 * MESSAGE_BYTES + HELD_BESIDE, "{}", reader.held_bytes());
        if read.is_err() || !open {
            return;
        }
        session.tick(rng.bool(), &rules, now, &mut desk);
    }
    assert!(desk.watched.len() <= rules.symbols_per_client);
}

fn rules(read: ReadLimits) -> Rules {
    Rules {
        name: "tickcast".into(),
        api_base: None,
        read,
        symbols_per_client: 3,
        messages: Rate { per_second: 10, burst: 50 },
        pings: Rate { per_second: 10, burst: 50 },
        wildcard: Wildcard::Allowed,
        ping_interval: Duration::from_secs(25),
        pong_timeout: Duration::from_secs(10),
        talk: Talk::Quotes,
        verify: None,
    }
}

fn at(mono_ms: u64) -> Now {
    let wall = Timestamp::from_millisecond(1_795_000_000_000 + i64::try_from(mono_ms).unwrap()).unwrap();
    Now { mono_ms, wall }
}

/// A desk that is a set; what it sends must be JSON.
#[derive(Default)]
struct Paper {
    watched: BTreeSet<Symbol>,
    all: bool,
}

impl Desk for Paper {
    fn watch(&mut self, symbol: Symbol, _: Terms) {
        self.watched.insert(symbol);
    }
    fn watch_all(&mut self, _: Terms) {
        self.all = true;
    }
    fn unwatch(&mut self, symbol: Symbol) -> bool {
        self.watched.remove(&symbol)
    }
    fn unwatch_all(&mut self) -> Vec<Symbol> {
        self.all = false;
        std::mem::take(&mut self.watched).into_iter().collect()
    }
    fn watches(&self, symbol: Symbol) -> bool {
        self.watched.contains(&symbol)
    }
    fn watches_all(&self) -> bool {
        self.all
    }
    fn watched(&self) -> Vec<Symbol> {
        self.watched.iter().copied().collect()
    }
    fn active(&self) -> usize {
        self.watched.len()
    }
    fn send(&mut self, json: &str) {
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(json).is_ok(), "{json}");
    }
}
