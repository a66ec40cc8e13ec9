//! When exchanges trade: NYSE and Nasdaq, NSE India, and crypto, which never closes.
//!
//! Sessions are told in the exchange's own time, weekends and holidays as data (`nyse.txt`, `nse.txt`; NYSE by rule
//! outside the years of its list, NSE by weekday alone). The time zones' rules are compiled in, so that a container
//! without a time zone database tells the same time; a country that changes its clocks needs a new release, as a year's
//! new holidays do. [`Calendar::with_exceptions`] lets an operator add days without one.
//!
//! It does not know the time ("now" is an argument) nor which exchange a symbol trades at; [`Exchange::guess`] is a
//! default for those who were not told. It knows neither auctions nor halts, and no overnight sessions: what trades
//! between 20:00 and 04:00 in New York is `Closed` here.

mod exceptions;
mod rules;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::LazyLock;

use jiff::civil::{Date, Time, Weekday, time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::listing::is_indian_by_shape;
use super::quote::MarketState;
use super::symbol::Symbol;
pub use exceptions::BadException;
use exceptions::{Day, Exceptions};

/// Where a search for the next session gives up: three times the longest closure in living memory (NYSE, 11 days in
/// March 1933).
const LONGEST_CLOSURE_DAYS: usize = 36;

static NEW_YORK: TimeZone = jiff::tz::get!("America/New_York");
static KOLKATA: TimeZone = jiff::tz::get!("Asia/Kolkata");

static NYSE: LazyLock<Calendar> = LazyLock::new(|| Calendar {
    zone: NEW_YORK.clone(),
    week: Week::Weekdays(vec![
        Session { state: MarketState::Pre, from: time(4, 0, 0, 0), to: time(9, 30, 0, 0) },
        Session { state: MarketState::Regular, from: time(9, 30, 0, 0), to: time(16, 0, 0, 0) },
        Session { state: MarketState::Post, from: time(16, 0, 0, 0), to: time(20, 0, 0, 0) },
    ]),
    exceptions: exceptions::read(include_str!("nyse.txt")).expect("a test reads it"),
    rule: rules::nyse,
});

static NSE: LazyLock<Calendar> = LazyLock::new(|| Calendar {
    zone: KOLKATA.clone(),
    week: Week::Weekdays(vec![
        Session { state: MarketState::Pre, from: time(9, 0, 0, 0), to: time(9, 15, 0, 0) },
        Session { state: MarketState::Regular, from: time(9, 15, 0, 0), to: time(15, 30, 0, 0) },
        // The closing price is made (since 2026-08-03 by an auction until 15:35) and traded at (15:40-16:00).
        Session { state: MarketState::Post, from: time(15, 30, 0, 0), to: time(16, 0, 0, 0) },
    ]),
    exceptions: exceptions::read(include_str!("nse.txt")).expect("a test reads it"),
    rule: |_| None,
});

static CRYPTO: LazyLock<Calendar> = LazyLock::new(|| Calendar {
    zone: TimeZone::UTC,
    week: Week::AlwaysOpen,
    exceptions: Exceptions::new(),
    rule: |_| None,
});

/// Where a symbol trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// New York Stock Exchange and Nasdaq.
    Nyse,
    /// National Stock Exchange of India (BSE keeps the same hours and days).
    Nse,
    /// Crypto, everywhere.
    Crypto,
}

/// There is no exchange of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no exchange is named {0:?}; there are nyse, nasdaq, nse, bse and crypto")]
pub struct UnknownExchange(pub String);

impl FromStr for Exchange {
    type Err = UnknownExchange;

    fn from_str(text: &str) -> Result<Exchange, UnknownExchange> {
        match text {
            "nyse" | "nasdaq" => Ok(Exchange::Nyse),
            "nse" | "bse" => Ok(Exchange::Nse),
            "crypto" => Ok(Exchange::Crypto),
            _ => Err(UnknownExchange(text.into())),
        }
    }
}

