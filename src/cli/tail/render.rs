//! One aligned line per quote.
//!
//! Columns keep their width and grow with what they have to hold, up to [`MAX_CELL`]; a terminal that is too narrow
//! loses the least important ones first, and what still does not fit is cut. Whatever would move the cursor or change
//! colours is replaced: quotes come from others. Pure: time, zone and width are arguments.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::message::Quote;

/// The widest a cell gets: the longest number text there is.
const MAX_CELL: usize = 40;
/// Between two columns.
const GAP: usize = 2;
const ABSENT: &str = "-";

/// Where a price went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Direction {
    Up,
    Down,
    #[default]
    Flat,
}

/// How a piece of text looks on a terminal that shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Dim,
    Bold,
    Green,
    Red,
    Yellow,
}

impl Look {
    /// ECMA-48 §8.3.117, Select Graphic Rendition.
    const fn code(self) -> &'static str {
        match self {
            Look::Plain => "",
            Look::Dim => "\x1b[2m",
            Look::Bold => "\x1b[1m",
            Look::Green => "\x1b[32m",
            Look::Red => "\x1b[31m",
            Look::Yellow => "\x1b[33m",
        }
    }
}

/// Whether [`Look`]s are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Shown,
    Hidden,
}

/// What a line is made for.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Columns there are; `None` where nobody counts them.
    pub(super) width: Option<usize>,
    pub(super) colour: Colour,
    pub(super) zone: TimeZone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

struct Column {
    title: &'static str,
    align: Align,
    least: usize,
    /// A narrow terminal loses the lowest first; the two highest stay.
    rank: u8,
}

const COLUMNS: [Column; 8] = [
    Column { title: "TIME", align: Align::Left, least: 8, rank: 2 },
    Column { title: "SYMBOL", align: Align::Left, least: 6, rank: 7 },
    Column { title: "PRICE", align: Align::Right, least: 10, rank: 6 },
    Column { title: "CHANGE", align: Align::Right, least: 8, rank: 3 },
    Column { title: "CHANGE%", align: Align::Right, least: 8, rank: 5 },
    Column { title: "VOLUME", align: Align::Right, least: 10, rank: 0 },
    Column { title: "AGE", align: Align::Right, least: 4, rank: 4 },
    Column { title: "SOURCE", align: Align::Left, least: 6, rank: 1 },
];
const SYMBOL: usize = 1;
/// Never lost, only cut.
const KEPT: u8 = 6;

/// The widths so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    widths: [usize; COLUMNS.len()],
    /// The columns that the last line had.
    shown: Vec<usize>,
}

/// A quote's line, and the header where the columns are not those of the line before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) header: Option<String>,
    pub(super) line: String,
}

impl Table {
    /// For these symbols, so that the first line is as wide as the others.
    pub(super) fn new<'a>(symbols: impl IntoIterator<Item = &'a str>) -> Table {
        let mut widths = COLUMNS.map(|column| column.least);
        for symbol in symbols {
            widths[SYMBOL] = widths[SYMBOL].max(symbol.len()).min(MAX_CELL);
        }
        Table { widths, shown: Vec::new() }
    }

    /// A quote's line. `now` is what its age is measured against.
    pub(super) fn lines(&mut self, quote: &Quote, direction: Direction, now: Timestamp, page: &Page) -> Lines {
        let cells = cells(quote, direction, now, &page.zone);
        let before = self.widths;
        for (width, (text, _)) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(text.width()).min(MAX_CELL);
        }
        let shown = self.fitting(page.width);
        let changed = shown != self.shown || shown.iter().any(|&column| self.widths[column] != before[column]);
        self.shown = shown;
        let header = changed.then(|| {
            let titles = COLUMNS.each_ref().map(|column| (column.title.to_owned(), Look::Dim));
            self.row(&titles, None, page)
        });
        Lines { header, line: self.row(&cells, note(quote), page) }
    }

    /// The columns that fit: all of them, less the least important until they do.
    fn fitting(&self, width: Option<usize>) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..COLUMNS.len()).collect();
        let Some(width) = width else { return shown };
        let taken = |shown: &[usize]| shown.iter().map(|&column| self.widths[column] + GAP).sum::<usize>() - GAP;
        while taken(&shown) > width {
            let least = shown.iter().copied().filter(|&column| COLUMNS[column].rank < KEPT);
            let Some(least) = least.min_by_key(|&column| COLUMNS[column].rank) else { break };
            shown.retain(|&column| column != least);
        }
        shown
    }

    fn row(&self, cells: &[(String, Look); COLUMNS.len()], note: Option<(String, Look)>, page: &Page) -> String {
        let mut spans = Vec::with_capacity(2 * COLUMNS.len());
        for (place, &column) in self.shown.iter().enumerate() {
            let (text, look) = &cells[column];
            let text = cut(text, MAX_CELL);
            let padding = " ".repeat(self.widths[column].saturating_sub(text.width()));
            let gap = " ".repeat(if place == 0 { 0 } else { GAP });
            let (before, after) = match COLUMNS[column].align {
                Align::Left => (gap, padding),
                Align::Right => (gap + &padding, String::new()),
            };
            spans.extend([(before, Look::Plain), (text, *look), (after, Look::Plain)]);
        }
        if let Some((text, look)) = note {
            spans.extend([(" ".repeat(GAP), Look::Plain), (text, look)]);
        }
        paint(spans, page.width, page.colour)
    }
}

