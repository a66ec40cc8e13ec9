//! What the broker needs to be told.

use std::time::Duration;

use secrecy::SecretString;

/// Where Redis is and how its channels are named.
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://` or `unix:`; may hold a password. `None`: the
    /// embedded broker.
    pub url: Option<SecretString>,
    /// Put in front of every key and channel; empty by default, a hash tag on a cluster.
    pub prefix: String,
    /// The channels' names.
    pub channels: Channels,
    /// Between two probes of delivery. Three misses in a row are an interruption, so this decides how soon a silently
    /// dead link is noticed (3 s by default), and how many commands an idle process costs (see the Redis broker).
    pub probe_interval: Duration,
    /// The registry's spans.
    pub timing: Timing,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: None,
            prefix: String::new(),
            channels: Channels::default(),
            probe_interval: Duration::from_secs(1),
            timing: Timing::default(),
        }
    }
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

/// The registry's spans. The contract fixes them; only tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a gateway's report holds.
    pub lease: Duration,
    /// How long a symbol without subscribers stays active.
    pub leave_delay: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { lease: super::LEASE, leave_delay: super::LEAVE_DELAY }
    }
}
