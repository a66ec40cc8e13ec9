//! What the public port's HTTP application needs to be told.

use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;

use crate::market::Symbol;

/// REST and server-sent events.
#[derive(Debug, Clone)]
pub struct Config {
    /// Named in `connected`.
    pub name: String,
    /// Told to SSE clients as `api` in `connected`.
    pub api_base: Option<String>,
    /// What `/api/indices` answers.
    pub indices: Vec<Symbol>,
    /// Origins whose pages may read answers; empty lets any.
    pub allowed_origins: Vec<String>,
    /// Requests a minute, for each address and route.
    pub per_minute: NonZeroU32,
    /// Symbols one request may name.
    pub max_symbols: usize,
    /// How long an answer waits for a symbol of which nothing is known; not configurable from outside.
    pub patience: Duration,
    /// From which age on a quote is called stale; zero never.
    pub stale_after: Duration,
    /// How often a stream without news shows that it lives.
    pub heartbeat: Duration,
    /// For preloading from elsewhere than loopback.
    pub admin_token: Option<SecretString>,
}
