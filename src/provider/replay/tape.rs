//! A price file by symbol: where each symbol's rows are, in order of time.
//!
//! One pass finds the rows ([`Tape::open`]); their text stays in the file and is read again when it is played. Memory is
//! 16 bytes a row, at most [`MAX_ROWS`] of them, whatever the file's size and order: sorted by symbol, by time, newest
//! first or not at all. Rows beyond the bound are not played, and that is said. Bad rows are counted and the first few
//! logged with their line; only a file without a good row is an error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use jiff::Timestamp;
use tracing::warn;

use super::ReplayError;
use super::layout::{self, BadRow, Layout, MAX_LINE_BYTES, Row};
use super::when::{Clock, Slashes};
use crate::market::Symbol;

/// The most rows played: 4 Mi · 16 B = 64 MiB.
pub const MAX_ROWS: usize = 4 << 20;
/// The most symbols in one file.
pub const MAX_SYMBOLS: usize = 65_536;
/// Bad rows logged one by one; the rest are counted.
const LOGGED_BAD_ROWS: u64 = 10;

/// One row's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When it was recorded; its line where the file has no times.
    pub at_ms: i64,
    offset: u64,
}

/// An indexed price file.
#[derive(Debug)]
pub struct Tape {
    file: Lines<BufReader<File>>,
    layout: Layout,
    clock: Clock,
    /// Each symbol's rows in order of time.
    rows: HashMap<Symbol, Vec<Place>>,
    /// First and last time in the file; `None` where it has none.
    span: Option<(Timestamp, Timestamp)>,
    whole: Option<Symbol>,
    counts: Counts,
}

/// How many rows of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Played.
    pub good: u64,
    /// Not used.
    pub bad: u64,
    /// Good, but beyond [`MAX_ROWS`] or [`MAX_SYMBOLS`].
    pub beyond: u64,
}

impl Tape {
    /// Finds a file's rows. `symbol` is whose they are when there is no column of symbols; without it, the file's name
    /// is. Blocks while it reads the whole file once.
    ///
    /// # Errors
    /// [`ReplayError`] when it cannot be read, does not say what its columns are, or has no good row.
    pub fn open(path: &Path, symbol: Option<&str>) -> Result<Tape, ReplayError> {
        let unreadable = |error: io::Error| ReplayError::Unreadable { path: path.to_owned(), error };
        let mut file = Lines::new(BufReader::new(File::open(path).map_err(unreadable)?));
        let (mut layout, start) = read_layout(&mut file, path)?;
        let whole = match &layout {
            Layout::Csv(csv) if csv.names_symbols() => None,
            Layout::Csv(_) => Some(whole_symbol(path, symbol)?),
            // Each object may name its own; the file's name need not be one.
            Layout::JsonLines if symbol.is_none() => whole_symbol(path, None).ok(),
            Layout::JsonLines => Some(whole_symbol(path, symbol)?),
        };
        let mut pass = Pass { path: path.to_owned(), whole, ..Pass::default() };
        for slashes in [layout::USUAL, Slashes::DayFirst] {
            file.seek(start).map_err(unreadable)?;
            if pass.run(&mut file, &mut layout, slashes).map_err(unreadable)? == Passed::Whole {
                return pass.into_tape(file, layout, Clock::new(slashes));
            }
        }
        unreachable!("the second pass does not ask for a third")
    }

    /// The symbols in it.
    pub fn names(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.rows.keys().copied()
    }

    /// How many symbols are in it.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.rows.len()
    }

    /// How many rows of which kind there were.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// First and last time in the file.
    #[must_use]
    pub const fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// A symbol's rows in order of time.
    #[must_use]
    pub fn places(&self, symbol: Symbol) -> &[Place] {
        self.rows.get(&symbol).map_or(&[], Vec::as_slice)
    }

    /// Reads the row at `place` again.
    ///
    /// # Errors
    /// [`BadRow`] when the file was changed meanwhile or cannot be read.
    pub fn read(&mut self, place: Place) -> Result<Row, BadRow> {
        self.file.seek(place.offset).map_err(|_| BadRow::Csv)?;
        let line = match self.file.next() {
            Ok(Some(line)) if line.whole => line.bytes,
            Ok(_) | Err(_) => return Err(BadRow::Csv),
        };
        let row = self.layout.read(line, &mut self.clock)?;
        Ok(Row { symbol: row.symbol.or(self.whole), ..row })
    }
}

/// The layout, and where rows begin.
fn read_layout(file: &mut Lines<BufReader<File>>, path: &Path) -> Result<(Layout, u64), ReplayError> {
    loop {
        let line = file.next().map_err(|error| ReplayError::Unreadable { path: path.to_owned(), error })?;
        let Some(line) = line else { return Err(ReplayError::Empty { path: path.to_owned() }) };
        if line.is_blank() {
            continue;
        }
        if line.bytes.trim_ascii_start().starts_with(b"[") {
            return Err(ReplayError::Array { path: path.to_owned() });
        }
        let layout = Layout::of(line.bytes)
            .map_err(|refused| ReplayError::NoPrice { path: path.to_owned(), found: refused.found.join(", ") })?;
        let start = if layout.has_header() { line.offset + line.length } else { line.offset };
        return Ok((layout, start));
    }
}

fn whole_symbol(path: &Path, symbol: Option<&str>) -> Result<Symbol, ReplayError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let text = symbol.unwrap_or(stem);
    Symbol::parse(text).map_err(|error| ReplayError::NoSymbol { path: path.to_owned(), text: text.to_owned(), error })
}

