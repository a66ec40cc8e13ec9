use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use MarketState::{Closed, Post, Pre, Regular};

fn utc(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A moment in the exchange's own time, without an offset, so that tests are read like its notices.
fn local(exchange: Exchange, text: &str) -> Timestamp {
    let datetime: jiff::civil::DateTime = text.parse().unwrap();
    exchange.calendar().zone().to_timestamp(datetime).unwrap()
}

fn states(exchange: Exchange, day: &str, times: &[(&str, MarketState)]) {
    for (time, state) in times {
        let at = local(exchange, &format!("{day}T{time}"));
        assert_eq!(exchange.calendar().state_at(at), *state, "{day} {time}");
    }
}

fn next_open(exchange: Exchange, after: &str) -> String {
    let calendar = exchange.calendar();
    calendar.zone().to_datetime(calendar.next_open(local(exchange, after)).unwrap()).to_string()
}

fn last_close(exchange: Exchange, year: i16, month: i8, day: i8) -> String {
    exchange.calendar().last_close(date(year, month, day)).unwrap().to_string()
}

#[test]
fn a_new_york_day_has_three_sessions() {
    states(
        Exchange::Nyse,
        "2026-11-20",
        &[
            ("03:59:59", Closed),
            ("04:00:00", Pre),
            ("09:29:59", Pre),
            ("09:30:00", Regular),
            ("15:59:59", Regular),
            ("16:00:00", Post),
            ("19:59:59", Post),
            ("20:00:00", Closed),
        ],
    );
    states(Exchange::Nyse, "2026-11-21", &[("12:00:00", Closed)]);
    states(Exchange::Nyse, "2026-11-22", &[("12:00:00", Closed)]);
}

#[test]
fn thanksgiving_2026_is_closed_and_the_day_after_ends_at_one() {
    states(Exchange::Nyse, "2026-11-26", &[("05:00", Closed), ("12:00", Closed), ("17:00", Closed)]);
    states(
        Exchange::Nyse,
        "2026-11-27",
        &[
            ("04:00", Pre),
            ("09:30", Regular),
            ("12:59:59", Regular),
            ("13:00", Post),
            ("16:59:59", Post),
            ("17:00", Closed),
        ],
    );
    assert_eq!(next_open(Exchange::Nyse, "2026-11-25T16:00"), "2026-11-27T09:30:00");
    assert_eq!(last_close(Exchange::Nyse, 2026, 11, 26), "2026-11-25T21:00:00Z");
    assert_eq!(last_close(Exchange::Nyse, 2026, 11, 27), "2026-11-27T18:00:00Z");
}

#[test]
fn independence_day_2026_is_kept_on_friday_the_third() {
    states(Exchange::Nyse, "2026-07-03", &[("12:00", Closed)]);
    states(Exchange::Nyse, "2026-07-02", &[("15:00", Regular)]);
    assert_eq!(next_open(Exchange::Nyse, "2026-07-02T10:00"), "2026-07-06T09:30:00");
}

#[test]
fn good_friday_is_closed_in_both_countries() {
    for exchange in [Exchange::Nyse, Exchange::Nse] {
        states(exchange, "2026-04-03", &[("12:00", Closed)]);
        states(exchange, "2026-04-02", &[("12:00", Regular)]);
    }
}

#[test]
fn a_saturdays_new_year_is_not_kept_on_the_friday() {
    states(Exchange::Nyse, "2027-12-31", &[("12:00", Regular)]);
    states(Exchange::Nyse, "2027-12-24", &[("12:00", Closed)]);
}

#[test]
fn the_opening_bell_moves_in_utc_when_new_york_changes_its_clocks() {
    let calendar = Exchange::Nyse.calendar();
    // Sunday 2026-03-08, forward; Sunday 2026-11-01, back.
    for (friday, open_before, monday_open) in [
        ("2026-03-06T20:00:00Z", "2026-03-06T14:30:00Z", "2026-03-09T13:30:00Z"),
        ("2026-10-30T19:00:00Z", "2026-10-30T13:30:00Z", "2026-11-02T14:30:00Z"),
    ] {
        assert_eq!(calendar.state_at(utc(open_before)), Regular);
        assert_eq!(calendar.next_open(utc(friday)), Some(utc(monday_open)));
    }
    for sunday in ["2026-03-08", "2026-11-01"] {
        states(Exchange::Nyse, sunday, &[("01:30", Closed), ("12:00", Closed)]);
    }
}

#[test]
fn india_opens_at_a_quarter_past_nine_all_year() {
    states(
        Exchange::Nse,
        "2026-11-20",
        &[
            ("08:59:59", Closed),
            ("09:00", Pre),
            ("09:15", Regular),
            ("15:29:59", Regular),
            ("15:30", Post),
            ("16:00", Closed),
        ],
    );
    assert_eq!(Exchange::Nse.calendar().state_at(utc("2026-11-20T03:45:00Z")), Regular);
    assert_eq!(last_close(Exchange::Nse, 2026, 11, 20), "2026-11-20T10:00:00Z");
}

#[test]
fn diwali_has_an_hour_of_muhurat_trading_where_its_time_is_known() {
    states(Exchange::Nse, "2024-11-01", &[("12:00", Closed), ("17:45", Pre), ("18:00", Regular), ("19:00", Closed)]);
    states(
        Exchange::Nse,
        "2025-10-21",
        &[("12:00", Closed), ("13:45", Regular), ("14:44:59", Regular), ("14:45", Post)],
    );
    assert_eq!(last_close(Exchange::Nse, 2025, 10, 22), "2025-10-21T09:15:00Z");
    // 2026-11-08, a Sunday: the hour could not be verified, so the day is like any Sunday until an operator adds it.
    states(Exchange::Nse, "2026-11-08", &[("18:30", Closed)]);
    let told = Exchange::Nse.calendar().with_exceptions("2026-11-08 regular 18:00-19:00").unwrap();
    assert_eq!(told.state_at(local(Exchange::Nse, "2026-11-08T18:30")), Regular);
    assert_eq!(told.state_at(local(Exchange::Nse, "2026-11-10T12:00")), Closed, "the rest of the list still holds");
}

#[test]
fn india_trades_on_a_sunday_when_the_budget_is_presented() {
    states(Exchange::Nse, "2026-02-01", &[("09:05", Pre), ("12:00", Regular), ("15:45", Post)]);
}

#[test]
fn a_day_can_have_two_regular_sessions() {
    states(Exchange::Nse, "2024-03-02", &[("09:30", Regular), ("10:30", Closed), ("11:20", Pre), ("12:00", Regular)]);
    assert_eq!(next_open(Exchange::Nse, "2024-03-02T09:30"), "2024-03-02T11:30:00");
    assert_eq!(last_close(Exchange::Nse, 2024, 3, 3), "2024-03-02T07:00:00Z");
}

#[test]
fn crypto_never_closes() {
    let calendar = Exchange::Crypto.calendar();
    let christmas = utc("2026-12-25T03:00:00Z");
    assert_eq!(calendar.state_at(christmas), Regular);
    assert_eq!((calendar.next_change(christmas), calendar.next_open(christmas)), (None, None));
    assert_eq!(calendar.last_close(date(2026, 12, 25)), Some(utc("2026-12-26T00:00:00Z")));
    assert!(calendar.trades_on(date(2026, 12, 25)) && calendar.covers(2050));
}

#[test]
fn years_outside_the_list_follow_the_rules_in_new_york() {
    assert!(Exchange::Nyse.calendar().covers(2028) && !Exchange::Nyse.calendar().covers(2029));
    states(Exchange::Nyse, "2029-07-04", &[("12:00", Closed)]);
    states(Exchange::Nyse, "2029-07-03", &[("12:00", Regular), ("14:00", Post)]);
    states(Exchange::Nyse, "2030-04-19", &[("12:00", Closed)]);
}

#[test]
fn the_lists_are_about_days_that_differ() {
    for (list, usual) in [(include_str!("nyse.txt"), Exchange::Nyse), (include_str!("nse.txt"), Exchange::Nse)] {
        for (day, what) in exceptions::read(list).unwrap() {
            let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
            match what {
                Day::Closed | Day::ClosesAt(_) => assert!(!weekend, "{day} is a weekend: closed anyway"),
                Day::Open => assert!(weekend, "{day} is a weekday: open anyway"),
                Day::Sessions(_) => {}
            }
            assert_eq!(usual.calendar().trades_on(day), what != Day::Closed);
        }
    }
}

#[test]
fn a_symbol_looks_like_its_exchange() {
    let guess = |text: &str| Exchange::guess(Symbol::parse(text).unwrap(), Exchange::Nyse);
    for text in ["AAPL", "BRK.B", "BRK-B", "BRK/B", "RDS-A", "^GSPC", "GOOGL", "-USD", "USDC"] {
        assert_eq!(guess(text), Exchange::Nyse, "{text}");
    }
    for text in [
        "RELIANCE.NS",
        "M&M.NS",
        "TCS.BO",
        "RELIANCE.BSE",
        "SBIN:NSE",
        "NSE:TCS",
        "^NSEI",
        "^BSESN",
        "RELIANCE",
        "M&M",
        "BAJAJ-AUTO",
    ] {
        assert_eq!(guess(text), Exchange::Nse, "{text}");
    }
    for text in ["BTC-USD", "BTC-USDT", "ETH-BTC", "BTC/USD", "BTCUSDT", "BINANCE:BTCUSDT", "X:BTCUSD"] {
        assert_eq!(guess(text), Exchange::Crypto, "{text}");
    }
    for text in ["RELIANCE", "BAJAJ-AUTO", "M&M", "TCS"] {
        assert_eq!(Exchange::guess(Symbol::parse(text).unwrap(), Exchange::Nse), Exchange::Nse, "{text}");
    }
}

#[test]
fn exchanges_are_known_by_name() {
    assert_eq!("nasdaq".parse(), Ok(Exchange::Nyse));
    assert_eq!("bse".parse(), Ok(Exchange::Nse));
    assert_eq!("lse".parse::<Exchange>(), Err(UnknownExchange("lse".into())));
}

proptest! {
    /// Nothing changes between now and the next change, and there it does.
    #[test]
    fn the_next_change_is_the_next(seconds in 1_700_000_000i64..1_900_000_000, step in 0.0f64..1.0, india: bool) {
        let calendar = if india { Exchange::Nse } else { Exchange::Nyse }.calendar();
        let now = Timestamp::from_second(seconds).unwrap();
        let change = calendar.next_change(now).unwrap();
        prop_assert!(change > now);
        prop_assert_ne!(calendar.state_at(change), calendar.state_at(now));
        #[expect(clippy::cast_possible_truncation, reason = "at most two weeks of seconds")]
        let between = ((change.as_second() - seconds) as f64 * step) as i64;
        prop_assert_eq!(calendar.state_at(Timestamp::from_second(seconds + between).unwrap()), calendar.state_at(now));
    }

    /// An opening is where a regular session begins, and a close where one has just ended.
    #[test]
    fn opens_and_closes_are_the_ends_of_regular_sessions(seconds in 1_700_000_000i64..1_900_000_000, india: bool) {
        let calendar = if india { Exchange::Nse } else { Exchange::Nyse }.calendar();
        let now = Timestamp::from_second(seconds).unwrap();
        let (open, a_second) = (calendar.next_open(now).unwrap(), jiff::SignedDuration::from_secs(1));
        prop_assert!(open > now);
        prop_assert_eq!(calendar.state_at(open), Regular);
        prop_assert_ne!(calendar.state_at(open - a_second), Regular);
        let day = calendar.zone().to_datetime(now).date();
        let close = calendar.last_close(day).unwrap();
        prop_assert!(calendar.zone().to_datetime(close).date() <= day);
        prop_assert_eq!(calendar.state_at(close - a_second), Regular);
        prop_assert_ne!(calendar.state_at(close), Regular);
    }
}

#[test]
fn the_ends_of_time_do_not_make_it_panic() {
    let a_day = jiff::SignedDuration::from_hours(24);
    for exchange in [Exchange::Nyse, Exchange::Nse, Exchange::Crypto] {
        let calendar = exchange.calendar();
        for days in 0..10 {
            for at in [Timestamp::MIN + a_day * days, Timestamp::MAX - a_day * days] {
                let local = calendar.zone().to_datetime(at);
                // Whatever they answer, they answer.
                let answers = (calendar.state_at(at), calendar.next_change(at), calendar.next_open(at));
                let closes = calendar.last_close(local.date());
                assert!(
                    answers.1.is_none_or(|change| change > at) && closes.is_none_or(|close| close >= Timestamp::MIN)
                );
            }
        }
    }
}
