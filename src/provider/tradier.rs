//! Tradier: stocks of the US, a hundred a call, five hundred by POST.
//!
//! Formats and limits: <https://documentation.tradier.com>. Without `Accept: application/json` it answers in XML, and its
//! JSON is converted XML: one row is an object, several are an array, none is `null` or nothing. The budget is a minute that begins with
//! the first request; every answer says what is left of it. The sandbox (`https://sandbox.tradier.com`) has half of it and
//! is 15 minutes late, which only the trade times tell.
//!
//! No state.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::config::{Config, Name, batch};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Detail, Failure, Field, Missing, Profile, Progress, Reply, Request, Spelled, Vendor, field, when,
};
use crate::market::{Exchange, Instrument, Listings, Quote, Range, Symbol};

const BASE_URL: &str = "https://api.tradier.com";
const QUOTES: &str = "/v1/markets/quotes";
const HISTORY: &str = "/v1/markets/history";
const TIMESALES: &str = "/v1/markets/timesales";
/// The vendor names no limit: what fits into a URL of 1 KiB.
const BATCH: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not 0");
/// The most by POST; only where it is configured.
const POST_BATCH: NonZeroUsize = NonZeroUsize::new(500).expect("500 is not 0");
const PRODUCTION: NonZeroU32 = NonZeroU32::new(120).expect("120 is not 0");
const SANDBOX: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");
/// Of the vendor's window: what it says about its end is not believed beyond.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Tradier.
pub struct Tradier {
    key: SecretString,
    batch: NonZeroUsize,
    per_minute: NonZeroU32,
    listings: Listings,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// Quotes of a batch.
    Quotes(Spelled),
    /// Bars of a day each.
    Days,
    /// Bars of minutes.
    Minutes,
}

impl Tradier {
    /// As configured.
    #[must_use]
    pub fn new(key: SecretString, config: &Config) -> Tradier {
        let is_sandbox = config.base_url.as_deref().is_some_and(|url| url.contains("//sandbox."));
        Tradier {
            key,
            batch: if config.batch.is_some() { batch(config, POST_BATCH) } else { BATCH },
            per_minute: if is_sandbox { SANDBOX } else { PRODUCTION },
            listings: config.listings.clone(),
        }
    }

    fn get(&self, path: &str) -> Request {
        Request::get(path)
            .header("authorization", format!("Bearer {}", self.key.expose_secret()))
            .header("accept", "application/json")
    }

    fn quotes(&self, spelled: Spelled) -> Call<Step> {
        let texts = spelled.texts();
        let (list, request) = (texts.join(","), self.get(QUOTES));
        let request = if texts.len() > BATCH.get() {
            request.form("symbols", &list).form("greeks", "false")
        } else {
            request.query("symbols", &list).query("greeks", "false")
        };
        Call::new(request, &spelled.symbols(), Step::Quotes(spelled))
    }
}

impl Vendor for Tradier {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Tradier,
            base_url: BASE_URL,
            batch: self.batch,
            at_once: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            windows: vec![window(60, self.per_minute)],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        matches!(self.listings.instrument(&symbol), Instrument::Us { .. })
    }

    fn begin(&mut self, symbols: &[Symbol], _now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| spell(&self.listings, symbol));
        progress.calls.extend(spelled.chunks(self.batch.get()).map(|chunk| self.quotes(chunk)));
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol)?;
        let calendar = Exchange::Nyse.calendar();
        let from = range.begins(calendar, now);
        // There is no half hour.
        let (step, name, minutes) = match range {
            Range::Day => (Step::Minutes, "5min", 5),
            Range::Week => (Step::Minutes, "15min", 15),
            Range::Month => (Step::Days, "daily", 24 * 60),
        };
        let (path, format) = match step {
            Step::Quotes(_) | Step::Days => (HISTORY, "%Y-%m-%d"),
            Step::Minutes => (TIMESALES, "%Y-%m-%d %H:%M"),
        };
        let local = |at: Timestamp| calendar.zone().to_datetime(at).strftime(format).to_string();
        let mut request = self.get(path).query("symbol", &own).query("interval", name);
        request = request.query("start", &local(from)).query("end", &local(now));
        if matches!(step, Step::Minutes) {
            request = request.query("session_filter", "all");
        }
        let from = if range == Range::Month { when::day_begins(from, calendar.zone()) } else { from };
        Some(Chart { interval: Duration::from_mins(minutes), from, call: Call::new(request, &[symbol], step) })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let body = read(reply)?;
        let mut progress = Progress { hold: hold(reply), ..Progress::default() };
        match &call.step {
            Step::Quotes(spelled) => read_quotes(&body, spelled, reply.now, &mut progress)?,
            Step::Days => {
                let days: Days<'_> = within(body.history)?;
                let bars = days.day.rows::<Bars<'_>>()?;
                progress.bars.extend(bars.iter().filter_map(|row| row.bar()));
            }
            Step::Minutes => {
                let series: Series<'_> = within(body.series)?;
                let bars = series.data.rows::<Bars<'_>>()?;
                progress.bars.extend(bars.iter().filter_map(|row| row.bar()));
            }
        }
        Ok(progress)
    }
}

/// `AAPL`, `BRK/B`; whoever is sent another symbol by `symbols` spells it as Tradier does (options).
fn spell(listings: &Listings, symbol: Symbol) -> Option<String> {
    match listings.instrument(&symbol) {
        Instrument::Us { root, class: None } => Some(root.into()),
        Instrument::Us { root, class: Some(class) } => Some(format!("{root}/{class}")),
        Instrument::Other(text) => Some(text.into()),
        Instrument::India { .. } | Instrument::Pair { .. } => None,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    quotes: Field<'a>,
    history: Field<'a>,
    series: Field<'a>,
    fault: Option<Fault<'a>>,
}

/// How the gateway before the vendor refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault<'a> {
    #[serde(borrow)]
    faultstring: Field<'a>,
    detail: FaultDetail<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FaultDetail<'a> {
    #[serde(borrow)]
    errorcode: Field<'a>,
}

