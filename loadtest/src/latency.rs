//! Latencies: an HDR histogram from a microsecond to two minutes at three digits, mergeable across processes.
//!
//! A longer latency counts as two minutes. Serialised as the pairs (nanoseconds, count) it has recorded.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Ns;

const SHORTEST: Ns = 1_000;
const LONGEST: Ns = 120_000_000_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// The figures one quotes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Histogram::new_with_bounds(SHORTEST, LONGEST, 3).expect("the bounds are fixed and valid"))
    }
}

impl Latencies {
    #[inline]
    pub(crate) fn record(&mut self, latency: Ns) {
        self.0.saturating_record(latency);
    }

    pub(crate) fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// `None` when nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| to_ms(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: to_ms(self.0.max()),
        })
    }
}

/// Nanoseconds as milliseconds, to three digits after the point.
fn to_ms(ns: Ns) -> f64 {
    (ns as f64 / 1e3).round() / 1e3
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Latencies, D::Error> {
        let mut latencies = Latencies::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.0.saturating_record_n(value, count);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_survive_the_pipe_and_the_merge() {
        let (mut low, mut high) = (Latencies::default(), Latencies::default());
        (1..=900).for_each(|ms| low.record(ms * 1_000_000));
        (901..=1_000).for_each(|ms| high.record(ms * 1_000_000));
        let text = serde_json::to_string(&high).unwrap();
        low.merge(&serde_json::from_str(&text).unwrap());
        let all = low.percentiles().unwrap();
        assert_eq!(all.count, 1_000);
        for (measured, exact) in [(all.p50_ms, 500.0), (all.p90_ms, 900.0), (all.p99_ms, 990.0), (all.max_ms, 1_000.0)]
        {
            assert!((measured / exact - 1.0).abs() < 0.002, "{measured} for {exact}");
        }
    }

    #[test]
    fn nothing_recorded_has_no_percentiles_and_the_endless_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), None);
        latencies.record(u64::MAX);
        assert!((latencies.percentiles().unwrap().max_ms - 120_000.0).abs() < 100.0);
    }
}
