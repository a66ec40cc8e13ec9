//! Alpha Vantage: end of day prices, 25 calls a day; with a paid key a hundred symbols a call.
//!
//! Formats and limits: <https://www.alphavantage.co/documentation/>. Every failure comes with status 200 and an English sentence, and
//! both limits' sentences name the daily one. The key travels in the query, and some sentences repeat it.
//!
//! State: until when the plan is known not to have the batch.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::config::{Config, Name, batch, has_paid};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Detail, Failure, Field, Missing, Profile, Progress, Reply, Request, Spelled, Vendor, field, when,
};
use crate::market::{Exchange, Instrument, Listings, Quote, Range, Symbol};

const BASE_URL: &str = "https://www.alphavantage.co";
/// More are ignored without a word.
const BULK: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not 0");
const PER_DAY: NonZeroU32 = NonZeroU32::new(25).expect("25 is not 0");
/// The smallest paid plan, which has no daily limit.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(75).expect("75 is not 0");
/// Of free keys, and of their address.
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN;
/// How long a plan that has no batch is not asked for one.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Alpha Vantage.
pub struct AlphaVantage {
    key: SecretString,
    has_paid: bool,
    batch: NonZeroUsize,
    listings: Listings,
    bulk_refused_until: Option<Timestamp>,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// One symbol's quote, and on which exchange it is.
    Quote(Exchange),
    /// Quotes of a batch.
    Bulk(Spelled),
    /// One symbol's bars.
    Bars,
}

impl AlphaVantage {
    /// As configured.
    #[must_use]
    pub fn new(key: SecretString, config: &Config) -> AlphaVantage {
        let has_paid = has_paid(config);
        AlphaVantage {
            key,
            has_paid,
            batch: if has_paid { batch(config, BULK) } else { NonZeroUsize::MIN },
            listings: config.listings.clone(),
            bulk_refused_until: None,
        }
    }

    fn get(&self, function: &str, symbol: &str) -> Request {
        Request::get("/query")
            .query("function", function)
            .query("symbol", symbol)
            .query("apikey", self.key.expose_secret())
    }

    fn single(&self, symbol: Symbol, own: &str) -> Call<Step> {
        let exchange = self.listings.exchange(symbol);
        Call::new(self.get("GLOBAL_QUOTE", own), &[symbol], Step::Quote(exchange))
    }

    fn calls(&self, spelled: &Spelled, now: Timestamp) -> Vec<Call<Step>> {
        let is_refused = self.bulk_refused_until.is_some_and(|until| now < until);
        if !self.has_paid || is_refused || spelled.texts().len() < 2 {
            return spelled.iter().map(|(symbol, own)| self.single(symbol, own)).collect();
        }
        let bulk = |chunk: Spelled| {
            let request = self.get("REALTIME_BULK_QUOTES", &chunk.texts().join(","));
            Call::new(request, &chunk.symbols(), Step::Bulk(chunk))
        };
        spelled.chunks(self.batch.get()).map(bulk).collect()
    }
}

impl Vendor for AlphaVantage {
    type Step = Step;

