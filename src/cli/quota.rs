//! `tickcast quota`: each provider's budget.

use clap::{Args, Subcommand};

use super::role::RedisArgs;
use crate::provider;

/// Shown by `quota --help`.
pub const EXAMPLES: &str = "\
Through the configured Redis; without one, through the ops port of the configuration, or the one given by --ops.

Examples:
  tickcast quota
  tickcast quota --json
  tickcast quota reset massive     forget what was spent, after the vendor gave a new key";

/// `quota`'s flags.
#[derive(Debug, Args)]
pub struct QuotaArgs {
    /// What to do; shows the table when absent.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// The ops port to go through, for a `serve` with the built-in broker (http://127.0.0.1:8082)
    #[arg(long, global = true, value_name = "URL")]
    pub ops: Option<String>,
    /// The Redis to go through.
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// The actions.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Forget what was spent of a provider's budget
    Reset {
        /// Whose
        #[arg(value_name = "PROVIDER")]
        provider: provider::Name,
    },
}
