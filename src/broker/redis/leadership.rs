//! Leadership through Redis: a lease on its clock.

use std::time::Duration;

use async_trait::async_trait;

use super::script::{ACQUIRE, RESIGN};
use super::{Redis, number, parts, text, unexpected};
use crate::broker::{EPOCH_ORIGIN_S, Epoch, Lead, Leadership, Result, keys};

#[async_trait]
impl Leadership for Redis {
    async fn acquire(&self, owner: &str, lease: Duration, floor: Epoch) -> Result<Lead> {
        let keys = vec![self.names.key(keys::LEADER).into(), self.names.key(keys::EPOCH).into()];
        let lease_ms = lease.as_millis().max(1).to_string();
        let args = vec![owner.into(), lease_ms.into(), floor.0.to_string().into(), EPOCH_ORIGIN_S.to_string().into()];
        let answer = parts(self.commander.eval(&ACQUIRE, keys, args).await?)?;
        match text(answer.first())?.as_str() {
            "leading" => Ok(Lead::Leading(Epoch(number(answer.get(1))?))),
            "standby" => {
                let remaining = Duration::from_millis(number(answer.get(2))?);
                Ok(Lead::Standby { holder: text(answer.get(1))?, remaining })
            }
            _ => Err(unexpected(&fred::types::Value::Array(answer))),
        }
    }

    async fn resign(&self, owner: &str) -> Result<()> {
        let keys = vec![self.names.key(keys::LEADER).into()];
        self.commander.eval(&RESIGN, keys, vec![owner.into()]).await?;
        Ok(())
    }
}
