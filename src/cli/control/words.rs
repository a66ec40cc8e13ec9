//! Answers to control messages in words. Reads leniently: what is answered is of whatever version runs there.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Action, Scope};
use crate::broker::keys;
use crate::cli::report::Problem;
use crate::ops::control::{Outcome, PATIENCE};

/// Where it was said.
pub(super) enum Place {
    Redis {
        /// Masked.
        url: String,
        /// Before every key and channel.
        prefix: String,
        /// The control channel, without it.
        channel: String,
    },
    Ops {
        url: String,
    },
}

/// What each process answered, a line or more each.
pub(super) fn answers(action: &Action, replies: &[Value]) -> String {
    let mut told = String::new();
    let mut sorted: Vec<&Value> = replies.iter().collect();
    // who leads first
    sorted.sort_by_key(|reply| (reply["state"]["leader"] != true, who(reply)));
    for reply in sorted {
        let done = if reply["ok"] == true { done(action, reply) } else { refused(reply) };
        push(&mut told, &format!("{}: {done}", who(reply)));
        if reply["ok"] == true {
            details(&mut told, action, &reply["state"]);
        }
    }
    told
}

/// Why it was not done, or not by all.
pub(super) fn problem(action: &Action, outcome: &Outcome, place: &Place) -> Option<Problem> {
    if outcome.replies.is_empty() {
        return Some(Problem::NobodyAnswered(nobody(action, outcome.receivers, place)));
    }
    let problems = outcome.replies.iter().filter(|reply| reply["ok"] != true);
    let mut problems: Vec<Problem> = problems
        .map(|reply| {
            let code = reply["error"]["code"].as_str().unwrap_or_default();
            Problem::of(code, format!("{}: {}", who(reply), refused(reply)))
        })
        .collect();
    // what stays wrong comes before what passes
    problems.sort_by_key(|problem| matches!(problem, Problem::NotNow(_)));
    problems.into_iter().next()
}

fn nobody(action: &Action, receivers: u64, place: &Place) -> String {
    let seconds = PATIENCE.as_secs();
    let (missing, check) = match action {
        Action::Drain { .. } => ("gateway of that name", "is the name right, and does it run?"),
        Action::LogLevel { .. } => ("process", "does one run?"),
        Action::Refresh { .. } => ("publisher that leads", "does one run?"),
        Action::Pause { .. } | Action::Resume { .. } | Action::SetInterval { .. } | Action::Status => {
            ("publisher", "does one run?")
        }
    };
    let listening = match receivers {
        0 => "nobody listens".to_owned(),
        1 => "1 process listens".to_owned(),
        several => format!("{several} processes listen"),
    };
    match place {
        Place::Redis { url, prefix, channel } => {
            let names = if matches!(action, Action::Drain { .. }) {
                format!(" `redis-cli ZRANGE {prefix}{} 0 -1` has the names.", keys::GATEWAYS)
            } else {
                String::new()
            };
            format!(
                "no {missing} answered within {seconds} s; {listening} on {prefix}{channel} at {url}. Check: {check} On \
                 this Redis, with this prefix and channel?{names}"
            )
        }
        Place::Ops { url } => format!(
            "no {missing} answered within {seconds} s; {listening} behind {url}. Check: {check} Is its publisher enabled?"
        ),
    }
}

fn who(reply: &Value) -> String {
    let named = ["publisher", "gateway", "process"].into_iter();
    let named = named.filter_map(|kind| reply[kind].as_str().map(|name| (kind, name))).next();
    match named {
        Some(("process", name)) => name.to_owned(),
        Some((kind, name)) => format!("{kind} {name}"),
        None => "somebody".to_owned(),
    }
}

fn refused(reply: &Value) -> String {
    let text = |name: &str| reply["error"][name].as_str();
    let message = text("message").unwrap_or("refused without a word");
    text("code").map_or_else(|| message.to_owned(), |code| format!("{message} ({code})"))
}