impl Exchange {
    /// Its calendar.
    #[must_use]
    pub fn calendar(self) -> &'static Calendar {
        match self {
            Exchange::Nyse => &NYSE,
            Exchange::Nse => &NSE,
            Exchange::Crypto => &CRYPTO,
        }
    }

    /// Where `symbol` trades by the look of it; `home` when it looks like nothing in particular.
    ///
    /// Crypto: `BASE-QUOTE` or `BASE/QUOTE` with a currency or a well-known coin as the quote (so that `BRK-B` and
    /// `BAJAJ-AUTO` are none), a stablecoin at the end (`BTCUSDT`), a crypto venue before a colon (`BINANCE:BTCUSDT`,
    /// `X:BTCUSD`). India: `.NS`, `.BO`, `.BSE`, `:NSE`, `NSE:`, `BSE:`, `^NSE…`, `^BSE…`, and a bare ticker that
    /// is too long for the US or has an `&` (`RELIANCE`, `M&M`).
    #[must_use]
    pub fn guess(symbol: Symbol, home: Exchange) -> Exchange {
        const QUOTES: [&str; 20] = [
            "USD", "USDT", "USDC", "FDUSD", "DAI", "EUR", "GBP", "JPY", "INR", "TRY", "BRL", "AUD", "CAD", "CHF",
            "SGD", "KRW", "BTC", "ETH", "BNB", "SOL",
        ];
        const STABLECOINS: [&str; 3] = ["USDT", "USDC", "FDUSD"];
        let text = symbol.as_str();
        if [".NS", ".BO", ".BSE", ":NSE", ":BSE"].iter().any(|end| text.ends_with(end))
            || ["NSE:", "BSE:", "^NSE", "^BSE"].iter().any(|start| text.starts_with(start))
        {
            return Exchange::Nse;
        }
        let pair = text.rsplit_once(['-', '/']);
        if ["BINANCE:", "COINBASE:", "X:"].iter().any(|venue| text.starts_with(venue))
            || pair.is_some_and(|(base, quote)| !base.is_empty() && QUOTES.contains(&quote))
            || STABLECOINS.iter().any(|coin| text.len() > coin.len() + 1 && text.ends_with(coin))
        {
            return Exchange::Crypto;
        }
        if is_indian_by_shape(text) { Exchange::Nse } else { home }
    }
}

/// One exchange's sessions.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    week: Week,
    exceptions: Exceptions,
    /// For the years that `exceptions` says nothing about.
    rule: fn(Date) -> Option<Day>,
}

/// A usual week.
#[derive(Debug, Clone)]
enum Week {
    /// Monday to Friday, in order and without overlap.
    Weekdays(Vec<Session>),
    AlwaysOpen,
}

/// A span of a day, in the exchange's time: from `from` until just before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    state: MarketState,
    from: Time,
    to: Time,
}

impl Calendar {
    /// The same calendar with more (or other) exceptions; the list's form is that of `nyse.txt`:
    /// `2026-11-26 closed`, `2026-11-27 close 13:00`, `2026-02-01 open`, `2025-10-21 regular 13:45-14:45`.
    ///
    /// # Errors
    /// [`BadException`], which names the first line that is none.
    pub fn with_exceptions(&self, list: &str) -> Result<Calendar, BadException> {
        let mut calendar = self.clone();
        calendar.exceptions.extend(exceptions::read(list)?);
        Ok(calendar)
    }

    /// The exchange's time zone.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Which session it is.
    #[must_use]
    pub fn state_at(&self, at: Timestamp) -> MarketState {
        if let Week::AlwaysOpen = self.week {
            return MarketState::Regular;
        }
        let local = self.zone.to_datetime(at);
        let sessions = self.sessions(local.date());
        let session = sessions.iter().find(|session| session.from <= local.time() && local.time() < session.to);
        session.map_or(MarketState::Closed, |session| session.state)
    }

