//! `tickcast control`: what redis-cli can do on the control channel, checked and acknowledged.

use clap::{Args, Subcommand};

use super::role::RedisArgs;
use crate::market::Symbol;
use crate::provider;

/// Shown by `control --help`.
pub const EXAMPLES: &str = "\
Through the configured Redis; without one, through the ops port of the configuration, or the one given by --ops.

Examples:
  tickcast control pause --reason maintenance
  tickcast control pause --provider yahoo
  tickcast control resume
  tickcast control refresh AAPL MSFT
  tickcast control status --ops http://127.0.0.1:8082";

/// `control`'s flags.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
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
    /// Stop polling: everything, one provider, or some symbols; it stays so over restarts
    Pause {
        /// Told to clients
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// What of it.
        #[command(flatten)]
        scope: Scope,
    },
    /// Poll again what was paused
    Resume {
        /// What of it.
        #[command(flatten)]
        scope: Scope,
    },
    /// Poll now, budget permitting: the given symbols, or all that are watched
    Refresh {
        /// Which symbols
        #[arg(value_name = "SYMBOL")]
        symbols: Vec<Symbol>,
    },
    /// Show what is paused, who leads, how providers do
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What pause and resume are narrowed to; everything when empty.
#[derive(Debug, Args)]
pub struct Scope {
    /// This provider alone
    #[arg(long, value_name = "NAME")]
    pub provider: Option<provider::Name>,
    /// These symbols alone, comma-separated
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',')]
    pub symbols: Vec<Symbol>,
}
