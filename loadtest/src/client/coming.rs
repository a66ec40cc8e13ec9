//! Who comes and who goes: the wave of connects, churn, and leaving.

use std::io;

use mio::Token;

use crate::clock::Ns;
use crate::frame::{Opcode, put_masked};
use crate::plan::Reader;

use super::connection::{Connection, Link, Phase, source};
use super::message::{subscribe, unsubscribe};
use super::swarm::{Client, Swarm, to_u32};

impl Swarm {
    pub(super) fn connect_more(&mut self, now: Ns) {
        while let Some(index) = self.wave.as_mut().and_then(|wave| wave.next(now)) {
            if let Err(error) = self.open(index as usize)
                && let Some(wave) = &mut self.wave
            {
                wave.failed(format!("connect: {error}"), now);
            }
        }
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let source = source(self.job.clients.start + to_u32(index), self.job.sources, self.job.target);
        let link = match self.clients[index].assigned {
            Reader::Healthy | Reader::Stuck => Link::Wide,
            Reader::Slow => Link::Narrow,
        };
        let place = (self.poll.registry(), Token(index));
        let now = self.clock.now();
        let connection = Connection::open(self.job.target, (source, link), &self.request, place, now)?;
        self.clients[index].connection = Some(connection);
        Ok(())
    }

    pub(super) fn churn(&mut self, now: Ns) {
        while self.churn.reconnects.as_mut().is_some_and(|pacer| pacer.take(now)) {
            if let Some(index) = self.next_to_churn() {
                self.leave(index, now);
                self.churn.away += 1;
                self.ledger.outcome.reconnects += 1;
                if let Err(error) = self.open(index) {
                    self.churn.away -= 1;
                    self.ledger.error(&format!("reconnect: {error}"));
                }
            }
        }
        while self.churn.resubscribes.as_mut().is_some_and(|pacer| pacer.take(now)) {
            let Some(index) = self.next_to_churn() else { continue };
            let Client { connection: Some(connection), account, .. } = &mut self.clients[index] else { continue };
            account.asked_again(now, &mut self.ledger);
            let mut requests = Vec::new();
            put_masked(&mut requests, Opcode::Text, unsubscribe(account.symbols()).as_bytes());
            put_masked(&mut requests, Opcode::Text, subscribe(account.symbols()).as_bytes());
            self.ledger.outcome.resubscribes += 1;
            if connection.send(&requests).is_err() {
                self.ended(index, "reset");
            }
        }
    }

    /// The next healthy connected client, in turn.
    fn next_to_churn(&mut self) -> Option<usize> {
        let count = self.clients.len();
        let turn = (self.churn.next..self.churn.next + count).map(|index| index % count);
        let is_open = |client: &Client| client.connection.as_ref().is_some_and(|c| c.phase == Phase::Open);
        let index = turn.into_iter().find(|&index| {
            let client = &self.clients[index];
            client.reader == Reader::Healthy && !client.account.is_empty() && is_open(client)
        })?;
        self.churn.next = index + 1;
        Some(index)
    }

    /// Says good-bye to the server and drops the connection.
    pub(super) fn leave(&mut self, index: usize, now: Ns) {
        let client = &mut self.clients[index];
        let Some(mut connection) = client.connection.take() else { return };
        client.account.left(client.reader, now, &mut self.ledger);
        self.connected -= u32::from(connection.phase == Phase::Open);
        let mut goodbye = Vec::new();
        put_masked(&mut goodbye, Opcode::Close, &1000u16.to_be_bytes());
        // A connection that no longer takes the good-bye has ended already, which is what is wanted.
        drop(connection.send(&goodbye));
    }

    pub(super) fn disconnect(&mut self, now: Ns) {
        self.wave = None;
        (0..self.clients.len()).for_each(|index| self.leave(index, now));
    }
}
