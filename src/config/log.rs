//! What is logged, and how. Writing it is `logging`.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// The log's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What is logged.
    pub level: Level,
    /// How an event is written.
    pub format: Format,
    /// The base URL of the collector that traces are sent to.
    pub otlp_endpoint: Option<String>,
}

/// How an event is written; one line either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// What is logged: a level for all, and others for single modules, as in `info,tickcast::gateway=debug`.
///
/// A level without a module is ours: libraries follow it up to `info` only, since what they tell below that would bury
/// what we do. Name a library to hear it (`debug,hyper=debug`).
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    text: String,
    targets: Targets,
}

/// What [`Level`] is parsed from.
pub(super) const ALLOWED: &str = "off, error, warn, info, debug, trace, or with modules: info,tickcast::gateway=debug";

impl Level {
    /// The filter for a subscriber.
    #[must_use]
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        let mut targets = Targets::new();
        let mut spelled = Vec::new();
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            if let Some((module, level)) = directive.split_once('=') {
                let (module, (name, level)) = (module_path(module.trim())?, level_named(level.trim())?);
                spelled.push(format!("{module}={name}"));
                targets = targets.with_target(module, level);
            } else {
                let (name, level) = level_named(directive)?;
                spelled.push(name.to_owned());
                targets = targets.with_default(level.min(LevelFilter::INFO)).with_target("tickcast", level);
            }
        }
        if spelled.is_empty() {
            return Err("is empty".into());
        }
        Ok(Level { text: spelled.join(","), targets })
    }
}

fn module_path(text: &str) -> Result<&str, String> {
    let clean = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'));
    if clean { Ok(text) } else { Err(format!("({text}) is no module's path")) }
}

/// The levels, and the names that loggers of other languages have for them.
fn level_named(text: &str) -> Result<(&'static str, LevelFilter), String> {
    match text.to_ascii_lowercase().as_str() {
        "off" | "silent" | "none" => Ok(("off", LevelFilter::OFF)),
        "error" | "fatal" | "critical" => Ok(("error", LevelFilter::ERROR)),
        "warn" | "warning" => Ok(("warn", LevelFilter::WARN)),
        "info" => Ok(("info", LevelFilter::INFO)),
        "debug" => Ok(("debug", LevelFilter::DEBUG)),
        "trace" | "verbose" => Ok(("trace", LevelFilter::TRACE)),
        _ => Err(format!("({text}) is no level")),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Event;

    use super::*;

    #[track_caller]
    fn check(text: &str, logs: &[(&str, Event)], drops: &[(&str, Event)]) {
        let targets = text.parse::<Level>().unwrap().targets();
        for (module, level) in logs {
            assert!(targets.would_enable(module, level), "{text} must log {module} {level}");
        }
        for (module, level) in drops {
            assert!(!targets.would_enable(module, level), "{text} must drop {module} {level}");
        }
    }

    #[test]
    fn a_bare_level_is_ours_and_libraries_stay_at_info() {
        check(
            "debug",
            &[("tickcast::gateway", Event::DEBUG), ("hyper", Event::INFO)],
            &[("tickcast", Event::TRACE), ("hyper", Event::DEBUG)],
        );
        check("warn", &[("hyper", Event::WARN)], &[("tickcast", Event::INFO), ("hyper", Event::INFO)]);
        check("off", &[], &[("tickcast", Event::ERROR), ("hyper", Event::ERROR)]);
    }

    #[test]
    fn a_module_may_have_a_level_of_its_own() {
        check(
            "info,tickcast::gateway=trace,fred=debug",
            &[("tickcast::gateway::shard", Event::TRACE), ("fred", Event::DEBUG), ("tickcast", Event::INFO)],
            &[("tickcast::publisher", Event::DEBUG), ("hyper", Event::DEBUG)],
        );
    }

    #[test]
    fn other_loggers_names_for_levels_are_understood() {
        for (given, ours) in [("WARNING", "warn"), ("Info", "info"), ("critical", "error"), ("silent", "off")] {
            assert_eq!(given.parse::<Level>().unwrap().to_string(), ours);
        }
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for text in ["debg", "info,tickcast", "tickcast=loud", "=info", "a b=info", "", ","] {
            assert!(text.parse::<Level>().is_err(), "{text}");
        }
    }
}