    fn profile(&self) -> Profile {
        let long = if self.has_paid { window(60, PER_MINUTE) } else { window(86_400, PER_DAY) };
        let second = (!self.has_paid).then(|| window(1, PER_SECOND));
        Profile {
            name: Name::AlphaVantage,
            base_url: BASE_URL,
            batch: self.batch,
            at_once: None,
            interval: Duration::from_secs(if self.has_paid { 5 } else { 3600 }),
            timeout: Duration::from_secs(20),
            windows: second.into_iter().chain([long]).collect(),
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        matches!(self.listings.instrument(&symbol), Instrument::Us { .. } | Instrument::India { .. })
    }

    fn begin(&mut self, symbols: &[Symbol], now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| spell(&self.listings, symbol));
        progress.calls = self.calls(&spelled, now);
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol)?;
        let calendar = self.listings.exchange(symbol).calendar();
        let from = range.begins(calendar, now);
        // The newest hundred are what a free key gets: 16 hours of trade a day make 64 quarters or 16 hours.
        let (function, interval, minutes, from) = match range {
            Range::Day => ("TIME_SERIES_INTRADAY", Some("15min"), 15, from),
            Range::Week => ("TIME_SERIES_INTRADAY", Some("60min"), 60, from),
            Range::Month => ("TIME_SERIES_DAILY", None, 24 * 60, when::day_begins(from, calendar.zone())),
        };
        let mut request = self.get(function, &own).query("outputsize", "compact");
        if let Some(interval) = interval {
            request = request.query("interval", interval);
        }
        Some(Chart { interval: Duration::from_mins(minutes), from, call: Call::new(request, &[symbol], Step::Bars) })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let mut progress = Progress::default();
        let body = match read(reply) {
            Ok(body) => body,
            Err(Refusal::Symbol) => {
                progress.missing.extend(call.symbols.iter().map(|&symbol| (symbol, Missing::UnknownSymbol)));
                return Ok(progress);
            }
            Err(Refusal::Call(Failure::Plan(detail))) => {
                let Step::Bulk(spelled) = &call.step else { return Err(Failure::Plan(detail)) };
                self.bulk_refused_until = reply.now.checked_add(REFUSED_FOR).ok();
                progress.calls = self.calls(spelled, reply.now);
                return Ok(progress);
            }
            Err(Refusal::Call(failure)) => return Err(failure),
        };
        match &call.step {
            Step::Quote(exchange) => {
                let row = starting_with(&body, "Global Quote").ok_or_else(|| shapeless("Global Quote"))?;
                let row: Row<'_> = row.read()?.unwrap_or_default();
                for &symbol in &call.symbols {
                    progress.add(symbol, row.quote(symbol, *exchange, reply.now), reply.now);
                }
            }
            Step::Bulk(spelled) => {
                let rows = starting_with(&body, "data").ok_or_else(|| shapeless("data"))?.rows::<BulkRow<'_>>()?;
                for (symbol, own) in spelled.iter() {
                    let row = rows.iter().find(|row| row.symbol.text().is_some_and(|text| text == own));
                    progress.add(
                        symbol,
                        row.ok_or(Missing::UnknownSymbol).and_then(|row| row.quote(symbol)),
                        reply.now,
                    );
                }
            }
            Step::Bars => progress.bars = bars(&body)?,
        }
        Ok(progress)
    }
}

/// `AAPL`, `BRK-B`, `RELIANCE.BSE` (there is no NSE).
fn spell(listings: &Listings, symbol: Symbol) -> Option<String> {
    match listings.instrument(&symbol) {
        Instrument::Us { root, class: None } => Some(root.into()),
        Instrument::Us { root, class: Some(class) } => Some(format!("{root}-{class}")),
        Instrument::India { name, .. } => Some(format!("{name}.BSE")),
        Instrument::Pair { .. } => None,
        Instrument::Other(text) => Some(text.into()),
    }
}

/// Its fields: their names hold numbers, intervals and notes.
type Answer<'a> = BTreeMap<String, Field<'a>>;

enum Refusal {
    /// The symbol is not known.
    Symbol,
    Call(Failure),
}

fn read<'a>(reply: &Reply<'a>) -> Result<Answer<'a>, Refusal> {
    if !reply.is_success() {
        return Err(Refusal::Call(reply.failure("")));
    }
    let body: Answer<'a> = reply.object().map_err(Refusal::Call)?;
    let said = ["Information", "Note", "Error Message"].into_iter().find_map(|name| body.get(name)?.text());
    match said {
        Some(said) => Err(refused(&said, reply.now)),
        None => Ok(body),
    }
}

/// By the sentence. The order matters: the one about bursts names the daily limit too.
fn refused(said: &str, now: Timestamp) -> Refusal {
    let (detail, said) = (Detail::new(said), said.to_ascii_lowercase());
    let limited =
        |seconds| Failure::RateLimited { retry_after: Some(Duration::from_secs(seconds)), detail: detail.clone() };
    Refusal::Call(if said.contains("detected your api key") && said.contains("per day") {
        Failure::QuotaExhausted { until: next_day(now), detail }
    } else if said.contains("per second") || said.contains("sparingly") {
        limited(1)
    } else if said.contains("per minute") || said.contains("call frequency") {
        limited(60)
    } else if said.contains("premium endpoint") || said.contains("premium feature") {
        Failure::Plan(detail)
    } else if said.contains("apikey") && (said.contains("invalid or missing") || said.contains("claim your free")) {
        Failure::Auth(detail)
    } else if said.contains("invalid api call") {
        return Refusal::Symbol;
    } else {
        Failure::Malformed(detail)
    })
}

