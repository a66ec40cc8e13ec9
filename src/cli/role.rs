//! Flags of the roles. All are configuration keys under a shorter name.

use clap::Args;

use crate::config::{Flag, Role};
use crate::provider;

/// Shown by `serve --help`.
pub const SERVE_EXAMPLES: &str = "\
Examples:
  tickcast serve                                  simulated quotes, no Redis, http://127.0.0.1:8081/
  tickcast serve --provider binance               live crypto quotes, no key needed
  POLYGON_API_KEY=… tickcast serve                live stock quotes
  tickcast serve --redis-url redis://127.0.0.1    through Redis, beside other processes

See `tickcast config --help` for where settings come from.";

/// Shown by `gateway --help`.
pub const GATEWAY_EXAMPLES: &str = "\
Examples:
  tickcast gateway --redis-url redis://127.0.0.1
  REDIS_URL=rediss://… tickcast gateway --config config/production.toml
  tickcast gateway --redis-url redis://127.0.0.1 --port 8091 --ops-port 8092    a second one on the same machine

See `tickcast config --help` for where settings come from.";

/// Shown by `publisher --help`.
pub const PUBLISHER_EXAMPLES: &str = "\
Examples:
  tickcast publisher --redis-url redis://127.0.0.1 --provider binance
  REDIS_URL=rediss://… POLYGON_API_KEY=… tickcast publisher
  tickcast publisher --redis-url redis://127.0.0.1 --provider replay --set providers.replay.file=history.csv

See `tickcast config --help` for where settings come from.";

/// `serve`'s flags.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    public: PublicArgs,
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    provider: ProviderArgs,
}

/// `gateway`'s flags.
#[derive(Debug, Clone, Default, Args)]
pub struct GatewayArgs {
    #[command(flatten)]
    public: PublicArgs,
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    redis: RedisArgs,
}

/// `publisher`'s flags.
#[derive(Debug, Clone, Default, Args)]
pub struct PublisherArgs {
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    provider: ProviderArgs,
}

/// The public port's flags.
#[derive(Debug, Clone, Default, Args)]
pub struct PublicArgs {
    /// The public port (8081; 0 takes a free one); also by `WS_PORT` and `PORT`
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Address of the public port (0.0.0.0)
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
}

/// The operators' port's flag.
#[derive(Debug, Clone, Default, Args)]
pub struct OpsArgs {
    /// The operators' port (8082; 8083 for a publisher; 0 takes a free one); also by `HEALTH_PORT`
    #[arg(long, value_name = "PORT")]
    ops_port: Option<String>,
}

/// Where Redis is.
#[derive(Debug, Clone, Default, Args)]
pub struct RedisArgs {
    /// Redis (`redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://`, `unix:`); also by `REDIS_URL`, which
    /// other users of the machine do not see
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
}

/// Whom to ask for quotes.
#[derive(Debug, Clone, Default, Args)]
pub struct ProviderArgs {
    /// Whom to ask for quotes: massive (or polygon), tradier, yahoo, finnhub, alphavantage, twelvedata, nse, binance,
    /// coinbase, replay, simulated. Repeated, they are tried in that order
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
}

impl ServeArgs {
    /// As configuration.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        [self.public.flags(), self.ops.flags(), self.redis.flags(), self.provider.flags()].concat()
    }
}

impl GatewayArgs {
    /// As configuration.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        [self.public.flags(), self.ops.flags(), self.redis.flags()].concat()
    }
}

impl PublisherArgs {
    /// As configuration.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        [self.ops.flags(), self.redis.flags(), self.provider.flags()].concat()
    }
}

impl PublicArgs {
    fn flags(&self) -> Vec<Flag> {
        [flag("--port", self.port.as_ref()), flag("--bind", self.bind.as_ref())].concat()
    }
}

impl OpsArgs {
    /// As configuration.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        flag("--ops-port", self.ops_port.as_ref())
    }
}

impl RedisArgs {
    /// As configuration.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        flag("--redis-url", self.redis_url.as_ref())
    }
}

impl ProviderArgs {
    fn flags(&self) -> Vec<Flag> {
        let names = (!self.provider.is_empty()).then(|| self.provider.join(","));
        flag("--provider", names.as_ref())
    }
}

fn flag(name: &'static str, value: Option<&String>) -> Vec<Flag> {
    value.map(|value| Flag::named(name, value)).into_iter().collect()
}

/// `--provider` of commands that take one that exists.
impl clap::ValueEnum for provider::Name {
    fn value_variants<'a>() -> &'a [provider::Name] {
        &provider::Name::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let value = clap::builder::PossibleValue::new(self.as_str());
        Some(if *self == provider::Name::Massive { value.alias("polygon") } else { value })
    }
}

/// `--role`, for commands that look at a role from outside.
impl clap::ValueEnum for Role {
    fn value_variants<'a>() -> &'a [Role] {
        &Role::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}
