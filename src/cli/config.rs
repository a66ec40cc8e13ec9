//! `tickcast config`: the effective configuration, and where each value came from.

use std::fmt::Write as _;

use clap::Args;

use super::Common;
use super::role::ServeArgs;
use crate::config::{self, Mistakes, Purpose, Role};

/// Shown by `config --help`.
pub const EXAMPLES: &str = "\
Settings come from, later wins: built-in defaults, the file (--config, TICKCAST_CONFIG), the environment
(TICKCAST__SECTION__KEY for any key, and older names such as REDIS_URL), flags. `.env` in the working directory
counts as environment; the real one wins. docs/configuration.md explains every key.

Examples:
  tickcast config                                             as `tickcast serve` would run here
  tickcast config --role gateway --config config/production.toml
  TICKCAST__LIMITS__REST_RPM=120 tickcast config | grep rest_rpm
  tickcast config --json | jq '.settings[\"redis.url\"]'

Secrets are masked. When something is wrong, every mistake is listed and the exit code is 64.";

/// `config`'s flags: those of every role, to see what they would do.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The role whose configuration to show
    #[arg(long, value_enum, default_value_t = Role::Serve)]
    role: Role,
    /// As JSON, with every key: {"settings": {"gateway.port": {"value": 8081, "source": "default"}, …}}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: ServeArgs,
}

/// What goes where.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// For standard output.
    pub listing: String,
    /// For standard error.
    pub warnings: String,
}

/// The listing.
///
/// # Errors
/// Every mistake there is.
pub fn run(common: &Common, args: &ConfigArgs) -> Result<Output, Mistakes> {
    let loaded = config::load(&common.input(args.role, Purpose::Run, args.flags.flags()))?;
    let listing = if args.json { format!("{:#}\n", loaded.effective.to_json()) } else { loaded.effective.to_text() };
    let warnings = loaded.warnings.iter().fold(String::new(), |mut lines, warning| {
        writeln!(lines, "warning: {warning}").expect("writing to a String does not fail");
        lines
    });
    Ok(Output { listing, warnings })
}
