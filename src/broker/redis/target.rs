//! Where Redis is: the URL, read strictly, without a word of its secrets in any error.

use std::path::PathBuf;

use fred::types::RespVersion;
use fred::types::config::{Config as FredConfig, ServerConfig};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Why a broker cannot be started. Each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// Not a URL at all.
    #[error("redis.url is no URL ({0}); write redis://HOST:PORT, rediss://:PASSWORD@HOST:PORT or unix:/PATH")]
    NotAUrl(String),
    /// A scheme of something else.
    #[error(
        "redis.url has the scheme `{0}`; allowed are redis, rediss, redis-cluster, rediss-cluster, redis-sentinel, \
         rediss-sentinel and unix"
    )]
    Scheme(String),
    /// No host.
    #[error("redis.url names no host; write redis://HOST:PORT")]
    NoHost,
    /// No socket path.
    #[error("redis.url names no socket; write unix:/PATH/TO/redis.sock")]
    NoPath,
    /// The path is no database number.
    #[error("redis.url ends in `/{0}`; a database is a number from 0 to 255")]
    Database(String),
    /// A sentinel URL that does not say which primary it is about.
    #[error("a redis-sentinel URL needs ?sentinelServiceName=NAME, the name of the primary that the sentinels watch")]
    NoServiceName,
    /// A node of a cluster or sentinel group that is not host and port.
    #[error("redis.url lists the node `{0}`; write node=HOST:PORT")]
    Node(String),
    /// A prefix without a hash tag on a cluster: scripts would touch several slots.
    #[error("on a cluster redis.prefix needs a hash tag, so that scripts find one slot: write {{{0}}}: for `{0}`")]
    NoHashTag(String),
    /// What the client library found wrong.
    #[error("redis.url cannot be used: {0}")]
    Other(String),
}

/// Where to connect to, and what to call it in logs.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: FredConfig,
    /// Scheme, host and port, for logs; no user, no password.
    pub(super) label: String,
}

/// The library's configuration shows its password; this does not.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Where the server is, by the scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Cluster,
    Sentinel,
    Unix,
}

impl Target {
    pub(super) fn parse(url: &SecretString) -> Result<Target, BadConfig> {
        let text = url.expose_secret().trim();
        let url = Url::parse(text).map_err(|error| BadConfig::NotAUrl(error.to_string()))?;
        let kind = kind(url.scheme())?;
        let config = if kind == Kind::Unix { unix(&url)? } else { tcp(text, &url, kind)? };
        Ok(Target { label: label(&url), config: FredConfig { version: RespVersion::RESP3, ..config } })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.config.server.is_clustered()
    }
}

fn kind(scheme: &str) -> Result<Kind, BadConfig> {
    match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => Ok(Kind::Single),
        "redis-cluster" | "rediss-cluster" | "valkey-cluster" | "valkeys-cluster" => Ok(Kind::Cluster),
        "redis-sentinel" | "rediss-sentinel" | "valkey-sentinel" | "valkeys-sentinel" => Ok(Kind::Sentinel),
        "unix" | "redis+unix" | "valkey+unix" => Ok(Kind::Unix),
        other => Err(BadConfig::Scheme(other.to_owned())),
    }
}

fn tcp(text: &str, url: &Url, kind: Kind) -> Result<FredConfig, BadConfig> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err(BadConfig::NoHost);
    }
    let database = url.path().trim_start_matches('/');
    if !database.is_empty() && database.parse::<u8>().is_err() {
        return Err(BadConfig::Database(database.to_owned()));
    }
    for (key, value) in url.query_pairs() {
        let port = value.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if key == "node" && port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return Err(BadConfig::Node(value.into_owned()));
        }
    }
    if kind == Kind::Sentinel && !url.query_pairs().any(|(key, _)| key == "sentinelServiceName") {
        return Err(BadConfig::NoServiceName);
    }
    FredConfig::from_url(text).map_err(|error| BadConfig::Other(error.details().to_owned()))
}

/// `unix:/path`, `unix:///path`; user, password and database in the query, since the path takes the rest.
fn unix(url: &Url) -> Result<FredConfig, BadConfig> {
    let path = PathBuf::from(url.path());
    if !path.is_absolute() || path.parent().is_none() {
        return Err(BadConfig::NoPath);
    }
    let field = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let database = match field("db") {
        Some(text) => Some(text.parse().map_err(|_| BadConfig::Database(text))?),
        None => None,
    };
    Ok(FredConfig {
        server: ServerConfig::Unix { path },
        username: field("username"),
        password: field("password").or_else(|| url.password().map(str::to_owned)),
        database,
        ..FredConfig::default()
    })
}

fn label(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    match url.host_str() {
        Some(host) if !host.is_empty() => format!("{}://{host}{port}", url.scheme()),
        _ => format!("{}:{}", url.scheme(), url.path()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, BadConfig> {
        Target::parse(&SecretString::from(url))
    }

    #[test]
    fn every_kind_of_url_is_understood() {
        let single = parse("redis://user:pa%20ss@example.com:6380/2").unwrap();
        assert_eq!(single.config.username.as_deref(), Some("user"));
        assert_eq!(single.config.password.as_deref(), Some("pa ss"));
        assert_eq!(single.config.database, Some(2));
        assert_eq!(single.config.server.hosts()[0].port, 6380);
        assert!(parse("rediss://example.com").unwrap().config.uses_rustls());
        assert!(parse("redis-cluster://a:7000?node=b:7001").unwrap().is_cluster());
        let sentinel = parse("redis-sentinel://a:26379?sentinelServiceName=mymaster&node=b:26379").unwrap();
        assert!(sentinel.config.server.is_sentinel());
        for url in ["unix:/run/redis.sock", "unix:///run/redis.sock", "redis+unix:///run/redis.sock"] {
            assert_eq!(parse(url).unwrap().config.server, ServerConfig::new_unix_socket("/run/redis.sock"));
        }
        assert_eq!(parse("unix:/run/redis.sock?password=x&db=3").unwrap().config.database, Some(3));
    }

    #[test]
    fn a_bad_url_says_what_to_write() {
        assert!(matches!(parse("localhost"), Err(BadConfig::NotAUrl(_))));
        assert_eq!(parse("https://x.upstash.io").unwrap_err(), BadConfig::Scheme("https".into()));
        assert_eq!(parse("redis:///1").unwrap_err(), BadConfig::NoHost);
        assert_eq!(parse("redis://a/quotes").unwrap_err(), BadConfig::Database("quotes".into()));
        assert_eq!(parse("redis://a/256").unwrap_err(), BadConfig::Database("256".into()));
        assert_eq!(parse("redis-sentinel://a:26379").unwrap_err(), BadConfig::NoServiceName);
        assert_eq!(parse("redis-cluster://a:1?node=b").unwrap_err(), BadConfig::Node("b".into()));
        assert_eq!(parse("unix:").unwrap_err(), BadConfig::NoPath);
    }

    #[test]
    fn no_label_and_no_error_tells_a_password() {
        for url in ["redis://user:hunter2@a:1", "rediss://:hunter2@a", "redis-cluster://:hunter2@a:1"] {
            assert!(!format!("{:?}", parse(url).unwrap()).contains("hunter2"));
        }
        for url in ["http://:hunter2@a", "redis://:hunter2@", "redis://:hunter2@a/x", "redis://:hunter2@a:99999"] {
            assert!(!parse(url).unwrap_err().to_string().contains("hunter2"), "{url}");
        }
    }
}
