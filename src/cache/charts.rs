//! Bars for charts: from the cache, or from the first provider that has them.
//!
//! A chart is fetched by the process that is asked for it, from the budget that all processes share, once for all of them.
//! What it keeps is the body that is answered with. Providers are asked in their order; one that is out of budget, out of
//! order or without the symbol is followed by the next.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tracing::debug;

use super::value::{Kind, Value};
use super::{Busy, Cache, Class, Fetched, Origin};
use crate::broker::keys;
use crate::market::{Bars, Range, Symbol};
use crate::provider::{Missing, NoBars, Provider, Why};

/// How long it is believed that there are no bars of a symbol that a vendor knows: they, or a better plan, may come any day.
const NO_DATA: Duration = Duration::from_secs(300);

/// Charts of all symbols. Cheap to clone.
#[derive(Clone)]
pub struct Charts {
    cache: Cache,
    providers: Arc<[Arc<dyn Provider>]>,
}

/// A chart that was found.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Its body is JSON: `{"symbol","range","interval_s","source","timestamp","bars":[…]}`.
    pub value: Arc<Value>,
    /// Where it was.
    pub origin: Origin,
}

/// Why there is no chart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChart {
    /// Nobody to ask.
    #[error("no provider of bars is configured here")]
    Nobody,
    /// No provider has the symbol.
    #[error("no provider has bars of this symbol")]
    Unknown,
    /// They could not be had now.
    #[error("no bars right now: {why}")]
    Later {
        /// In a word.
        why: String,
        /// Asking again earlier is in vain.
        retry_in: Duration,
    },
}

impl From<Busy> for NoChart {
    fn from(_: Busy) -> NoChart {
        NoChart::Later { why: "busy".into(), retry_in: Duration::from_secs(1) }
    }
}

/// The key of a chart.
#[must_use]
pub fn key(symbol: Symbol, range: Range) -> String {
    format!("{}{symbol}:{range}", keys::BARS_PREFIX)
}

impl Charts {
    /// Charts from these providers, in the order they are tried.
    #[must_use]
    pub fn new(cache: Cache, providers: Vec<Arc<dyn Provider>>) -> Charts {
        Charts { cache, providers: providers.into() }
    }

    /// A symbol's chart.
    ///
    /// # Errors
    /// [`NoChart`].
    pub async fn get(&self, symbol: Symbol, range: Range) -> Result<Chart, NoChart> {
        if self.providers.is_empty() {
            return Err(NoChart::Nobody);
        }
        let charts = self.clone();
        let answer =
            self.cache.get(&key(symbol, range), move || async move { charts.fetch(symbol, range).await }).await?;
        match answer.value.kind {
            Kind::Found | Kind::Old => Ok(Chart { value: answer.value, origin: answer.origin }),
            Kind::Failed if &answer.value.body()[..] == UNKNOWN => Err(NoChart::Unknown),
            Kind::Failed => {
                let left_ms = answer.value.fresh_until_ms.saturating_sub(super::now_ms());
                let why = String::from_utf8_lossy(&answer.value.body()).into_owned();
                Err(NoChart::Later { why, retry_in: Duration::from_millis(left_ms) })
            }
        }
    }

    async fn fetch(&self, symbol: Symbol, range: Range) -> Fetched {
        let config = self.cache.config();
        let mut failed: Option<(&'static str, Duration)> = None;
        let mut unknown_for = config.ttl(Class::List, symbol);
        for provider in self.providers.iter().filter(|provider| provider.serves(symbol)) {
            match provider.bars(symbol, range).await {
                Ok(bars) => {
                    let body = to_json(symbol, range, &bars, Timestamp::now());
                    return Fetched::Found(body.into(), config.ttl(Class::Recent, symbol));
                }
                Err(NoBars::NotServed | NoBars::Missing(Missing::UnknownSymbol)) => {}
                Err(NoBars::Missing(Missing::NoData | Missing::NotInPlan)) => unknown_for = unknown_for.min(NO_DATA),
                Err(NoBars::Left { why, retry_in }) => {
                    debug!(%symbol, %range, provider = provider.name().as_str(), ?why, "no bars");
                    // Whoever is ready first decides.
                    failed = Some(failed.map_or((word(&why), retry_in), |(word, wait)| (word, wait.min(retry_in))));
                }
            }
        }
        match failed {
            Some((why, retry_in)) => Fetched::Failed(Bytes::from_static(why.as_bytes()), retry_in),
            None => Fetched::Failed(Bytes::from_static(UNKNOWN), unknown_for),
        }
    }
}

/// What is kept instead of a chart that nobody has.
const UNKNOWN: &[u8] = b"unknown";

fn word(why: &Why) -> &'static str {
    match why {
        Why::Budget => "budget",
        Why::Open => "provider_down",
        Why::Parked => "provider_refuses",
        Why::Failed(_) => "provider_failed",
    }
}

/// The body: prices are the vendor's own number text.
fn to_json(symbol: Symbol, range: Range, bars: &Bars, now: Timestamp) -> String {
    let mut json = String::with_capacity(160 + bars.bars.len() * 120);
    // A symbol's characters need no JSON escape, and neither do our own words and RFC 3339 times.
    let write = |json: &mut String| {
        let interval_s = bars.interval.as_secs();
        write!(
            json,
            r#"{{"symbol":"{symbol}","range":"{range}","interval_s":{interval_s},"source":"{}","timestamp":"{now:.3}","bars":["#,
            bars.source
        )?;
        for (at, bar) in bars.bars.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(
                json,
                r#"{comma}{{"time":"{:.0}","open":{},"high":{},"low":{},"close":{},"volume":"#,
                bar.start, bar.open, bar.high, bar.low, bar.close
            )?;
            match &bar.volume {
                Some(volume) => write!(json, "{volume}}}")?,
                None => json.push_str("null}"),
            }
        }
        json.push_str("]}");
        std::fmt::Result::Ok(())
    };
    write(&mut json).expect("writing to a String cannot fail");
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Number;
    use crate::market::bar::Bar;

    #[test]
    fn bars_keep_the_vendors_number_text() {
        let number = |text: &str| Number::parse(text).unwrap();
        let bar = |start: &str, volume| Bar {
            start: start.parse().unwrap(),
            open: number("10.50"),
            high: number("11.00"),
            low: number("10.2"),
            close: number("10.9"),
            volume,
        };
        let bars = Bars {
            source: "replay",
            interval: Duration::from_secs(86_400),
            bars: vec![bar("2026-11-19T14:30:00Z", Some(number("1200"))), bar("2026-11-20T14:30:00Z", None)],
        };
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        assert_eq!(
            to_json(Symbol::parse("AAPL").unwrap(), Range::Month, &bars, now),
            concat!(
                r#"{"symbol":"AAPL","range":"1m","interval_s":86400,"source":"replay","timestamp":"2026-11-21T00:00:00.000Z","#,
                r#""bars":[{"time":"2026-11-19T14:30:00Z","open":10.50,"high":11.00,"low":10.2,"close":10.9,"volume":1200},"#,
                r#"{"time":"2026-11-20T14:30:00Z","open":10.50,"high":11.00,"low":10.2,"close":10.9,"volume":null}]}"#
            )
        );
    }
}
