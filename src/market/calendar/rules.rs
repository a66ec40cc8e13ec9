//! NYSE holidays by rule, for the years that the data does not cover.
//!
//! NYSE Rule 7.2: a holiday on a Saturday is kept on the Friday before, unless that ends a month or a year of accounts;
//! one on a Sunday on the Monday after. Early closes are custom: the day after Thanksgiving, and the eves of
//! Independence Day and Christmas where both they and the holiday itself are weekdays. Days of mourning cannot be known.

use jiff::civil::{Date, Time, Weekday, date, time};
use jiff::{Span, ToSpan};

use super::exceptions::Day;

const EARLY: Time = time(13, 0, 0, 0);

/// What is different about `day`, a weekday, at NYSE.
pub(super) fn nyse(day: Date) -> Option<Day> {
    let year = day.year();
    if holidays(year).contains(&Some(day)) {
        return Some(Day::Closed);
    }
    let after_thanksgiving = thanksgiving(year).and_then(|thanksgiving| shifted(thanksgiving, 1.day()));
    let is_eve = |holiday: Date| !is_weekend(holiday) && shifted(day, 1.day()) == Some(holiday);
    if Some(day) == after_thanksgiving || is_eve(date(year, 7, 4)) || is_eve(date(year, 12, 25)) {
        return Some(Day::ClosesAt(EARLY));
    }
    None
}

fn holidays(year: i16) -> [Option<Date>; 10] {
    [
        // A Saturday's New Year's Day is not kept: the Friday ends a year.
        Some(date(year, 1, 1)).filter(|day| day.weekday() != Weekday::Saturday).map(observed),
        nth(year, 1, 3, Weekday::Monday),
        nth(year, 2, 3, Weekday::Monday),
        good_friday(year),
        nth(year, 5, -1, Weekday::Monday),
        // Kept since 2022.
        Some(observed(date(year, 6, 19))).filter(|_| year >= 2022),
        Some(observed(date(year, 7, 4))),
        nth(year, 9, 1, Weekday::Monday),
        thanksgiving(year),
        Some(observed(date(year, 12, 25))),
    ]
}

fn thanksgiving(year: i16) -> Option<Date> {
    nth(year, 11, 4, Weekday::Thursday)
}

fn nth(year: i16, month: i8, nth: i8, weekday: Weekday) -> Option<Date> {
    date(year, month, 1).nth_weekday_of_month(nth, weekday).ok()
}

fn observed(day: Date) -> Date {
    let shift = match day.weekday() {
        Weekday::Saturday => -1,
        Weekday::Sunday => 1,
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => 0,
    };
    shifted(day, shift.days()).unwrap_or(day)
}

fn is_weekend(day: Date) -> bool {
    matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

fn shifted(day: Date, by: Span) -> Option<Date> {
    day.checked_add(by).ok()
}

/// Two days before Easter Sunday, by the anonymous Gregorian computus (Meeus, "Astronomical Algorithms", ch. 8).
pub(super) fn good_friday(year: i16) -> Option<Date> {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let g = (b - (b + 8) / 25 + 1) / 3;
    let h = (19 * a + b - b / 4 - g + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let of_march_and_april = h + l - 7 * m + 114;
    let month = i8::try_from(of_march_and_april / 31).ok()?;
    let day = i8::try_from(of_march_and_april % 31 + 1).ok()?;
    shifted(Date::new(year, month, day).ok()?, -(2.days()))
}

#[cfg(test)]
mod tests {
    use super::super::exceptions;
    use super::*;

    #[test]
    fn the_rules_reproduce_the_announced_days() {
        let announced = exceptions::read(include_str!("nyse.txt")).unwrap();
        for day in date(2024, 1, 1).series(1.day()).take_while(|day| day.year() <= 2028).filter(|day| !is_weekend(*day))
        {
            // Nobody could compute the day of mourning.
            let expected = announced.get(&day).filter(|_| day != date(2025, 1, 9));
            assert_eq!(nyse(day).as_ref(), expected, "{day}");
        }
    }

    #[test]
    fn good_friday_is_two_days_before_easter() {
        for (year, month, day) in
            [(1999, 4, 2), (2000, 4, 21), (2008, 3, 21), (2011, 4, 22), (2030, 4, 19), (2038, 4, 23)]
        {
            assert_eq!(good_friday(year), Some(date(year, month, day)));
        }
    }

    #[test]
    fn other_years_follow_from_the_rules() {
        // As announced on 2021-12-27, and as it was.
        assert_eq!(nyse(date(2023, 7, 3)), Some(Day::ClosesAt(EARLY)));
        assert_eq!(nyse(date(2022, 6, 20)), Some(Day::Closed));
        assert_eq!(nyse(date(2022, 12, 26)), Some(Day::Closed));
        assert_eq!(nyse(date(2021, 12, 31)), None, "New Year's Day 2022 was a Saturday");
        assert_eq!(nyse(date(2021, 6, 18)), None, "Juneteenth was not kept yet");
        assert_eq!(nyse(date(2020, 7, 3)), Some(Day::Closed));
        assert_eq!(nyse(date(2020, 7, 2)), None);
    }
}
