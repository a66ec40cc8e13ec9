//! Quotes from a file: CSV or JSON lines, as exported by almost anyone.
//!
//! Without a speed each poll of a symbol plays its next row, whatever the rows' times. With one, the file's clock runs
//! `speed` times as fast as ours from the first poll on, and each poll plays what has come due since the last one.
//! A symbol that nobody asked for in a while goes on with its newest due row. At the end the last row stays, or all
//! begins again.
//!
//! A fetch plays at most [`MAX_ROWS_PER_FETCH`] rows; what is due beyond them is played by the next one. Reading is
//! done on the runtime's blocking threads. [`tape`] says how the file is kept.

pub mod fields;
pub mod layout;
pub mod tape;
pub mod when;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hashbrown::HashMap;
use metrics::{counter, describe_counter};
use tokio::time::Instant;
use tracing::{info, warn};

use super::config::{Config, Name};
use super::meters::Meters;
use super::{Fetched, Provider, Status};
use crate::market::pattern::Patterns;
use crate::market::{Number, Quote, Symbol, SymbolError};

use layout::BadRow;
use tape::Tape;

/// Rows one fetch plays: one publish of about 300 KiB.
pub const MAX_ROWS_PER_FETCH: usize = 1000;
/// A symbol not asked for in this long goes on with its newest due row.
const ABSENCE: Duration = Duration::from_secs(10);
/// After this long without a new row the last one is played again. It is not news; but what is cached of it would
/// expire, so it comes at least twice in a cached quote's usual life of 300 s.
const AGAIN: Duration = Duration::from_secs(60);
/// One record of each symbol a second.
const INTERVAL: Duration = Duration::from_secs(1);
/// With a speed: how late a row may be.
const FINE_INTERVAL: Duration = Duration::from_millis(100);
/// Symbols shown on a page that nobody told what to show.
const SHOWCASE: usize = 12;

/// The file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// None configured.
    #[error("not set; it names the CSV or JSON lines file to replay")]
    NotSet,
    /// Not there, or not ours to read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Nothing in it, or a header alone.
    #[error("{path} has no rows", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One JSON array.
    #[error("{path} is a JSON array; write one object a line (jq -c '.[]')", path = path.display())]
    Array {
        /// The file.
        path: PathBuf,
    },
    /// No column known to hold a price.
    #[error("{path}: no column of prices (price, close, last, adjclose, …) among: {found}", path = path.display())]
    NoPrice {
        /// The file.
        path: PathBuf,
        /// The columns it has.
        found: String,
    },
    /// No column of symbols, and no name that is one.
    #[error("{path}: no column of symbols, and {text:?} is no symbol ({error}); set providers.replay.symbol", path = path.display())]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// What would have been its symbol.
        text: String,
        /// Why it is none.
        error: SymbolError,
    },
    /// Only bad rows.
    #[error("{path}: none of {bad} rows can be used; line {line}: {why}", path = path.display())]
    NoGoodRow {
        /// The file.
        path: PathBuf,
        /// How many.
        bad: u64,
        /// The first one's.
        line: u64,
        /// What is wrong with it.
        why: BadRow,
    },
    /// A speed, but no times.
    #[error("{path}: no column of times, which providers.replay.speed needs", path = path.display())]
    NoTimes {
        /// The file.
        path: PathBuf,
    },
    /// A speed that is none.
    #[error("providers.replay.speed is above 0, not {0}")]
    Speed(f64),
}

/// The replay provider.
pub struct Replay {
    player: Arc<Mutex<Player>>,
    serves: Patterns,
    symbols: hashbrown::HashSet<Symbol>,
    interval: Duration,
    calls: AtomicU64,
    meters: Meters,
}

impl Replay {
    /// Indexes the configured file.
    ///
    /// # Errors
    /// [`ReplayError`] when it cannot be replayed.
    pub async fn open(config: &Config) -> Result<Replay, ReplayError> {
        const BAD_ROWS: &str = "tickcast_replay_bad_rows_total";
        describe_counter!(BAD_ROWS, "Rows of the replayed file that could not be used.");
        let path = config.file.clone().ok_or(ReplayError::NotSet)?;
        if let Some(speed) = config.speed.filter(|speed| !(speed.is_finite() && *speed > 0.0)) {
            return Err(ReplayError::Speed(speed));
        }
        let symbol = config.symbol.clone();
        let file = path.clone();
        let opened = tokio::task::spawn_blocking(move || Tape::open(&file, symbol.as_deref()));
        let tape = opened.await.expect("indexing does not panic, and nobody cancels it")?;
        if config.speed.is_some() && tape.span().is_none() {
            return Err(ReplayError::NoTimes { path });
        }
        let counts = tape.counts();
        info!(file = %path.display(), rows = counts.good, bad = counts.bad, symbols = tape.symbols(), "replaying");
        let bad_rows = counter!(BAD_ROWS);
        bad_rows.increment(counts.bad);
        Ok(Replay {
            symbols: tape.names().collect(),
            player: Arc::new(Mutex::new(Player::new(tape, config, bad_rows))),
            serves: Patterns::new(&config.symbols),
            interval: if config.speed.is_some() { FINE_INTERVAL } else { INTERVAL },
            calls: AtomicU64::new(0),
            meters: Meters::new(Name::Replay, &[]),
        })
    }
}

#[async_trait]
impl Provider for Replay {
    fn name(&self) -> Name {
        Name::Replay
    }

