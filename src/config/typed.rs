//! From checked settings to each part's own configuration. Decides nothing: a setting has its default by now, and its
//! value was checked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::key;
use super::kind::Value;
use super::layers::Settings;
use super::{Config, log};
use crate::broker;
use crate::cache;
use crate::gateway::{self, config as g};
use crate::market::{Listings, Symbol};
use crate::ops;
use crate::protocol::session::Talk;
use crate::provider;
use crate::publisher;

const IN_RANGE: &str = "the table's range lets nothing else through";
const OF_FORM: &str = "the table's form lets nothing else through";
const HAS_DEFAULT: &str = "the table gives it a default";

pub(super) fn build(settings: &Settings) -> Config {
    let read = Read(settings);
    Config {
        gateway: gateway(&read),
        ops: ops::Config {
            bind: read.address("ops.bind"),
            port: read.port("ops.port"),
            admin_token: read.secret("ops.admin_token"),
        },
        broker: broker(&read),
        publisher: publisher(&read),
        cache: cache(&read),
        log: log::Config {
            level: read.text("log.level").expect(HAS_DEFAULT).parse().expect(OF_FORM),
            format: match read.text("log.format") {
                Some("json") => log::Format::Json,
                _ => log::Format::Text,
            },
            otlp_endpoint: read.text("log.otlp_endpoint").map(str::to_owned),
        },
    }
}

fn gateway(read: &Read<'_>) -> gateway::Config {
    gateway::Config {
        bind: read.address("gateway.bind"),
        port: read.port("gateway.port"),
        shards: NonZeroUsize::new(read.size("gateway.shards")),
        flush_window: read.millis("gateway.flush_window_ms"),
        ping_interval: read.seconds("gateway.ping_interval_s"),
        pong_timeout: read.seconds("gateway.pong_timeout_s"),
        slow_client_timeout: read.seconds("gateway.slow_client_timeout_s"),
        wildcard: read.bool("gateway.wildcard"),
        stale_after: read.seconds("gateway.stale_after_s"),
        talk: Talk::Quotes,
        compression: read.bool("gateway.compression"),
        name: read.string("gateway.name"),
        api_base: read.text("gateway.api_base").map(str::to_owned),
        // an empty list lets any origin in, and so does the star that people write for it
        allowed_origins: read.list("gateway.allowed_origins").iter().filter(|origin| *origin != "*").cloned().collect(),
        limits: limits(read),
        auth: auth(read),
        tls: read
            .text("tls.cert_file")
            .zip(read.text("tls.key_file"))
            .map(|(cert_file, key_file)| g::Tls { cert_file: cert_file.into(), key_file: key_file.into() }),
        drain_window: read.seconds("drain.window_s"),
        ready_grace: read.seconds("redis.ready_grace_s"),
    }
}

fn limits(read: &Read<'_>) -> g::Limits {
    g::Limits {
        max_connections: NonZeroUsize::new(read.size("limits.max_connections")),
        connections_per_ip: read.count("limits.connections_per_ip"),
        connects_per_ip_per_second: read.count("limits.connects_per_ip_per_second"),
        connect_burst: read.count("limits.connect_burst"),
        messages_per_second: read.count("limits.messages_per_second"),
        message_burst: read.count("limits.message_burst"),
        pings_per_second: read.count("limits.pings_per_second"),
        ping_burst: read.count("limits.ping_burst"),
        message_bytes: NonZeroUsize::new(read.size("limits.message_bytes")).expect(IN_RANGE),
        fragments: read.count("limits.fragments"),
        symbols_per_client: NonZeroUsize::new(read.size("limits.symbols_per_client")).expect(IN_RANGE),
        handshake_timeout: read.seconds("limits.handshake_timeout_s"),
        rest_rpm: read.count("limits.rest_rpm"),
        trusted_proxies: read.parsed_list("limits.trusted_proxies"),
    }
}

fn auth(read: &Read<'_>) -> g::Auth {
    match read.text("auth.mode") {
        Some("token") => {
            g::Auth::Tokens(read.list("auth.tokens").iter().map(|token| SecretString::from(token.as_str())).collect())
        }
        Some("jwt") => g::Auth::Jwt(g::Jwt {
            keys: match (read.secret("auth.jwt_secret"), read.text("auth.jwks_url")) {
                (Some(secret), _) => g::JwtKeys::Secret(secret),
                (None, url) => g::JwtKeys::JwksUrl(url.expect("a rule wants one of the two").to_owned()),
            },
            audience: read.text("auth.audience").map(str::to_owned),
            issuer: read.text("auth.issuer").map(str::to_owned),
            leeway: read.seconds("auth.leeway_s"),
        }),
        _ => g::Auth::None,
    }
}

fn broker(read: &Read<'_>) -> broker::Config {
    broker::Config {
        url: read.secret("redis.url"),
        prefix: read.string("redis.prefix"),
        channels: broker::config::Channels {
            updates: read.string("redis.channel_updates"),
            subscriptions: read.string("redis.channel_subscriptions"),
            control: read.string("redis.channel_control"),
        },
        probe_interval: read.seconds("redis.probe_interval_s"),
        timing: broker::Timing::default(),
    }
}

