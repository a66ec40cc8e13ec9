//! Twelve Data: a list of symbols a call, one credit for each of them.
//!
//! Formats and limits: <https://twelvedata.com/docs>. A batch saves round trips and no quota, so it is never larger than the credits
//! of a minute. Failures come as `{code, message, status: "error"}`, with the code as the status or with status 200, and of
//! one symbol in that symbol's place. Credits are counted by the clock's minute.
//!
//! No state.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::config::{Config, Name, batch, has_paid};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Detail, Failure, Field, Missing, Profile, Progress, Reply, Request, Spelled, Vendor, field, when,
};
use crate::market::listing::Venue;
use crate::market::quote::MarketState;
use crate::market::{Instrument, Listings, Quote, Range, Symbol};

const BASE_URL: &str = "https://api.twelvedata.com";
const QUOTE: &str = "/quote";
const BARS: &str = "/time_series";
/// In credits: the free plan's minute, and what is asked at once in any plan unless configured.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");
/// In credits; paid plans have no such limit.
const PER_DAY: NonZeroU32 = NonZeroU32::new(800).expect("800 is not 0");
const BATCH: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");
/// What fits into a URL; only where it is configured.
const LARGEST_BATCH: NonZeroUsize = NonZeroUsize::new(120).expect("120 is not 0");

/// Twelve Data.
pub struct TwelveData {
    key: SecretString,
    has_paid: bool,
    batch: NonZeroUsize,
    listings: Listings,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// Quotes of a batch.
    Quotes(Spelled),
    /// One symbol's bars.
    Bars,
}

impl TwelveData {
    /// As configured.
    #[must_use]
    pub fn new(key: SecretString, config: &Config) -> TwelveData {
        let asked = if config.batch.is_some() { batch(config, LARGEST_BATCH) } else { BATCH };
        // A call that costs more than a window holds could never be made.
        let windows = [config.per_second, Some(config.per_minute.unwrap_or(PER_MINUTE)), config.per_day];
        let affordable = windows.into_iter().flatten().filter_map(|limit| NonZeroUsize::try_from(limit).ok());
        TwelveData {
            key,
            has_paid: has_paid(config),
            batch: affordable.fold(asked, NonZeroUsize::min),
            listings: config.listings.clone(),
        }
    }

    fn get(&self, path: &str) -> Request {
        // The word is theirs.
        Request::get(path).header("authorization", format!("apikey {}", self.key.expose_secret()))
    }

    fn quotes(&self, spelled: Spelled) -> Call<Step> {
        let texts = spelled.texts();
        let request = self.get(QUOTE).query("symbol", &texts.join(","));
        let credits = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        Call::new(request, &spelled.symbols(), Step::Quotes(spelled)).costs(credits)
    }

    /// What a failure of a whole batch means for its symbols: when one of them is to blame, the halves are asked for.
    fn blame(&self, refusal: &Refusal<'_>, spelled: &Spelled, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let mut progress = Progress::default();
        let code = refusal.code(reply);
        let count = spelled.texts().len();
        match (code, refusal.missing(code)) {
            (400 | 403 | 404 | 414, _) if count > 1 => {
                progress
                    .calls
                    .extend(spelled.chunks(spelled.symbols().len().div_ceil(2)).map(|half| self.quotes(half)));
                Ok(progress)
            }
            (_, Some(missing)) => {
                progress.missing.extend(spelled.symbols().into_iter().map(|symbol| (symbol, missing)));
                Ok(progress)
            }
            (_, None) => Err(refusal.failure(reply)),
        }
    }

    fn read_quotes(&self, spelled: &Spelled, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        // One symbol's row stands alone, those of several under what each was asked for as.
        let alone: Row<'_> = reply.object()?;
        if alone.refusal().is_one() {
            return self.blame(&alone.refusal(), spelled, reply);
        }
        let mut rows: BTreeMap<String, Field<'_>> = BTreeMap::new();
        if alone.symbol.json().is_none() {
            rows = reply.object()?;
        }
        let mut progress = Progress::default();
        for (symbol, own) in spelled.iter() {
            let row = match rows.get(own) {
                Some(row) => row.read::<Row<'_>>()?,
                None => (rows.is_empty() && spelled.texts().len() == 1).then_some(alone),
            };
            let quote = match row {
                None => Err(Missing::NoData),
                Some(row) if row.refusal().is_one() => {
                    let refusal = row.refusal();
                    Err(refusal.missing(refusal.code(reply)).ok_or_else(|| refusal.failure(reply))?)
                }
                Some(row) => row.quote(symbol),
            };
            progress.add(symbol, quote, reply.now);
        }
        Ok(progress)
    }
}

