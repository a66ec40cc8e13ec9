//! `tickcast control`: what redis-cli can do on the control channel, checked and acknowledged.

mod words;

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::Common;
use super::reach::{ReachArgs, ReachError, Refusal, Way, ask_ops};
use super::report::{Problem, Report};
use crate::config::log::Level;
use crate::market::Symbol;
use crate::ops::control::{AskError, Outcome, ask};
use crate::protocol::control::{MAX_INTERVAL, MIN_INTERVAL};
use crate::provider;

/// Shown by `control --help`.
pub const EXAMPLES: &str = "\
Through the configured Redis; without one, through the ops port of the configuration, or the one given by --ops.

Examples:
  tickcast control pause --reason maintenance
  tickcast control pause --provider yahoo
  tickcast control resume
  tickcast control refresh AAPL MSFT
  tickcast control set-interval 10 --provider massive
  tickcast control drain tickcast-1a2b3c4d
  tickcast control log-level debug
  tickcast control status --ops http://127.0.0.1:8082
  tickcast control status --json | jq '.replies[].state.leader'

Prints what each process answered; a publisher that stands by obeys too, since it may lead next. Exit code 0 when all did
it, 64 when it cannot be done as asked, 69 when nobody answered or it cannot be done now.";

/// `control`'s flags.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// What to do.
    #[command(subcommand)]
    action: Action,
    /// The answers as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

/// The actions.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Action {
    /// Stop polling: everything, one provider, or some symbols; it stays so over restarts
    Pause {
        /// Told to clients
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Poll again what was paused
    Resume {
        #[command(flatten)]
        scope: Scope,
    },
    /// Poll now, budget permitting: the given symbols, or all that are watched
    Refresh {
        /// Which symbols
        #[arg(value_name = "SYMBOL")]
        symbols: Vec<Symbol>,
    },
    /// Poll this often, until the next start
    SetInterval {
        /// Between two polls, from 0.05 to 86400
        #[arg(value_name = "SECONDS", value_parser = interval)]
        seconds: f64,
        /// This provider alone
        #[arg(long, value_name = "NAME")]
        provider: Option<provider::Name>,
    },
    /// Send a gateway's clients to the others, and end it
    Drain {
        /// Its name: `gateway.id` in /stats, `gateway` in its log
        #[arg(value_name = "GATEWAY")]
        gateway: String,
    },
    /// Change what every process logs, until its next start
    LogLevel {
        /// off, error, warn, info, debug, trace; by module: `info,tickcast::gateway=debug`
        #[arg(value_name = "LEVEL", value_parser = log_level)]
        level: String,
    },
    /// Show what is paused, who leads, how providers do
    Status,
}

/// What pause and resume are narrowed to; everything when empty.
#[derive(Debug, Clone, Args)]
pub(super) struct Scope {
    /// This provider alone
    #[arg(long, value_name = "NAME", conflicts_with = "symbols")]
    provider: Option<provider::Name>,
    /// These symbols alone, comma-separated
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',')]
    symbols: Vec<Symbol>,
}

fn interval(text: &str) -> Result<f64, String> {
    let (least, most) = (MIN_INTERVAL.as_secs_f64(), MAX_INTERVAL.as_secs_f64());
    let seconds = text.parse().ok().filter(|seconds| (least..=most).contains(seconds));
    seconds.ok_or_else(|| format!("{least} to {most} seconds"))
}

fn log_level(text: &str) -> Result<String, String> {
    text.parse().map(|level: Level| level.to_string())
}

/// Says it and reports the answers.
///
/// # Errors
/// [`ReachError`] when it could not be said.
pub async fn run(common: &Common, args: &ControlArgs) -> Result<Report, ReachError> {
    let (way, config) = args.reach.way(common).await?;
    let asked = say(&way, &args.action.message()).await;
    let place = match &way {
        Way::Redis { place, .. } => words::Place::Redis {
            url: place.clone(),
            prefix: config.broker.prefix.clone(),
            channel: config.broker.channels.control.clone(),
        },
        Way::Ops { url, .. } => words::Place::Ops { url: url.to_string() },
    };
    way.close().await;
    let outcome = match asked? {
        Ok(outcome) => outcome,
        Err(refusal) => return Ok(Report::problem(Problem::from(refusal))),
    };
    let told =
        if args.json { format!("{:#}\n", outcome.to_json()) } else { words::answers(&args.action, &outcome.replies) };
    Ok(Report { problem: words::problem(&args.action, &outcome, &place), ..Report::told(told) })
}

