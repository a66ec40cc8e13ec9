//! Finnhub: one symbol a call, stocks of the US in real time, crypto by venue.
//!
//! Formats and limits: <https://finnhub.io/docs/api>. A symbol that it does not know is answered with zeros and status 200. There is no
//! volume. Bars are in paid plans only; a stock outside the plan (403) is no reason to leave the others alone.
//!
//! No state.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::config::{Config, Name, has_paid};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Detail, Failure, Field, Missing, Profile, Progress, Reply, Request, Vendor, field, when,
};
use crate::market::listing::Venue;
use crate::market::{Instrument, Listings, Quote, Range, Symbol};

const BASE_URL: &str = "https://finnhub.io";
const QUOTE: &str = "/api/v1/quote";
const STOCK_BARS: &str = "/api/v1/stock/candle";
const CRYPTO_BARS: &str = "/api/v1/crypto/candle";
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");
/// Of all plans, on top.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0");
/// The vendor's window: what it says about its end is not believed beyond.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Finnhub.
pub struct Finnhub {
    key: SecretString,
    has_paid: bool,
    listings: Listings,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// One symbol's quote.
    Quote,
    /// One symbol's bars.
    Bars,
}

impl Finnhub {
    /// As configured.
    #[must_use]
    pub fn new(key: SecretString, config: &Config) -> Finnhub {
        Finnhub { key, has_paid: has_paid(config), listings: config.listings.clone() }
    }

    fn get(&self, path: &str) -> Request {
        Request::get(path).header("x-finnhub-token", self.key.expose_secret())
    }
}

impl Vendor for Finnhub {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Finnhub,
            base_url: BASE_URL,
            batch: NonZeroUsize::MIN,
            at_once: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            windows: vec![window(1, PER_SECOND), window(60, PER_MINUTE)],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        match self.listings.instrument(&symbol) {
            Instrument::Us { .. } => true,
            Instrument::India { .. } => self.has_paid,
            Instrument::Pair { quote, .. } => matches!(quote, "USD" | "USDT"),
            Instrument::Other(text) => text.starts_with("BINANCE:") || text.starts_with("COINBASE:"),
        }
    }

    fn begin(&mut self, symbols: &[Symbol], _now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        for &symbol in symbols {
            let request = self.get(QUOTE).query("symbol", &spell(&self.listings, symbol));
            progress.calls.push(Call::new(request, &[symbol], Step::Quote));
        }
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol);
        let calendar = self.listings.exchange(symbol).calendar();
        let from = range.begins(calendar, now);
        let (resolution, minutes, from) = match range {
            Range::Day => ("5", 5, from),
            Range::Week => ("30", 30, from),
            Range::Month => ("D", 24 * 60, when::day_begins(from, calendar.zone())),
        };
        let request = self
            .get(if own.contains(':') { CRYPTO_BARS } else { STOCK_BARS })
            .query("symbol", &own)
            .query("resolution", resolution)
            .query("from", &from.as_second().to_string())
            .query("to", &now.as_second().to_string());
        Some(Chart { interval: Duration::from_mins(minutes), from, call: Call::new(request, &[symbol], Step::Bars) })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let mut progress = Progress { hold: hold(reply), ..Progress::default() };
        if !reply.is_success() {
            return match (&call.step, refused(reply)) {
                (Step::Quote, Failure::Plan(_)) => {
                    progress.missing.extend(call.symbols.iter().map(|&symbol| (symbol, Missing::NotInPlan)));
                    Ok(progress)
                }
                (_, failure) => Err(failure),
            };
        }
        match call.step {
            Step::Quote => {
                let row: Row<'_> = reply.object()?;
                if let Some(said) = row.error.text() {
                    return Err(Failure::Malformed(Detail::new(&said)));
                }
                for &symbol in &call.symbols {
                    progress.add(symbol, row.quote(symbol), reply.now);
                }
            }
            Step::Bars => progress.bars.extend(reply.object::<Columns<'_>>()?.bars()),
        }
        Ok(progress)
    }
}

/// `AAPL`, `BRK.B`, `RELIANCE.NS`, `BINANCE:BTCUSDT` (what is in dollars elsewhere is in tethers there).
fn spell(listings: &Listings, symbol: Symbol) -> String {
    match listings.instrument(&symbol) {
        Instrument::Us { root, class: None } => root.into(),
        Instrument::Us { root, class: Some(class) } => format!("{root}.{class}"),
        Instrument::India { name, venue: Venue::Nse } => format!("{name}.NS"),
        Instrument::India { name, venue: Venue::Bse } => format!("{name}.BO"),
        Instrument::Pair { base, quote: "USD" } => format!("BINANCE:{base}USDT"),
        Instrument::Pair { base, quote } => format!("BINANCE:{base}{quote}"),
        Instrument::Other(text) => text.into(),
    }
}

fn refused(reply: &Reply<'_>) -> Failure {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        #[serde(borrow, default)]
        error: Field<'a>,
    }
    let said = reply.object::<Refusal<'_>>().ok().and_then(|refusal| refusal.error.text()).unwrap_or_default();
    match reply.failure(&said) {
        // So it answers an empty key.
        Failure::RateLimited { detail, .. } if said.contains("sign up") => Failure::Auth(detail),
        Failure::RateLimited { retry_after, detail } => {
            Failure::RateLimited { retry_after: retry_after.or_else(|| window_end(reply)), detail }
        }
        failure => failure,
    }
}

/// The last request of this window has been made.
fn hold(reply: &Reply<'_>) -> Option<Duration> {
    let remaining: i64 = reply.header("x-ratelimit-remaining")?.trim().parse().ok()?;
    if remaining <= 0 { window_end(reply) } else { None }
}

fn window_end(reply: &Reply<'_>) -> Option<Duration> {
    let reset = Timestamp::from_second(reply.header("x-ratelimit-reset")?.trim().parse().ok()?).ok()?;
    Duration::try_from(reset.duration_since(reply.now).min(WINDOW)).ok()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow)]
    c: Field<'a>,
    d: Field<'a>,
    dp: Field<'a>,
    pc: Field<'a>,
    t: Field<'a>,
    error: Field<'a>,
}

impl Row<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let is_nothing = self.t.whole() == Some(0) && self.c.price().is_none();
        let price = self.c.price().ok_or(if is_nothing { Missing::UnknownSymbol } else { Missing::NoData })?;
        let mut quote = Quote::new(symbol, price, Name::Finnhub.as_str());
        quote.change = self.d.number();
        quote.change_percent = self.dp.number();
        quote.derive_change(self.pc.number().as_ref());
        quote.traded_at = self.t.seconds();
        Ok(quote)
    }
}

/// Bars lie in columns; of nothing there is only `s`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Columns<'a> {
    #[serde(borrow)]
    t: Vec<Field<'a>>,
    o: Vec<Field<'a>>,
    h: Vec<Field<'a>>,
    l: Vec<Field<'a>>,
    c: Vec<Field<'a>>,
    v: Vec<Field<'a>>,
}

impl Columns<'_> {
    fn bars(&self) -> impl Iterator<Item = crate::market::Bar> {
        self.t.iter().enumerate().filter_map(|(i, start)| {
            let [open, high, low, close, volume] =
                [&self.o, &self.h, &self.l, &self.c, &self.v].map(|column| column.get(i).copied().unwrap_or_default());
            field::bar(start.seconds(), [open, high, low, close], volume)
        })
    }
}

#[cfg(test)]
mod tests;