impl Vendor for TwelveData {
    type Step = Step;

    fn profile(&self) -> Profile {
        let mut windows = vec![window(60, PER_MINUTE)];
        if !self.has_paid {
            windows.push(window(86_400, PER_DAY));
        }
        Profile {
            name: Name::TwelveData,
            base_url: BASE_URL,
            batch: self.batch,
            at_once: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            windows,
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        match self.listings.instrument(&symbol) {
            Instrument::Us { .. } => true,
            Instrument::India { .. } => self.has_paid,
            Instrument::Pair { quote, .. } => matches!(quote, "USD" | "EUR" | "BTC" | "ETH"),
            Instrument::Other(_) => false,
        }
    }

    fn begin(&mut self, symbols: &[Symbol], _now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| Some(spell(&self.listings, symbol)));
        progress.calls.extend(spelled.chunks(self.batch.get()).map(|chunk| self.quotes(chunk)));
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol);
        let calendar = self.listings.exchange(symbol).calendar();
        let from = range.begins(calendar, now);
        // As many as there are around the clock, and some.
        let (name, minutes, count, from) = match range {
            Range::Day => ("5min", 5, 300, from),
            Range::Week => ("30min", 30, 350, from),
            Range::Month => ("1day", 24 * 60, 35, when::day_begins(from, calendar.zone())),
        };
        let request =
            self.get(BARS).query("symbol", &own).query("interval", name).query("outputsize", &count.to_string());
        Some(Chart { interval: Duration::from_mins(minutes), from, call: Call::new(request, &[symbol], Step::Bars) })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let is_refusal = !reply.is_success();
        let mut progress = match &call.step {
            _ if is_refusal && reply.object::<Refusal<'_>>().is_err() => Err(unexplained(reply)),
            Step::Quotes(spelled) if is_refusal => self.blame(&reply.object()?, spelled, reply),
            Step::Quotes(spelled) => self.read_quotes(spelled, reply),
            Step::Bars => read_bars(call, reply),
        }?;
        progress.hold = hold(reply);
        Ok(progress)
    }
}

/// `AAPL`, `BRK.B`, `RELIANCE:NSE`, `BTC/USD`.
fn spell(listings: &Listings, symbol: Symbol) -> String {
    match listings.instrument(&symbol) {
        Instrument::Us { root, class: None } => root.into(),
        Instrument::Us { root, class: Some(class) } => format!("{root}.{class}"),
        Instrument::India { name, venue: Venue::Nse } => format!("{name}:NSE"),
        Instrument::India { name, venue: Venue::Bse } => format!("{name}:BSE"),
        Instrument::Pair { base, quote } => format!("{base}/{quote}"),
        Instrument::Other(text) => text.into(),
    }
}

/// What went wrong, of a call or of one symbol.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Refusal<'a> {
    #[serde(borrow)]
    code: Field<'a>,
    message: Field<'a>,
    status: Field<'a>,
}

impl Refusal<'_> {
    fn is_one(&self) -> bool {
        self.status.text().is_some_and(|status| status == "error")
            || (self.code.whole().is_some() && self.message.text().is_some())
    }

    /// The body's own, since the status may be 200.
    fn code(&self, reply: &Reply<'_>) -> u16 {
        let code = self.code.whole().and_then(|code| u16::try_from(code).ok());
        code.unwrap_or(if reply.is_success() { 500 } else { reply.status })
    }

    /// What it says when it is about one symbol.
    fn missing(&self, code: u16) -> Option<Missing> {
        let said = self.message.text().unwrap_or_default().to_ascii_lowercase();
        match code {
            400 | 404 if said.contains("no data") => Some(Missing::NoData),
            400 | 404 => Some(Missing::UnknownSymbol),
            403 => Some(Missing::NotInPlan),
            _ => None,
        }
    }

    fn failure(&self, reply: &Reply<'_>) -> Failure {
        let said = self.message.text().unwrap_or_default();
        let code = self.code(reply);
        let detail = Detail::new(&format!("{code} {said}"));
        match code {
            401 => Failure::Auth(detail),
            403 => Failure::Plan(detail),
            429 if said.contains("for the day") => Failure::QuotaExhausted { until: next_day(reply.now), detail },
            429 => Failure::RateLimited {
                retry_after: reply.retry_after().or_else(|| Some(next_minute(reply.now))),
                detail,
            },
            500..=599 => Failure::Transient(detail),
            _ => Failure::Malformed(detail),
        }
    }
}

