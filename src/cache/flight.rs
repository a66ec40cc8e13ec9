//! One key on its way into the cache: looked up in the store, or fetched by whoever holds the key's lock there.
//!
//! Other processes wait for the lock's holder: they look into the store until the value is there or the lock is gone. A
//! holder that dies leaves a lock that runs out ([`LOCK_TTL`]), and the next one fetches. Without the store each
//! process fetches for itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::meters::Outcome;
use super::value::{Kind, Value};
use super::{Answer, Inner, Origin, now_ms};
use crate::broker::keys;

/// The longest fetch; a provider's own bounds are shorter.
const FETCH_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a lock holds that nobody takes off: longer than a fetch and the writing of what it got.
const LOCK_TTL: Duration = Duration::from_secs(35);
/// Between two looks for what another process fetches: at first, and at most. Each costs two commands.
const LOOK_AGAIN: Duration = Duration::from_millis(60);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(500);
/// For how long a failure stands, and a value that could not be had anew: at least, and for a value at most.
const RETRY_AT_LEAST: Duration = Duration::from_secs(1);
const OLD_AT_MOST: Duration = Duration::from_secs(60);

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The value, and for how long it is fresh.
    Found(Bytes, Duration),
    /// Nothing: why, in a word, and for how long there is no use in asking again.
    Failed(Bytes, Duration),
}

/// Fetches a value.
pub(super) type Fetch = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Fetched> + Send>> + Send>;

/// See the module.
pub(super) struct Flight<'a> {
    pub(super) inner: &'a Inner,
    pub(super) key: &'a Arc<str>,
}

/// What the store said.
enum Looked {
    Fresh(Value),
    /// Nothing fresh; perhaps something better than nothing.
    Missing(Option<Value>),
    Away,
}

/// Who fetches.
enum Lock {
    Ours,
    Others,
    /// Nobody can say.
    Away,
}

impl Flight<'_> {
    pub(super) async fn run(&self, fetch: Fetch) -> Answer {
        let Some(memory) = &self.inner.memory else {
            return self.fetch(fetch, None).await;
        };
        let (mut origin, mut pause) = (Origin::Store, LOOK_AGAIN);
        let mut tally = Some(&self.inner.meters.redis);
        loop {
            let looked = self.look().await;
            // One flight is one look-up, however often it looks while another process fetches.
            if let Some(tally) = tally.take() {
                tally.count(match looked {
                    Looked::Fresh(_) => Outcome::Hit,
                    Looked::Missing(_) => Outcome::Miss,
                    Looked::Away => Outcome::Error,
                });
            }
            let old = match looked {
                Looked::Fresh(value) => return self.land(value, origin),
                Looked::Missing(old) => old,
                Looked::Away => match memory.any(self.key) {
                    Some(value) if value.is_fresh(now_ms()) => return Answer { value, origin: Origin::Memory },
                    held => return self.fetch(fetch, held.as_deref().cloned()).await,
                },
            };
            match self.lock().await {
                Lock::Others => {
                    origin = Origin::Fetched;
                    sleep(pause).await;
                    pause = (pause * 2).min(LOOK_AT_LEAST_EVERY);
                }
                Lock::Away => return self.fetch(fetch, old).await,
                Lock::Ours => {
                    // Whoever held it a moment ago may have left a value.
                    let answer = match self.look().await {
                        Looked::Fresh(value) => self.land(value, Origin::Fetched),
                        Looked::Missing(_) | Looked::Away => self.fetch(fetch, old).await,
                    };
                    self.unlock().await;
                    return answer;
                }
            }
        }
    }

    /// Fetches, keeps and stores what there is; `old` stands in for what cannot be had.
    async fn fetch(&self, fetch: Fetch, old: Option<Value>) -> Answer {
        let fetched = timeout(FETCH_TIMEOUT, fetch()).await;
        let fetched = fetched.unwrap_or_else(|_| Fetched::Failed(Bytes::from_static(b"timeout"), RETRY_AT_LEAST));
        let now_ms = now_ms();
        let value = match fetched {
            Fetched::Found(body, ttl) => {
                self.inner.meters.fetched.increment(1);
                Value::new(Kind::Found, body, now_ms, ttl)
            }
            Fetched::Failed(why, wait) => {
                self.inner.meters.failed.increment(1);
                let wait = wait.max(RETRY_AT_LEAST);
                match old.filter(|old| old.is_better_than_nothing(now_ms)) {
                    Some(old) => old.grown_old(now_ms, wait.min(OLD_AT_MOST)),
                    None => Value::new(Kind::Failed, why, now_ms, wait),
                }
            }
        };
        if self.inner.memory.is_some() {
            self.store(&value, now_ms).await;
        }
        self.land(value, Origin::Fetched)
    }

    fn land(&self, value: Value, origin: Origin) -> Answer {
        let value = Arc::new(value);
        if let Some(memory) = &self.inner.memory {
            memory.put(self.key, Arc::clone(&value), now_ms());
        }
        Answer { value, origin }
    }

    async fn look(&self) -> Looked {
        match self.inner.store.get_many(&[self.key.to_string()]).await {
            Ok(values) => match values.into_iter().next().flatten().map(|stored| Value::read(&stored)) {
                Some(Ok(value)) if value.is_fresh(now_ms()) => Looked::Fresh(value),
                Some(Ok(old)) => Looked::Missing(Some(old)),
                Some(Err(error)) => {
                    debug!(key = &**self.key, %error, "passed over");
                    Looked::Missing(None)
                }
                None => Looked::Missing(None),
            },
            Err(error) => {
                debug!(key = &**self.key, %error, "the store could not be read");
                Looked::Away
            }
        }
    }

    async fn store(&self, value: &Value, now_ms: u64) {
        let until_ms = value.fresh_until_ms.max(if value.kind == Kind::Failed { 0 } else { value.kept_until_ms });
        let ttl = Duration::from_millis(until_ms.saturating_sub(now_ms));
        if let Err(error) = self.inner.store.set(self.key, value.to_stored(), Some(ttl)).await {
            self.inner.meters.redis.count(Outcome::Error);
            debug!(key = &**self.key, %error, "a value could not be stored");
        }
    }

    async fn lock(&self) -> Lock {
        match self.inner.store.set_if_absent(&self.lock_key(), Bytes::from_static(b"1"), LOCK_TTL).await {
            Ok(true) => Lock::Ours,
            Ok(false) => Lock::Others,
            Err(_) => Lock::Away,
        }
    }

    async fn unlock(&self) {
        // One that stays runs out.
        if let Err(error) = self.inner.store.remove(&[self.lock_key()]).await {
            debug!(key = &**self.key, %error, "a lock could not be taken off");
        }
    }

    fn lock_key(&self) -> String {
        [keys::LOCK_PREFIX, self.key].concat()
    }
}
