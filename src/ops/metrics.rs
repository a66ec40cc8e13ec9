//! The metrics of this process: collected by the Prometheus recorder, shown as its text format or as JSON.
//!
//! Installed before any part registers a metric. Histograms have fixed buckets, so that they can be summed over
//! processes; upkeep moves what was recorded into them and runs with every reading and every [`UPKEEP`].

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::{Map, Value, json};

/// How often recorded samples are folded into buckets when nobody reads: bounds what they take in memory.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// From 50 µs to 10 s: fan-out, canary, cycles.
const SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// From 1 ms to a day: how old quotes are.
const AGES: [f64; 14] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0];

/// Reads the metrics.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    /// When there is one already.
    pub fn install() -> Result<Exposition, BuildError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("_age_seconds".into()), &AGES)?;
        Ok(Exposition(builder.install_recorder()?))
    }

    /// A reader of a recorder that is not installed: tests of one process share none.
    #[must_use]
    pub fn detached() -> Exposition {
        Exposition(PrometheusBuilder::new().build_recorder().handle())
    }

    /// Folds recorded samples into buckets.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// The text format (version 0.0.4).
    #[must_use]
    pub fn text(&self) -> String {
        self.0.render()
    }

    /// The same as JSON: `{"name":{"type":…,"help":…,"samples":[{"labels":{…},"value":…}]}}`.
    #[must_use]
    pub fn json(&self) -> Value {
        to_json(&self.text())
    }
}

/// Turns the text format into JSON. A sample of a histogram goes under its histogram's name, with the sample's own name
/// beside it.
fn to_json(text: &str) -> Value {
    let mut families: Map<String, Value> = Map::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (Some(what), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
            let family = families.entry(name).or_insert_with(|| json!({"samples": []}));
            family[what.to_lowercase()] = value.into();
            name.clone_into(&mut current);
        } else if let Some((sample, value)) = line.rsplit_once(' ') {
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let labels = read_labels(labels.trim_end_matches('}'));
            let family = if name.starts_with(&current) && !current.is_empty() { current.as_str() } else { name };
            let family = families.entry(family).or_insert_with(|| json!({"samples": []}));
            let value = value.parse::<f64>().ok().filter(|value| value.is_finite()).map_or(Value::Null, Value::from);
            let sample = json!({"name": name, "labels": labels, "value": value});
            if let Some(samples) = family["samples"].as_array_mut() {
                samples.push(sample);
            }
        }
    }
    Value::Object(families)
}

/// `a="x",b="y"` with `\"`, `\\` and `\n` in the values.
fn read_labels(text: &str) -> Map<String, Value> {
    let mut labels = Map::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut escaped, mut end) = (String::new(), false, after.len());
        for (at, c) in after.char_indices() {
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = at;
                    break;
                }
                (true, 'n') => {
                    value.push('\n');
                    escaped = false;
                }
                (_, c) => {
                    value.push(c);
                    escaped = false;
                }
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value.into());
        rest = after.get(end + 1..).unwrap_or_default();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format_becomes_json() {
        let text = "# HELP t_total Things \"done\".\n# TYPE t_total counter\nt_total{code=\"10\\\"00\",b=\"y\"} 3\nt_total 4\n\n\
            # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.5\nh_count 2\n";
        let json = to_json(text);
        assert_eq!(json["t_total"]["type"], "counter");
        assert_eq!(json["t_total"]["help"], "Things \"done\".");
        assert_eq!(json["t_total"]["samples"][0]["labels"], json!({"code": "10\"00", "b": "y"}));
        assert_eq!(json["t_total"]["samples"][1]["value"], 4.0);
        assert_eq!(json["h"]["samples"][0]["name"], "h_bucket");
        assert_eq!(json["h"]["samples"][2]["value"], 2.0);
    }
}
