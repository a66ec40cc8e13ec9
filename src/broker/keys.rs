//! The keys that others rely on, by name. The configured prefix is put in front by the broker.

use crate::market::Symbol;

/// Set: symbols with a live subscriber on any gateway.
pub const ACTIVE: &str = "subscriptions:active";
/// Sorted set: gateways by the time their lease runs out (ms on the broker's clock).
pub const GATEWAYS: &str = "subscriptions:gateways";
/// Sorted set: symbols without subscribers by the time they leave [`ACTIVE`] (ms on the broker's clock).
pub const LEAVING: &str = "subscriptions:leaving";
/// Hash: of the symbols in [`LEAVING`], the gateway that had the last subscriber.
pub const LEAVERS: &str = "subscriptions:leaving:by";
/// Integer prefix: live subscribers over all gateways; absent means 0.
pub const COUNT_PREFIX: &str = "subscriptions:count:";
/// Hash prefix: one gateway's own counts.
pub const GATEWAY_PREFIX: &str = "subscriptions:gateway:";
/// String prefix: a symbol's last update as published.
pub const QUOTE_PREFIX: &str = "cache:quote:";
/// What all cached values' keys begin with.
pub const CACHE_PREFIX: &str = "cache:";
/// String prefix: a symbol's bars over a range, as `cache` keeps them.
pub const BARS_PREFIX: &str = "cache:bars:";
/// String prefix: whoever set it fetches the value of the key that follows.
pub const LOCK_PREFIX: &str = "lock:";
/// JSON array of the configured indices' quotes.
pub const INDICES: &str = "cache:indices";
/// Who polls.
pub const LEADER: &str = "publisher:leader";
/// The highest epoch handed out.
pub const EPOCH: &str = "publisher:epoch";
/// What was paused, as JSON; survives restarts.
pub const STATE: &str = "publisher:state";
/// Prefix: what a process writes now and then to learn whether writing works; gone after a minute.
pub const PROBE_PREFIX: &str = "broker:probe:";
/// Prefix: one provider's spent budget.
pub const RATELIMIT_PREFIX: &str = "ratelimit:";

/// The key of a symbol's cached quote.
#[must_use]
pub fn quote(symbol: Symbol) -> String {
    [QUOTE_PREFIX, symbol.as_str()].concat()
}