    fn batch(&self) -> NonZeroUsize {
        NonZeroUsize::MAX
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn serves(&self, symbol: Symbol) -> bool {
        self.symbols.contains(&symbol) && (self.serves.is_empty() || self.serves.matches(symbol))
    }

    fn showcase(&self) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = self.symbols.iter().copied().collect();
        symbols.sort_unstable();
        symbols.truncate(SHOWCASE);
        symbols
    }

    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.meters.call();
        self.meters.outcome(Ok(()));
        let (player, symbols, now) = (Arc::clone(&self.player), symbols.to_vec(), Instant::now());
        let play = move || player.lock().unwrap_or_else(PoisonError::into_inner).play(&symbols, now);
        let quotes = tokio::task::spawn_blocking(play).await.unwrap_or_default();
        Fetched { quotes, calls: 1, ..Fetched::default() }
    }

    fn status(&self) -> Status {
        Status { calls: self.calls.load(Ordering::Relaxed), ..Status::default() }
    }
}

/// Plays a tape. Owned by the [`Replay`], used by one fetch at a time.
struct Player {
    tape: Tape,
    speed: Option<f64>,
    repeat: bool,
    /// With a speed: when the file's first time was (or would have been) now.
    began: Option<Instant>,
    cursors: HashMap<Symbol, Cursor>,
    bad_rows: metrics::Counter,
}

/// How far one symbol is.
#[derive(Debug, Clone)]
struct Cursor {
    /// The row to be played next.
    next: usize,
    /// The price before it.
    previous: Option<Number>,
    fetched: Instant,
    /// When the last row was played.
    played: Instant,
}

impl Cursor {
    fn go_to(&mut self, row: usize) {
        (self.next, self.previous) = (row, None);
    }
}

impl Player {
    fn new(tape: Tape, config: &Config, bad_rows: metrics::Counter) -> Player {
        let repeat = config.repeat.unwrap_or(false);
        Player { tape, speed: config.speed, repeat, began: None, cursors: HashMap::new(), bad_rows }
    }

    fn play(&mut self, symbols: &[Symbol], now: Instant) -> Vec<Quote> {
        let due_ms = self.speed.map(|speed| self.file_time_ms(speed, now));
        let mut quotes = Vec::new();
        for &symbol in symbols {
            let places = self.tape.places(symbol);
            let rows = places.len();
            if rows == 0 {
                continue;
            }
            let begin = Cursor { next: 0, previous: None, fetched: now, played: now };
            let mut cursor = self.cursors.remove(&symbol).unwrap_or(begin);
            let due = match due_ms {
                Some(due_ms) => {
                    let due = places.partition_point(|place| place.at_ms <= due_ms);
                    if (cursor.next == 0 || now - cursor.fetched > ABSENCE) && cursor.next + 1 < due {
                        cursor.go_to(due - 1);
                    }
                    due
                }
                None if cursor.next == rows && self.repeat => {
                    cursor.go_to(0);
                    1
                }
                None => (cursor.next + 1).min(rows),
            };
            if cursor.next == due && due > 0 && now - cursor.played >= AGAIN {
                cursor.go_to(due - 1);
            }
            while cursor.next < due && quotes.len() < MAX_ROWS_PER_FETCH {
                self.play_next(symbol, &mut cursor, &mut quotes);
                cursor.played = now;
            }
            cursor.fetched = now;
            self.cursors.insert(symbol, cursor);
        }
        quotes
    }

    /// What time it is in the file; begins again after the end when that is wanted.
    fn file_time_ms(&mut self, speed: f64, now: Instant) -> i64 {
        let (first, last) = self.tape.span().expect("a replay with a speed was refused without times");
        let began = *self.began.get_or_insert(now);
        let first_ms = first.as_millisecond();
        #[expect(clippy::cast_possible_truncation, reason = "a cast to an integer saturates")]
        let at_ms = first_ms.saturating_add(((now - began).as_secs_f64() * 1000.0 * speed) as i64);
        // A second of silence at the end, so that the last rows are seen before the first ones come again.
        #[expect(clippy::cast_possible_truncation, reason = "as above")]
        let rest_ms = (1000.0 * speed) as i64;
        if self.repeat && at_ms > last.as_millisecond().saturating_add(rest_ms) {
            self.began = Some(now);
            self.cursors.clear();
            return first_ms;
        }
        at_ms
    }

    fn play_next(&mut self, symbol: Symbol, cursor: &mut Cursor, quotes: &mut Vec<Quote>) {
        let at = cursor.next;
        cursor.next += 1;
        let place = self.tape.places(symbol)[at];
        if cursor.previous.is_none() && at > 0 {
            let before = self.tape.places(symbol)[at - 1];
            cursor.previous = self.tape.read(before).ok().map(|row| row.price);
        }
        match self.tape.read(place) {
            Ok(row) if row.symbol == Some(symbol) => {
                let mut quote = Quote::new(symbol, row.price, Name::Replay.as_str());
                (quote.change, quote.change_percent) = (row.change, row.change_percent);
                (quote.volume, quote.traded_at) = (row.volume, row.at);
                quote.derive_change(cursor.previous.as_ref());
                cursor.previous = Some(quote.price.clone());
                quotes.push(quote);
            }
            Ok(_) | Err(_) => {
                self.bad_rows.increment(1);
                warn!(%symbol, row = at, "row skipped: the file was changed while it is replayed");
            }
        }
    }
}

#[cfg(test)]
mod tests;
