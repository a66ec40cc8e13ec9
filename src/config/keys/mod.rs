//! The table of keys: the one place that says which there are, what they may be, and why they are what they are.
//!
//! Pure data. `config/default.toml` and `docs/configuration.md` are printed from it; a test keeps them so.

mod gateway;
mod quotes;

use super::key::Key;

pub(super) use quotes::TYPICAL;

/// The section that is there once for each provider.
pub(super) const PROVIDERS: &str = "providers.*";

/// Every key, in the order of documentation.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [gateway::GATEWAY, gateway::OPS, gateway::LIMITS, gateway::AUTH, gateway::TLS, gateway::DRAIN]
        .into_iter()
        .chain([quotes::REDIS, quotes::PUBLISHER, quotes::PROVIDERS, quotes::CACHE, gateway::LOG])
        .flatten()
}

/// What a section is about, for the documentation.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("gateway", "The public port: WebSocket, REST, SSE, page."),
    ("ops", "The operators' port: health, metrics, statistics, control."),
    (
        "limits",
        "What one client, one address and the whole gateway may use. Each refusal is a coded answer and a metric.",
    ),
    ("auth", "Who may connect to the public port."),
    (
        "tls",
        "Certificates of the public port, in PEM, reloaded when they change. Without them it speaks plain HTTP, as \
         behind a platform's proxy.",
    ),
    ("drain", "How a gateway takes leave on SIGTERM."),
    ("redis", "Where publisher and gateways meet."),
    ("publisher", "What is polled, from whom, how often."),
    (
        PROVIDERS,
        "One section for each provider, `[providers.polygon]` being another name of `[providers.massive]`. What is \
         not set is the provider's own default, which keeps within the vendor's free plan. The examples are such \
         defaults where there is one.",
    ),
    ("cache", "Memory in front of Redis, for quotes, bars and symbol lists."),
    ("log", "One event a line, on standard error; traces to a collector."),
];

/// Where people look for a key that has another place, or that is not a key of its own.
pub(super) const EXPECTED_ELSEWHERE: &[(&str, &str)] = &[
    ("port", "gateway.port"),
    ("bind", "gateway.bind"),
    ("redis.host", "redis.url"),
    ("redis.port", "redis.url"),
    ("redis.username", "redis.url"),
    ("redis.password", "redis.url"),
    ("redis.tls", "redis.url"),
    ("log_level", "log.level"),
    ("log_format", "log.format"),
    ("api_base", "gateway.api_base"),
    ("allowed_origins", "gateway.allowed_origins"),
    ("gateway.max_clients", "limits.max_connections"),
    ("auth.secret", "auth.jwt_secret"),
    ("providers.massive.key", "providers.massive.api_key"),
    ("providers.massive.token", "providers.massive.api_key"),
    ("providers.tradier.token", "providers.tradier.api_key"),
];
