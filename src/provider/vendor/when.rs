//! Times that vendors write as people do: without a zone, or as a bare date.
//!
//! Each adapter knows its own format and zone; nothing is guessed.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::market::Exchange;

/// `2026-11-20 15:59:00`, with a fraction or without.
pub const ISO: &str = "%Y-%m-%d %H:%M:%S%.f";
/// `20-Nov-2026 15:29:58`.
pub const NAMED_MONTH: &str = "%d-%b-%Y %H:%M:%S";

/// The time that `text` is in one of these formats, on clocks of `zone`.
#[must_use]
pub fn local(text: &str, formats: &[&str], zone: &TimeZone) -> Option<Timestamp> {
    let civil = formats.iter().find_map(|format| DateTime::strptime(format, text.trim()).ok())?;
    zone.to_timestamp(civil).ok()
}

/// The close of the day that `text` is (`2026-11-20`, whatever follows), or of the last trading day before it.
#[must_use]
pub fn close_of(text: &str, exchange: Exchange) -> Option<Timestamp> {
    exchange.calendar().last_close(date(text)?)
}

/// The date that `text` begins with.
#[must_use]
pub fn date(text: &str) -> Option<Date> {
    text.trim().get(..10)?.parse().ok()
}

/// The midnight, on clocks of `exchange`, with which `text` begins as a date.
#[must_use]
pub fn midnight(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(date(text)?.to_datetime(jiff::civil::Time::midnight())).ok()
}

/// A zone by its name. Those of our exchanges are compiled in; others are as the system knows them.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "America/New_York" | "US/Eastern" => Some(Exchange::Nyse.calendar().zone().clone()),
        "Asia/Kolkata" | "Asia/Calcutta" => Some(Exchange::Nse.calendar().zone().clone()),
        "" | "UTC" => Some(TimeZone::UTC),
        _ => TimeZone::get(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_the_exchange_are_read() {
        let (new_york, kolkata) = (zone("US/Eastern").unwrap(), zone("Asia/Kolkata").unwrap());
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(local("20-Nov-2026 15:29:58", &[NAMED_MONTH, ISO], &kolkata), at("2026-11-20T09:59:58Z"));
        assert_eq!(local("2026-11-20 11:54:23", &[NAMED_MONTH, ISO], &kolkata), at("2026-11-20T06:24:23Z"));
        assert_eq!(local("2026-11-20 15:59:59.123", &[ISO], &new_york), at("2026-11-20T20:59:59.123Z"));
        assert_eq!(local("2026-07-20 15:59:00", &[ISO], &new_york), at("2026-07-20T19:59:00Z"));
        assert_eq!(local("yesterday", &[ISO], &new_york), None);
        assert_eq!(midnight("2026-11-20", &new_york), at("2026-11-20T05:00:00Z"));
    }

    #[test]
    fn a_date_is_the_close_of_its_day() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(close_of("2026-11-20", Exchange::Nyse), at("2026-11-20T21:00:00Z"));
        // The Friday after Thanksgiving ends at 13:00, and a Sunday is a Friday.
        assert_eq!(close_of("2026-11-29", Exchange::Nyse), at("2026-11-27T18:00:00Z"));
        assert_eq!(close_of("2026-11-20", Exchange::Nse), at("2026-11-20T10:00:00Z"));
        assert_eq!(close_of("20 Nov", Exchange::Nse), None);
    }
}
