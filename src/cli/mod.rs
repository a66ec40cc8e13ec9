//! The command line: what may be written, and the commands that need no role.
//!
//! One file per command. A flag that is a configuration key carries text only: the configuration reads and checks it, so
//! that its mistakes are told together with all others. It knows no part but through [`crate::config`].

pub mod config;
pub mod control;
pub mod exit;
pub mod healthcheck;
mod ops_port;
pub mod quota;
pub mod reach;
pub mod report;
pub mod role;
pub mod shell;
pub mod tail;

use std::path::Path;

use clap::{Args, Parser, Subcommand};

use crate::config::{Environment, Flag, Input, Purpose, Role};

pub use exit::Exit;

/// Real-time WebSocket fan-out of quotes, driven by Redis pub/sub.
#[derive(Debug, Parser)]
#[command(
    name = "tickcast",
    version,
    arg_required_else_help = true,
    after_help = exit::HELP
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run gateway and publisher in one process; without Redis, with the broker built in
    #[command(after_help = role::SERVE_EXAMPLES)]
    Serve(role::ServeArgs),
    /// Run a gateway: Redis to clients
    #[command(after_help = role::GATEWAY_EXAMPLES)]
    Gateway(role::GatewayArgs),
    /// Run a publisher: providers to Redis
    #[command(after_help = role::PUBLISHER_EXAMPLES)]
    Publisher(role::PublisherArgs),
    /// Watch live quotes in the terminal
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// Pause, resume or refresh polling, or ask how it stands
    #[command(after_help = control::EXAMPLES)]
    Control(control::ControlArgs),
    /// Show each provider's budget, or reset one
    #[command(after_help = quota::EXAMPLES)]
    Quota(quota::QuotaArgs),
    /// Show the effective configuration and where each value came from
    #[command(after_help = config::EXAMPLES)]
    Config(config::ConfigArgs),
    /// Ask the local ops port whether it is healthy
    #[command(after_help = healthcheck::EXAMPLES)]
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the script that completes this command line in a shell
    #[command(after_help = shell::COMPLETIONS_EXAMPLES)]
    Completions(shell::CompletionsArgs),
    /// Write the manual pages
    #[command(hide = true, after_help = shell::MAN_EXAMPLES)]
    Man(shell::ManArgs),
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Common {
    /// Configuration file (TOML); also by `TICKCAST_CONFIG`
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
    /// Set any key, as in `limits.rest_rpm=120`; lists are comma-separated. May be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// What is logged: off, error, warn, info, debug, trace; by module: `info,tickcast::gateway=debug`
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged: text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in gateway.port=9000")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Common {
    /// All there is to configure a command: these flags, its own, the environment, the `.env` of the working directory.
    #[must_use]
    pub fn input(&self, role: Role, purpose: Purpose, flags: impl IntoIterator<Item = Flag>) -> Input {
        let set = self.set.iter().map(|(key, value)| Flag::set(key, value));
        let level = self.log_level.iter().map(|level| Flag::named("--log-level", level));
        let format = self.log_format.iter().map(|format| Flag::named("--log-format", format));
        Input {
            file: self.config.clone(),
            env: Environment::read(Path::new(".")),
            flags: set.chain(level).chain(format).chain(flags).collect(),
            role,
            purpose,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::key;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_is_taken_by_config() {
        let mut cli = Cli::command();
        cli.build();
        let config = cli.find_subcommand("config").expect("it is a command");
        for flag in key::slots().iter().filter_map(|slot| slot.key.flag) {
            let long = flag.trim_start_matches("--");
            assert!(config.get_arguments().any(|arg| arg.get_long() == Some(long)), "{flag}");
            // panics when the table has no such flag
            let _ = Flag::named(flag, "x");
        }
    }

    #[test]
    fn every_command_shows_examples_and_says_what_each_flag_does() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:") && help.contains(&format!("tickcast {name}")), "{name}: {help}");
            assert!(command.get_about().is_some(), "{name}");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {}", arg.get_id());
            }
        }
    }

    #[test]
    fn set_takes_a_key_and_a_value() {
        assert_eq!(key_and_value("redis.url=redis://h?a=b"), Ok(("redis.url".into(), "redis://h?a=b".into())));
        assert_eq!(key_and_value("redis.url="), Ok(("redis.url".into(), String::new())));
        assert!(key_and_value("redis.url").is_err());
    }
}
