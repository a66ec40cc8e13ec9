//! Binance spot: the rolling 24 h ticker, up to 20 symbols a call, no key.
//!
//! <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#24hr-ticker-price-change-statistics>:
//! `GET /api/v3/ticker/24hr?symbols=["BTCUSDT","ETHUSDT"]`, weight 2 for 1 to 20 symbols. One invalid symbol fails the whole
//! batch (400, code -1121), so a failed batch is halved until the bad one stands alone. `change` is over the last 24 h,
//! not since a close.
//!
//! Bars: `GET /api/v3/klines`, the same weight; the last one is unfinished.
//!
//! Symbols are `BASE-QUOTE`, `BTC-USDT` for Binance's `BTCUSDT`; `BTCUSDT` works too, as a symbol of its own.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::config::{Config, Name, batch};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Detail, Failure, Field, Missing, Profile, Progress, Reply, Request, Vendor, field, when,
};
use crate::market::{Bar, Exchange, Number, Quote, Range, Symbol};

/// Public market data only; `api.binance.com` is blocked in some countries.
const BASE_URL: &str = "https://data-api.binance.vision";
const TICKER: &str = "/api/v3/ticker/24hr";
const KLINES: &str = "/api/v3/klines";
/// The most bars of one call; a day has 288 of five minutes, a week 336 of half an hour.
const MAX_KLINES: &str = "1000";
/// More symbols cost twenty times as much.
const BATCH: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not 0");
const WEIGHT: u32 = 2;
/// Per minute and address. The vendor's cap is 6000 (formerly 1200); 1200 is 200 symbols a second.
const BUDGET: NonZeroU32 = NonZeroU32::new(1200).expect("1200 is not 0");
const VENDOR_CAP: u32 = 6000;
/// The longest ban there is.
const LONGEST_BAN: Duration = Duration::from_secs(3 * 86_400);

/// What pairs are quoted in: `BASE-QUOTE` with one of them is served unless patterns are configured.
const QUOTE_ASSETS: [&str; 22] = [
    "USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "TRY", "EUR", "BRL", "JPY", "DAI", "USD1", "XUSD", "MXN",
    "ARS", "COP", "PLN", "RON", "ZAR", "UAH", "CZK",
];
/// The first so many of them are told from the end of a stock's name, so that `BASEQUOTE` is served too.
const UNMISTAKABLE: usize = 7;
/// The shortest `BASEQUOTE` served; tickers of stocks that end in `BTC` are shorter.
const MIN_JOINED: usize = 6;

/// Binance's error codes that are told apart here.
const INVALID_SYMBOL: i64 = -1121;
const ILLEGAL_CHARACTERS: i64 = -1100;
const TOO_MUCH_WEIGHT: i64 = -1003;

/// Binance.
#[derive(Debug)]
pub struct Binance {
    batch: NonZeroUsize,
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The 24 h ticker of a batch.
    Ticker,
    /// One pair's bars.
    Klines,
}

impl Binance {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Binance {
        Binance { batch: batch(config, BATCH) }
    }
}

impl Vendor for Binance {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Binance,
            base_url: BASE_URL,
            batch: self.batch,
            at_once: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            windows: vec![window(60, BUDGET)],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        let text = symbol.as_str();
        let base = match text.split_once('-') {
            Some((base, quote)) => QUOTE_ASSETS.contains(&quote).then_some(base),
            None if text.len() < MIN_JOINED => None,
            None => QUOTE_ASSETS[..UNMISTAKABLE].iter().find_map(|quote| text.strip_suffix(quote)),
        };
        base.is_some_and(|base| !base.is_empty() && base.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }

    fn begin(&mut self, symbols: &[Symbol], _now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let (spelled, other): (Vec<Symbol>, Vec<Symbol>) = symbols.iter().partition(|symbol| spell(**symbol).is_some());
        progress.missing.extend(other.into_iter().map(|symbol| (symbol, Missing::UnknownSymbol)));
        progress.calls.extend(spelled.chunks(self.batch.get()).map(call));
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(symbol)?;
        let calendar = Exchange::Crypto.calendar();
        let from = range.begins(calendar, now);
        let (interval, minutes, from) = match range {
            Range::Day => ("5m", 5, from),
            Range::Week => ("30m", 30, from),
            Range::Month => ("1d", 24 * 60, when::day_begins(from, calendar.zone())),
        };
        let request = Request::get(KLINES)
            .query("symbol", &own)
            .query("interval", interval)
            .query("startTime", &from.as_millisecond().to_string())
            .query("endTime", &now.as_millisecond().to_string())
            .query("limit", MAX_KLINES);
        let call = Call::new(request, &[symbol], Step::Klines).costs(WEIGHT);
        Some(Chart { interval: Duration::from_mins(minutes), from, call })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        if !reply.is_success() {
            return refused(call, reply);
        }
        if call.step == Step::Klines {
            let rows: Vec<Vec<Field<'_>>> = reply.json()?;
            let bars = rows.iter().filter_map(|row| kline(row)).collect();
            return Ok(Progress { bars, hold: hold(reply), ..Progress::default() });
        }
        let is_array = reply.body.trim_ascii_start().starts_with(b"[");
        let rows: Vec<Row<'_>> = if is_array { reply.json()? } else { vec![reply.json()?] };
        let mut progress = Progress { hold: hold(reply), ..Progress::default() };
        for &symbol in &call.symbols {
            let row = spell(symbol).and_then(|own| rows.iter().find(|row| row.symbol == own));
            progress.add(symbol, row.ok_or(Missing::NoData).and_then(|row| row.quote(symbol)), reply.now);
        }
        Ok(progress)
    }
}

