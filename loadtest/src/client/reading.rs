//! From received bytes to what they mean to a client. The frames are scanned where they lie; only what is rare allocates.

use crate::clock::Ns;
use crate::frame::{Frame, Opcode, next_frame, put_masked};
use crate::plan::Reader;
use crate::update::read_update;

use super::handshake::{self, Refused};
use super::ledger::{Account, Ledger};
use super::message::Message;

/// What the swarm does about what was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The `subscribed` ack.
    Acknowledged,
    /// These bytes are to be sent.
    Answer(Vec<u8>),
    /// The server closes, with this code if it gave one.
    Closed(Option<u16>),
    /// What came cannot be read on.
    Broken(String),
}

/// The upgrade's answer at the start of `data`: how many bytes it took, `None` while incomplete.
///
/// # Errors
/// [`Refused`]
pub(crate) fn read_upgrade(data: &[u8]) -> Result<Option<usize>, Refused> {
    handshake::read_response(data)
}

/// Reads all whole frames in `data`, enters updates into the books and hands anything else to `event`. Returns how many
/// bytes the frames took. `event` says whether to read on.
pub(crate) fn read_frames(
    data: &[u8],
    (account, reader, ledger): (&mut Account, Reader, &mut Ledger),
    now: Ns,
    mut event: impl FnMut(Event, &mut Account, &mut Ledger) -> bool,
) -> usize {
    let (mut used, mut updates) = (0, 0);
    loop {
        let frame = match next_frame(&data[used..]) {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                event(Event::Broken(error.to_string()), account, ledger);
                break;
            }
        };
        used += frame.bytes;
        if frame.opcode == Opcode::Text
            && let Some(update) = read_update(frame.payload)
        {
            updates += 1;
            account.update(&update, reader, now, ledger);
        } else if let Some(other) = read_other(&frame, account, ledger)
            && !event(other, account, ledger)
        {
            break;
        }
    }
    ledger.read(updates, used, now);
    used
}

fn read_other(frame: &Frame<'_>, account: &mut Account, ledger: &mut Ledger) -> Option<Event> {
    match frame.opcode {
        Opcode::Text => read_message(frame.payload, account, ledger),
        Opcode::Ping => {
            let mut pong = Vec::new();
            put_masked(&mut pong, Opcode::Pong, frame.payload);
            Some(Event::Answer(pong))
        }
        Opcode::Pong => None,
        Opcode::Close => Some(Event::Closed(frame.payload.first_chunk().map(|&code| u16::from_be_bytes(code)))),
        Opcode::Binary => Some(Event::Broken("the server sent a binary message".to_owned())),
    }
}

fn read_message(payload: &[u8], account: &mut Account, ledger: &mut Ledger) -> Option<Event> {
    match Message::read(payload) {
        Message::Subscribed { rejected } => {
            if rejected > 0 {
                ledger.error("subscribe: symbols rejected");
            }
            Some(Event::Acknowledged)
        }
        Message::Lagging { conflated } => {
            account.told_lagging(conflated, ledger);
            None
        }
        Message::Error(text) => {
            ledger.error(&text);
            None
        }
        Message::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::put_unmasked;
    use crate::update::UpdateWriter;

    const BASE: u64 = 1_790_000_000_000_000;

    fn text(out: &mut Vec<u8>, payload: &[u8]) {
        put_unmasked(out, Opcode::Text, payload);
    }

    #[test]
    fn a_buffer_of_everything_is_read_in_order_and_its_cut_end_is_left() {
        let (mut account, mut ledger) = (Account::new(&[3]), Ledger::new(BASE));
        account.asked();
        let mut data = Vec::new();
        text(&mut data, br#"{"type":"connected","clientId":"c"}"#);
        text(&mut data, br#"{"type":"subscribed","symbols":["T00003"],"rejected":[]}"#);
        let writer = UpdateWriter::new(0, BASE);
        for number in 0..3 {
            let mut update = Vec::new();
            writer.write(&mut update, 3, number, 5);
            text(&mut data, &update);
        }
        put_unmasked(&mut data, Opcode::Ping, b"hi");
        let whole = data.len();
        data.extend_from_slice(&[0x81, 126]);

        let mut events = Vec::new();
        let used = read_frames(&data, (&mut account, Reader::Healthy, &mut ledger), 9, |event, account, ledger| {
            if event == Event::Acknowledged {
                account.acknowledged(9, ledger);
            }
            events.push(event);
            true
        });
        assert_eq!(used, whole);
        assert_eq!(ledger.outcome.tally.arrived, 3);
        let mut pong = Vec::new();
        put_masked(&mut pong, Opcode::Pong, b"hi");
        assert_eq!(events, [Event::Acknowledged, Event::Answer(pong)]);
    }

    #[test]
    fn reading_stops_where_the_server_closes() {
        let (mut account, mut ledger) = (Account::new(&[]), Ledger::new(BASE));
        let mut data = Vec::new();
        put_unmasked(&mut data, Opcode::Close, &4409u16.to_be_bytes());
        text(&mut data, b"{}");
        let mut events = Vec::new();
        read_frames(&data, (&mut account, Reader::Healthy, &mut ledger), 9, |event, _, _| {
            events.push(event);
            false
        });
        assert_eq!(events, [Event::Closed(Some(4409))]);
    }

    #[test]
    fn complaints_are_counted_by_their_text() {
        let (mut account, mut ledger) = (Account::new(&[]), Ledger::new(BASE));
        let mut data = Vec::new();
        for _ in 0..2 {
            text(&mut data, br#"{"type":"error","code":"rate_limited","message":"slow down"}"#);
        }
        text(&mut data, br#"{"type":"lagging","conflated":12}"#);
        read_frames(&data, (&mut account, Reader::Healthy, &mut ledger), 9, |_, _, _| true);
        assert_eq!(ledger.outcome.errors["rate_limited: slow down"], 2);
        assert_eq!(ledger.outcome.told_conflated, 12);
    }
}