fn publisher(read: &Read<'_>) -> publisher::Config {
    let home = read.text("publisher.home_market").and_then(|name| name.parse().ok()).expect(OF_FORM);
    let listings = Listings::new(home, read.parsed_list("publisher.markets"));
    let settings = provider::Name::ALL.into_iter().map(|name| (name, provider(read, name, &listings)));
    publisher::Config {
        providers: read.parsed_list("publisher.providers"),
        interval: read.maybe_seconds("publisher.interval_s"),
        pinned: read.parsed_list("publisher.pinned"),
        indices: read.parsed_list("publisher.indices"),
        listings: listings.clone(),
        closed_stretch: NonZeroU32::try_from(u32_of(read.whole("publisher.closed_stretch"))).expect(IN_RANGE),
        enabled: read.bool("publisher.enabled"),
        settings: settings.collect::<BTreeMap<_, _>>(),
    }
}

fn provider(read: &Read<'_>, name: provider::Name, listings: &Listings) -> provider::Config {
    // a key that this provider does not have is one that nobody set
    let path = |key: &str| key::find(&format!("providers.{name}.{key}")).map(|slot| slot.path.as_str());
    let text = |key: &str| path(key).and_then(|path| read.text(path));
    let whole = |key: &str| path(key).and_then(|path| read.maybe_whole(path));
    let count = |key: &str| whole(key).map(|count| NonZeroU32::try_from(u32_of(count)).expect(IN_RANGE));
    provider::Config {
        base_url: text("base_url").map(str::to_owned),
        api_key: path("api_key").and_then(|path| read.secret(path)),
        plan: text("plan").map(str::to_owned),
        per_second: count("per_second"),
        per_minute: count("per_minute"),
        per_day: count("per_day"),
        batch: count("batch"),
        timeout: path("timeout_s").and_then(|path| read.maybe_seconds(path)),
        symbols: path("symbols").map(|path| read.list(path).to_vec()).unwrap_or_default(),
        file: text("file").map(Into::into),
        speed: path("speed").and_then(|path| read.maybe_number(path)),
        symbol: text("symbol").map(str::to_owned),
        repeat: path("repeat").and_then(|path| read.maybe_bool(path)),
        seed: whole("seed"),
        listings: listings.clone(),
    }
}

fn cache(read: &Read<'_>) -> cache::Config {
    cache::Config {
        enabled: read.bool("cache.enabled"),
        ttl_latest: read.seconds("cache.ttl_latest_s"),
        ttl_recent: read.seconds("cache.ttl_recent_s"),
        ttl_list: read.seconds("cache.ttl_list_s"),
        popular: read.parsed_list::<Symbol>("cache.popular"),
        popular_multiplier: u32_of(read.whole("cache.popular_multiplier")),
        max_bytes: read.whole("cache.max_bytes"),
    }
}

fn u32_of(number: u64) -> u32 {
    u32::try_from(number).expect(IN_RANGE)
}

/// Settings by the type the table says they have.
struct Read<'a>(&'a Settings);

impl<'a> Read<'a> {
    fn value(&self, path: &str) -> Option<&'a Value> {
        self.0.get(path).value.as_ref()
    }

    fn maybe_bool(&self, path: &str) -> Option<bool> {
        match self.value(path) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn maybe_whole(&self, path: &str) -> Option<u64> {
        match self.value(path) {
            Some(Value::Whole(value)) => Some(*value),
            _ => None,
        }
    }

    fn maybe_number(&self, path: &str) -> Option<f64> {
        match self.value(path) {
            Some(Value::Number(value)) => Some(*value),
            _ => None,
        }
    }

    fn text(&self, path: &str) -> Option<&'a str> {
        match self.value(path) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn list(&self, path: &str) -> &'a [String] {
        match self.value(path) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    fn bool(&self, path: &str) -> bool {
        self.maybe_bool(path).expect(HAS_DEFAULT)
    }

    fn whole(&self, path: &str) -> u64 {
        self.maybe_whole(path).expect(HAS_DEFAULT)
    }

    fn size(&self, path: &str) -> usize {
        usize::try_from(self.whole(path)).expect(IN_RANGE)
    }

    fn port(&self, path: &str) -> u16 {
        u16::try_from(self.whole(path)).expect(IN_RANGE)
    }

    fn count(&self, path: &str) -> NonZeroU32 {
        NonZeroU32::new(u32_of(self.whole(path))).expect(IN_RANGE)
    }

    fn maybe_seconds(&self, path: &str) -> Option<Duration> {
        self.maybe_number(path).map(|seconds| Duration::try_from_secs_f64(seconds).expect(IN_RANGE))
    }

    fn seconds(&self, path: &str) -> Duration {
        self.maybe_seconds(path).expect(HAS_DEFAULT)
    }

    fn millis(&self, path: &str) -> Duration {
        let millis = self.maybe_number(path).expect(HAS_DEFAULT);
        Duration::try_from_secs_f64(millis / 1_000.0).expect(IN_RANGE)
    }

    fn string(&self, path: &str) -> String {
        self.text(path).expect(HAS_DEFAULT).to_owned()
    }

    fn secret(&self, path: &str) -> Option<SecretString> {
        self.text(path).map(SecretString::from)
    }

    fn address(&self, path: &str) -> IpAddr {
        self.text(path).expect(HAS_DEFAULT).parse().expect(OF_FORM)
    }

    fn parsed_list<T: FromStr>(&self, path: &str) -> Vec<T> {
        let parse = |item: &String| item.parse().ok().expect(OF_FORM);
        self.list(path).iter().map(parse).collect()
    }
}
