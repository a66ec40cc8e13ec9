//! What a client's socket brings: its bytes into the buffer, their meaning into the books, its end into the counts.

use crate::clock::Ns;
use crate::frame::{Opcode, put_masked};
use crate::plan::Reader;

use super::connecting::Step;
use super::connection::{Phase, ReadOutcome};
use super::message::subscribe;
use super::reading::{Event, read_frames, read_upgrade};
use super::swarm::{Client, Swarm};

impl Swarm {
    /// Reads what there is, at most `budget` bytes; how many it were.
    pub(super) fn read(&mut self, index: usize, budget: usize) -> usize {
        let mut read = 0;
        while read < budget {
            let Some(connection) = &mut self.clients[index].connection else { break };
            let held = connection.carry.len();
            self.buffer[..held].copy_from_slice(&connection.carry);
            let space = (self.buffer.len() - held).min(budget - read);
            match connection.read(&mut self.buffer[held..held + space]) {
                ReadOutcome::Bytes(bytes) => {
                    read += bytes;
                    self.take_in(index, held + bytes);
                    // A short read emptied the socket; what comes later comes with an event of its own.
                    if bytes < space {
                        break;
                    }
                }
                ReadOutcome::Empty => break,
                ReadOutcome::End => self.ended(index, "eof"),
                ReadOutcome::Reset => self.ended(index, "reset"),
            }
        }
        read
    }

    /// Takes in the first `length` bytes of the buffer, which are `index`'s.
    fn take_in(&mut self, index: usize, length: usize) {
        let now = self.clock.now();
        let Some(connection) = &mut self.clients[index].connection else { return };
        let mut used = 0;
        if connection.phase == Phase::Upgrading {
            match read_upgrade(&self.buffer[..length]) {
                Ok(Some(bytes)) => {
                    used = bytes;
                    self.upgraded(index, now);
                }
                Ok(None) => {
                    connection.carry = self.buffer[..length].to_vec();
                    return;
                }
                Err(refused) => return self.ended(index, &refused.to_string()),
            }
        }
        let Client { connection: Some(connection), account, reader, .. } = &mut self.clients[index] else { return };
        let mut acknowledged = false;
        let mut end: Option<String> = None;
        let books = (account, *reader, &mut self.ledger);
        used += read_frames(&self.buffer[used..length], books, now, |event, account, ledger| {
            match event {
                Event::Acknowledged => {
                    account.acknowledged(now, ledger);
                    acknowledged = true;
                }
                Event::Answer(bytes) if connection.send(&bytes).is_ok() => {}
                Event::Answer(_) => end = Some("reset".to_owned()),
                Event::Closed(code) => end = Some(code.map_or("no code".to_owned(), |code| code.to_string())),
                Event::Broken(why) => end = Some(why),
            }
            end.is_none()
        });
        connection.carry.clear();
        connection.carry.extend_from_slice(&self.buffer[used..length]);
        if acknowledged {
            self.acknowledged(index, now);
        }
        if let Some(how) = end {
            self.ended(index, &how);
        }
    }

    fn upgraded(&mut self, index: usize, now: Ns) {
        let Client { connection: Some(connection), account, .. } = &mut self.clients[index] else { return };
        let began = connection.began;
        connection.carry.clear();
        let subscribes = self.wave.as_ref().is_none_or(|wave| wave.order.subscribe) && !account.is_empty();
        if let Some(wave) = &mut self.wave {
            wave.stepped(Step::Upgraded, began, now);
        }
        if !subscribes {
            connection.phase = Phase::Open;
            return self.arrived(now);
        }
        connection.phase = Phase::Subscribing;
        account.asked();
        let mut request = Vec::new();
        put_masked(&mut request, Opcode::Text, subscribe(account.symbols()).as_bytes());
        if connection.send(&request).is_err() {
            self.ended(index, "reset");
        }
    }

    fn acknowledged(&mut self, index: usize, now: Ns) {
        let Some(connection) = &mut self.clients[index].connection else { return };
        if connection.phase != Phase::Subscribing {
            return;
        }
        connection.phase = Phase::Open;
        let began = connection.began;
        match &mut self.wave {
            Some(wave) => wave.stepped(Step::Subscribed, began, now),
            None => self.ledger.outcome.reconnected.record(now - began),
        }
        self.arrived(now);
    }

    /// A client is where it should be.
    fn arrived(&mut self, now: Ns) {
        self.connected += 1;
        match &mut self.wave {
            Some(wave) => wave.arrived(now),
            None => self.churn.away -= 1,
        }
    }

    /// A connection ended that this client did not end.
    pub(super) fn ended(&mut self, index: usize, how: &str) {
        let now = self.clock.now();
        let client = &mut self.clients[index];
        let Some(connection) = client.connection.take() else { return };
        client.account.left(client.reader, now, &mut self.ledger);
        if connection.phase == Phase::Open {
            self.connected -= 1;
            let outcome = &mut self.ledger.outcome;
            let counts = if client.reader == Reader::Stuck { &mut outcome.stuck.ends } else { &mut outcome.closes };
            *counts.entry(how.to_owned()).or_default() += 1;
            return;
        }
        let reason = connection.error().map_or_else(|| how.to_owned(), |error| error.to_string());
        match &mut self.wave {
            Some(wave) => wave.failed(reason, now),
            None => {
                self.churn.away -= 1;
                self.ledger.error(&format!("reconnect: {reason}"));
            }
        }
    }
}