/// One line of text in one look, cut to a width.
pub(super) fn plain_line(text: &str, look: Look, width: Option<usize>, colour: Colour) -> String {
    paint(vec![(harmless(text), look)], width, colour)
}

fn cells(quote: &Quote, direction: Direction, now: Timestamp, zone: &TimeZone) -> [(String, Look); COLUMNS.len()] {
    let colour = match direction {
        _ if quote.is_stale => Look::Dim,
        Direction::Up => Look::Green,
        Direction::Down => Look::Red,
        Direction::Flat => Look::Plain,
    };
    let number = |number: &Option<crate::market::Number>| {
        number.as_ref().map_or_else(|| ABSENT.to_owned(), |number| number.as_str().to_owned())
    };
    let time = quote.published_at.or(quote.traded_at).unwrap_or(now);
    let age = quote.traded_at.or(quote.published_at).map(|at| age(at, now));
    [
        (time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(), Look::Dim),
        (harmless(&quote.symbol), Look::Bold),
        (number(&quote.price), colour),
        (signed(&number(&quote.change)), colour),
        (percent(&signed(&number(&quote.change_percent))), colour),
        (number(&quote.volume), Look::Plain),
        (age.unwrap_or_else(|| ABSENT.to_owned()), if quote.is_stale { Look::Yellow } else { Look::Dim }),
        (quote.source.as_deref().map_or_else(|| ABSENT.to_owned(), harmless), Look::Dim),
    ]
}

/// What is unusual about a quote.
fn note(quote: &Quote) -> Option<(String, Look)> {
    let state = quote.market_state.as_deref().filter(|state| *state != "REGULAR").map(str::to_lowercase);
    let words: Vec<String> = [
        quote.is_stale.then(|| "stale".to_owned()),
        state.map(|state| harmless(&state)),
        quote.is_snapshot.then(|| "snapshot".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let look = if quote.is_stale { Look::Yellow } else { Look::Dim };
    (!words.is_empty()).then(|| (words.join(", "), look))
}

/// With a `+` where it is above zero.
fn signed(text: &str) -> String {
    let above = !text.starts_with('-') && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if above { format!("+{text}") } else { text.to_owned() }
}

fn percent(text: &str) -> String {
    if text == ABSENT { text.to_owned() } else { format!("{text}%") }
}

fn age(at: Timestamp, now: Timestamp) -> String {
    // A clock that is ahead of ours makes no quote younger than new.
    short(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

/// A span in at most four characters, for spans below 1,000 days.
pub(super) fn short(span: Duration) -> String {
    match span.as_secs() {
        0..=9 => format!("{}.{}s", span.as_secs(), span.subsec_millis() / 100),
        seconds @ 10..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Without what would move the cursor, change colours or turn the line around.
pub(super) fn harmless(text: &str) -> String {
    let bidi = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if c.is_control() || bidi(c) || c == '\u{2028}' || c == '\u{2029}' { '\u{fffd}' } else { c })
        .collect()
}

/// The beginning of a text, in at most so many columns; `…` says that there is more.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut kept = String::new();
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// Puts pieces together, without blanks at the end.
fn paint(mut spans: Vec<(String, Look)>, width: Option<usize>, colour: Colour) -> String {
    let mut line = String::new();
    let mut left = width.unwrap_or(usize::MAX);
    while spans.last().is_some_and(|(text, _)| text.trim_end().is_empty()) {
        spans.pop();
    }
    for (text, look) in spans {
        let fits = text.width() <= left;
        let text = if fits { text } else { cut(&text, left) };
        left -= text.width();
        match (colour, look) {
            _ if text.is_empty() => {}
            (Colour::Hidden, _) | (_, Look::Plain) => line.push_str(&text),
            (Colour::Shown, look) => {
                write!(line, "{}{text}\x1b[0m", look.code()).expect("writing to a String does not fail");
            }
        }
        if !fits {
            break;
        }
    }
    line
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