fn unexplained(reply: &Reply<'_>) -> Failure {
    match reply.failure("") {
        Failure::RateLimited { retry_after, detail } => {
            Failure::RateLimited { retry_after: retry_after.or_else(|| Some(next_minute(reply.now))), detail }
        }
        failure => failure,
    }
}

/// Until the clock's next minute, when there are credits again.
fn next_minute(now: Timestamp) -> Duration {
    Duration::from_secs(60 - u64::try_from(now.as_second().rem_euclid(60)).unwrap_or(0))
}

/// The vendor's day is one of UTC.
fn next_day(now: Timestamp) -> Timestamp {
    when::day_begins(now, &TimeZone::UTC).checked_add(24.hours()).unwrap_or(now)
}

/// The last credit of this minute is spent.
fn hold(reply: &Reply<'_>) -> Option<Duration> {
    let left: i64 = reply.header("api-credits-left")?.trim().parse().ok()?;
    (left <= 0).then(|| next_minute(reply.now))
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    close: Field<'a>,
    change: Field<'a>,
    percent_change: Field<'a>,
    previous_close: Field<'a>,
    volume: Field<'a>,
    timestamp: Field<'a>,
    last_quote_at: Field<'a>,
    is_market_open: Field<'a>,
    code: Field<'a>,
    message: Field<'a>,
    status: Field<'a>,
}

impl<'a> Row<'a> {
    const fn refusal(&self) -> Refusal<'a> {
        Refusal { code: self.code, message: self.message, status: self.status }
    }

    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let price = self.close.price().ok_or(Missing::NoData)?;
        let mut quote = Quote::new(symbol, price, Name::TwelveData.as_str());
        quote.change = self.change.number();
        quote.change_percent = self.percent_change.number();
        quote.derive_change(self.previous_close.number().as_ref());
        quote.volume = self.volume.number();
        // `timestamp` is when the day's bar began.
        quote.traded_at = self.last_quote_at.seconds().or_else(|| self.timestamp.seconds());
        quote.market_state = (self.is_market_open.json() == Some("true")).then_some(MarketState::Regular);
        Ok(quote)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Series<'a> {
    #[serde(borrow)]
    meta: Meta<'a>,
    values: Field<'a>,
    code: Field<'a>,
    message: Field<'a>,
    status: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta<'a> {
    #[serde(borrow)]
    exchange_timezone: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Value<'a> {
    #[serde(borrow)]
    datetime: Field<'a>,
    open: Field<'a>,
    high: Field<'a>,
    low: Field<'a>,
    close: Field<'a>,
    volume: Field<'a>,
}

fn read_bars(call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
    let mut progress = Progress::default();
    let series: Series<'_> = reply.object()?;
    let refusal = Refusal { code: series.code, message: series.message, status: series.status };
    if !reply.is_success() || refusal.is_one() {
        return match refusal.missing(refusal.code(reply)) {
            None => Err(refusal.failure(reply)),
            Some(missing) => {
                progress.missing.extend(call.symbols.iter().map(|&symbol| (symbol, missing)));
                Ok(progress)
            }
        };
    }
    let name = series.meta.exchange_timezone.text().unwrap_or_default();
    let zone = when::zone(&name).ok_or_else(|| Failure::Malformed("an unknown exchange_timezone".into()))?;
    for row in series.values.rows::<Value<'_>>()? {
        let text = row.datetime.text().unwrap_or_default();
        let start = when::local(&text, &[when::ISO], &zone).or_else(|| when::midnight(&text, &zone));
        progress.bars.extend(field::bar(start, [row.open, row.high, row.low, row.close], row.volume));
    }
    Ok(progress)
}

#[cfg(test)]
mod tests;