/// Nobody says when the day begins; the company is in New York's zone. A call too early costs one refusal.
fn next_day(now: Timestamp) -> Timestamp {
    let zone = Exchange::Nyse.calendar().zone();
    let tomorrow = zone.to_datetime(now).date().tomorrow();
    tomorrow
        .ok()
        .and_then(|day| zone.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok())
        .or_else(|| now.checked_add(24.hours()).ok())
        .unwrap_or(now)
}

fn shapeless(name: &str) -> Failure {
    Failure::Malformed(format!("there is no {name:?} in the answer").into())
}

/// `Global Quote - DATA DELAYED BY 15 MINUTES` is one too.
fn starting_with<'a>(body: &Answer<'a>, start: &str) -> Option<Field<'a>> {
    body.iter().find(|(name, _)| name.starts_with(start)).map(|(_, field)| *field)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow, rename = "05. price")]
    price: Field<'a>,
    #[serde(rename = "06. volume")]
    volume: Field<'a>,
    #[serde(rename = "07. latest trading day")]
    day: Field<'a>,
    #[serde(rename = "08. previous close")]
    previous_close: Field<'a>,
    #[serde(rename = "09. change")]
    change: Field<'a>,
    #[serde(rename = "10. change percent")]
    change_percent: Field<'a>,
}

impl Row<'_> {
    fn quote(&self, symbol: Symbol, exchange: Exchange, now: Timestamp) -> Result<Quote, Missing> {
        if self.price.json().is_none() {
            return Err(Missing::UnknownSymbol);
        }
        let mut quote = Quote::new(symbol, self.price.price().ok_or(Missing::NoData)?, Name::AlphaVantage.as_str());
        quote.change = self.change.number();
        quote.change_percent = self.change_percent.number();
        quote.derive_change(self.previous_close.number().as_ref());
        quote.volume = self.volume.number();
        // A day that still trades has no close yet: then nobody knows the time.
        let close = self.day.text().and_then(|day| when::close_of(&day, exchange));
        quote.traded_at = close.filter(|close| *close <= now);
        quote.stale = quote.traded_at.is_some_and(|close| when::traded_since(exchange, close, now));
        Ok(quote)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BulkRow<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    timestamp: Field<'a>,
    close: Field<'a>,
    volume: Field<'a>,
    previous_close: Field<'a>,
    change: Field<'a>,
    change_percent: Field<'a>,
}

impl BulkRow<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let mut quote = Quote::new(symbol, self.close.price().ok_or(Missing::NoData)?, Name::AlphaVantage.as_str());
        quote.change = self.change.number();
        quote.change_percent = self.change_percent.number();
        quote.derive_change(self.previous_close.number().as_ref());
        quote.volume = self.volume.number();
        let zone = Exchange::Nyse.calendar().zone();
        quote.traded_at = self.timestamp.text().and_then(|text| when::local(&text, &[when::ISO], zone));
        Ok(quote)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Value<'a> {
    #[serde(borrow, rename = "1. open")]
    open: Field<'a>,
    #[serde(rename = "2. high")]
    high: Field<'a>,
    #[serde(rename = "3. low")]
    low: Field<'a>,
    #[serde(rename = "4. close")]
    close: Field<'a>,
    #[serde(rename = "5. volume")]
    volume: Field<'a>,
}

/// `Time Series (5min)` or `(Daily)`, by clocks that the meta data name.
fn bars(body: &Answer<'_>) -> Result<Vec<crate::market::Bar>, Failure> {
    let meta: Answer<'_> = starting_with(body, "Meta Data").map(Field::read).transpose()?.flatten().unwrap_or_default();
    let name = meta.iter().find(|(name, _)| name.ends_with("Time Zone")).and_then(|(_, field)| field.text());
    let zone = when::zone(name.as_deref().unwrap_or("US/Eastern"))
        .ok_or_else(|| Failure::Malformed("an unknown time zone".into()))?;
    let series = starting_with(body, "Time Series").ok_or_else(|| shapeless("Time Series"))?;
    let rows: BTreeMap<String, Value<'_>> = series.read()?.unwrap_or_default();
    let bar = |(text, row): (&String, &Value<'_>)| {
        let start = when::local(text, &[when::ISO], &zone).or_else(|| when::midnight(text, &zone));
        field::bar(start, [row.open, row.high, row.low, row.close], row.volume)
    };
    Ok(rows.iter().filter_map(bar).collect())
}

#[cfg(test)]
mod tests;