fn done(action: &Action, reply: &Value) -> String {
    let state = &reply["state"];
    match action {
        Action::Pause { scope, .. } => format!("{} is paused{}", scope.words(), unsaved(state)),
        Action::Resume { scope } => format!("{} goes on{}", scope.words(), unsaved(state)),
        Action::Refresh { symbols } if symbols.is_empty() => "polls everything watched now, budget permitting".into(),
        Action::Refresh { symbols } => format!("polls {} now, budget permitting", list(symbols)),
        Action::SetInterval { seconds, provider } => {
            let whom = provider.map_or_else(|| "every provider".to_owned(), |name| name.to_string());
            format!("polls {whom} every {seconds} s until its next start")
        }
        Action::Drain { .. } => "sends its clients away, and ends".into(),
        Action::LogLevel { level } => format!("logs {level} until its next start"),
        Action::Status => {
            let role = if state["leader"] == true { "leads" } else { "stands by" };
            format!("{role}, {}{}", state["state"].as_str().unwrap_or("in no known state"), unsaved(state))
        }
    }
}

/// A pause that is not on record.
fn unsaved(state: &Value) -> &'static str {
    if state["saved"] == false { " (not on record yet: it would not survive a restart)" } else { "" }
}

/// What there is to say beyond one line.
fn details(told: &mut String, action: &Action, state: &Value) {
    match action {
        Action::Status => {
            paused(told, &state["paused"]);
            providers(told, &state["providers"]);
        }
        Action::Resume { .. } => paused(told, &state["paused"]),
        Action::Pause { .. }
        | Action::Refresh { .. }
        | Action::SetInterval { .. }
        | Action::Drain { .. }
        | Action::LogLevel { .. } => {}
    }
}

