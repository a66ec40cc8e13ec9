//! Days that differ from the usual week, as a text that people can read and correct.
//!
//! One day a line, in the exchange's own time; what follows a `#` is a comment:
//!
//! ```text
//! 2026-11-26 closed                 # Thanksgiving Day
//! 2026-11-27 close 13:00            # the regular session ends early; the one after it keeps its length
//! 2026-02-01 open                   # a Sunday with the usual sessions
//! 2025-10-21 pre 13:30-13:45 regular 13:45-14:45
//! ```

use std::collections::BTreeMap;

use jiff::civil::{Date, Time};

use super::Session;
use crate::market::quote::MarketState;

/// What is different about a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Day {
    /// No session.
    Closed,
    /// The usual sessions, whatever the day of the week.
    Open,
    /// The regular session ends at this time.
    ClosesAt(Time),
    /// These sessions and no others.
    Sessions(Vec<Session>),
}

/// Days by date.
pub(super) type Exceptions = BTreeMap<Date, Day>;

/// A line of a list of exceptions that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem} in {text:?}")]
pub struct BadException {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Reads a list.
pub(super) fn read(list: &str) -> Result<Exceptions, BadException> {
    let mut days = Exceptions::new();
    for (index, text) in list.lines().enumerate() {
        let bad = |problem| BadException { line: index + 1, text: text.to_owned(), problem };
        let mut words = text.split('#').next().unwrap_or_default().split_whitespace();
        let Some(date) = words.next() else { continue };
        let date = date.parse().map_err(|_| bad("no date (YYYY-MM-DD)"))?;
        let day = read_day(&words.collect::<Vec<_>>()).map_err(bad)?;
        if days.insert(date, day).is_some() {
            return Err(bad("the same date twice"));
        }
    }
    Ok(days)
}

fn read_day(words: &[&str]) -> Result<Day, &'static str> {
    match words {
        ["closed"] => Ok(Day::Closed),
        ["open"] => Ok(Day::Open),
        ["close", at] => Ok(Day::ClosesAt(read_time(at)?)),
        [] => Err("nothing about the day"),
        _ => {
            let (pairs, rest) = words.as_chunks::<2>();
            if !rest.is_empty() {
                return Err("a session without its span");
            }
            let sessions =
                pairs.iter().map(|[state, span]| read_session(state, span)).collect::<Result<Vec<_>, _>>()?;
            if sessions.is_sorted_by(|one, next| one.to <= next.from) {
                Ok(Day::Sessions(sessions))
            } else {
                Err("sessions that overlap or are out of order")
            }
        }
    }
}

fn read_session(state: &str, span: &str) -> Result<Session, &'static str> {
    let state = match state {
        "pre" => MarketState::Pre,
        "regular" => MarketState::Regular,
        "post" => MarketState::Post,
        _ => return Err("neither closed, open, close, pre, regular nor post"),
    };
    let (from, to) = span.split_once('-').ok_or("no span (HH:MM-HH:MM)")?;
    let (from, to) = (read_time(from)?, read_time(to)?);
    if from < to { Ok(Session { state, from, to }) } else { Err("a span that ends before it begins") }
}

fn read_time(text: &str) -> Result<Time, &'static str> {
    if text.len() != 5 {
        return Err("no time (HH:MM)");
    }
    text.parse().map_err(|_| "no time (HH:MM)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    #[test]
    fn every_form_of_day_is_read() {
        let days = read(
            "# a comment\n\n2026-11-26 closed # Thanksgiving\n2026-11-27 close 13:00\n2026-02-01 open\n\
             2025-10-21 pre 13:30-13:45 regular 13:45-14:45\n",
        )
        .unwrap();
        assert_eq!(days[&date(2026, 11, 26)], Day::Closed);
        assert_eq!(days[&date(2026, 11, 27)], Day::ClosesAt(time(13, 0, 0, 0)));
        assert_eq!(days[&date(2026, 2, 1)], Day::Open);
        let Day::Sessions(sessions) = &days[&date(2025, 10, 21)] else { panic!("not sessions") };
        assert_eq!(sessions[1].state, MarketState::Regular);
        assert_eq!((sessions[1].from, sessions[1].to), (time(13, 45, 0, 0), time(14, 45, 0, 0)));
    }

    #[test]
    fn a_bad_line_is_named() {
        for bad in [
            "2026-02-30 closed",
            "26-11-2026 closed",
            "2026-11-26",
            "2026-11-26 shut",
            "2026-11-26 close",
            "2026-11-26 close 25:00",
            "2026-11-26 close 9am",
            "2026-11-26 regular",
            "2026-11-26 regular 09:30",
            "2026-11-26 regular 16:00-09:30",
            "2026-11-26 regular 09:30-16:00 pre 04:00-09:30",
            "2026-11-26 lunch 12:00-13:00",
        ] {
            let error = read(&format!("2026-01-01 closed\n{bad}\n")).unwrap_err();
            assert_eq!((error.line, error.text.as_str()), (2, bad));
        }
        assert_eq!(read("2026-01-01 closed\n2026-01-01 open").unwrap_err().problem, "the same date twice");
    }
}