async fn say(way: &Way, message: &Value) -> Result<Result<Outcome, Refusal>, ReachError> {
    let text = message.to_string();
    match way {
        Way::Redis { broker, place } => match ask(broker, text.as_bytes()).await {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(AskError::Refused(error)) => {
                Ok(Err(Refusal { code: error.code.as_str().into(), message: error.message }))
            }
            Err(AskError::Away) => {
                Err(ReachError::Away { place: place.clone(), why: "its subscriptions do not work".into() })
            }
            Err(AskError::Broker(error)) => Err(ReachError::failed(place, &error)),
        },
        Way::Ops { url, admin_token } => {
            let answered = ask_ops(url, Method::POST, "/control", Bytes::from(text), admin_token.as_ref()).await?;
            Ok(answered.map(|json| Outcome {
                receivers: json["receivers"].as_u64().unwrap_or_default(),
                replies: json["replies"].as_array().cloned().unwrap_or_default(),
            }))
        }
    }
}

impl Action {
    /// As it is said on the control channel.
    fn message(&self) -> Value {
        match self {
            Action::Pause { reason, scope } => {
                let mut data = scope.data();
                if let Some(reason) = reason {
                    data["reason"] = reason.as_str().into();
                }
                json!({"action": "pause", "data": data})
            }
            Action::Resume { scope } => json!({"action": "resume", "data": scope.data()}),
            Action::Refresh { symbols } if symbols.is_empty() => json!({"action": "refresh"}),
            Action::Refresh { symbols } => json!({"action": "refresh", "data": {"symbols": symbols}}),
            Action::SetInterval { seconds, provider } => {
                let mut data = json!({"seconds": seconds});
                if let Some(provider) = provider {
                    data["provider"] = provider.as_str().into();
                }
                json!({"action": "set_interval", "data": data})
            }
            Action::Drain { gateway } => json!({"action": "drain", "data": {"gateway": gateway}}),
            Action::LogLevel { level } => json!({"action": "log_level", "data": {"level": level}}),
            Action::Status => json!({"action": "status"}),
        }
    }
}

impl Scope {
    fn data(&self) -> Value {
        match self {
            Scope { provider: Some(provider), .. } => json!({"provider": provider.as_str()}),
            Scope { symbols, .. } if !symbols.is_empty() => json!({"symbols": symbols}),
            Scope { .. } => json!({}),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use crate::protocol::control;

    fn message(args: &str) -> Option<String> {
        let args = ["tickcast", "control"].into_iter().chain(args.split(' '));
        match Cli::try_parse_from(args).ok()?.command {
            Command::Control(args) => Some(args.action.message().to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_action_is_said_as_the_channel_understands_it() {
        for (args, expected) in [
            ("pause", r#"{"action":"pause","data":{}}"#),
            ("pause --reason lunch", r#"{"action":"pause","data":{"reason":"lunch"}}"#),
            ("pause --provider polygon", r#"{"action":"pause","data":{"provider":"massive"}}"#),
            ("resume --symbols tcs,AAPL", r#"{"action":"resume","data":{"symbols":["TCS","AAPL"]}}"#),
            ("refresh", r#"{"action":"refresh"}"#),
            ("refresh aapl", r#"{"action":"refresh","data":{"symbols":["AAPL"]}}"#),
            ("set-interval 2.5", r#"{"action":"set_interval","data":{"seconds":2.5}}"#),
            ("set-interval 10 --provider nse", r#"{"action":"set_interval","data":{"provider":"nse","seconds":10.0}}"#),
            ("drain g-1", r#"{"action":"drain","data":{"gateway":"g-1"}}"#),
            ("log-level WARNING", r#"{"action":"log_level","data":{"level":"warn"}}"#),
            ("status", r#"{"action":"status"}"#),
        ] {
            assert_eq!(message(args).as_deref(), Some(expected), "{args}");
            assert!(control::read(expected.as_bytes()).is_ok(), "{expected}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_told_before() {
        for args in [
            "pause --provider nobody",
            "pause --provider nse --symbols A",
            "pause --symbols A,,B C",
            "refresh TC*",
            "set-interval 0",
            "set-interval 1e9",
            "set-interval NaN",
            "log-level loud",
            "drain",
            "status --ops 127.0.0.1:8082",
            "status --ops http://h --redis-url redis://h",
        ] {
            assert_eq!(message(args), None, "{args}");
        }
    }
}
