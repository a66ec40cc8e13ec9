//! The shared broker: Redis ≥ 6.2 and what speaks like it, single, cluster or sentinel group. The only place that
//! names the client library.
//!
//! Two connections, since a subscribed one takes no commands in RESP2: `commander.rs` carries commands, `subscriber.rs`
//! receives messages and proves that it does. Each is kept by a task of its own; a Redis that is absent, at start or
//! later, is no error but a state that [`Status`](super::Status) tells. What must be atomic is a Lua script on Redis'
//! clock, one round trip each.
//!
//! **At its limits**: calls end within 3 s and fail at once while there is no connection; a full command queue refuses;
//! messages overflow as `inbox.rs` says.
//!
//! **What an idle process costs** in commands, for those who are billed by them: one PUBLISH (every fifth an EVALSHA
//! that writes as well) per probe interval, 86,400 a day at the default of one second, 8,640 at ten. A gateway's reports are
//! one EVALSHA each, 43,200 a day; a publisher's [`watched`](super::Registry::watched) is one EVALSHA and an HGETALL
//! per gateway. A publish is one EVALSHA, however many symbols.

mod commander;
mod health;
mod leadership;
mod link;
mod names;
mod publish;
mod quota;
mod registry;
mod script;
mod store;
mod subscriber;
mod target;

use std::sync::{Arc, Mutex};

use fred::types::Value;
use secrecy::SecretString;

use self::commander::Commander;
use self::health::Health;
use self::link::Dialer;
use self::names::Names;
use self::quota::Shadows;
use self::subscriber::Subscriber;
pub use self::target::BadConfig;
use self::target::Target;
use super::config::{Config, Timing};
use super::inbox::{ChannelSet, Hub};
use super::{Broker, BrokerError, Channel, Feed, Feeds, Tasks};
use crate::crash::contain;

/// Starts a broker on the Redis at `url`. It connects when it can, and never gives up.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// [`BadConfig`] when the URL or the prefix cannot work, whatever the state of Redis.
pub fn start(url: &SecretString, config: &Config) -> Result<Broker, BadConfig> {
    let target = Target::parse(url)?;
    let names = Arc::new(Names::new(config, target.is_cluster())?);
    let health = Arc::new(Health::new(target.label.clone()));
    let dialer = Arc::new(Dialer::new(target));
    let commander = Arc::new(Commander::new(dialer.clone(), health.clone()));
    let hub = Arc::new(Hub::new(ChannelSet::NONE));
    let redis = Arc::new(Redis {
        names: names.clone(),
        commander: commander.clone(),
        hub: hub.clone(),
        timing: config.timing,
        shadows: Mutex::default(),
    });
    let status = health.status();
    let subscriber = Subscriber {
        dialer,
        commander: commander.clone(),
        health,
        hub,
        names,
        probe_interval: config.probe_interval.max(std::time::Duration::from_millis(10)),
    };
    let tasks = Tasks::default();
    let stop = tasks.stop.clone();
    tasks.tracker.spawn(async move { contain("redis commands", &stop, || commander.run(&stop)).await });
    let stop = tasks.stop.clone();
    tasks.tracker.spawn(async move { contain("redis subscriber", &stop, || subscriber.run(&stop)).await });
    let (stop, shadowed) = (tasks.stop.clone(), redis.clone());
    tasks.tracker.spawn(async move { contain("redis shadows", &stop, || shadowed.keep_shadows(&stop)).await });
    Ok(Broker {
        publish: redis.clone(),
        feeds: redis.clone(),
        registry: redis.clone(),
        store: redis.clone(),
        leadership: redis.clone(),
        quota: redis,
        status,
        tasks,
    })
}

struct Redis {
    names: Arc<Names>,
    commander: Arc<Commander>,
    hub: Arc<Hub>,
    timing: Timing,
    shadows: Mutex<Shadows>,
}

impl Feeds for Redis {
    fn subscribe(&self, channels: &[Channel]) -> Box<dyn Feed> {
        Box::new(self.hub.subscribe(channels))
    }
}

/// A script's answer, which is an array.
fn parts(answer: Value) -> super::Result<Vec<Value>> {
    match answer {
        Value::Array(parts) => Ok(parts),
        other => Err(unexpected(&other)),
    }
}

fn text(part: Option<&Value>) -> super::Result<String> {
    let part = part.unwrap_or(&Value::Null);
    part.as_string().ok_or_else(|| unexpected(part))
}

fn number<T: TryFrom<u64>>(part: Option<&Value>) -> super::Result<T> {
    let part = part.unwrap_or(&Value::Null);
    part.as_u64().and_then(|number| T::try_from(number).ok()).ok_or_else(|| unexpected(part))
}

fn unexpected(answer: &Value) -> BrokerError {
    BrokerError::Refused(format!("an answer that makes no sense: {:?}", answer.kind()))
}
