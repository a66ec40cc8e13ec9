//! What the rows of a price file mean: which column or field holds what, however it is named.
//!
//! A row is a line. CSV fields may be quoted, but not over several lines, so that one stray quote spoils one row
//! and memory stays bounded by [`MAX_LINE_BYTES`]. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::fields::Splitter;
use super::when::{Clock, Slashes, is_day_first};
use crate::market::{Number, Symbol};

/// The longest row read.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Names, in lower case without punctuation, by preference.
const SYMBOL: &[&str] = &["symbol", "ticker", "sym", "instrument", "tradingsymbol", "name"];
const TIME: &[&str] = &["timestamp", "datetime", "date", "time", "tradedate", "lastupdatetime", "ts", "t"];
const TIME_OF_DAY: &[&str] = &["time"];
const PRICE: &[&str] = &[
    "price",
    "close",
    "last",
    "lastprice",
    "closelast",
    "closeprice",
    "regularmarketprice",
    "adjclose",
    "adjustedclose",
    "adjcloseprice",
    "value",
    "c",
    "p",
];
const CHANGE: &[&str] = &["change", "netchange", "chg", "pricechange", "d"];
const CHANGE_PERCENT: &[&str] = &[
    "changepercent",
    "changepct",
    "percentchange",
    "pctchange",
    "pchange",
    "chgpercent",
    "chgpct",
    "pricechangepercent",
    "dp",
];
const VOLUME: &[&str] = &["volume", "vol", "totaltradedvolume", "totaltradedquantity", "v"];

/// One row of a price file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `None`: the file has no such column.
    pub symbol: Option<Symbol>,
    /// `None`: the file has no such column.
    pub at: Option<Timestamp>,
    /// Above zero, as written.
    pub price: Number,
    /// As written.
    pub change: Option<Number>,
    /// As written.
    pub change_percent: Option<Number>,
    /// As written.
    pub volume: Option<Number>,
}

/// Why a row is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// A quote that does not end, or far too many columns.
    #[error("not a row of CSV")]
    Csv,
    /// No JSON object.
    #[error("not a JSON object")]
    Json,
    /// No symbol where there should be one.
    #[error("no valid symbol")]
    Symbol,
    /// No time where there should be one.
    #[error("no date or time that can be read")]
    Time,
    /// A slashed date that tells that days come first in this file.
    #[error("a date with the day first")]
    DayFirst,
    /// No price, or none above zero.
    #[error("no price above zero")]
    Price,
}

/// How rows are read.
#[derive(Debug, Clone)]
pub enum Layout {
    /// Columns.
    Csv(Box<Csv>),
    /// One object a line.
    JsonLines,
}

/// Which column is what.
#[derive(Debug, Clone)]
pub struct Csv {
    splitter: Splitter,
    symbol: Option<usize>,
    time: Option<usize>,
    time_of_day: Option<usize>,
    price: usize,
    change: Option<usize>,
    change_percent: Option<usize>,
    volume: Option<usize>,
}

/// The first line does not tell what the columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPriceColumn {
    /// The columns it has.
    pub found: Vec<String>,
}

impl Layout {
    /// What the first line that is not blank says.
    ///
    /// # Errors
    /// [`NoPriceColumn`] when no column is known to hold a price.
    pub fn of(first_line: &[u8]) -> Result<Layout, NoPriceColumn> {
        if first_line.trim_ascii_start().starts_with(b"{") {
            return Ok(Layout::JsonLines);
        }
        let mut splitter = Splitter::for_header(first_line);
        let names: Vec<String> =
            splitter.split(first_line).map(|fields| fields.iter().map(plain).collect()).unwrap_or_default();
        let column = |known: &[&str]| known.iter().find_map(|known| names.iter().position(|name| name == known));
        let Some(price) = column(PRICE) else { return Err(NoPriceColumn { found: names }) };
        let time = column(TIME);
        // `date` and `time` side by side are one time; `timestamp` and `time` are not.
        let date = time.filter(|&column| names[column] == "date" || names[column] == "tradedate");
        Ok(Layout::Csv(Box::new(Csv {
            splitter,
            symbol: column(SYMBOL),
            time,
            time_of_day: date.and_then(|_| column(TIME_OF_DAY)),
            price,
            change: column(CHANGE),
            change_percent: column(CHANGE_PERCENT),
            volume: column(VOLUME),
        })))
    }

    /// Whether the first line is a header and no row.
    #[must_use]
    pub const fn has_header(&self) -> bool {
        matches!(self, Layout::Csv(_))
    }

