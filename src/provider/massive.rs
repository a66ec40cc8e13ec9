//! Massive, formerly Polygon.io: stocks of the US by batches, crypto where the plan has it.
//!
//! Formats and limits: <https://massive.com/docs>, the vendor's OpenAPI. `GET /v2/snapshot/locale/us/markets/stocks/tickers?tickers=A,B`
//! is a whole batch in one call, but not in the free plan: then (403) the [end of day](daily) prices are served, and
//! the snapshot is tried again an hour later. Times are nanoseconds in snapshots and milliseconds in bars. Tickers are
//! case-sensitive; ours are upper case, so preferred shares (`BACpL`) cannot be asked for.
//!
//! State: whether snapshots are refused, and the end of day tables ([`daily`] says how large).

mod bars;
mod daily;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::config::{Config, Name, batch, has_paid};
use super::limiter::window;
use super::vendor::{Call, Chart, Failure, Field, Missing, Profile, Progress, Reply, Request, Spelled, Vendor};
use crate::market::{Exchange, Instrument, Listings, Quote, Range, Symbol};

pub use bars::MAX_PAGES;

const BASE_URL: &str = "https://api.massive.com";
const STOCKS: &str = "/v2/snapshot/locale/us/markets/stocks/tickers";
const CRYPTO: &str = "/v2/snapshot/locale/global/markets/crypto/tickers";
/// The vendor names no limit; the list has to fit into a URL: 100 · 6 B, escaped commas included 900 B.
const BATCH: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not 0");
const FREE: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
/// The vendor asks paying customers to stay below 100 a second; this is our own cap.
const PAID: NonZeroU32 = NonZeroU32::new(120).expect("120 is not 0");
/// How long a refused endpoint is left alone. Plans change seldom, and asking costs one call.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Massive.
pub struct Massive {
    key: SecretString,
    has_paid: bool,
    batch: NonZeroUsize,
    listings: Listings,
    snapshots: Snapshots,
    daily: daily::Daily,
}

/// Whether the plan has snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    /// Nobody has asked yet.
    Unknown,
    /// It has.
    Granted,
    /// It had none; asked again then.
    Refused(Timestamp),
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// Snapshots of a batch.
    Snapshot(Spelled),
    /// End of day prices.
    Daily(daily::Step),
    /// Bars.
    Bars(bars::Page),
}

impl Massive {
    /// As configured.
    #[must_use]
    pub fn new(key: SecretString, config: &Config) -> Massive {
        Massive {
            key,
            has_paid: has_paid(config),
            batch: batch(config, BATCH),
            listings: config.listings.clone(),
            snapshots: Snapshots::Unknown,
            daily: daily::Daily::default(),
        }
    }

    /// Whether what happened a moment ago is in the plan.
    fn is_realtime(&self) -> bool {
        self.has_paid || self.snapshots == Snapshots::Granted
    }

    fn get(&self, path: impl Into<String>) -> Request {
        self.authorised(Request::get(path))
    }

    fn authorised(&self, request: Request) -> Request {
        request.header("authorization", format!("Bearer {}", self.key.expose_secret()))
    }

    fn snapshots(&self, spelled: Spelled) -> impl Iterator<Item = Call<Step>> {
        let (crypto, stocks) = spelled.partition(is_crypto);
        let of = move |path: &'static str, spelled: Spelled| {
            spelled.chunks(self.batch.get()).map(move |chunk| (path, chunk)).collect::<Vec<_>>()
        };
        of(STOCKS, stocks).into_iter().chain(of(CRYPTO, crypto)).map(|(path, chunk)| {
            let request = self.get(path).query("tickers", &chunk.texts().join(","));
            Call::new(request, &chunk.symbols(), Step::Snapshot(chunk))
        })
    }

    fn read_snapshot(&mut self, spelled: &Spelled, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        if reply.status == 403 && !reply.is_html() {
            self.snapshots = Snapshots::Refused(reply.now.checked_add(REFUSED_FOR).unwrap_or(reply.now));
            return Ok(self.begin_daily(spelled.clone(), reply.now));
        }
        let body = read(reply)?;
        if body.status.json().or(body.tickers.json()).is_none() {
            return Err(Failure::Malformed("neither status nor tickers in it".into()));
        }
        let rows: Vec<Row<'_>> = body.tickers.rows()?;
        self.snapshots = Snapshots::Granted;
        let mut progress = Progress::default();
        for (symbol, own) in spelled.iter() {
            let row = rows.iter().find(|row| row.ticker.text().is_some_and(|ticker| ticker == own));
            let exchange = if is_crypto(own) { Exchange::Crypto } else { Exchange::Nyse };
            let quote = row.ok_or(Missing::UnknownSymbol).and_then(|row| row.quote(symbol, exchange, reply.now));
            progress.add(symbol, quote, reply.now);
        }
        Ok(progress)
    }
}

