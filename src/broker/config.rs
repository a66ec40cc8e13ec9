//! What the broker needs to be told.

use secrecy::SecretString;

/// Where Redis is and how its channels are named.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://` or `unix:`; may hold a password. `None`: the
    /// embedded broker.
    pub url: Option<SecretString>,
    /// Put in front of every key and channel; empty by default, a hash tag on a cluster.
    pub prefix: String,
    /// The channels' names.
    pub channels: Channels,
}

/// The channels' names, before the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    /// Updates to gateways.
    pub updates: String,
    /// Demand to publishers.
    pub subscriptions: String,
    /// Operators to everyone.
    pub control: String,
}

impl Default for Channels {
    fn default() -> Self {
        Channels {
            updates: "market-data:updates".into(),
            subscriptions: "market-data:subscriptions".into(),
            control: "market-data:control".into(),
        }
    }
}
