//! The house rules that the compiler does not know: who may use whom, who may name which crate.
//!
//! Reads the sources as text. A module is named by `crate::module`; comments and strings do not count.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each floor with the floors it may use. Whatever is not listed is forbidden; `main.rs` and `lib.rs` see everything.
const MAY_USE: [(&str, &[&str]); 18] = [
    ("crash", &[]),
    ("market", &[]),
    ("quota", &["market"]),
    ("protocol", &["market"]),
    ("hub", &["market", "protocol"]),
    ("broker", &["market", "quota", "crash"]),
    ("provider", &["market", "quota", "protocol", "broker"]),
    ("cache", &["market", "quota", "protocol", "broker", "provider"]),
    ("publisher", &["market", "quota", "protocol", "broker", "provider", "cache"]),
    ("web", &[]),
    ("gateway", &["market", "protocol", "hub", "broker", "crash"]),
    ("ops", &["market", "protocol", "hub", "broker", "quota", "provider", "cache", "gateway", "web", "crash"]),
    ("api", &["market", "protocol", "hub", "broker", "quota", "provider", "cache", "gateway", "ops", "web"]),
    ("config", &["market", "quota", "protocol", "broker", "provider", "cache", "publisher", "gateway", "ops", "api"]),
    ("logging", &["config"]),
    (
        "roles",
        &[
            "market",
            "quota",
            "protocol",
            "hub",
            "broker",
            "provider",
            "cache",
            "publisher",
            "gateway",
            "ops",
            "api",
            "config",
            "crash",
            "logging",
        ],
    ),
    (
        "cli",
        &[
            "market",
            "quota",
            "protocol",
            "broker",
            "provider",
            "cache",
            "publisher",
            "ops",
            "config",
            "logging",
            "roles",
        ],
    ),
    ("main", &["cli", "config", "logging", "roles"]),
];

/// Floors that decide and never wait: no runtime, no socket, no clock.
const PURE: [&str; 4] = ["market", "quota", "protocol", "hub"];
const IMPURE: [&str; 9] = [
    "tokio::",
    "mio::",
    "std::net",
    "std::fs",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "std::env",
];

/// Crates that one place alone may name.
const ONE_PLACE: [(&str, &[&str]); 7] = [
    ("fred", &["src/broker/redis/"]),
    ("tungstenite", &["src/protocol/", "src/cli/tail"]),
    ("mio", &["src/gateway/"]),
    ("reqwest", &["src/provider/", "src/gateway/auth", "src/logging/traces"]),
    ("opentelemetry", &["src/logging/traces"]),
    ("opentelemetry_otlp", &["src/logging/traces"]),
    ("opentelemetry_sdk", &["src/logging/traces"]),
];

struct Source {
    path: String,
    floor: String,
    /// Without comments, strings and test modules at its end.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let floor = path.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_owned();
        Source { code: code_of(&fs::read_to_string(file).unwrap()), path, floor }
    };
    files.into_iter().map(read).filter(|source| source.floor != "lib").collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code alone: no line comments, no string contents, nothing after the test module begins.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut code = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            if !quoted && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && before != '\\' && before != '\'' {
                quoted = !quoted;
            } else if !quoted {
                code.push(c);
            }
            before = c;
        }
        code.push('\n');
    }
    code
}

fn is_test(source: &Source) -> bool {
    source.path.ends_with("tests.rs") || source.path.contains("/tests/")
}

#[test]
fn upper_floors_use_lower_ones_and_publisher_and_gateway_never_meet() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !is_test(source)) {
        let (_, allowed) = MAY_USE.iter().find(|(floor, _)| *floor == source.floor).unwrap_or_else(|| {
            panic!("{} stands on no floor of this test: say what it may use", source.path);
        });
        for (floor, _) in MAY_USE {
            let names = ["crate::", "tickcast::"].iter().any(|root| names(&source.code, &format!("{root}{floor}")));
            if names && floor != source.floor && !allowed.contains(&floor) {
                broken.push(format!("{} uses {floor}", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn pure_floors_hold_no_runtime_no_socket_no_clock() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.floor.as_str())) {
        for impure in IMPURE {
            if names(&source.code, impure) {
                broken.push(format!("{} names {impure}", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn some_crates_are_named_in_one_place_only() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, places) in ONE_PLACE {
            let named = names(&source.code, &format!("{name}::")) || names(&source.code, &format!("tokio_{name}::"));
            if named && !places.iter().any(|place| source.path.starts_with(place)) {
                broken.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for source in sources().iter().filter(|source| !is_test(source)) {
        let text = fs::read_to_string(root.join(&source.path)).unwrap();
        assert!(text.starts_with("//!"), "{} has no module doc", source.path);
    }
}

/// Whether `code` has `path` as a whole path, not as the beginning of a longer name.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + path.len()..].chars().next();
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !word(before) && (path.ends_with(':') || !word(after))
    })
}

#[test]
fn the_reading_of_sources_is_not_blind() {
    let all = sources();
    assert!(all.len() > 50, "{} files", all.len());
    assert!(all.iter().any(|source| names(&source.code, "crate::hub")), "nobody uses the hub?");
    assert!(all.iter().any(|source| names(&source.code, "fred::")), "nobody uses fred?");
    assert_eq!(code_of("a // crate::b\n\"crate::c\" d"), "a \n d\n");
}