    /// Reads one row.
    ///
    /// # Errors
    /// [`BadRow`].
    pub fn read(&mut self, line: &[u8], clock: &mut Clock) -> Result<Row, BadRow> {
        match self {
            Layout::Csv(csv) => csv.read(line, clock),
            Layout::JsonLines => read_json(line, clock),
        }
    }
}

impl Csv {
    /// Whether there is a column of symbols.
    #[must_use]
    pub const fn names_symbols(&self) -> bool {
        self.symbol.is_some()
    }

    fn read(&mut self, line: &[u8], clock: &mut Clock) -> Result<Row, BadRow> {
        let fields = self.splitter.split(line).ok_or(BadRow::Csv)?;
        let field = |column: Option<usize>| fields.get(column?);
        let symbol = match self.symbol {
            Some(column) => Some(field(Some(column)).and_then(|text| Symbol::parse(text).ok()).ok_or(BadRow::Symbol)?),
            None => None,
        };
        let at = match self.time {
            Some(column) => {
                let date = field(Some(column)).ok_or(BadRow::Time)?;
                let text = match field(self.time_of_day) {
                    Some(time) if !time.is_empty() => format!("{date} {time}"),
                    _ => date.to_owned(),
                };
                Some(read_time(&text, clock)?)
            }
            None => None,
        };
        let number = |column| field(column).and_then(read_number);
        let price = number(Some(self.price)).filter(Number::is_positive).ok_or(BadRow::Price)?;
        let (change, change_percent) = (number(self.change), number(self.change_percent));
        Ok(Row { symbol, at, price, change, change_percent, volume: number(self.volume) })
    }
}

/// A vendor's object, or an update as we publish it: what `data` holds goes before what stands beside it.
fn read_json(line: &[u8], clock: &mut Clock) -> Result<Row, BadRow> {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    fn object(json: &[u8]) -> Option<Object<'_>> {
        let fields: Object<'_> = serde_json::from_slice(json).ok()?;
        Some(fields.into_iter().map(|(name, value)| (plain(&name), value)).collect())
    }
    let outer = object(line).ok_or(BadRow::Json)?;
    let inner = outer.get("data").and_then(|data| object(data.get().as_bytes())).unwrap_or_default();
    let find = |known: &[&str]| {
        let find =
            |object: &Object<'_>| known.iter().find_map(|&name| object.get(name).map(|value| value.get().to_owned()));
        find(&inner).or_else(|| find(&outer)).filter(|text| text != "null")
    };
    let text = |known: &[&str]| find(known).map(|json| serde_json::from_str::<String>(&json).unwrap_or(json));
    let symbol = match text(SYMBOL) {
        Some(text) => Some(Symbol::parse(&text).map_err(|_| BadRow::Symbol)?),
        None => None,
    };
    let at = match text(TIME) {
        Some(text) => Some(read_time(&text, clock)?),
        None => None,
    };
    let number = |known: &[&str]| text(known).as_deref().and_then(read_number);
    let price = number(PRICE).filter(Number::is_positive).ok_or(BadRow::Price)?;
    Ok(Row {
        symbol,
        at,
        price,
        change: number(CHANGE),
        change_percent: number(CHANGE_PERCENT),
        volume: number(VOLUME),
    })
}

fn read_time(text: &str, clock: &mut Clock) -> Result<Timestamp, BadRow> {
    clock.read(text).ok_or(if is_day_first(text) { BadRow::DayFirst } else { BadRow::Time })
}

/// A number, after a currency sign if there is one.
fn read_number(text: &str) -> Option<Number> {
    Number::parse(text.trim().trim_start_matches(['$', '€', '£', '₹', '¥'])).ok()
}