fn read<'a>(reply: &Reply<'a>) -> Result<Body<'a>, Failure> {
    let body = reply.object::<Body<'_>>();
    if let Ok(Body { fault: Some(fault), .. }) = &body {
        return Err(refused(fault, reply));
    }
    if reply.is_success() { body } else { Err(unexplained(reply)) }
}

/// By its code: the gateway's statuses have not always been these.
fn refused(fault: &Fault<'_>, reply: &Reply<'_>) -> Failure {
    let said = fault.faultstring.text().unwrap_or_default();
    let code = fault.detail.errorcode.text().unwrap_or_default();
    let detail = Detail::new(&format!("{} {said}", reply.status));
    if reply.status == 429 || code.contains("ratelimit") || said.contains("quota violation") {
        Failure::RateLimited { retry_after: retry_after(reply), detail }
    } else if reply.status == 401 || code.contains("access_token") || code.contains("api_key") {
        Failure::Auth(detail)
    } else if reply.is_success() {
        Failure::Transient(detail)
    } else {
        reply.failure(&said)
    }
}

fn unexplained(reply: &Reply<'_>) -> Failure {
    match reply.failure("") {
        Failure::RateLimited { detail, .. } => Failure::RateLimited { retry_after: retry_after(reply), detail },
        failure => failure,
    }
}

fn retry_after(reply: &Reply<'_>) -> Option<Duration> {
    reply.retry_after().or_else(|| window_end(reply))
}

/// The last request of this window has been made.
fn hold(reply: &Reply<'_>) -> Option<Duration> {
    let available: i64 = reply.header("x-ratelimit-available")?.trim().parse().ok()?;
    if available <= 0 { window_end(reply) } else { None }
}

/// Until the vendor's window ends. Clients disagree on the unit; no second of this century has 12 digits.
fn window_end(reply: &Reply<'_>) -> Option<Duration> {
    const FIRST_MILLIS: i64 = 100_000_000_000;
    let expiry: i64 = reply.header("x-ratelimit-expiry")?.trim().parse().ok()?;
    let expiry = if expiry > FIRST_MILLIS {
        Timestamp::from_millisecond(expiry).ok()?
    } else {
        Timestamp::from_second(expiry).ok()?
    };
    Duration::try_from(expiry.duration_since(reply.now).min(WINDOW)).ok()
}

/// What is in an envelope; `null`, `"null"` and nothing at all are an empty one.
fn within<'a, T: Deserialize<'a> + Default>(field: Field<'a>) -> Result<T, Failure> {
    if field.text().is_some() { Ok(T::default()) } else { Ok(field.read()?.unwrap_or_default()) }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Quotes<'a> {
    #[serde(borrow)]
    quote: Field<'a>,
    unmatched_symbols: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Unmatched<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Days<'a> {
    #[serde(borrow)]
    day: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Series<'a> {
    #[serde(borrow)]
    data: Field<'a>,
}

fn read_quotes(
    body: &Body<'_>,
    spelled: &Spelled,
    now: Timestamp,
    progress: &mut Progress<Step>,
) -> Result<(), Failure> {
    let quotes: Quotes<'_> = within(body.quotes)?;
    let rows: Vec<Row<'_>> = quotes.quote.rows()?;
    let unmatched: Unmatched<'_> = within(quotes.unmatched_symbols)?;
    let unmatched: Vec<Field<'_>> = unmatched.symbol.rows()?;
    let is = |field: &Field<'_>, own: &str| field.text().is_some_and(|text| text == own);
    for (symbol, own) in spelled.iter() {
        let row = match rows.iter().find(|row| is(&row.symbol, own)) {
            Some(row) => row.quote(symbol),
            None if unmatched.iter().any(|field| is(field, own)) => Err(Missing::UnknownSymbol),
            None => Err(Missing::NoData),
        };
        progress.add(symbol, row, now);
    }
    Ok(())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    last: Field<'a>,
    change: Field<'a>,
    change_percentage: Field<'a>,
    prevclose: Field<'a>,
    volume: Field<'a>,
    trade_date: Field<'a>,
}

impl Row<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let price = self.last.price().ok_or(Missing::NoData)?;
        let mut quote = Quote::new(symbol, price, Name::Tradier.as_str());
        quote.change = self.change.number();
        quote.change_percent = self.change_percentage.number();
        quote.derive_change(self.prevclose.number().as_ref());
        quote.volume = self.volume.number();
        // Until 2013 it was a text.
        quote.traded_at =
            self.trade_date.millis().or_else(|| self.trade_date.text().and_then(|text| text.parse().ok()));
        Ok(quote)
    }
}

/// A day or some minutes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Bars<'a> {
    #[serde(borrow)]
    date: Field<'a>,
    timestamp: Field<'a>,
    time: Field<'a>,
    open: Field<'a>,
    high: Field<'a>,
    low: Field<'a>,
    close: Field<'a>,
    volume: Field<'a>,
}

impl Bars<'_> {
    fn bar(&self) -> Option<crate::market::Bar> {
        let new_york = Exchange::Nyse.calendar().zone();
        let day = || self.date.text().and_then(|text| when::midnight(&text, new_york));
        let time = || self.time.text().and_then(|text| when::local(&text, &["%Y-%m-%dT%H:%M:%S"], new_york));
        let start = self.timestamp.seconds().or_else(time).or_else(day);
        field::bar(start, [self.open, self.high, self.low, self.close], self.volume)
    }
}

#[cfg(test)]
mod tests;
