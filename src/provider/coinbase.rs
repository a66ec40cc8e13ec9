//! Coinbase Exchange: one pair a call, no key, around the clock.
//!
//! Formats and limits: <https://docs.cdp.coinbase.com/exchange>. A ticker has no change: that is against the price 24 hours ago, which
//! another call has (`/stats`), made at most once a minute for each pair.
//!
//! State: those prices, of at most [`MAX_OPENS`] pairs; beyond it the ones that have expired go, or all of them.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::config::{Config, Name};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Failure, Field, Missing, Profile, Progress, Reply, Request, Spelled, Vendor, escape, field, when,
};
use crate::market::{Exchange, Instrument, Listings, Number, Quote, Range, Symbol};

const BASE_URL: &str = "https://api.exchange.coinbase.com";
/// Per address.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");
/// How long the price of 24 hours ago is used: it moves by a minute in a minute.
const OPEN_FOR: SignedDuration = SignedDuration::from_secs(60);
/// Coinbase has about 500 pairs.
pub const MAX_OPENS: usize = 1024;
/// What pairs are quoted in there.
const QUOTE_ASSETS: [&str; 7] = ["USD", "USDC", "USDT", "EUR", "GBP", "BTC", "ETH"];

/// Coinbase.
pub struct Coinbase {
    listings: Listings,
    /// By the vendor's spelling, each until when.
    opens: HashMap<String, (Number, Timestamp)>,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// The price 24 hours ago, and then the ticker.
    Stats(Spelled),
    /// The last trade.
    Ticker(Spelled),
    /// Bars.
    Bars,
}

impl Coinbase {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Coinbase {
        Coinbase { listings: config.listings.clone(), opens: HashMap::new() }
    }

    fn keep(&mut self, own: &str, open: Number, now: Timestamp) {
        if self.opens.len() >= MAX_OPENS {
            self.opens.retain(|_, (_, until)| now < *until);
            if self.opens.len() >= MAX_OPENS {
                self.opens.clear();
            }
        }
        self.opens.insert(own.to_owned(), (open, now.checked_add(OPEN_FOR).unwrap_or(now)));
    }

    fn open(&self, own: &str, now: Timestamp) -> Option<&Number> {
        self.opens.get(own).filter(|(_, until)| now < *until).map(|(open, _)| open)
    }
}

impl Vendor for Coinbase {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Coinbase,
            base_url: BASE_URL,
            batch: NonZeroUsize::MIN,
            at_once: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            windows: vec![window(1, PER_SECOND)],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        match self.listings.instrument(&symbol) {
            Instrument::Pair { quote, .. } => QUOTE_ASSETS.contains(&quote),
            Instrument::Us { .. } | Instrument::India { .. } | Instrument::Other(_) => false,
        }
    }

    fn begin(&mut self, symbols: &[Symbol], now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| spell(&self.listings, symbol));
        for one in spelled.chunks(1) {
            let is_known = one.texts().iter().all(|own| self.open(own, now).is_some());
            progress.calls.extend(if is_known { ticker(one) } else { stats(one) });
        }
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol)?;
        let calendar = Exchange::Crypto.calendar();
        let from = range.begins(calendar, now);
        // At most 300 rows: 288, 168 and 32. There is no half hour.
        let (seconds, from) = match range {
            Range::Day => (300, from),
            Range::Week => (3600, from),
            Range::Month => (86_400, when::day_begins(from, calendar.zone())),
        };
        let request = Request::get(format!("/products/{}/candles", escape(&own)))
            .query("granularity", &seconds.to_string())
            .query("start", &format!("{from:.0}"))
            .query("end", &format!("{now:.0}"));
        Some(Chart { interval: Duration::from_secs(seconds), from, call: Call::new(request, &[symbol], Step::Bars) })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let mut progress = Progress::default();
        if !reply.is_success() {
            let said =
                reply.object::<Refusal<'_>>().ok().and_then(|refusal| refusal.message.text()).unwrap_or_default();
            if reply.status != 404 || reply.is_html() {
                return Err(reply.failure(&said));
            }
            progress.missing.extend(call.symbols.iter().map(|&symbol| (symbol, Missing::UnknownSymbol)));
            return Ok(progress);
        }
        match &call.step {
            Step::Stats(spelled) => {
                let open = reply.object::<Stats<'_>>()?.open.price();
                for own in spelled.texts() {
                    // A pair of today had no price yesterday.
                    self.keep(own, open.clone().unwrap_or_else(|| Number::from(0)), reply.now);
                }
                progress.calls.extend(ticker(spelled.clone()));
            }
            Step::Ticker(spelled) => {
                let row: Ticker<'_> = reply.object()?;
                for (symbol, own) in spelled.iter() {
                    progress.add(symbol, row.quote(symbol, self.open(own, reply.now)), reply.now);
                }
            }
            Step::Bars => progress.bars.extend(reply.json::<Vec<Vec<Field<'_>>>>()?.iter().filter_map(|row| bar(row))),
        }
        Ok(progress)
    }
}

/// `BTC-USD`, which is our spelling too.
fn spell(listings: &Listings, symbol: Symbol) -> Option<String> {
    match listings.instrument(&symbol) {
        Instrument::Pair { base, quote } => Some(format!("{base}-{quote}")),
        Instrument::Us { .. } | Instrument::India { .. } | Instrument::Other(_) => None,
    }
}

fn stats(one: Spelled) -> Option<Call<Step>> {
    let request = Request::get(format!("/products/{}/stats", escape(one.texts().first()?)));
    Some(Call::new(request, &one.symbols(), Step::Stats(one)))
}

fn ticker(one: Spelled) -> Option<Call<Step>> {
    let request = Request::get(format!("/products/{}/ticker", escape(one.texts().first()?)));
    Some(Call::new(request, &one.symbols(), Step::Ticker(one)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal<'a> {
    #[serde(borrow)]
    message: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats<'a> {
    #[serde(borrow)]
    open: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ticker<'a> {
    #[serde(borrow)]
    price: Field<'a>,
    volume: Field<'a>,
    time: Field<'a>,
}

impl Ticker<'_> {
    fn quote(&self, symbol: Symbol, open: Option<&Number>) -> Result<Quote, Missing> {
        let price = self.price.price().ok_or(Missing::NoData)?;
        let mut quote = Quote::new(symbol, price, Name::Coinbase.as_str());
        quote.derive_change(open);
        quote.volume = self.volume.number();
        quote.traded_at = self.time.text().and_then(|text| text.parse().ok());
        Ok(quote)
    }
}

/// `[time, low, high, open, close, volume]`: low before high, and open behind both.
fn bar(row: &[Field<'_>]) -> Option<crate::market::Bar> {
    let [time, low, high, open, close, volume] = *row.first_chunk()?;
    field::bar(time.seconds(), [open, high, low, close], volume)
}

#[cfg(test)]
mod tests;
