//! The kinds of attack: each runs until it is over, on a thread and an address of its own.

use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};

use crate::client::message;
use crate::frame::{Opcode, put_masked};

use super::Field;
use super::socket::{Attacker, Window};

/// Every kind. Its place is its address.
pub(super) const ALL: [fn(&Field, u8); 7] = [never_read, half_open, single_bytes, pings, fragments, bombs, connects];

const NEVER_READING: usize = 100;
const HALF_OPEN: usize = 200;
/// Between two looks at those that hold on.
const LOOK: Duration = Duration::from_millis(250);
/// Between two of those that are cut off soon.
const PAUSE: Duration = Duration::from_millis(200);
const PINGS: usize = 10_000;
const FRAGMENTS: usize = 10_000;
/// What a bomb of some 60 KB becomes: a thousand times its size.
const BOMB_BYTES: usize = 60 << 20;
const PART_BYTES: usize = 1 << 20;
const CONNECTS_PER_SECOND: u32 = 50;

/// 100 clients subscribe to everything there is and never read a byte. Who is cut comes again.
fn never_read(field: &Field, kind: u8) {
    let mut subscribe = Vec::new();
    put_masked(&mut subscribe, Opcode::Text, message::subscribe(0..field.job.symbols).as_bytes());
    hold(field, NEVER_READING, "never reads", || {
        let mut attacker = Attacker::connect(field, kind, Window::Narrow).map_err(|error| error.kind().to_string())?;
        attacker.upgrade(field, "")?;
        attacker.send(&subscribe);
        Ok(attacker)
    });
}

/// 200 clients begin a request and do not go on.
fn half_open(field: &Field, kind: u8) {
    hold(field, HALF_OPEN, "half a handshake", || {
        let mut attacker = Attacker::connect(field, kind, Window::Usual).map_err(|error| error.kind().to_string())?;
        attacker.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr");
        Ok(attacker)
    });
}

/// Keeps so many that hold on.
fn hold(field: &Field, many: usize, name: &str, begin: impl Fn() -> Result<Attacker, String>) {
    let mut held: Vec<Attacker> = Vec::new();
    while field.goes_on() {
        held.retain(|attacker| {
            let is_cut = attacker.is_cut();
            if is_cut {
                field.count(name, "cut off");
            }
            !is_cut
        });
        while held.len() < many && field.goes_on() {
            match begin() {
                Ok(attacker) => {
                    field.count(name, "begun");
                    held.push(attacker);
                }
                Err(why) => {
                    field.count(name, &why);
                    break;
                }
            }
        }
        field.wait(LOOK);
    }
    for _ in held {
        field.count(name, "held to the end");
    }
}

/// Messages of one byte, each byte of their frames in a packet of its own.
fn single_bytes(field: &Field, kind: u8) {
    let mut frame = Vec::new();
    put_masked(&mut frame, Opcode::Text, b"x");
    flood(field, kind, "single bytes", "", |attacker| {
        while field.goes_on() && frame.iter().all(|byte| attacker.send(&[*byte])) && !attacker.is_cut() {}
    });
}

/// 10,000 pings as fast as they go.
fn pings(field: &Field, kind: u8) {
    let mut frames = Vec::new();
    (0..PINGS).for_each(|_| put_masked(&mut frames, Opcode::Ping, b"0123456789"));
    flood(field, kind, "10,000 pings", "", |attacker| {
        attacker.send(&frames);
    });
}

/// A message of 10,000 fragments of a byte, without an end.
fn fragments(field: &Field, kind: u8) {
    let fragment = |at: usize| [u8::from(at == 0), 0x81, 0, 0, 0, 0, b'x'];
    let frames: Vec<u8> = (0..FRAGMENTS).flat_map(fragment).collect();
    flood(field, kind, "fragments", "", |attacker| {
        attacker.send(&frames);
    });
}

/// A frame of 60 KB that would be a message of 60 MB.
fn bombs(field: &Field, kind: u8) {
    let mut bomb = Vec::new();
    put_masked(&mut bomb, Opcode::Text, &deflated_zeros(BOMB_BYTES));
    // RSV1: compressed.
    bomb[0] |= 0x40;
    flood(field, kind, "bombs", "Sec-WebSocket-Extensions: permessage-deflate\r\n", |attacker| {
        attacker.send(&bomb);
    });
}

/// Connects, does what it does until the server has had enough, sees how that ended, and comes again.
fn flood(field: &Field, kind: u8, name: &str, headers: &str, act: impl Fn(&mut Attacker)) {
    while field.goes_on() {
        let connected = Attacker::connect(field, kind, Window::Usual).map_err(|error| error.kind().to_string());
        let upgraded = connected.and_then(|mut attacker| attacker.upgrade(field, headers).map(|()| attacker));
        match upgraded {
            Ok(mut attacker) => {
                act(&mut attacker);
                field.count(name, &attacker.end());
            }
            Err(why) => field.count(name, &why),
        }
        field.wait(PAUSE);
    }
}

/// 50 connects a second that are upgraded and leave without a word.
fn connects(field: &Field, kind: u8) {
    let began = Instant::now();
    for number in 1_u32.. {
        let outcome = Attacker::connect(field, kind, Window::Usual)
            .map_err(|error| error.kind().to_string())
            .and_then(|mut attacker| attacker.upgrade(field, ""));
        field.count("50 connects/s", outcome.as_ref().map_or_else(String::as_str, |()| "upgraded"));
        if !field.goes_on() {
            return;
        }
        let due = began + Duration::from_secs(1) * number / CONNECTS_PER_SECOND;
        field.wait(due.saturating_duration_since(Instant::now()));
    }
}

/// As the payload of a compressed message (RFC 7692 §7.2.1).
fn deflated_zeros(bytes: usize) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut part = Vec::with_capacity(4 * 1024);
    // After a full flush nothing refers to what came before, so that a part can be repeated. It cannot fail: deflating has
    // no errors but those of wrong use.
    drop(compress.compress_vec(&vec![0; PART_BYTES], &mut part, FlushCompress::Full));
    let mut out = part.repeat(bytes / PART_BYTES);
    out.truncate(out.len().saturating_sub(4));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_fits_into_a_message_and_bursts_to_a_thousand_times_its_size() {
        let bomb = deflated_zeros(BOMB_BYTES);
        assert!(bomb.len() > 50_000 && bomb.len() < 65_536, "{}", bomb.len());
        let mut inflate = flate2::Decompress::new(false);
        let mut out = Vec::with_capacity(BOMB_BYTES + 1);
        let tail = [bomb, vec![0, 0, 0xFF, 0xFF]].concat();
        inflate.decompress_vec(&tail, &mut out, flate2::FlushDecompress::Sync).unwrap();
        assert_eq!(out.len(), BOMB_BYTES);
    }
}
