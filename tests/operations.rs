//! What operators rely on names what there is: the manual, the alert rules and the dashboard against the source, and a
//! running process against the manual.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::process::Role;

const MANUAL: &str = "docs/operations.md";
const RULES: &str = "deploy/prometheus/alerts.yml";
const RULE_TESTS: &str = "deploy/prometheus/alerts_test.yml";
const DASHBOARD: &str = "deploy/grafana/tickcast.json";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The code of every source file, without its test module.
fn sources() -> Vec<String> {
    fn collect(folder: &Path, texts: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, texts);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                texts.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }
    let mut texts = Vec::new();
    collect(&root().join("src"), &mut texts);
    texts
}

/// Words of `text` that begin with `tickcast_` and go on in lower case.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = text.match_indices("tickcast_").filter(|(at, _)| !text[..*at].ends_with(is_word));
    begins.map(|(at, _)| text[at..].split(|c| !is_word(c)).next().unwrap().to_owned()).collect()
}

/// The names of the metrics in the source, as string literals.
fn metrics_of_the_source() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in sources() {
        for (at, _) in text.match_indices("\"tickcast_") {
            names.insert(text[at + 1..].split('"').next().unwrap().to_owned());
        }
    }
    names
}

/// A histogram's series are named after it.
fn family(name: &str, known: &BTreeSet<String>) -> String {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    base.filter(|base| known.contains(*base)).unwrap_or(name).to_owned()
}

/// The first cells of the manual's tables that name a metric.
fn metrics_of_the_manual() -> BTreeSet<String> {
    let rows = read(MANUAL);
    let names = rows.lines().filter_map(|line| line.strip_prefix("| `tickcast_")?.split('`').next());
    names.map(|name| format!("tickcast_{name}")).collect()
}

fn alerts_in(path: &str, key: &str) -> BTreeSet<String> {
    let named = |line: &str| Some(line.split(key).nth(1)?.split([',', '}']).next()?.trim().to_owned());
    read(path).lines().filter_map(named).collect()
}

#[test]
fn the_manual_explains_every_metric_and_no_other() {
    let (source, manual) = (metrics_of_the_source(), metrics_of_the_manual());
    assert!(source.len() > 30, "the source is not read: {source:?}");
    assert_eq!(source.difference(&manual).collect::<Vec<_>>(), Vec::<&String>::new(), "not in {MANUAL}");
    assert_eq!(manual.difference(&source).collect::<Vec<_>>(), Vec::<&String>::new(), "in {MANUAL} alone");
}

#[test]
fn rules_dashboard_and_manual_name_no_metric_that_is_not_there() {
    let source = metrics_of_the_source();
    for path in [RULES, RULE_TESTS, DASHBOARD, MANUAL] {
        let named = metrics_in(&read(path));
        assert!(named.len() > 15, "{path} is not read: {named:?}");
        let unknown: Vec<&String> = named.iter().filter(|name| !source.contains(&family(name, &source))).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "in {path}");
    }
}

#[test]
fn the_dashboards_panels_have_places_and_queries() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{} is there twice", panel["id"]);
        assert!(panel["gridPos"]["w"].as_u64().is_some_and(|width| width <= 24), "{}", panel["title"]);
        let queried = panel["targets"].as_array().is_some_and(|targets| !targets.is_empty());
        assert!(queried || panel["type"] == "row", "{} shows nothing", panel["title"]);
    }
    assert!(panels.len() > 20);
}

#[test]
fn every_alert_is_tested_and_has_its_section() {
    let alerts = alerts_in(RULES, "- alert: ");
    assert!(alerts.len() > 20, "{RULES} is not read: {alerts:?}");
    let tested = alerts_in(RULE_TESTS, "alertname: ");
    assert_eq!(alerts, tested);
    let fires = read(RULE_TESTS);
    let sections = alerts_in(MANUAL, "### ").into_iter().filter(|title| title.starts_with("Tickcast")).collect();
    assert_eq!(alerts, sections);
    for alert in &alerts {
        let test = format!("- name: {alert}, ");
        assert!(fires.contains(&test), "no test in which {alert} fires");
    }
}

#[tokio::test]
async fn what_a_process_shows_is_described_and_in_the_manual() {
    let serve = Role::start(&["serve", "--bind", "127.0.0.1", "--port", "0", "--provider", "simulated"]).await;
    let shown = serve.ask("/metrics?format=json").await;
    let manual = metrics_of_the_manual();
    for (name, family) in shown.as_object().unwrap() {
        assert!(manual.contains(name), "{name} is not in {MANUAL}");
        assert!(family["help"].is_string(), "{name} has no help text");
    }
    for name in ["tickcast_broker_connected", "tickcast_connections_max", "tickcast_panics_total"] {
        assert!(shown[name]["samples"].as_array().is_some_and(|samples| !samples.is_empty()), "{name} is not shown");
    }
}
