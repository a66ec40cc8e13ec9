//! Values in Redis.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, Key, SetOptions, Value};

use super::{Redis, parts, text};
use crate::broker::{BrokerError, Result, Store};

/// Keys read or removed by one command; more are asked for in turns, so that Redis stays free for others: about 1 ms.
const BATCH: usize = 1000;
/// Keys looked at by one SCAN.
const SCAN_COUNT: u32 = 1000;

#[async_trait]
impl Store for Redis {
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let names = self.redis_keys(batch);
            let found: Vec<Option<Bytes>> =
                self.commander.call(|client| async move { client.mget(names).await }).await?;
            if found.len() != batch.len() {
                return Err(BrokerError::Refused("MGET returned another number of values".into()));
            }
            // What is a slice of the read buffer would keep all of it alive.
            values.extend(found.into_iter().map(|value| value.map(|bytes| Bytes::copy_from_slice(&bytes))));
        }
        Ok(values)
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<()> {
        let key = self.names.key(key);
        let end = ttl.map(end);
        let written =
            self.commander.call(|client| async move { client.set::<Value, _, _>(key, value, end, None, false).await });
        written.await?;
        self.commander.note_write();
        Ok(())
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        let key = self.names.key(key);
        let if_absent = Some(SetOptions::NX);
        let set = self.commander.call(|client| async move {
            client.set::<Value, _, _>(key, value, Some(end(ttl)), if_absent, false).await
        });
        Ok(!set.await?.is_null())
    }

    async fn remove(&self, keys: &[String]) -> Result<u64> {
        let mut removed = 0;
        for batch in keys.chunks(BATCH) {
            let names = self.redis_keys(batch);
            removed += self.commander.call(|client| async move { client.del::<u64, _>(names).await }).await?;
        }
        Ok(removed)
    }

    async fn keys_with_prefix(&self, prefix: &str) -> Result<Vec<String>> {
        let pattern = glob(&self.names.key(prefix));
        let mut found = std::collections::BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let (from, pattern) = (cursor, pattern.clone());
            let page = self.commander.call(|client| async move {
                client.scan_page::<Value, _, _>(from, pattern, Some(SCAN_COUNT), None).await
            });
            let page = parts(page.await?)?;
            cursor = text(page.first())?;
            for key in page.get(1).cloned().map(Value::into_array).unwrap_or_default() {
                // A page may repeat what an earlier one had.
                found.extend(key.as_string().as_deref().and_then(|key| self.names.plain(key)).map(str::to_owned));
            }
            if cursor == "0" {
                return Ok(found.into_iter().collect());
            }
        }
    }
}

impl Redis {
    fn redis_keys(&self, keys: &[String]) -> Vec<Key> {
        keys.iter().map(|key| self.names.key(key).into()).collect()
    }
}

fn end(ttl: Duration) -> Expiration {
    Expiration::PX(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX >> 10).max(1))
}

/// A pattern for keys that begin with this text.
fn glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}
