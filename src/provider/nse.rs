//! NSE India: stocks and indices of the National Stock Exchange; unofficial.
//!
//! The website's own interface, as of its move in May 2026: no contract, no document, no key, but the cookies that a page sets
//! ([`Session`]) and the headers of a browser. One symbol a call, except for the 50 of an index, whose [basket](basket) is one call: it is asked for
//! when it holds two or more of what is wanted. The gate before the site refuses whole networks; a refusal with fresh cookies is waited out
//! for minutes, and each one in a row doubles the wait.
//!
//! State: the cookies, which stocks are in the basket (about 50), and how often we were refused.

mod basket;
mod history;
mod quote;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use jiff::Timestamp;

use super::config::{Config, Name, batch};
use super::limiter::window;
use super::vendor::{
    Call, Chart, Cookies, Failure, Missing, Profile, Progress, Reply, Request, Spelled, Vendor, escape,
};
use crate::market::listing::Venue;
use crate::market::{Instrument, Listings, Range, Symbol};
use basket::Basket;

const BASE_URL: &str = "https://www.nseindia.com";
/// Sets the cookies.
const PAGE: &str = "/option-chain";
const API: &str = "/api/NextApi/apiClient/GetQuoteApi";
/// As many as an index has.
const BATCH: NonZeroUsize = NonZeroUsize::new(50).expect("50 is not 0");
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
/// Other clients hold this rate.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// After the first refusal, doubled by each one more.
const BLOCKED_FOR: Duration = Duration::from_mins(5);
/// 5 min · 2^4 = 80 min is the longest wait.
const MOST_DOUBLINGS: u32 = 4;

/// NSE.
pub struct Nse {
    batch: NonZeroUsize,
    listings: Listings,
    cookies: Option<Cookies>,
    basket: Basket,
    /// Refusals in a row.
    refusals: u32,
}

/// A kind of request.
#[derive(Debug)]
pub enum Step {
    /// The page that sets cookies, for what is asked next.
    Page(Aim),
    /// What was aimed at; `is_renewed` when its cookies are as fresh as can be.
    Api {
        /// What.
        aim: Aim,
        /// Whether the page has been got for it already.
        is_renewed: bool,
    },
}

/// What is to be got.
#[derive(Debug, Clone)]
pub enum Aim {
    /// Quotes, by baskets and one by one.
    Quotes(Spelled),
    /// One stock's quote.
    Quote(Symbol, String),
    /// The stocks of an index, or the index itself.
    Basket(&'static str, Spelled),
    /// One stock's bars, of these days.
    History(Symbol, String, [String; 2]),
}

impl Nse {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Nse {
        Nse {
            batch: batch(config, BATCH),
            listings: config.listings.clone(),
            cookies: None,
            basket: Basket::default(),
            refusals: 0,
        }
    }

    /// The calls for this; first of all the page, where there are no cookies yet.
    fn calls(&self, aim: Aim, is_renewed: bool, now: Timestamp) -> Vec<Call<Step>> {
        if self.cookies.is_none() {
            let request = browser(Request::get(PAGE)).header("accept", "text/html,application/xhtml+xml");
            return vec![Call::new(request, &aim.symbols(), Step::Page(aim))];
        }
        let aims = match aim {
            Aim::Quotes(spelled) => self.basket.aims(&spelled, now),
            Aim::Quote(..) | Aim::Basket(..) | Aim::History(..) => vec![aim],
        };
        aims.into_iter().map(|aim| self.api(aim, is_renewed)).collect()
    }

    fn api(&self, aim: Aim, is_renewed: bool) -> Call<Step> {
        let about = |own: &str| format!("{BASE_URL}/get-quotes/equity?symbol={}", escape(own));
        let (request, referer) = match &aim {
            Aim::Quote(_, own) => (quote::request(own), about(own)),
            Aim::History(_, own, days) => (history::request(own, days), about(own)),
            Aim::Basket(index, _) => (basket::request(index), format!("{BASE_URL}/market-data/live-equity-market")),
            // Never asked for as they are.
            Aim::Quotes(_) => (Request::get(API), BASE_URL.to_owned()),
        };
        let cookies = self.cookies.as_ref().map(Cookies::header).unwrap_or_default();
        let request = browser(request).header("accept", "*/*").header("referer", referer).header("cookie", cookies);
        Call::new(request, &aim.symbols(), Step::Api { aim, is_renewed })
    }

    fn read_page(&mut self, aim: &Aim, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        if matches!(reply.status, 401 | 403) {
            return Err(self.blocked(reply));
        }
        if !reply.is_success() {
            return Err(reply.failure(""));
        }
        let mut cookies = Cookies::default();
        cookies.take_in(reply);
        if cookies.is_empty() {
            return Err(Failure::Transient("the page sets no cookies".into()));
        }
        self.cookies = Some(cookies);
        Ok(Progress { calls: self.calls(aim.clone(), true, reply.now), ..Progress::default() })
    }

