//! Reads the times that price files hold.
//!
//! A time without a zone is taken as UTC. A date alone means that day's close; the file does not say on which exchange,
//! so it is 21:00 UTC, when New York, the last of the large ones, closes in winter.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

/// When a day ends whose exchange is not known.
const CLOSE_UTC: Time = time(21, 0, 0, 0);

/// What `03/04/2026` means; a file does not mix the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slashes {
    /// March 4.
    MonthFirst,
    /// April 3.
    DayFirst,
}

/// Dates as `strptime` reads them; a blank stands for any number of them.
const DATES: [&str; 15] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%Y.%m.%d",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%d.%m.%Y",
    "%a %b %d %Y",
    "%a, %d %b %Y",
    "%d %B %Y",
    "%B %d %Y",
    "%B %d, %Y",
];
/// What may follow a date, behind a blank or a `T`.
const TIMES: [&str; 4] = ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p"];

/// Reads times; remembers what the last one looked like, since a file's are all alike.
#[derive(Debug, Clone)]
pub struct Clock {
    slashes: Slashes,
    date: usize,
    time: usize,
}

impl Clock {
    /// A reader for a file whose slashed dates are written like this.
    #[must_use]
    pub const fn new(slashes: Slashes) -> Clock {
        Clock { slashes, date: 0, time: 0 }
    }

    /// The time `text` says: an epoch number, RFC 3339, or one of many ways to write a date with or without a time.
    pub fn read(&mut self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && text.matches('.').count() <= 1 {
            return self.epoch(text);
        }
        // Told apart by their looks, since an attempt that fails costs more than one that succeeds.
        let at = match text.find(':') {
            None => self.date(text)?.to_datetime(CLOSE_UTC),
            Some(colon) if text.ends_with(['Z', 'z']) || text[colon..].contains(['+', '-']) => {
                return text.parse().ok();
            }
            Some(_) => self.date_and_time(text)?,
        };
        at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
    }

    /// Seconds, or ms, µs, ns from where seconds would lie beyond the year 5138; eight digits that are a date are one.
    fn epoch(&mut self, text: &str) -> Option<Timestamp> {
        let whole = text.split('.').next()?;
        if whole.len() == 8
            && whole == text
            && let Some(date) = self.date(text)
        {
            return date.to_datetime(CLOSE_UTC).to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
        }
        let number: i64 = whole.parse().ok()?;
        match number {
            0..100_000_000_000 => {
                let fraction = text.get(whole.len() + 1..).unwrap_or_default();
                let nanos: i32 = format!("{fraction:0<9.9}").parse().ok()?;
                Timestamp::new(number, nanos).ok()
            }
            100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok(),
            100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(number).ok(),
            _ => Timestamp::from_nanosecond(number.into()).ok(),
        }
    }

    fn date_and_time(&mut self, text: &str) -> Option<DateTime> {
        // The time is behind the first `T` between digits, or else behind a blank; dates have blanks too.
        let split = |(at, _): (usize, &str)| Some((&text[..at], text.get(at + 1..)?.trim_start()));
        let cuts = text.match_indices(['T', ' ']).filter_map(split);
        for (date, time) in cuts {
            if !time.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            if let (Some(date), Some(time)) = (self.date(date.trim_end_matches(',')), self.time(time)) {
                return Some(date.to_datetime(time));
            }
        }
        None
    }

    fn date(&mut self, text: &str) -> Option<Date> {
        if text.contains('/') && !text.starts_with(|c: char| c.is_ascii_digit() && text.find('/') == Some(4)) {
            let format = match self.slashes {
                Slashes::MonthFirst => "%m/%d/%Y",
                Slashes::DayFirst => "%d/%m/%Y",
            };
            return strtime::parse(format, text).ok()?.to_date().ok();
        }
        let (format, date) = first(&DATES, self.date, text, |parsed| {
            // `%Y` takes two digits too, and means the first century.
            parsed.to_date().ok().filter(|date| date.year() >= 1000)
        })?;
        self.date = format;
        Some(date)
    }

    fn time(&mut self, text: &str) -> Option<Time> {
        let (format, time) = first(&TIMES, self.time, text, |parsed| parsed.to_time().ok())?;
        self.time = format;
        Some(time)
    }
}

/// The first format that reads `text`, beginning with the one that did last time.
fn first<T>(
    formats: &[&str],
    last: usize,
    text: &str,
    read: impl Fn(&BrokenDownTime) -> Option<T>,
) -> Option<(usize, T)> {
    let indices = std::iter::once(last).chain((0..formats.len()).filter(|&i| i != last));
    indices.into_iter().find_map(|i| Some((i, read(&strtime::parse(formats[i], text).ok()?)?)))
}

/// Whether a slashed date can only be read day first.
#[must_use]
pub fn is_day_first(text: &str) -> bool {
    let mut parts = text.trim().split('/').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(13..=31)), Some(Ok(1..=12))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        Clock::new(Slashes::MonthFirst).read(text).map(|at| at.to_string())
    }

    #[test]
    fn times_as_files_hold_them_are_read() {
        for (text, expected) in [
            ("Jan 1 2000", "2000-01-01T21:00:00Z"),
            ("Mar  1 2000", "2000-03-01T21:00:00Z"),
            ("January 15, 2020", "2020-01-15T21:00:00Z"),
            ("Nov 20, 2026", "2026-11-20T21:00:00Z"),
            ("2000-01-03", "2000-01-03T21:00:00Z"),
            ("2000/01/03", "2000-01-03T21:00:00Z"),
            ("20000103", "2000-01-03T21:00:00Z"),
            ("11/20/2026", "2026-11-20T21:00:00Z"),
            ("20-Nov-2026", "2026-11-20T21:00:00Z"),
            ("20-nov-26", "2026-11-20T21:00:00Z"),
            ("20 November 2026", "2026-11-20T21:00:00Z"),
            ("20.11.2026", "2026-11-20T21:00:00Z"),
            ("20-Nov-2026 15:29:58", "2026-11-20T15:29:58Z"),
            ("Nov 20, 2026, 9:30 AM", "2026-11-20T09:30:00Z"),
            ("11/20/2026 16:00", "2026-11-20T16:00:00Z"),
            ("2026-11-20 11:54:23", "2026-11-20T11:54:23Z"),
            ("2026-11-20 15:59:59.123", "2026-11-20T15:59:59.123Z"),
            ("2026-11-20T09:30:00", "2026-11-20T09:30:00Z"),
            ("2026-11-20T09:30:00Z", "2026-11-20T09:30:00Z"),
            ("2026-11-20T09:30:00.5-05:00", "2026-11-20T14:30:00.5Z"),
            ("2026-11-20 00:00:00-05:00", "2026-11-20T05:00:00Z"),
            ("1795208400", "2026-11-20T21:00:00Z"),
            ("1795208400.25", "2026-11-20T21:00:00.25Z"),
            ("1795208400123", "2026-11-20T21:00:00.123Z"),
            ("1795208400123456789", "2026-11-20T21:00:00.123456789Z"),
            (" 946684800 ", "2000-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            ".",
            "n/a",
            "null",
            "2026-13-01",
            "Feb 30 2026",
            "13/13/2026",
            "yesterday",
            "12:30",
            "1e9",
            "99999999999999999999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn slashed_dates_are_read_one_way_a_file() {
        let mut clock = Clock::new(Slashes::DayFirst);
        assert_eq!(clock.read("03/04/2026").unwrap().to_string(), "2026-04-03T21:00:00Z");
        assert!(is_day_first("13/04/2026 09:30") && !is_day_first("03/04/2026") && !is_day_first("2026-04-13"));
    }
}
