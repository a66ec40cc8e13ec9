//! The registry in Redis. The rules are in `scripts/registry.lua`; here large reports are cut, and calls repeated
//! while a script says that there is more to do.

use async_trait::async_trait;
use fred::interfaces::HashesInterface;
use fred::types::{Key, Value};
use hashbrown::HashMap;

use super::script::{LEAVE, REPORT, SWEEP, Script};
use super::{Redis, number, parts, text};
use crate::broker::{BrokerError, Channel, GatewayId, Publish, Registry, Result, keys};
use crate::market::Symbol;

/// Symbols in one script's call: about 2 ms of Redis' time (measured with two gateways: 7 µs a symbol).
const BATCH: usize = 250;
/// Active symbols a report looks after, at random: what keys lost at the worst moment left behind is found in time.
const AUDIT: i64 = 8;
/// Calls made for one: 1,000 × 250 symbols. More is for the next.
const MAX_ROUNDS: usize = 1000;

#[async_trait]
impl Registry for Redis {
    async fn report(&self, gateway: &GatewayId, counts: &[(Symbol, u32)]) -> Result<u64> {
        let (first, rest) = counts.split_at(counts.len().min(BATCH));
        let (mut held, lost) = self.report_batch(gateway, first, AUDIT).await?;
        for batch in rest.chunks(BATCH) {
            (held, _) = self.report_batch(gateway, batch, 0).await?;
        }
        // No number of symbols: whatever the caller knows, it reports everything.
        Ok(if lost { u64::MAX } else { held })
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        let answer = self.registry(&LEAVE, vec![(*gateway.0).into()]).await?;
        self.announce(answer.get(1)).await?;
        if number::<u64>(answer.first())? > 0 { self.sweep().await.map(drop) } else { Ok(()) }
    }

    async fn watched(&self) -> Result<Vec<(Symbol, u64)>> {
        let gateways = self.sweep().await?;
        let hashes: Vec<Key> =
            gateways.iter().map(|id| self.names.key(&[keys::GATEWAY_PREFIX, id].concat()).into()).collect();
        let counts = self.commander.call(|client| async move {
            let pipeline = client.pipeline();
            for hash in hashes {
                let _: () = pipeline.hgetall(hash).await?;
            }
            pipeline.all::<Vec<std::collections::HashMap<String, u64>>>().await
        });
        let counts = if gateways.is_empty() { Vec::new() } else { counts.await? };
        let mut sums: HashMap<Symbol, u64> = HashMap::new();
        for (symbol, count) in counts.into_iter().flatten() {
            // What is no symbol was written by somebody else; it is watched by nobody.
            if let Ok(symbol) = Symbol::parse(&symbol) {
                *sums.entry(symbol).or_default() += count;
            }
        }
        Ok(sums.into_iter().filter(|(_, sum)| *sum > 0).collect())
    }
}

impl Redis {
    /// Reports so many symbols, after sweeping what has to be swept first. Returns how many are held, and whether a key
    /// was lost.
    async fn report_batch(&self, gateway: &GatewayId, counts: &[(Symbol, u32)], audit: i64) -> Result<(u64, bool)> {
        for _ in 0..MAX_ROUNDS {
            let lease_ms = self.timing.lease.as_millis().to_string();
            let mut args: Vec<Value> = vec![(*gateway.0).into(), lease_ms.into(), audit.into()];
            for (symbol, count) in counts {
                args.push(symbol.as_str().into());
                args.push(i64::from(*count).into());
            }
            let answer = self.registry(&REPORT, args).await?;
            self.announce(answer.get(2)).await?;
            let held = answer.first().and_then(Value::as_i64);
            if number::<u64>(answer.get(1))? > 0 {
                self.sweep().await?;
            }
            if let Some(held) = held.and_then(|held| u64::try_from(held).ok()) {
                return Ok((held, number::<u64>(answer.get(3))? > 0));
            }
        }
        Err(BrokerError::Unavailable("the registry is not done with an expired lease".into()))
    }

    /// Subtracts what has run out. Returns the gateways whose lease holds.
    async fn sweep(&self) -> Result<Vec<String>> {
        for _ in 0..MAX_ROUNDS {
            let answer = self.registry(&SWEEP, Vec::new()).await?;
            self.announce(answer.get(1)).await?;
            if number::<u64>(answer.first())? == 0 {
                let live = answer.get(2).cloned().map(Value::into_array).unwrap_or_default();
                return live.iter().map(|id| text(Some(id))).collect();
            }
        }
        Err(BrokerError::Unavailable("the registry is not done with expired leases".into()))
    }

    async fn registry(&self, script: &'static Script, more: Vec<Value>) -> Result<Vec<Value>> {
        let keys = [keys::ACTIVE, keys::GATEWAYS, keys::LEAVING, keys::LEAVERS];
        let keys = keys.into_iter().map(|key| self.names.key(key).into()).collect();
        let delay_ms = self.timing.leave_delay.as_millis().to_string();
        let mut args: Vec<Value> = vec![
            self.names.key(keys::COUNT_PREFIX).into(),
            self.names.key(keys::GATEWAY_PREFIX).into(),
            self.names.channel(Channel::Subscriptions).into(),
            delay_ms.into(),
        ];
        args.extend(more);
        parts(self.commander.eval(script, keys, args).await?)
    }

    /// Publishes the events that a server did not let its script publish.
    async fn announce(&self, unsent: Option<&Value>) -> Result<()> {
        for event in unsent.cloned().map(Value::into_array).unwrap_or_default() {
            self.send(Channel::Subscriptions, event.as_bytes().unwrap_or_default()).await?;
        }
        Ok(())
    }
}
