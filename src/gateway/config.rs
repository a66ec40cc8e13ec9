//! What the gateway needs to be told. Defaults and ranges: `config/default.toml`.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::protocol::session::Talk;

/// The public port, its shards and its limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the public port.
    pub bind: IpAddr,
    /// The public port; 0 takes a free one.
    pub port: u16,
    /// Event loops; `None` is one per core.
    pub shards: Option<NonZeroUsize>,
    /// How long a shard gathers updates before it writes; 0 writes at once.
    pub flush_window: Duration,
    /// Between a client's last sign of life and the ping that asks for one.
    pub ping_interval: Duration,
    /// From a ping to 4408.
    pub pong_timeout: Duration,
    /// How long a client's socket may accept no byte while something waits for it, until 4409.
    pub slow_client_timeout: Duration,
    /// How long after its last update a symbol's watchers are told that it is stale; zero never.
    pub stale_after: Duration,
    /// What the socket is for; not configurable from outside.
    pub talk: Talk,
    /// Whether `["*"]` may be subscribed.
    pub wildcard: bool,
    /// Whether permessage-deflate is agreed to.
    pub compression: bool,
    /// Named in `connected`.
    pub name: String,
    /// Told to clients as `api` in `connected`, for their polling fallback.
    pub api_base: Option<String>,
    /// Origins that may connect; empty lets any.
    pub allowed_origins: Vec<String>,
    /// See [`Limits`].
    pub limits: Limits,
    /// See [`Auth`].
    pub auth: Auth,
    /// Serves TLS when set.
    pub tls: Option<Tls>,
    /// Over how long a drain spreads its closes.
    pub drain_window: Duration,
    /// How long the broker may be away before `/ready` says 503.
    pub ready_grace: Duration,
}

/// What one client, one address and the whole gateway may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// All connections; `None` is what the descriptor limit allows.
    pub max_connections: Option<NonZeroUsize>,
    /// Open connections per address (IPv6: per /64).
    pub connections_per_ip: NonZeroU32,
    /// New connections per address and second.
    pub connects_per_ip_per_second: NonZeroU32,
    /// New connections per address at once.
    pub connect_burst: NonZeroU32,
    /// Messages per client and second.
    pub messages_per_second: NonZeroU32,
    /// Messages per client at once.
    pub message_burst: NonZeroU32,
    /// Pings and unasked pongs per client and second.
    pub pings_per_second: NonZeroU32,
    /// Pings and unasked pongs per client at once.
    pub ping_burst: NonZeroU32,
    /// One message's payload, inclusive.
    pub message_bytes: NonZeroUsize,
    /// Fragments of one message.
    pub fragments: NonZeroU32,
    /// Symbols one client may watch.
    pub symbols_per_client: NonZeroUsize,
    /// From accept to the end of the HTTP request head.
    pub handshake_timeout: Duration,
    /// REST requests per minute, per address and route.
    pub rest_rpm: NonZeroU32,
    /// Networks whose `X-Forwarded-For` and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// Who may connect.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Anyone.
    None,
    /// Whoever has one of these tokens.
    Tokens(Vec<SecretString>),
    /// Whoever has a JWT that verifies.
    Jwt(Jwt),
}

/// How JWTs are verified.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// Where the keys are.
    pub keys: JwtKeys,
    /// Required `aud`.
    pub audience: Option<String>,
    /// Required `iss`.
    pub issuer: Option<String>,
    /// Clock skew allowed for `exp` and `nbf`.
    pub leeway: Duration,
}

/// A JWT's keys; they pin its algorithm too.
#[derive(Debug, Clone)]
pub enum JwtKeys {
    /// HS256 with this secret.
    Secret(SecretString),
    /// RS256 or ES256 with the keys published here.
    JwksUrl(String),
}

/// TLS certificate files, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The chain, leaf first.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The documented defaults, for tests of parts that need limits.
    pub(crate) fn limits() -> Limits {
        let number = |number| NonZeroU32::new(number).unwrap();
        let size = |size| NonZeroUsize::new(size).unwrap();
        Limits {
            max_connections: None,
            connections_per_ip: number(256),
            connects_per_ip_per_second: number(20),
            connect_burst: number(100),
            messages_per_second: number(10),
            message_burst: number(50),
            pings_per_second: number(5),
            ping_burst: number(20),
            message_bytes: size(65_536),
            fragments: number(64),
            symbols_per_client: size(1024),
            handshake_timeout: Duration::from_secs(10),
            rest_rpm: number(60),
            trusted_proxies: Vec::new(),
        }
    }
}