impl Vendor for Massive {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Massive,
            base_url: BASE_URL,
            batch: self.batch,
            // The first fetch of the free plan gets the tables that all others are answered from.
            at_once: (!self.has_paid).then_some(NonZeroUsize::MIN),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            windows: vec![window(60, if self.has_paid { PAID } else { FREE })],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        // Pairs are another product; whoever bought it says so by `symbols`, or writes the vendor's spelling.
        match self.listings.instrument(&symbol) {
            Instrument::Us { .. } => true,
            Instrument::Other(text) => is_crypto(text),
            Instrument::India { .. } | Instrument::Pair { .. } => false,
        }
    }

    fn begin(&mut self, symbols: &[Symbol], now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| spell(&self.listings, symbol));
        if matches!(self.snapshots, Snapshots::Refused(until) if now < until) {
            let daily = self.begin_daily(spelled, now);
            return Progress { missing: [progress.missing, daily.missing].concat(), ..daily };
        }
        progress.calls.extend(self.snapshots(spelled));
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol)?;
        Some(self.chart(symbol, &own, range, now))
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        match &call.step {
            Step::Snapshot(spelled) => self.read_snapshot(spelled, reply),
            Step::Daily(step) => self.read_daily(step, reply),
            Step::Bars(page) => self.read_bars(call, page, reply),
        }
    }
}

/// `AAPL`, `BRK.B`, `X:BTCUSD`.
fn spell(listings: &Listings, symbol: Symbol) -> Option<String> {
    match listings.instrument(&symbol) {
        Instrument::Us { root, class: None } => Some(root.into()),
        Instrument::Us { root, class: Some(class) } => Some(format!("{root}.{class}")),
        Instrument::Pair { base, quote } => Some(format!("X:{base}{quote}")),
        Instrument::India { .. } => None,
        // `AAPL,MSFT` and an empty list mean other things there; a symbol has no comma and is not empty.
        Instrument::Other(text) => Some(text.into()),
    }
}

fn is_crypto(own: &str) -> bool {
    own.starts_with("X:")
}

/// The envelope of all answers. What went wrong is in `error` or in `message`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    status: Field<'a>,
    error: Field<'a>,
    message: Field<'a>,
    tickers: Field<'a>,
    results: Field<'a>,
    next_url: Field<'a>,
}

impl Body<'_> {
    fn said(&self) -> String {
        self.error.text().or_else(|| self.message.text()).unwrap_or_default().into_owned()
    }
}

/// The envelope of a good answer, `DELAYED` plans included.
fn read<'a>(reply: &Reply<'a>) -> Result<Body<'a>, Failure> {
    if !reply.is_success() {
        let said = reply.object::<Body<'_>>().map(|body| body.said()).unwrap_or_default();
        return Err(reply.failure(&said));
    }
    let body: Body<'_> = reply.object()?;
    match body.status.text().as_deref() {
        Some("ERROR") => Err(reply.failure(&body.said())),
        Some("NOT_AUTHORIZED") => Err(Failure::Plan(body.said().into())),
        _ => Ok(body),
    }
}

/// A snapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    ticker: Field<'a>,
    todays_change: Field<'a>,
    todays_change_perc: Field<'a>,
    updated: Field<'a>,
    last_trade: Option<Trade<'a>>,
    min: Option<Aggregate<'a>>,
    day: Option<Aggregate<'a>>,
    prev_day: Option<Aggregate<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trade<'a> {
    #[serde(borrow)]
    p: Field<'a>,
    t: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Aggregate<'a> {
    #[serde(borrow)]
    c: Field<'a>,
    v: Field<'a>,
    av: Field<'a>,
}

impl Row<'_> {
    /// The last trade, where the plan has trades; else the close of the minute, of the day, of the day before.
    fn quote(&self, symbol: Symbol, exchange: Exchange, now: Timestamp) -> Result<Quote, Missing> {
        let close = |aggregate: &Option<Aggregate<'_>>| aggregate.as_ref().and_then(|aggregate| aggregate.c.price());
        let traded = self.last_trade.as_ref().and_then(|trade| trade.p.price());
        let today = traded.or_else(|| close(&self.min)).or_else(|| close(&self.day));
        let is_today = today.is_some();
        let price = today.or_else(|| close(&self.prev_day)).ok_or(Missing::NoData)?;
        let mut quote = Quote::new(symbol, price, Name::Massive.as_str());
        if is_today {
            quote.change = self.todays_change.number();
            quote.change_percent = self.todays_change_perc.number();
            quote.derive_change(close(&self.prev_day).as_ref());
        }
        let of_day = self.day.as_ref().and_then(|day| day.v.price());
        quote.volume = of_day.or_else(|| self.min.as_ref().and_then(|min| min.av.price()));
        quote.traded_at = self.last_trade.as_ref().and_then(|trade| trade.t.nanos()).or_else(|| self.updated.nanos());
        if !is_today {
            quote.stale = true;
            quote.traded_at = daily::close_before(exchange, now);
        }
        Ok(quote)
    }
}

#[cfg(test)]
mod tests;
