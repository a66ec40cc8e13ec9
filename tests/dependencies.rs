//! Every direct dependency has its reason in docs/dependencies.md.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::Path;

/// The crates that a manifest names in any of its tables of dependencies.
fn named(manifest: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let tables = ["dependencies", "dev-dependencies"].into_iter().filter_map(|name| manifest.get(name)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dependencies.md")).unwrap();
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).collect();
    let crates = [named("Cargo.toml"), named("loadtest/Cargo.toml")].concat();
    assert!(crates.len() > 40);
    let silent: Vec<_> = crates.iter().filter(|name| !words.contains(&name.as_str())).collect();
    assert!(silent.is_empty(), "docs/dependencies.md does not say what these are for: {silent:?}");
}
