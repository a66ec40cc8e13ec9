//! Yahoo Finance: stocks of everywhere, indices, currencies and crypto, fifty a call; unofficial.
//!
//! There is no contract and no document; the formats are those that yfinance and node-yahoo-finance2 read. A batch (`/v7/finance/quote`) wants
//! a [session](session): a cookie and a "crumb" that belongs to it. Where none is to be had (a consent page stands before it), each symbol's chart is
//! asked for instead, which wants neither. Too many requests block an address for a quarter of an hour and longer, so each refusal in a row doubles
//! the wait.
//!
//! State: the session, and how often we were refused.

mod chart;
mod session;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::config::{Config, Name, batch};
use super::limiter::window;
use super::vendor::{Call, Chart, Detail, Failure, Field, Missing, Profile, Progress, Reply, Request, Spelled, Vendor};
use crate::market::listing::Venue;
use crate::market::quote::MarketState;
use crate::market::{Exchange, Instrument, Listings, Quote, Range, Symbol};
use session::Session;

const BASE_URL: &str = "https://query1.finance.yahoo.com";
const QUOTES: &str = "/v7/finance/quote";
const BATCH: NonZeroUsize = NonZeroUsize::new(50).expect("50 is not 0");
/// Some set 2000; about 40 in 40 minutes have been seen to block an address.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0");
/// Anything that looks like a tool is refused at once.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// After the first refusal, doubled by each one more.
const BLOCKED_FOR: Duration = Duration::from_mins(15);
/// 15 min · 2^4 = 4 h is the longest wait.
const MOST_DOUBLINGS: u32 = 4;
/// How long charts stand in for a session that is not to be had.
const NO_SESSION_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Yahoo.
pub struct Yahoo {
    batch: NonZeroUsize,
    listings: Listings,
    session: Option<Session>,
    no_session_until: Option<Timestamp>,
    /// Refusals in a row.
    refusals: u32,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// The page that sets cookies.
    Cookies(Renewal),
    /// The crumb that belongs to them.
    Crumb(Renewal, super::vendor::Cookies),
    /// Quotes of a batch.
    Quotes(Renewal),
    /// One symbol's quote, from its chart.
    Chart,
    /// One symbol's bars.
    Bars,
}

/// Whose quotes a session is for, and whether it has been renewed for them already.
#[derive(Debug, Clone)]
pub struct Renewal {
    spelled: Spelled,
    is_renewed: bool,
}

impl Yahoo {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Yahoo {
        Yahoo {
            batch: batch(config, BATCH),
            listings: config.listings.clone(),
            session: None,
            no_session_until: None,
            refusals: 0,
        }
    }

    /// The calls that get these, with what session there is.
    fn calls(&self, spelled: Spelled, is_renewed: bool, now: Timestamp) -> Vec<Call<Step>> {
        if spelled.is_empty() {
            return Vec::new();
        }
        if let Some(session) = &self.session {
            let call = |chunk: Spelled| {
                let request = get(QUOTES)
                    .query("symbols", &chunk.texts().join(","))
                    .query("crumb", session.crumb())
                    .header("cookie", session.cookies().header());
                Call::new(request, &chunk.symbols(), Step::Quotes(Renewal { spelled: chunk, is_renewed }))
            };
            return spelled.chunks(self.batch.get()).map(call).collect();
        }
        if self.no_session_until.is_some_and(|until| now < until) {
            return spelled.iter().map(|(symbol, own)| chart::of_quote(symbol, own)).collect();
        }
        vec![session::cookies(Renewal { spelled, is_renewed })]
    }

    /// Charts from now on, and for these.
    fn without_session(&mut self, spelled: &Spelled, now: Timestamp) -> Progress<Step> {
        self.session = None;
        self.no_session_until = now.checked_add(NO_SESSION_FOR).ok();
        Progress { calls: self.calls(spelled.clone(), true, now), ..Progress::default() }
    }

    /// Refused for asking too often.
    fn blocked(&mut self, reply: &Reply<'_>) -> Failure {
        let doublings = self.refusals.min(MOST_DOUBLINGS);
        self.refusals = self.refusals.saturating_add(1);
        let wait = BLOCKED_FOR * 2_u32.pow(doublings);
        let retry_after = Some(reply.retry_after().map_or(wait, |said| said.max(wait)));
        Failure::RateLimited { retry_after, detail: reply.failure("").detail().clone() }
    }

    fn read_quotes(&mut self, renewal: &Renewal, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        if matches!(reply.status, 401 | 403) && !reply.is_html() {
            if renewal.is_renewed {
                return Ok(self.without_session(&renewal.spelled, reply.now));
            }
            self.session = None;
            let calls = self.calls(renewal.spelled.clone(), true, reply.now);
            return Ok(Progress { calls, ..Progress::default() });
        }
        if !reply.is_success() {
            return Err(reply.failure(&said(reply)));
        }
        let body: Body<'_> = reply.object()?;
        let rows = body.quote_response.ok_or_else(|| Failure::Malformed("there is no quoteResponse in it".into()))?;
        let rows = rows.result.rows::<Row<'_>>()?;
        let mut progress = Progress::default();
        for (symbol, own) in renewal.spelled.iter() {
            let row = rows.iter().find(|row| row.symbol.text().is_some_and(|text| text == own));
            progress.add(symbol, row.ok_or(Missing::UnknownSymbol).and_then(|row| row.quote(symbol)), reply.now);
        }
        Ok(progress)
    }
}

