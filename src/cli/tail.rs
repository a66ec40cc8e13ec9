//! `tickcast tail`: live quotes in the terminal.

use clap::Args;

use crate::market::Symbol;

/// Shown by `tail --help`.
pub const EXAMPLES: &str = "\
Examples:
  tickcast tail AAPL MSFT
  tickcast tail BTC-USDT --json | jq .data.price
  tickcast tail --url wss://quotes.example.com/ws AAPL";

/// `tail`'s flags.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// What to watch; none, or `*`, is everything, where the gateway allows it
    #[arg(value_name = "SYMBOL", value_parser = symbol_or_star)]
    pub symbols: Vec<String>,
    /// Each message as it came, one a line
    #[arg(long)]
    pub json: bool,
    /// The gateway
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8081/ws")]
    pub url: String,
    /// Token, where the gateway wants one
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

fn symbol_or_star(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    Symbol::parse(text).map(|symbol| symbol.to_string()).map_err(|error| error.to_string())
}
