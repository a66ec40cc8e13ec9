//! The newest value per key, in fair order, bounded by the number of keys.
//!
//! What every overflowing path of tickcast turns into: a slow consumer gets the newest value of each key instead of
//! every value. A key keeps the place it took when it was first pending, so a busy key cannot starve a quiet one.
//!
//! When it is full (`capacity` distinct keys waiting) a new key pushes out the one that has waited longest, which is
//! handed back so that the caller can count the loss.

use std::collections::VecDeque;
use std::hash::Hash;
use std::num::NonZeroUsize;

use hashbrown::HashMap;

/// A queue that holds at most one value per key.
#[derive(Debug)]
pub struct Latest<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    capacity: NonZeroUsize,
}

/// What [`Latest::push`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed<K, V> {
    /// The key was not waiting.
    New,
    /// The key was waiting; this older value gave way.
    Replaced(V),
    /// The key was not waiting and there was no room: the longest-waiting key left.
    Evicted(K, V),
}

impl<K: Hash + Eq + Clone, V> Latest<K, V> {
    /// An empty queue for at most `capacity` keys. Allocates nothing yet.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Latest { values: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// Makes `value` the one that waits for `key`.
    pub fn push(&mut self, key: K, value: V) -> Pushed<K, V> {
        if let Some(waiting) = self.values.get_mut(&key) {
            return Pushed::Replaced(std::mem::replace(waiting, value));
        }
        let evicted = if self.values.len() == self.capacity.get() { self.pop() } else { None };
        self.order.push_back(key.clone());
        self.values.insert(key, value);
        match evicted {
            Some((key, value)) => Pushed::Evicted(key, value),
            None => Pushed::New,
        }
    }

    /// Takes the value that has waited longest.
    pub fn pop(&mut self) -> Option<(K, V)> {
        let key = self.order.pop_front()?;
        self.values.remove_entry(&key)
    }

    /// The value that waits for `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    /// Keys waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes everything, longest-waiting first.
    pub fn drain(&mut self) -> impl Iterator<Item = (K, V)> + '_ {
        std::iter::from_fn(|| self.pop())
    }

    /// Gives memory back when nothing waits.
    pub fn release_if_empty(&mut self) {
        if self.values.is_empty() {
            self.values = HashMap::new();
            self.order = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(capacity: usize) -> Latest<u8, u32> {
        Latest::new(NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn the_newest_value_wins_and_keeps_the_first_place() {
        let mut queue = queue(4);
        queue.push(1, 10);
        queue.push(2, 20);
        assert_eq!(queue.push(1, 11), Pushed::Replaced(10));
        assert_eq!(queue.drain().collect::<Vec<_>>(), [(1, 11), (2, 20)]);
    }

    #[test]
    fn a_full_queue_gives_up_the_longest_waiting_key() {
        let mut queue = queue(2);
        queue.push(1, 10);
        queue.push(2, 20);
        assert_eq!(queue.push(3, 30), Pushed::Evicted(1, 10));
        assert_eq!(queue.len(), 2);
    }

    proptest! {
        #[test]
        fn it_holds_the_last_value_of_each_key(pushes in prop::collection::vec((0u8..6, any::<u32>()), 0..60)) {
            let mut queue = queue(6);
            let mut model = std::collections::BTreeMap::new();
            for (key, value) in pushes {
                queue.push(key, value);
                model.insert(key, value);
            }
            prop_assert_eq!(queue.drain().collect::<std::collections::BTreeMap<_, _>>(), model);
            prop_assert!(queue.is_empty());
        }
    }
}
