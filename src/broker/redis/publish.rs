//! Publishing through Redis.

use async_trait::async_trait;
use fred::interfaces::PubsubInterface;
use fred::types::{Key, Value};

use super::script::PUBLISH;
use super::{Redis, number, parts, text, unexpected};
use crate::broker::{BrokerError, Channel, Epoch, Outgoing, Publish, Result, Stored, keys};

#[async_trait]
impl Publish for Redis {
    async fn publish(&self, updates: &[Outgoing], fence: Epoch) -> Result<Stored> {
        let mut keys: Vec<Key> = Vec::with_capacity(1 + updates.len());
        let mut args: Vec<Value> = Vec::with_capacity(2 + 2 * updates.len());
        keys.push(self.names.key(keys::EPOCH).into());
        args.push(fence.0.to_string().into());
        args.push(self.names.channel(Channel::Updates).into());
        for update in updates {
            keys.push(self.names.key(&keys::quote(update.symbol)).into());
            let ttl_ms = i64::try_from(update.ttl.as_millis()).unwrap_or(i64::MAX >> 10).max(1);
            args.push(ttl_ms.into());
            args.push(update.json.clone().into());
        }
        let answer = parts(self.commander.eval(&PUBLISH, keys, args).await?)?;
        match text(answer.first())?.as_str() {
            "fenced" => Err(BrokerError::Fenced { current: number(answer.get(1))? }),
            "stored" => {
                if !updates.is_empty() {
                    self.commander.note_write();
                }
                Ok(Stored::Yes)
            }
            "unstored" => {
                self.commander.note_refused_write(&text(answer.get(1))?);
                Ok(Stored::No)
            }
            "unsent" => self.send_joined(updates).await,
            _ => Err(unexpected(&Value::Array(answer))),
        }
    }

    async fn send(&self, channel: Channel, message: &[u8]) -> Result<u64> {
        let (channel, message) = (self.names.channel(channel), bytes::Bytes::copy_from_slice(message));
        self.commander.call(|client| async move { client.publish(channel, message).await }).await
    }
}

impl Redis {
    /// For servers whose scripts may not PUBLISH: a second round trip, and the third command at most.
    async fn send_joined(&self, updates: &[Outgoing]) -> Result<Stored> {
        let Some(message) = crate::broker::join(updates) else { return Ok(Stored::Yes) };
        self.send(Channel::Updates, &message).await?;
        Ok(Stored::Yes)
    }
}
