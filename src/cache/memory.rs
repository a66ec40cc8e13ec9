//! The memory tier: values by key, bounded by bytes; what is used least goes first (W-TinyLFU, by moka).
//!
//! While there is a store, a value is believed for [`BELIEVED_MS`] and then looked up again, so that an operator's
//! clear reaches every process. It keeps what is no longer fresh, for when nothing newer can be had.

use std::sync::Arc;

use moka::sync::Cache;

use super::value::Value;

/// For how long a value is answered with before the store is asked again.
const BELIEVED_MS: u64 = 60_000;
/// What an entry takes beside key and value, roughly.
const ENTRY_BYTES: usize = 200;

/// See the module.
pub(super) struct Memory(Cache<Arc<str>, Held>);

#[derive(Clone)]
struct Held {
    value: Arc<Value>,
    believed_until_ms: u64,
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Memory {
        let weigh = |key: &Arc<str>, held: &Held| {
            u32::try_from(key.len() + held.value.bytes() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Memory(Cache::builder().max_capacity(max_bytes).weigher(weigh).build())
    }

    /// A value to answer with.
    pub(super) fn fresh(&self, key: &str, now_ms: u64) -> Option<Arc<Value>> {
        let held = self.0.get(key)?;
        (held.value.is_fresh(now_ms) && now_ms < held.believed_until_ms).then_some(held.value)
    }

    /// Whatever is held, believed or not.
    pub(super) fn any(&self, key: &str) -> Option<Arc<Value>> {
        self.0.get(key).map(|held| held.value)
    }

    pub(super) fn put(&self, key: &Arc<str>, value: Arc<Value>, now_ms: u64) {
        self.0.insert(Arc::clone(key), Held { value, believed_until_ms: now_ms + BELIEVED_MS });
    }

    pub(super) fn remove(&self, key: &str) {
        self.0.invalidate(key);
    }

    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.entry_count(), self.0.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::cache::value::Kind;

    fn value(bytes: usize, now_ms: u64) -> Arc<Value> {
        Arc::new(Value::new(Kind::Found, Bytes::from(vec![b'x'; bytes]), now_ms, Duration::from_secs(600)))
    }

    #[test]
    fn a_value_is_believed_for_a_minute_and_kept_for_need() {
        let memory = Memory::new(1 << 20);
        memory.put(&"k".into(), value(10, 0), 0);
        assert!(memory.fresh("k", BELIEVED_MS - 1).is_some());
        assert!(memory.fresh("k", BELIEVED_MS).is_none() && memory.any("k").is_some());
        memory.remove("k");
        assert!(memory.any("k").is_none());
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let memory = Memory::new(100_000);
        for i in 0..1000 {
            memory.put(&format!("key {i}").into(), value(1000, 0), 0);
        }
        let (entries, bytes) = memory.size();
        assert!(bytes <= 100_000 && entries > 20, "{entries} entries, {bytes} bytes");
        memory.clear();
        assert_eq!(memory.size(), (0, 0));
    }
}
