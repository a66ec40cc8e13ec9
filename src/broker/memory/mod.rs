//! The embedded broker: the reference implementation, and the default of `serve`.
//!
//! Everything happens within the call, under one lock a part and without a task of its own; what runs out (leases,
//! leave delays, values) is found by the next call that looks, as in Redis. It knows no other process. Its clock is
//! tokio's, so a test may pause it. State ends with the last handle.
//!
//! **At its limits** it behaves as Redis does: slow readers lose the oldest messages and are told (`inbox.rs`), and a full
//! store refuses (`store.rs`).

mod clock;
mod leadership;
mod publish;
mod quota;
mod registry;
mod store;
mod watchers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::clock::Clock;
use super::config::Timing;
use super::inbox::{ChannelSet, Hub};
use super::{Broker, Channel, Feed, Feeds, Kind, Status, Tasks};

/// A new embedded broker, ready at once.
#[must_use]
pub fn start(timing: Timing) -> Broker {
    let memory = Arc::new(Memory::new(timing));
    let status =
        Status { kind: Kind::Memory, connected: true, writable: true, canary: None, reconnects: 0, problem: None };
    Broker {
        publish: memory.clone(),
        feeds: memory.clone(),
        registry: memory.clone(),
        store: memory.clone(),
        leadership: memory.clone(),
        quota: memory,
        status: watch::Sender::new(status).subscribe(),
        tasks: Tasks::default(),
    }
}

struct Memory {
    clock: Clock,
    hub: Hub,
    watchers: Mutex<watchers::Watchers>,
    store: Mutex<store::Values>,
    /// Held while a message is published, so that fencing, storing and delivering are one step.
    leader: Mutex<leadership::Leader>,
    ledgers: Mutex<quota::Ledgers>,
}

impl Memory {
    fn new(timing: Timing) -> Memory {
        Memory {
            clock: Clock::new(),
            hub: Hub::new(ChannelSet::ALL),
            watchers: Mutex::new(watchers::Watchers::new(timing)),
            store: Mutex::default(),
            leader: Mutex::default(),
            ledgers: Mutex::default(),
        }
    }
}

impl Feeds for Memory {
    fn subscribe(&self, channels: &[Channel]) -> Box<dyn Feed> {
        Box::new(self.hub.subscribe(channels))
    }
}

/// No call leaves its state half-changed, so a panic elsewhere does not make it wrong.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