    /// The next moment after `at` when [`state_at`](Self::state_at) changes; `None` when it never does.
    #[must_use]
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let state = self.state_at(at);
        let ends = |session: &Session| [session.from, session.to];
        self.moments_after(at, move |sessions| sessions.iter().flat_map(ends).collect())
            .find(|moment| self.state_at(*moment) != state)
    }

    /// The next moment after `at` when a regular session begins; `None` when it never does, having never ended.
    #[must_use]
    pub fn next_open(&self, at: Timestamp) -> Option<Timestamp> {
        let is_regular = |session: &&Session| session.state == MarketState::Regular;
        self.moments_after(at, move |sessions| sessions.iter().filter(is_regular).map(|session| session.from).collect())
            .next()
    }

    /// When the last regular session of `day` ended or will end, or that of the last trading day before it: what a
    /// vendor means who gives a date for a time. Of an exchange that never closes, the midnight (UTC) that ends the day.
    #[must_use]
    pub fn last_close(&self, day: Date) -> Option<Timestamp> {
        if let Week::AlwaysOpen = self.week {
            return self.moment(day.tomorrow().ok()?, Time::midnight());
        }
        let days = std::iter::successors(Some(day), |day| day.yesterday().ok()).take(LONGEST_CLOSURE_DAYS);
        days.filter_map(|day| {
            let regular = self.sessions(day).into_iter().rfind(|session| session.state == MarketState::Regular);
            regular.and_then(|session| self.moment(day, session.to))
        })
        .next()
    }

    /// Whether there is a regular session on `day`.
    #[must_use]
    pub fn trades_on(&self, day: Date) -> bool {
        match self.week {
            Week::AlwaysOpen => true,
            Week::Weekdays(_) => self.sessions(day).iter().any(|session| session.state == MarketState::Regular),
        }
    }

    /// Whether the holidays of `year` are data, and not computed or unknown.
    #[must_use]
    pub fn covers(&self, year: i16) -> bool {
        let years = self.exceptions.keys().next().zip(self.exceptions.keys().next_back());
        years.is_none_or(|(first, last)| (first.year()..=last.year()).contains(&year))
    }

    /// The moments that `pick` finds in the sessions of the days from `at` on, those after `at`.
    fn moments_after<'a>(
        &'a self,
        at: Timestamp,
        pick: impl Fn(&[Session]) -> Vec<Time> + 'a,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let today = self.zone.to_datetime(at).date();
        let days = match self.week {
            Week::AlwaysOpen => 0,
            Week::Weekdays(_) => LONGEST_CLOSURE_DAYS,
        };
        today
            .series(1.day())
            .take(days)
            .flat_map(move |day| pick(&self.sessions(day)).into_iter().filter_map(move |time| self.moment(day, time)))
            .filter(move |moment| *moment > at)
    }

    fn moment(&self, day: Date, time: Time) -> Option<Timestamp> {
        // No session begins or ends in the hours that clocks skip or repeat (02:00-03:00 on Sundays).
        self.zone.to_timestamp(day.to_datetime(time)).ok()
    }

    /// The sessions of `day`, in order and without overlap.
    fn sessions(&self, day: Date) -> Vec<Session> {
        let Week::Weekdays(usual) = &self.week else { return Vec::new() };
        let is_weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        let ruled = || if is_weekend || self.covers(day.year()) { None } else { (self.rule)(day) };
        match self.exceptions.get(&day).cloned().or_else(ruled) {
            None if is_weekend => Vec::new(),
            None | Some(Day::Open) => usual.clone(),
            Some(Day::Closed) => Vec::new(),
            Some(Day::ClosesAt(at)) => closing_at(usual, at),
            Some(Day::Sessions(sessions)) => sessions,
        }
    }
}

/// The usual sessions with the regular one ending at `at`, and what follows it moved to there.
fn closing_at(usual: &[Session], at: Time) -> Vec<Session> {
    let Some(close) = usual.iter().find(|session| session.state == MarketState::Regular).map(|session| session.to)
    else {
        return usual.to_vec();
    };
    let moved = |time: Time| if time < close { time } else { time.saturating_add(at - close) };
    usual
        .iter()
        .map(|session| Session { state: session.state, from: moved(session.from), to: moved(session.to) })
        .filter(|session| session.from < session.to)
        .collect()
}
