//! Carries out on the hub what a session decides.

use crate::hub::{Hub, LaneId};
use crate::market::Symbol;
use crate::protocol::frame;
use crate::protocol::message::Terms;
use crate::protocol::session::Desk;

pub(super) struct LaneDesk<'a> {
    pub(super) hub: &'a mut Hub,
    pub(super) lane: LaneId,
    /// Symbols without a last update here, whose cached quote is to be brought.
    pub(super) unknown: &'a mut Vec<Symbol>,
}

impl Desk for LaneDesk<'_> {
    fn watch(&mut self, symbol: Symbol, terms: Terms) {
        if self.hub.watch(self.lane, symbol, terms) {
            self.unknown.push(symbol);
        }
    }

    fn watch_all(&mut self, terms: Terms) {
        self.hub.watch_all(self.lane, terms);
    }

    fn unwatch(&mut self, symbol: Symbol) -> bool {
        self.hub.unwatch(self.lane, symbol)
    }

    fn unwatch_all(&mut self) -> Vec<Symbol> {
        self.hub.unwatch_all(self.lane)
    }

    fn watches(&self, symbol: Symbol) -> bool {
        self.hub.watches(self.lane, symbol)
    }

    fn watches_all(&self) -> bool {
        self.hub.watches_all(self.lane)
    }

    fn watched(&self) -> Vec<Symbol> {
        self.hub.watched(self.lane)
    }

    fn active(&self) -> usize {
        self.hub.active(self.lane)
    }

    fn send(&mut self, json: &str) {
        self.hub.reply(self.lane, frame::text(json));
    }
}