/// How a pass ended.
#[derive(Debug, PartialEq, Eq)]
enum Passed {
    /// At the end of the file.
    Whole,
    /// At a date that tells that days come first.
    DayFirst,
}

/// What a pass over the file finds.
#[derive(Debug, Default)]
struct Pass {
    path: PathBuf,
    whole: Option<Symbol>,
    rows: HashMap<Symbol, Vec<Place>>,
    span: Option<(Timestamp, Timestamp)>,
    counts: Counts,
    first_bad: Option<(u64, BadRow)>,
}

impl Pass {
    fn run(&mut self, file: &mut Lines<BufReader<File>>, layout: &mut Layout, slashes: Slashes) -> io::Result<Passed> {
        *self = Pass { path: std::mem::take(&mut self.path), whole: self.whole, ..Pass::default() };
        let mut clock = Clock::new(slashes);
        let mut number = u64::from(layout.has_header());
        while let Some(line) = file.next()? {
            number += 1;
            if line.is_blank() {
                continue;
            }
            let row = if line.whole { layout.read(line.bytes, &mut clock) } else { Err(BadRow::TooLong) };
            match row {
                Ok(row) => self.keep(&row, number, line.offset),
                Err(BadRow::DayFirst) if slashes == layout::USUAL => return Ok(Passed::DayFirst),
                Err(why) => self.note(number, why),
            }
        }
        Ok(Passed::Whole)
    }

    fn keep(&mut self, row: &Row, number: u64, offset: u64) {
        let Some(symbol) = row.symbol.or(self.whole) else { return self.note(number, BadRow::Symbol) };
        let full =
            self.counts.good == MAX_ROWS as u64 || (self.rows.len() == MAX_SYMBOLS && !self.rows.contains_key(&symbol));
        if full {
            self.counts.beyond += 1;
            return;
        }
        if let Some(at) = row.at {
            let (first, last) = self.span.unwrap_or((at, at));
            self.span = Some((first.min(at), last.max(at)));
        }
        let at_ms = row.at.map_or_else(|| number.cast_signed(), Timestamp::as_millisecond);
        self.rows.entry(symbol).or_default().push(Place { at_ms, offset });
        self.counts.good += 1;
    }

    fn note(&mut self, number: u64, why: BadRow) {
        self.counts.bad += 1;
        self.first_bad.get_or_insert((number, why));
        if self.counts.bad <= LOGGED_BAD_ROWS {
            warn!(file = %self.path.display(), line = number, "row skipped: {why}");
        }
    }

    fn into_tape(mut self, file: Lines<BufReader<File>>, layout: Layout, clock: Clock) -> Result<Tape, ReplayError> {
        let path = self.path;
        if self.counts.good == 0 {
            return Err(match self.first_bad {
                Some((line, why)) => ReplayError::NoGoodRow { path, bad: self.counts.bad, line, why },
                None => ReplayError::Empty { path },
            });
        }
        if self.counts.bad > LOGGED_BAD_ROWS {
            warn!(file = %path.display(), rows = self.counts.bad, "rows skipped in all");
        }
        if self.counts.beyond > 0 {
            let rows = self.counts.beyond;
            warn!(file = %path.display(), rows, "rows beyond the first {MAX_ROWS} (of {MAX_SYMBOLS} symbols) are not played");
        }
        for places in self.rows.values_mut() {
            // Stable: rows of the same time keep the file's order. Nearly free where they are in order already.
            places.sort_by_key(|place| place.at_ms);
            places.shrink_to_fit();
        }
        Ok(Tape { file, layout, clock, rows: self.rows, span: self.span, whole: self.whole, counts: self.counts })
    }
}

/// Lines of a file with their places, none of them longer than [`MAX_LINE_BYTES`] in memory.
#[derive(Debug)]
struct Lines<R> {
    inner: R,
    at: u64,
    buffer: Vec<u8>,
}

/// One line.
struct Line<'a> {
    /// Without its end.
    bytes: &'a [u8],
    offset: u64,
    /// With its end, and with what was too much.
    length: u64,
    /// False: it is longer than `bytes`.
    whole: bool,
}

impl Line<'_> {
    fn is_blank(&self) -> bool {
        self.whole && self.bytes.trim_ascii().is_empty()
    }
}

impl<R: BufRead + Seek> Lines<R> {
    const fn new(inner: R) -> Lines<R> {
        Lines { inner, at: 0, buffer: Vec::new() }
    }

    /// Goes to `offset`; free when it is there already, cheap within the reader's buffer.
    fn seek(&mut self, offset: u64) -> io::Result<()> {
        if offset != self.at {
            match i64::try_from(offset).ok().zip(i64::try_from(self.at).ok()) {
                Some((to, from)) => self.inner.seek_relative(to - from)?,
                None => {
                    self.inner.seek(SeekFrom::Start(offset))?;
                }
            }
            self.at = offset;
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let (offset, mut length, mut whole) = (self.at, 0, true);
        loop {
            let chunk = self.inner.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = MAX_LINE_BYTES - self.buffer.len();
            whole &= text.len() <= room;
            self.buffer.extend_from_slice(&text[..text.len().min(room)]);
            let used = text.len() + usize::from(end.is_some());
            self.inner.consume(used);
            length += used as u64;
            if end.is_some() {
                break;
            }
        }
        self.at += length;
        if length == 0 {
            return Ok(None);
        }
        let bytes = self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer);
        Ok(Some(Line { bytes, offset, length, whole }))
    }
}
