//! Times that vendors write as people do: without a zone, or as a bare date.
//!
//! Each adapter knows its own format and zone; nothing is guessed.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::market::Exchange;
use crate::market::quote::MarketState;

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

/// Whether `exchange` has traded since `close`: then a price of that time is old.
#[must_use]
pub fn traded_since(exchange: Exchange, close: Timestamp, now: Timestamp) -> bool {
    let calendar = exchange.calendar();
    let today = calendar.zone().to_datetime(now).date();
    let closes = [Some(today), today.yesterday().ok()].into_iter().flatten().filter_map(|day| calendar.last_close(day));
    calendar.state_at(now) == MarketState::Regular || closes.filter(|at| *at <= now).any(|at| at > close)
}

/// The midnight, on clocks of `zone`, with which the day of `at` begins.
#[must_use]
pub fn day_begins(at: Timestamp, zone: &TimeZone) -> Timestamp {
    zone.to_timestamp(zone.to_datetime(at).date().to_datetime(Time::midnight())).unwrap_or(at)
}

/// The date that `text` begins with.
#[must_use]
pub fn date(text: &str) -> Option<Date> {
    text.trim().get(..10)?.parse().ok()
}

/// The midnight, on clocks of `exchange`, with which `text` begins as a date.
#[must_use]
pub fn midnight(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(date(text)?.to_datetime(Time::midnight())).ok()
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
    fn a_close_is_old_once_the_exchange_has_traded_again() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let friday = at("2026-11-20T21:00:00Z");
        for (now, is_old) in [
            ("2026-11-20T21:00:30Z", false),
            ("2026-11-22T12:00:00Z", false),
            ("2026-11-23T14:00:00Z", false),
            ("2026-11-23T15:00:00Z", true),
            ("2026-11-24T01:00:00Z", true),
        ] {
            assert_eq!(traded_since(Exchange::Nyse, friday, at(now)), is_old, "{now}");
        }
        assert!(traded_since(Exchange::Crypto, at("2026-11-20T00:00:00Z"), at("2026-11-20T00:00:01Z")));
        let new_york = zone("America/New_York").unwrap();
        assert_eq!(day_begins(friday, &new_york), at("2026-11-20T05:00:00Z"));
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
