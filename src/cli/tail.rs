//! `tickcast tail`: live quotes in the terminal.
//!
//! ```text
//!   link ─ a connection ─▶ follow ─ messages ─▶ session ─ what is news ─▶ screen ─ render ─▶ output
//! ```
//!
//! `message`, `render`, `session` and `talk` are pure; `follow` waits for the gateway, `output` for whoever reads.

mod follow;
mod link;
mod message;
mod output;
mod render;
mod screen;
mod session;
mod talk;

use std::io;
use std::num::NonZeroU64;

use clap::Args;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use crate::market::Symbol;
use follow::{Follower, Patience};
use link::Target;
use output::{ColourChoice, Output};
use screen::{Form, Remarks, Screen};
use session::{Session, Wanted};

/// Shown by `tail --help`.
pub const EXAMPLES: &str = "\
Examples:
  tickcast tail AAPL MSFT
  tickcast tail                                        everything, where the gateway allows it
  tickcast tail AAPL --max-rate 1                      at most one line a second
  tickcast tail BTC-USDT --json | jq '.data.price // empty'
  tickcast tail AAPL --json -q -n 1                    one quote, for a script
  TICKCAST_TOKEN=… tickcast tail --url wss://quotes.example.com/ws AAPL

Each update is one line: when it was published, symbol, price, change since the previous close, volume, the age of the
price, who said so, and what is unusual about it (stale, a closed market, the last known quote on connecting). A line is
never wider than the terminal: a narrow one shows fewer columns.

With --json, updates and what the gateway says of the service (status, stale, fresh, lagging) are printed as they came;
answers to tail itself are not. Connection changes are told on standard error; -q leaves them out.

When the connection is lost it is made anew, for ever, with growing and random pauses; a refusal that would come again (a bad
token, a symbol that may not be seen) ends with a sentence. So does a gateway that is not there at the start, after some
seconds; --wait waits for it. Ctrl-C ends with exit code 0, and so does a closed pipe.";

/// `tail`'s flags.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// What to watch; none, or `*`, is everything, where the gateway allows it
    #[arg(value_name = "SYMBOL", value_parser = symbol_or_star)]
    symbols: Vec<String>,
    /// Each message as it came, one a line
    #[arg(long)]
    json: bool,
    /// The gateway; `/ws` is added where there is no path
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8081/ws", value_parser = Target::parse)]
    url: Target,
    /// Token, where the gateway wants one; also by `TICKCAST_TOKEN`, which other users of the machine do not see
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    token: Option<SecretString>,
    /// At most so many updates a second and symbol, the newest each
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    max_rate: Option<f64>,
    /// Stop after so many updates
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<NonZeroU64>,
    /// Nothing but quotes: no connection changes, no news of the service
    #[arg(short, long)]
    quiet: bool,
    /// Keep trying when no gateway is there at the start
    #[arg(long)]
    wait: bool,
    /// When to colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColourChoice::Auto)]
    color: ColourChoice,
}

/// The environment name of `--token`.
const TOKEN_ENV: &str = "TICKCAST_TOKEN";

/// Why `tail` ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The gateway does not want us, and would not the next time.
    #[error("cannot watch {url}: {why}")]
    Refused {
        /// Whom.
        url: String,
        /// In words.
        why: String,
    },
    /// The gateway wants a token, another one, or a new one.
    #[error("the gateway wants a good token ({0}); pass --token or set TICKCAST_TOKEN")]
    Unauthorized(String),
    /// `*` was refused.
    #[error(
        "this gateway does not give all symbols at once ({code}): name the symbols, as in `tickcast tail AAPL MSFT`"
    )]
    WildcardRefused {
        /// The gateway's code.
        code: String,
    },
    /// Every symbol was refused.
    #[error("the gateway refuses every symbol: {refused}")]
    NothingToWatch {
        /// Which, and with which codes.
        refused: String,
    },
    /// It closed, and coming back would end the same way.
    #[error("the gateway closed the connection for good ({code}: {reason})")]
    Closed {
        /// The close code.
        code: u16,
        /// The gateway's words.
        reason: String,
    },
    /// Nobody was there at the start.
    #[error("cannot reach {url}: {why}; is a gateway running there? (--wait keeps trying)")]
    Unreachable {
        /// Whom.
        url: String,
        /// In words.
        why: String,
    },
    /// The environment holds no token.
    #[error("{TOKEN_ENV}: {0}")]
    Token(String),
    /// Standard output takes nothing.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// The machine gives no thread or no signals.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

impl TailError {
    /// Its exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            TailError::Refused { .. }
            | TailError::Unauthorized(_)
            | TailError::WildcardRefused { .. }
            | TailError::NothingToWatch { .. }
            | TailError::Token(_) => Exit::Usage,
            TailError::Unreachable { .. } => Exit::Unavailable,
            TailError::Closed { .. } | TailError::Output(_) | TailError::Start(_) => Exit::Internal,
        }
    }
}

/// Shows quotes until there is a reason not to: Ctrl-C, a closed pipe, enough of them.
///
/// # Errors
/// [`TailError`].
pub async fn run(args: &TailArgs) -> Result<(), TailError> {
    let token = args.token()?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(TailError::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(TailError::Start)?;
    let (output, reader) = Output::open(args.color).map_err(TailError::Start)?;
    let mut follower = args.follower(token, output);
    let followed = tokio::select! {
        followed = follower.run() => followed,
        () = reader.gone() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let screen = follower.leave().await;
    let written = screen.into_output().finish(reader).await.map_err(TailError::Output);
    followed.and(written)
}

impl TailArgs {
    /// The flag's, or the environment's; an empty variable counts as unset, as it does elsewhere.
    fn token(&self) -> Result<Option<SecretString>, TailError> {
        match (&self.token, std::env::var(TOKEN_ENV)) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Ok(text)) if !text.is_empty() => token(&text).map(Some).map_err(TailError::Token),
            (None, Ok(_) | Err(_)) => Ok(None),
        }
    }

    fn follower(&self, token: Option<SecretString>, output: Output) -> Follower {
        let symbols = if self.symbols.is_empty() { vec!["*".to_owned()] } else { self.symbols.clone() };
        let form = if self.json { Form::Json } else { Form::Table };
        let remarks = if self.quiet { Remarks::Kept } else { Remarks::Told };
        let screen = Screen::new(output, form, remarks, symbols.iter().map(String::as_str));
        let session = Session::new(Wanted { symbols, max_rate: self.max_rate });
        let patience = Patience { at_first: self.wait, quotes: self.count };
        Follower::new(self.url.clone(), token, session, screen, patience)
    }
}

fn symbol_or_star(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    Symbol::parse(text).map(|symbol| symbol.to_string()).map_err(|error| error.to_string())
}

/// What may stand in an `Authorization` header.
fn token(text: &str) -> Result<SecretString, String> {
    let is_good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(text.into()) } else { Err("a token is made of visible ASCII characters".into()) }
}

/// What gateways take as `max_rate`.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1.0 / 3600.0..=1000.0).contains(rate));
    rate.ok_or_else(|| "a number of updates a second, from 1/3600 to 1000".into())
}
