//! What a former leader left: when each symbol's quote was published last, read from the cached quotes.
//!
//! Without it a publisher that takes over would take every symbol for one whose watchers have nothing, and spend its
//! first calls on quotes that are seconds old while others wait for their first.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tracing::debug;

use crate::broker::{Store, keys};
use crate::market::Symbol;

/// Cached quotes asked for at once: about 250 kB.
const CHUNK: usize = 1000;

/// An update's own time.
#[derive(Deserialize)]
struct Published {
    timestamp: Timestamp,
}

/// How old the cached quotes of these symbols are at `now`, of those that have one. What cannot be read is left out.
pub(super) async fn ages(store: &dyn Store, symbols: &[Symbol], now: Timestamp) -> Vec<(Symbol, Duration)> {
    let mut ages = Vec::new();
    for chunk in symbols.chunks(CHUNK) {
        let keys: Vec<String> = chunk.iter().map(|&symbol| keys::quote(symbol)).collect();
        let values = match store.get_many(&keys).await {
            Ok(values) => values,
            Err(error) => {
                debug!(%error, "what was polled before could not be read");
                break;
            }
        };
        ages.extend(chunk.iter().zip(values).filter_map(|(&symbol, value)| {
            let Published { timestamp } = serde_json::from_slice(&value?).ok()?;
            // One from the future is new: another machine's clock.
            Some((symbol, Duration::try_from(now.duration_since(timestamp)).unwrap_or_default()))
        }));
    }
    ages
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::broker::{Timing, memory};

    #[tokio::test(start_paused = true)]
    async fn ages_are_those_of_the_cached_quotes_and_bad_ones_are_left_out() {
        let broker = memory::start(Timing::default());
        let symbols = ["A", "B", "C", "D"].map(|text| Symbol::parse(text).unwrap());
        for (symbol, json) in symbols.iter().zip([
            r#"{"symbol":"A","timestamp":"2026-11-21T10:00:00.500Z"}"#,
            r#"{"symbol":"B","timestamp":"2026-11-21T10:01:00Z"}"#,
            "no quote",
        ]) {
            broker.store.set(&keys::quote(*symbol), Bytes::from(json), None).await.unwrap();
        }
        let now = "2026-11-21T10:00:30Z".parse().unwrap();
        let expected = [(symbols[0], Duration::from_millis(29_500)), (symbols[1], Duration::ZERO)];
        assert_eq!(ages(&*broker.store, &symbols, now).await, expected);
    }
}