    /// The gate refuses our address or our manners; nothing is wrong with a key, since there is none.
    fn blocked(&mut self, reply: &Reply<'_>) -> Failure {
        self.cookies = None;
        let wait = BLOCKED_FOR * 2_u32.pow(self.refusals.min(MOST_DOUBLINGS));
        self.refusals = self.refusals.saturating_add(1);
        let retry_after = Some(reply.retry_after().map_or(wait, |said| said.max(wait)));
        Failure::RateLimited { retry_after, detail: reply.failure("").detail().clone() }
    }

    fn read_api(&mut self, aim: &Aim, is_renewed: bool, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        if matches!(reply.status, 401 | 403) {
            if is_renewed {
                return Err(self.blocked(reply));
            }
            self.cookies = None;
            return Ok(Progress { calls: self.calls(aim.clone(), true, reply.now), ..Progress::default() });
        }
        if let Aim::Basket(index, spelled) = aim
            && !index_is_there(reply)
        {
            let aims = self.basket.refused(index, spelled, reply.now);
            let calls = aims.into_iter().map(|aim| self.api(aim, is_renewed)).collect();
            return Ok(Progress { calls, ..Progress::default() });
        }
        if !reply.is_success() {
            return Err(reply.failure(""));
        }
        let progress = match aim {
            Aim::Quote(symbol, own) => quote::read(*symbol, own, reply)?,
            Aim::History(..) => history::read(reply)?,
            Aim::Basket(index, spelled) => {
                let (mut progress, rest) = self.basket.read(index, spelled, reply)?;
                progress.calls.extend(rest.into_iter().map(|aim| self.api(aim, is_renewed)));
                progress
            }
            Aim::Quotes(_) => Progress::default(),
        };
        self.refusals = 0;
        if let Some(cookies) = &mut self.cookies {
            cookies.take_in(reply);
        }
        Ok(progress)
    }
}

impl Vendor for Nse {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Nse,
            base_url: BASE_URL,
            batch: self.batch,
            // They share a session.
            at_once: Some(NonZeroUsize::MIN),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(15),
            windows: vec![window(1, PER_SECOND), window(60, PER_MINUTE)],
        }
    }

    fn serves(&self, symbol: Symbol) -> bool {
        spell(&self.listings, symbol).is_some()
    }

    fn begin(&mut self, symbols: &[Symbol], now: Timestamp) -> Progress<Step> {
        let mut progress = Progress::default();
        let spelled = Spelled::new(symbols, &mut progress, |symbol| spell(&self.listings, symbol));
        if !spelled.is_empty() {
            progress.calls = self.calls(Aim::Quotes(spelled), false, now);
        }
        progress
    }

    /// By the day; there is nothing finer.
    fn begin_bars(&mut self, symbol: Symbol, range: Range, now: Timestamp) -> Option<Chart<Step>> {
        let own = spell(&self.listings, symbol).filter(|own| !basket::is_index(own))?;
        let (from, days) = history::days(range, now)?;
        let call = self.calls(Aim::History(symbol, own, days), false, now).pop()?;
        Some(Chart { interval: Duration::from_hours(24), from, call })
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        match &call.step {
            Step::Page(aim) => self.read_page(aim, reply),
            Step::Api { aim, is_renewed } => self.read_api(aim, *is_renewed, reply),
        }
    }
}

impl Aim {
    fn symbols(&self) -> Vec<Symbol> {
        match self {
            Aim::Quotes(spelled) | Aim::Basket(_, spelled) => spelled.symbols(),
            Aim::Quote(symbol, _) | Aim::History(symbol, ..) => vec![*symbol],
        }
    }
}

/// `RELIANCE`, `M&M`, `BAJAJ-AUTO`; of an index its name, which has a blank and so is no stock's.
fn spell(listings: &Listings, symbol: Symbol) -> Option<String> {
    match listings.instrument(&symbol) {
        Instrument::India { name, venue: Venue::Nse } => Some(name.into()),
        Instrument::Other(text) => basket::index(text).map(str::to_owned),
        Instrument::India { venue: Venue::Bse, .. } | Instrument::Us { .. } | Instrument::Pair { .. } => None,
    }
}

fn browser(request: Request) -> Request {
    request.header("user-agent", BROWSER).header("accept-language", "en-US,en;q=0.9")
}

/// The basket's path has two spellings among clients: where it is gone, stocks are asked for one by one.
fn index_is_there(reply: &Reply<'_>) -> bool {
    reply.status != 404
}

#[cfg(test)]
mod tests;