fn paused(told: &mut String, paused: &Value) {
    let line = |what: &str, pause: &Value| {
        let since = pause["since"].as_str().map(|since| format!(" since {since}")).unwrap_or_default();
        let reason = pause["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("  paused: {what}{since}{reason}")
    };
    if paused["all"].is_object() {
        push(told, &line("everything", &paused["all"]));
    }
    for (kind, prefix) in [("providers", "provider "), ("symbols", "")] {
        for (name, pause) in paused[kind].as_object().into_iter().flatten() {
            push(told, &line(&format!("{prefix}{name}"), pause));
        }
    }
}

fn providers(told: &mut String, providers: &Value) {
    for (name, provider) in providers.as_object().into_iter().flatten() {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let mut line = format!("  {name}: ");
        match (provider["parked"]["why"].as_str(), provider["breaker"].as_str()) {
            (Some(why), _) => write!(line, "left alone for {} s, {why}", number(&provider["parked"]["for_s"])),
            (None, None | Some("closed")) => write!(line, "well"),
            (None, Some(breaker)) => write!(line, "breaker {}", breaker.replace('_', "-")),
        }
        .expect("writing to a String does not fail");
        for (window, budget) in provider["budget"].as_object().into_iter().flatten() {
            let (available, capacity) = (number(&budget["available"]), number(&budget["capacity"]));
            write!(line, "; {available} of {capacity} a {window} left").expect("writing to a String does not fail");
        }
        let calls = &provider["calls"];
        write!(line, "; calls: {} ({} expected)", number(&calls["actual"]), number(&calls["expected"]))
            .expect("writing to a String does not fail");
        if let Some(failure) = provider["last_failure"].as_str() {
            write!(line, "; last failure: {failure}").expect("writing to a String does not fail");
        }
        push(told, &line);
    }
}

impl Scope {
    fn words(&self) -> String {
        match self {
            Scope { provider: Some(provider), .. } => format!("provider {provider}"),
            Scope { symbols, .. } if !symbols.is_empty() => list(symbols),
            Scope { .. } => "everything".into(),
        }
    }
}

fn list(symbols: &[crate::market::Symbol]) -> String {
    symbols.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A line, without what would steer a terminal: reasons and failures come from others.
fn push(told: &mut String, line: &str) {
    told.extend(line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
    told.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: Scope = Scope { provider: None, symbols: Vec::new() };

    fn ok(publisher: &str, state: &Value) -> Value {
        json!({"id": 1, "action": "x", "ok": true, "publisher": publisher, "state": state})
    }

    fn redis() -> Place {
        Place::Redis { url: "redis://h".into(), prefix: "{t}:".into(), channel: "market-data:control".into() }
    }

    #[test]
    fn each_publisher_says_what_it_did_and_the_leader_first() {
        let standby = ok("b", &json!({"leader": false, "state": "paused", "saved": true}));
        let leader = ok("c", &json!({"leader": true, "state": "paused", "saved": false}));
        let told = answers(&Action::Pause { reason: None, scope: ALL }, &[standby, leader]);
        let expected = "publisher c: everything is paused (not on record yet: it would not survive a restart)\n\
                        publisher b: everything is paused\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn status_tells_what_is_paused_and_how_providers_do() {
        let state = json!({
            "leader": true, "state": "running", "saved": true,
            "paused": {
                "all": null,
                "providers": {"nse": {"reason": "lunch", "since": "2026-11-21T10:00:00Z"}},
                "symbols": {"TCS": {"since": "2026-11-21T11:00:00Z"}},
            },
            "providers": {
                "binance": {"breaker": "half_open", "budget": {"minute": {"available": 3, "capacity": 5}},
                            "calls": {"expected": 10, "actual": 11}, "last_failure": "HTTP 500\u{1b}[2J"},
                "nse": {"breaker": "closed", "budget": {}, "calls": {"expected": 0, "actual": 1},
                        "parked": {"why": "the key is bad", "for_s": 60}},
            },
        });
        assert_eq!(
            answers(&Action::Status, &[ok("p", &state)]),
            "\
publisher p: leads, running
  paused: provider nse since 2026-11-21T10:00:00Z: lunch
  paused: TCS since 2026-11-21T11:00:00Z
  binance: breaker half-open; 3 of 5 a minute left; calls: 11 (10 expected); last failure: HTTP 500\u{fffd}[2J
  nse: left alone for 60 s, the key is bad; calls: 1 (0 expected)
"
        );
    }

    #[test]
    fn nobody_answering_is_said_with_who_listens_and_what_to_check() {
        let outcome = |receivers| Outcome { receivers, replies: Vec::new() };
        let told = |action: &Action, receivers, place: &Place| {
            problem(action, &outcome(receivers), place).expect("nobody answered").to_string()
        };
        let text = told(&Action::Status, 0, &redis());
        assert!(
            text.starts_with("no publisher answered within 2 s; nobody listens on {t}:market-data:control"),
            "{text}"
        );
        assert!(text.contains("redis://h") && text.contains("does one run?"), "{text}");
        let text = told(&Action::Drain { gateway: "x".into() }, 3, &redis());
        assert!(
            text.contains("3 processes listen") && text.contains("ZRANGE {t}:subscriptions:gateways 0 -1"),
            "{text}"
        );
        let text = told(&Action::Status, 1, &Place::Ops { url: "http://h/".into() });
        assert!(text.contains("1 process listens behind http://h/"), "{text}");
    }

    #[test]
    fn of_several_refusals_the_one_that_stays_decides() {
        let refuse = |code: &str| json!({"ok": false, "publisher": code, "error": {"code": code, "message": "m"}});
        let outcome = Outcome { receivers: 2, replies: vec![refuse("paused"), refuse("unknown_provider")] };
        let found = problem(&Action::Status, &outcome, &redis()).expect("two refused");
        assert_eq!(found.to_string(), "refused: publisher unknown_provider: m (unknown_provider)");
        let told = answers(&Action::Status, &outcome.replies);
        assert_eq!(told.lines().count(), 2);
    }
}