/// `Adj Close` and `adj_close` are one name, and so are `Change %` and `changePercent`.
fn plain(name: &str) -> String {
    name.replace('%', "percent").chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// How slashed dates are read until a file shows otherwise.
pub const USUAL: Slashes = Slashes::MonthFirst;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(header: &str, line: &str) -> Result<Row, BadRow> {
        Layout::of(header.as_bytes()).unwrap().read(line.as_bytes(), &mut Clock::new(USUAL))
    }

    fn show(row: &Row) -> String {
        let text = |number: &Option<Number>| number.as_ref().map_or("-".to_owned(), ToString::to_string);
        let symbol = row.symbol.map_or("-".to_owned(), |symbol| symbol.to_string());
        let at = row.at.map_or("-".to_owned(), |at| at.to_string());
        format!("{symbol} {at} {} {} {} {}", row.price, text(&row.change), text(&row.change_percent), text(&row.volume))
    }

    #[test]
    fn columns_are_found_however_they_are_named() {
        for (header, line, expected) in [
            ("symbol,date,price", "MSFT,Jan 1 2000,39.81", "MSFT 2000-01-01T21:00:00Z 39.81 - - -"),
            (
                "date,open,high,low,close,adjclose,volume",
                "2000-01-03,1469.25,1478.0,1438.36,1455.219971,1455.2,931800000",
                "- 2000-01-03T21:00:00Z 1455.219971 - - 931800000",
            ),
            (
                "\u{feff}Ticker;Time;Last;Change %",
                "aapl;1795208400;178.50;+0.12%",
                "AAPL 2026-11-20T21:00:00Z 178.50 - 0.12 -",
            ),
            (
                "Date,Close/Last,Volume,Open",
                "11/20/2026,\"$1,244.87\",\"32,129,951\",$244.15",
                "- 2026-11-20T21:00:00Z 1244.87 - - 32129951",
            ),
            (
                "Name\tDate\tTime\tAdj Close",
                "TCS\t20-Nov-2026\t15:29:58\t2308.20",
                "TCS 2026-11-20T15:29:58Z 2308.20 - - -",
            ),
            ("PRICE", "0.50", "- - 0.50 - - -"),
            ("symbol,price,change,volume", "A,1.5,-0.25,null", "A - 1.5 -0.25 - -"),
        ] {
            assert_eq!(show(&row(header, line).unwrap()), expected, "{header}");
        }
    }

    #[test]
    fn json_lines_are_vendors_objects_or_our_own_updates() {
        for (line, expected) in [
            (
                r#"{"symbol":"A","price":2450.50,"timestamp":"2026-11-20T21:00:00Z"}"#,
                "A 2026-11-20T21:00:00Z 2450.50 - - -",
            ),
            (r#"{"Ticker":"b","t":1795208400123,"c":"1.10","v":7}"#, "B 2026-11-20T21:00:00.123Z 1.10 - - 7"),
            (
                r#"{"type":"price_update","symbol":"C","data":{"symbol":"C","price":1.0,"changePercent":0.5,"timestamp":"2026-11-20T21:00:00Z"},"timestamp":"2026-11-20T22:00:00Z","seq":1}"#,
                "C 2026-11-20T21:00:00Z 1.0 - 0.5 -",
            ),
            (r#"{"price":1,"symbol":null}"#, "- - 1 - - -"),
        ] {
            assert_eq!(show(&row("{}", line).unwrap()), expected, "{line}");
        }
    }

    #[test]
    fn a_bad_row_says_why() {
        let header = "symbol,date,price";
        for (line, why) in [
            ("A B,2000-01-03,1", BadRow::Symbol),
            (",2000-01-03,1", BadRow::Symbol),
            ("A,never,1", BadRow::Time),
            ("A,13/04/2026,1", BadRow::DayFirst),
            ("A,2000-01-03,0.00", BadRow::Price),
            ("A,2000-01-03,null", BadRow::Price),
            ("A,2000-01-03", BadRow::Price),
            ("A", BadRow::Time),
            ("", BadRow::Csv),
        ] {
            assert_eq!(row(header, line).unwrap_err(), why, "{line}");
        }
        for (line, why) in [
            ("[]", BadRow::Json),
            ("{", BadRow::Json),
            (r#"{"symbol":"A"}"#, BadRow::Price),
            (r#"{"symbol":[7],"price":1}"#, BadRow::Symbol),
            (r#"{"symbol":"A","t":true,"price":1}"#, BadRow::Time),
        ] {
            assert_eq!(row("{}", line).unwrap_err(), why, "{line}");
        }
    }

    #[test]
    fn a_header_without_a_price_lists_what_it_has() {
        let refused = Layout::of(b"Symbol,Open Interest").unwrap_err();
        assert_eq!(refused.found, ["symbol", "openinterest"]);
    }

    proptest! {
        #[test]
        fn no_row_makes_it_panic(
            header in "(symbol|date|price|time|close|[a-z]{3})([,;](symbol|date|price|time|volume)){0,4}",
            row in "\\PC{0,80}",
        ) {
            if let Ok(mut layout) = Layout::of(header.as_bytes()) {
                drop(layout.read(row.as_bytes(), &mut Clock::new(USUAL)));
            }
        }

        #[test]
        fn no_object_makes_it_panic(
            row in r#"\{("(symbol|t|price|data)":("[a-z0-9-]{0,8}"|[0-9.eE-]{1,8}|\{\}|null),?){0,4}\}?"#,
        ) {
            drop(Layout::JsonLines.read(row.as_bytes(), &mut Clock::new(USUAL)));
        }

        #[test]
        fn no_time_makes_it_panic(text in "[-0-9 :./TZa-zA-Z,+]{0,30}") {
            let _ = Clock::new(USUAL).read(&text);
        }
    }
}
