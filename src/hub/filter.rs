//! Which symbols a shard watches, readable from other threads without a lock.
//!
//! A counting Bloom filter with one hash function: a slot per hash value, counting the topics that fall on it. The
//! shard's thread writes; the feed's task reads it once per update and per shard, and skips what nobody watches there.
//! It may say yes for a symbol that is not watched (the board then drops the update), never no for one that is: a slot
//! is raised before the client's `subscribed` goes out.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hashbrown::DefaultHashBuilder;

use crate::market::Symbol;

/// Slots: 2¹⁶ × 4 bytes = 256 KiB a shard. With 10,000 watched symbols one unwatched update in seven gets through.
const SLOTS: usize = 1 << 16;

/// A shard's filter.
#[derive(Debug)]
pub struct Watched {
    hasher: DefaultHashBuilder,
    slots: Box<[AtomicU32]>,
    all: AtomicBool,
}

impl Watched {
    /// An empty filter. All filters of a process share one `hasher`, so that a symbol is hashed once per update. Its
    /// seed is random: nobody can choose symbols that collide.
    #[must_use]
    pub fn new(hasher: DefaultHashBuilder) -> Watched {
        Watched { hasher, slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(), all: AtomicBool::new(false) }
    }

    /// An empty filter with the same hasher.
    #[must_use]
    pub fn beside(&self) -> Watched {
        Watched::new(self.hasher.clone())
    }

    /// A symbol's hash, for [`Watched::may_watch`] and the board.
    #[must_use]
    pub fn hash(&self, symbol: Symbol) -> u64 {
        self.hasher.hash_one(symbol)
    }

    /// Whether an update of the symbol with this hash must go to the shard.
    #[must_use]
    pub fn may_watch(&self, hash: u64) -> bool {
        self.slot(hash).load(Ordering::Acquire) > 0 || self.all.load(Ordering::Acquire)
    }

    /// A symbol with this hash is watched from now on; in step with [`Watched::lower`].
    pub fn raise(&self, hash: u64) {
        self.slot(hash).fetch_add(1, Ordering::Release);
    }

    /// A symbol with this hash is no longer watched.
    pub fn lower(&self, hash: u64) {
        self.slot(hash).fetch_sub(1, Ordering::Release);
    }

    /// Forgets what a hub raised that is no more.
    pub fn clear(&self) {
        for slot in &self.slots {
            slot.store(0, Ordering::Release);
        }
        self.set_all(false);
    }

    pub(super) fn set_all(&self, all: bool) {
        self.all.store(all, Ordering::Release);
    }

    fn slot(&self, hash: u64) -> &AtomicU32 {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are the slot")]
        let index = hash as usize % SLOTS;
        &self.slots[index]
    }
}
