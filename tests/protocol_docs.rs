//! What is said on the socket is in the documentation: every request, reply, error code, status and close code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::path::Path;

use tickcast::protocol::message::CloseCode;

const PROTOCOL: &str = "docs/protocol.md";
const ASYNCAPI: &str = "docs/asyncapi.yaml";

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The variants of an enum, as serde writes them in snake case.
fn variants(path: &str, name: &str) -> Vec<String> {
    let text = read(path);
    let body = text.split(&format!("pub enum {name}")).nth(1).unwrap().split("\n}").next().unwrap().to_owned();
    let is_variant = |line: &&str| line.starts_with("    ") && line[4..].starts_with(|c: char| c.is_ascii_uppercase());
    let word = |line: &str| line.trim().split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap().to_owned();
    let names: Vec<String> = body.lines().filter(is_variant).map(word).map(|name| snake(&name)).collect();
    assert!(names.len() > 2, "{path} {name} is not read: {names:?}");
    names
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_request_and_every_message_has_its_example() {
    let (protocol, asyncapi) = (read(PROTOCOL), read(ASYNCAPI));
    for action in variants("src/protocol/message.rs", "Request") {
        assert!(protocol.contains(&format!("{{\"action\":\"{action}\"")), "{PROTOCOL} has no example of {action}");
        assert!(protocol.contains(&format!("\n### {action}\n")), "{PROTOCOL} has no section on {action}");
        assert!(asyncapi.contains(&format!("action: {{const: {action}}}")), "{action} is not in {ASYNCAPI}");
    }
    let mut kinds = variants("src/protocol/reply.rs", "Reply<");
    kinds.push("price_update".into());
    for kind in kinds {
        assert!(protocol.contains(&format!("{{\"type\":\"{kind}\"")), "{PROTOCOL} has no example of {kind}");
        assert!(asyncapi.contains(&format!("type: {{const: {kind}}}")), "{kind} is not in {ASYNCAPI}");
    }
    for status in variants("src/protocol/reply.rs", "Status") {
        assert!(protocol.contains(&format!("\"status\":\"{status}\"")), "{PROTOCOL} has no example of {status}");
        assert!(asyncapi.contains(&status), "{status} is not in {ASYNCAPI}");
    }
}

#[test]
fn every_error_code_is_explained() {
    let (protocol, asyncapi) = (read(PROTOCOL), read(ASYNCAPI));
    for code in variants("src/protocol/message.rs", "ErrorCode") {
        assert!(protocol.contains(&format!("| `{code}` | ")), "{code} is not in {PROTOCOL}");
        assert!(asyncapi.contains(&format!("        - {code}\n")), "{code} is not in {ASYNCAPI}");
    }
}

#[test]
fn every_close_code_says_whether_to_come_back() {
    let (protocol, readme) = (read(PROTOCOL), read("README.md"));
    for code in CloseCode::ALL.map(CloseCode::number) {
        assert!(protocol.contains(&format!("\n| {code} | ")), "{code} is not in {PROTOCOL}");
        let in_table = readme.lines().any(|line| line.starts_with('|') && line.contains(&code.to_string()));
        assert!(in_table, "{code} is not in README.md");
    }
}