impl Vendor for Yahoo {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Yahoo,
            base_url: BASE_URL,
            batch: self.batch,
            // They share a session.
            at_once: Some(NonZeroUsize::MIN),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(15),
            windows: vec![window(60, PER_MINUTE)],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        match self.listings.instrument(&symbol) {
            Instrument::Us { .. } | Instrument::India { .. } => true,
            Instrument::Pair { quote, .. } => !["USDT", "USDC", "FDUSD"].contains(&quote),
            // Other vendors' spellings, among them of pairs (`BTCUSDT`).
            Instrument::Other(text) => {
                !text.contains([':', '/', '@', '_']) && self.listings.exchange(symbol) != Exchange::Crypto
            }
        }
    }

    fn begin(&mut self, symbols: &[Symbol], now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| Some(spell(&self.listings, symbol)));
        progress.calls = self.calls(spelled, false, now);
        progress
    }

    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol);
        Some(chart::of_bars(symbol, &own, self.listings.exchange(symbol), range, now))
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        // 200 with these words has been seen too.
        if reply.status == 429 || (!reply.is_html() && reply.body.starts_with(b"Too Many Requests")) {
            return Err(self.blocked(reply));
        }
        // There is no key that could be bad.
        if matches!((&call.step, reply.status), (Step::Chart | Step::Bars, 401 | 403)) {
            return Err(self.blocked(reply));
        }
        let progress = match &call.step {
            Step::Cookies(renewal) => return self.read_cookies(renewal, reply),
            Step::Crumb(renewal, cookies) => return self.read_crumb(renewal, cookies, reply),
            Step::Quotes(renewal) => self.read_quotes(renewal, reply),
            Step::Chart => chart::read_quote(call, reply),
            Step::Bars => chart::read_bars(call, reply),
        }?;
        self.refusals = 0;
        Ok(progress)
    }
}

/// `AAPL`, `BRK-B`, `RELIANCE.NS`, `TCS.BO`, `BTC-USD`, `^NSEI`, `EURUSD=X`.
fn spell(listings: &Listings, symbol: Symbol) -> String {
    match listings.instrument(&symbol) {
        Instrument::Us { root, class: None } => root.into(),
        Instrument::Us { root, class: Some(class) } => format!("{root}-{class}"),
        Instrument::India { name, venue: Venue::Nse } => format!("{name}.NS"),
        Instrument::India { name, venue: Venue::Bse } => format!("{name}.BO"),
        Instrument::Pair { base, quote } => format!("{base}-{quote}"),
        Instrument::Other(text) => text.into(),
    }
}

fn get(path: impl Into<String>) -> Request {
    Request::get(path).header("user-agent", BROWSER)
}

/// The words of a refusal, wherever they are: under the name of what was asked for, or `finance`.
fn said(reply: &Reply<'_>) -> String {
    let error = reply.object::<Body<'_>>().ok().and_then(|body| {
        let envelopes = [body.finance, body.quote_response, body.chart];
        envelopes.into_iter().flatten().find_map(|envelope| envelope.error.read::<Problem<'_>>().ok().flatten())
    });
    error.and_then(|error| error.description.text()).unwrap_or_default().into_owned()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    finance: Option<Envelope<'a>>,
    quote_response: Option<Envelope<'a>>,
    chart: Option<Envelope<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow)]
    result: Field<'a>,
    error: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem<'a> {
    #[serde(borrow)]
    code: Field<'a>,
    description: Field<'a>,
}

impl Problem<'_> {
    fn failure(&self) -> Failure {
        let [code, said] = [self.code, self.description].map(|field| field.text().unwrap_or_default());
        Failure::Malformed(Detail::new(&format!("{code}: {said}")))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    quote_type: Field<'a>,
    market_state: Field<'a>,
    regular_market_price: Field<'a>,
    regular_market_change: Field<'a>,
    regular_market_change_percent: Field<'a>,
    regular_market_volume: Field<'a>,
    regular_market_previous_close: Field<'a>,
    regular_market_time: Field<'a>,
}

impl Row<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let is_nothing = self.quote_type.text().is_some_and(|kind| kind == "NONE");
        let missing = if is_nothing { Missing::UnknownSymbol } else { Missing::NoData };
        let mut quote = Quote::new(symbol, self.regular_market_price.price().ok_or(missing)?, Name::Yahoo.as_str());
        quote.change = self.regular_market_change.number();
        quote.change_percent = self.regular_market_change_percent.number();
        quote.derive_change(self.regular_market_previous_close.number().as_ref());
        quote.volume = self.regular_market_volume.number();
        quote.traded_at = self.regular_market_time.seconds();
        quote.market_state = match self.market_state.text().as_deref() {
            Some("REGULAR") => Some(MarketState::Regular),
            Some("PRE") => Some(MarketState::Pre),
            Some("POST") => Some(MarketState::Post),
            // Between those, and at night.
            Some("PREPRE" | "POSTPOST" | "CLOSED") => Some(MarketState::Closed),
            _ => None,
        };
        Ok(quote)
    }
}

#[cfg(test)]
mod tests;