/// Binance's own spelling: letters and digits, at most 20 (`^[A-Z0-9-_.]{1,20}$` in its error texts, but no pair has a
/// dash, an underscore or a dot).
fn spell(symbol: Symbol) -> Option<String> {
    let text = symbol.as_str();
    let own = match text.split_once('-') {
        Some((base, quote)) if !base.is_empty() && !quote.is_empty() => [base, quote].concat(),
        Some(_) => return None,
        None => text.to_owned(),
    };
    (own.len() <= 20 && own.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(own)
}

fn call(symbols: &[Symbol]) -> Call<Step> {
    let mut spelled: Vec<String> = Vec::with_capacity(symbols.len());
    for own in symbols.iter().filter_map(|&symbol| spell(symbol)) {
        // `BTC-USDT` and `BTCUSDT` are one pair there, and a duplicate is an error.
        if !spelled.contains(&own) {
            spelled.push(own);
        }
    }
    let list = format!("[\"{}\"]", spelled.join("\",\""));
    Call::new(Request::get(TICKER).query("symbols", &list), symbols, Step::Ticker).costs(WEIGHT)
}

/// `[openTime, open, high, low, close, volume, closeTime, …]`.
fn kline(row: &[Field<'_>]) -> Option<Bar> {
    let [start, open, high, low, close, volume] = *row.first_chunk()?;
    field::bar(start.millis(), [open, high, low, close], volume)
}

fn refused(call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
    #[derive(Deserialize)]
    struct Refusal {
        code: i64,
        #[serde(default)]
        msg: String,
    }
    let refusal = reply.json::<Refusal>().ok();
    let said = refusal.as_ref().map(|refusal| format!("{} {}", refusal.code, refusal.msg)).unwrap_or_default();
    let code = refusal.map(|refusal| refusal.code);
    let detail = || Detail::new(&format!("{} {said}", reply.status));
    match (reply.status, code) {
        (400, Some(INVALID_SYMBOL | ILLEGAL_CHARACTERS)) => Ok(halved(&call.symbols)),
        // 403 is the firewall's way to say the same.
        (403 | 429, _) | (_, Some(TOO_MUCH_WEIGHT)) if reply.status != 418 => {
            Err(Failure::RateLimited { retry_after: reply.retry_after(), detail: detail() })
        }
        (418, _) => Err(Failure::QuotaExhausted { until: ban_end(reply), detail: detail() }),
        (451, _) => Err(Failure::Plan(Detail::new(&format!("451 not served to this country: {said}")))),
        _ => Err(reply.failure(&said)),
    }
}

/// The bad one when it stands alone, or else two calls for the halves.
fn halved(symbols: &[Symbol]) -> Progress<Step> {
    let mut progress = Progress::default();
    let pairs = symbols.iter().filter_map(|&symbol| spell(symbol)).collect::<std::collections::BTreeSet<_>>();
    if pairs.len() <= 1 {
        progress.missing.extend(symbols.iter().map(|&symbol| (symbol, Missing::UnknownSymbol)));
        return progress;
    }
    let (first, second) = symbols.split_at(symbols.len() / 2);
    progress.calls.extend([call(first), call(second)]);
    progress
}

/// A ban's `Retry-After` may be days; it is not cut to what a passing limit may ask.
fn ban_end(reply: &Reply<'_>) -> Timestamp {
    let seconds = reply.header("retry-after").and_then(|field| field.trim().parse().ok());
    let ban = seconds.map_or(Duration::from_secs(120), Duration::from_secs).min(LONGEST_BAN);
    let ban = SignedDuration::try_from(ban).expect("three days fit");
    reply.now.checked_add(ban).unwrap_or(reply.now)
}

/// Others behind our address may have spent the minute's weight; then wait for the next one.
fn hold(reply: &Reply<'_>) -> Option<Duration> {
    let used: u32 = reply.header("x-mbx-used-weight-1m")?.trim().parse().ok()?;
    let into_minute = u64::try_from(reply.now.as_second().rem_euclid(60)).unwrap_or(0);
    (used.saturating_add(WEIGHT) > VENDOR_CAP).then(|| Duration::from_secs(60 - into_minute))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    symbol: &'a str,
    #[serde(borrow)]
    last_price: &'a RawValue,
    #[serde(borrow, default)]
    price_change: Option<&'a RawValue>,
    #[serde(borrow, default)]
    price_change_percent: Option<&'a RawValue>,
    #[serde(borrow, default)]
    volume: Option<&'a RawValue>,
    #[serde(default)]
    close_time: Option<i64>,
}

impl Row<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let price = Number::from_json(self.last_price).ok_or(Missing::NoData)?;
        let number = |raw: Option<&RawValue>| raw.and_then(Number::from_json);
        let mut quote = Quote::new(symbol, price, Name::Binance.as_str());
        quote.change = number(self.price_change);
        quote.change_percent = number(self.price_change_percent);
        quote.volume = number(self.volume);
        quote.traded_at = self.close_time.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Ok(quote)
    }
}

#[cfg(test)]
mod tests;
