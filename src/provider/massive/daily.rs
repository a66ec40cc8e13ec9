//! End of day prices, which the free plan has: the closes of all tickers of a day in one call.
//!
//! A quote needs two days, the newest one and the one before it for the change. Both tables are kept, so that the free
//! plan's 5 calls a minute are spent twice a day. A day that the vendor does not have yet (403 before its end of day,
//! or no rows) is left alone for an hour, and the day before it is the newest.
//!
//! State: two tables for each market, of at most [`MAX_TICKERS`] tickers (about 100 B each), and the refused days.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use super::{Massive, REFUSED_FOR, is_crypto, read};
use crate::market::{Exchange, Number, Quote, Symbol};
use crate::provider::config::Name;
use crate::provider::vendor::{Call, Failure, Field, Missing, Progress, Reply, Spelled, when};

/// Stocks are about 11,000, and crypto pairs fewer.
const MAX_TICKERS: usize = 30_000;
/// Days in a row that may be refused: a holiday that no list knows, and a day that is not at its end yet, with room.
const MAX_REFUSED: usize = 4;
/// How far back trading days are looked for: the refused ones, two more, and the longest closure in between.
const LOOK_BACK_DAYS: usize = 30;

/// Both markets' tables.
#[derive(Default)]
pub(super) struct Daily {
    stocks: Tables,
    crypto: Tables,
}

/// A day's closes, asked for so that quotes of these can be made.
#[derive(Debug)]
pub struct Step {
    exchange: Exchange,
    day: Date,
    spelled: Spelled,
}

#[derive(Default)]
struct Tables {
    days: BTreeMap<Date, HashMap<Box<str>, Close>>,
    /// Each until when.
    refused: BTreeMap<Date, Timestamp>,
}

struct Close {
    price: Number,
    volume: Option<Number>,
}

impl Massive {
    /// Quotes of what is known, or the next call that makes it known.
    pub(super) fn begin_daily(&mut self, spelled: Spelled, now: Timestamp) -> Progress<super::Step> {
        let (crypto, stocks) = spelled.partition(is_crypto);
        let mut progress = self.daily_of(Exchange::Nyse, stocks, now);
        let other = self.daily_of(Exchange::Crypto, crypto, now);
        progress.quotes.extend(other.quotes);
        progress.missing.extend(other.missing);
        progress.calls.extend(other.calls);
        progress
    }

    pub(super) fn read_daily(&mut self, step: &Step, reply: &Reply<'_>) -> Result<Progress<super::Step>, Failure> {
        let is_refused = reply.status == 403 && !reply.is_html();
        let rows = if is_refused { Vec::new() } else { read(reply)?.results.rows::<Row<'_>>()? };
        let tables = self.daily.tables(step.exchange);
        if rows.is_empty() {
            let until = reply.now.checked_add(REFUSED_FOR).unwrap_or(reply.now);
            tables.refused.retain(|_, until| *until > reply.now);
            tables.refused.insert(step.day, until);
            if tables.refused.len() > MAX_REFUSED {
                return Err(if is_refused {
                    read(reply).err().unwrap_or_else(|| reply.failure(""))
                } else {
                    Failure::Transient("no end of day prices of any day".into())
                });
            }
        } else {
            tables.days.insert(step.day, rows.into_iter().take(MAX_TICKERS).filter_map(Row::close).collect());
        }
        Ok(self.daily_of(step.exchange, step.spelled.clone(), reply.now))
    }

    fn daily_of(&mut self, exchange: Exchange, spelled: Spelled, now: Timestamp) -> Progress<super::Step> {
        let mut progress = Progress::default();
        if spelled.is_empty() {
            return progress;
        }
        let tables = self.daily.tables(exchange);
        let Some([newest, prior]) = tables.wanted(exchange, now) else { return progress };
        if let Some(day) = [newest, prior].into_iter().find(|day| !tables.days.contains_key(day)) {
            let symbols = spelled.symbols();
            let request = self.get(path(exchange, day)).query("adjusted", "true");
            let step = super::Step::Daily(Step { exchange, day, spelled });
            progress.calls.push(Call::new(request, &symbols, step));
            return progress;
        }
        tables.days.retain(|day, _| [newest, prior].contains(day));
        for (symbol, own) in spelled.iter() {
            progress.add(symbol, tables.quote(symbol, own, exchange, [newest, prior], now), now);
        }
        progress
    }
}

impl Daily {
    fn tables(&mut self, exchange: Exchange) -> &mut Tables {
        match exchange {
            Exchange::Crypto => &mut self.crypto,
            Exchange::Nyse | Exchange::Nse => &mut self.stocks,
        }
    }
}

impl Tables {
    /// The newest day that can be had, and the trading day before it.
    fn wanted(&self, exchange: Exchange, now: Timestamp) -> Option<[Date; 2]> {
        let is_refused = |day: &Date| self.refused.get(day).is_some_and(|until| now < *until);
        let mut days = days_before(exchange, now).filter(|day| !is_refused(day));
        Some([days.next()?, days.next()?])
    }

    fn quote(
        &self,
        symbol: Symbol,
        own: &str,
        exchange: Exchange,
        [newest, prior]: [Date; 2],
        now: Timestamp,
    ) -> Result<Quote, Missing> {
        let close = |day: Date| self.days.get(&day).and_then(|table| table.get(own));
        // Who did not trade on the newest day may have on the one before.
        let (day, last) = close(newest)
            .map(|close| (newest, close))
            .or_else(|| Some((prior, close(prior)?)))
            .ok_or(Missing::UnknownSymbol)?;
        let mut quote = Quote::new(symbol, last.price.clone(), Name::Massive.as_str());
        quote.volume = last.volume.clone();
        if day == newest {
            quote.derive_change(close(prior).map(|close| &close.price));
        }
        quote.traded_at = exchange.calendar().last_close(day);
        quote.stale = quote.traded_at.is_none_or(|at| when::traded_since(exchange, at, now));
        Ok(quote)
    }
}

/// When the last regular session ended.
pub(super) fn close_before(exchange: Exchange, now: Timestamp) -> Option<Timestamp> {
    exchange.calendar().last_close(days_before(exchange, now).next()?)
}

/// The trading days that are over at `now`, the newest first.
fn days_before(exchange: Exchange, now: Timestamp) -> impl Iterator<Item = Date> {
    let calendar = exchange.calendar();
    let today = calendar.zone().to_datetime(now).date();
    std::iter::successors(Some(today), |day| day.yesterday().ok())
        .take(LOOK_BACK_DAYS)
        .filter(move |day| calendar.trades_on(*day) && calendar.last_close(*day).is_some_and(|close| close <= now))
}

fn path(exchange: Exchange, day: Date) -> String {
    match exchange {
        Exchange::Crypto => format!("/v2/aggs/grouped/locale/global/market/crypto/{day}"),
        Exchange::Nyse | Exchange::Nse => format!("/v2/aggs/grouped/locale/us/market/stocks/{day}"),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow, rename = "T")]
    ticker: Field<'a>,
    c: Field<'a>,
    v: Field<'a>,
}

impl Row<'_> {
    fn close(self) -> Option<(Box<str>, Close)> {
        let ticker = self.ticker.text()?;
        Some((ticker.into(), Close { price: self.c.price()?, volume: self.v.number() }))
    }
}
