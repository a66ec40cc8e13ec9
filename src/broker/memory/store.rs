//! Values in memory, each for a time or until removed.
//!
//! Bounded by [`MAX_BYTES`] of keys and values: a new value pushes out those that would run out soonest; when none
//! runs out, it is refused, as by a Redis that is full.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hashbrown::HashMap;

use super::clock::millis;
use super::{Memory, lock};
use crate::broker::{BrokerError, Result, Store};

/// 100,000 quotes of 600 bytes, and as much again for histories.
const MAX_BYTES: usize = 128 * 1024 * 1024;
/// What an entry costs beside its bytes, roughly.
const ENTRY_BYTES: usize = 128;

/// The values.
pub(super) struct Values {
    values: HashMap<Arc<str>, Value>,
    by_end: BTreeSet<(u64, Arc<str>)>,
    bytes: usize,
    max_bytes: usize,
}

struct Value {
    bytes: Bytes,
    until_ms: Option<u64>,
}

impl Default for Values {
    fn default() -> Self {
        Values { values: HashMap::new(), by_end: BTreeSet::new(), bytes: 0, max_bytes: MAX_BYTES }
    }
}

impl Values {
    pub(super) fn get(&mut self, key: &str, now_ms: u64) -> Option<Bytes> {
        self.expire(now_ms);
        self.values.get(key).map(|value| value.bytes.clone())
    }

    pub(super) fn set(&mut self, key: &str, bytes: Bytes, ttl: Option<Duration>, now_ms: u64) -> Result<()> {
        self.expire(now_ms);
        self.remove(key, now_ms);
        let size = size(key, &bytes);
        while self.bytes + size > self.max_bytes {
            let Some((_, soonest)) = self.by_end.first().cloned() else {
                return Err(BrokerError::Refused("the embedded store is full".into()));
            };
            self.remove(&soonest, now_ms);
        }
        let key: Arc<str> = key.into();
        let until_ms = ttl.map(|ttl| now_ms + millis(ttl));
        if let Some(until_ms) = until_ms {
            self.by_end.insert((until_ms, key.clone()));
        }
        self.bytes += size;
        self.values.insert(key, Value { bytes, until_ms });
        Ok(())
    }

    fn remove(&mut self, key: &str, now_ms: u64) -> bool {
        self.expire(now_ms);
        self.forget(key)
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some((until_ms, key)) = self.by_end.first().cloned()
            && until_ms <= now_ms
        {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &str) -> bool {
        let Some((key, value)) = self.values.remove_entry(key) else { return false };
        self.bytes -= size(&key, &value.bytes);
        if let Some(until_ms) = value.until_ms {
            self.by_end.remove(&(until_ms, key));
        }
        true
    }
}

fn size(key: &str, bytes: &Bytes) -> usize {
    key.len() + bytes.len() + ENTRY_BYTES
}

#[async_trait]
impl Store for Memory {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let (mut store, now_ms) = (lock(&self.store), self.clock.now_ms());
        Ok(keys.iter().map(|key| store.get(key, now_ms)).collect())
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<()> {
        lock(&self.store).set(key, value, ttl, self.clock.now_ms())
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        let (mut store, now_ms) = (lock(&self.store), self.clock.now_ms());
        if store.get(key, now_ms).is_some() {
            return Ok(false);
        }
        store.set(key, value, Some(ttl), now_ms).map(|()| true)
    }

    async fn remove(&self, keys: &[String]) -> Result<u64> {
        let (mut store, now_ms) = (lock(&self.store), self.clock.now_ms());
        Ok(keys.iter().map(|key| u64::from(store.remove(key, now_ms))).sum())
    }

    async fn keys_with_prefix(&self, prefix: &str) -> Result<Vec<String>> {
        let mut store = lock(&self.store);
        store.expire(self.clock.now_ms());
        Ok(store.values.keys().filter(|key| key.starts_with(prefix)).map(|key| key.to_string()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_gives_up_what_runs_out_soonest() {
        let mut values = Values { max_bytes: 3 * (ENTRY_BYTES + 2), ..Values::default() };
        let bytes = || Bytes::from_static(b"1");
        values.set("a", bytes(), None, 0).unwrap();
        values.set("b", bytes(), Some(Duration::from_secs(9)), 0).unwrap();
        values.set("c", bytes(), Some(Duration::from_secs(5)), 0).unwrap();
        values.set("d", bytes(), None, 0).unwrap();
        assert_eq!(values.get("c", 0), None);
        values.set("e", bytes(), None, 0).unwrap();
        assert!(matches!(values.set("f", bytes(), None, 0), Err(BrokerError::Refused(_))));
        assert_eq!(["a", "b", "d", "e"].map(|key| values.get(key, 0).is_some()), [true, false, true, true]);
        assert_eq!(values.bytes, 3 * (ENTRY_BYTES + 2));
    }
}
