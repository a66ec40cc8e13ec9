//! Bars ("aggregates"), page by page.
//!
//! `GET /v2/aggs/ticker/{t}/range/{n}/{unit}/{from}/{to}`. `limit` counts the minutes or days that the vendor looks at,
//! not the bars it returns, so a short page says nothing: only a missing `next_url` is the end. Of that URL path and
//! query are followed, wherever it points, and at most [`MAX_PAGES`] times; one that was followed already is refused.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use super::{Massive, Step, is_crypto, read};
use crate::market::{Bar, Exchange, Range, Symbol};
use crate::provider::vendor::{Call, Chart, Failure, Field, Missing, Progress, Reply, Request, escape, field, when};

/// A week of half hours is 10,080 minutes looked at, a fifth of one page.
pub const MAX_PAGES: usize = 8;
/// The most there is.
const LIMIT: &str = "50000";

/// A page of bars.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where the pages before it were.
    followed: Vec<String>,
}

impl Massive {
    /// How bars of `own` are asked for. Whether today's are in the plan is not said by anyone: a plan that has
    /// snapshots has them, and of another the last day that is over is the newest.
    pub(super) fn chart(&self, symbol: Symbol, own: &str, range: Range, now: Timestamp) -> Chart<Step> {
        let calendar = if is_crypto(own) { Exchange::Crypto } else { Exchange::Nyse }.calendar();
        let midnight = |at: Timestamp| when::day_begins(at, calendar.zone());
        let to = if self.is_realtime() { now } else { midnight(now).saturating_sub(1.milliseconds()).unwrap_or(now) };
        let from = range.begins(calendar, to);
        let (count, unit, interval, from) = match range {
            Range::Day => (5, "minute", Duration::from_mins(5), from),
            Range::Week => (30, "minute", Duration::from_mins(30), from),
            // A day's bar begins at midnight.
            Range::Month => (1, "day", Duration::from_hours(24), midnight(from)),
        };
        let (own, first, last) = (escape(own), from.as_millisecond(), to.as_millisecond());
        let request = self
            .get(format!("/v2/aggs/ticker/{own}/range/{count}/{unit}/{first}/{last}"))
            .query("adjusted", "true")
            .query("sort", "asc")
            .query("limit", LIMIT);
        let page = Page { followed: Vec::new() };
        Chart { interval, from, call: Call::new(request, &[symbol], Step::Bars(page)) }
    }

    pub(super) fn read_bars(
        &self,
        call: &Call<Step>,
        page: &Page,
        reply: &Reply<'_>,
    ) -> Result<Progress<Step>, Failure> {
        let mut progress = Progress::default();
        if reply.status == 404 && !reply.is_html() {
            progress.missing.extend(call.symbols.iter().map(|&symbol| (symbol, Missing::UnknownSymbol)));
            return Ok(progress);
        }
        let body = read(reply)?;
        progress.bars.extend(body.results.rows::<Row<'_>>()?.into_iter().filter_map(|row| row.bar()));
        let Some(next) = body.next_url.text() else { return Ok(progress) };
        let target = path_and_query(&next).ok_or_else(|| Failure::Malformed("next_url is no URL".into()))?;
        let mut followed = page.followed.clone();
        if followed.len() + 1 >= MAX_PAGES {
            return Err(Failure::Malformed(format!("more than {MAX_PAGES} pages of bars").into()));
        }
        if followed.iter().any(|link| link == target) || call.request.target() == target {
            return Err(Failure::Malformed("next_url leads in a circle".into()));
        }
        followed.push(target.to_owned());
        let request = self.authorised(Request::link(target));
        progress.calls.push(Call::new(request, &call.symbols, Step::Bars(Page { followed })).next_page());
        Ok(progress)
    }
}

/// What follows scheme, host and port: our base URL stands before it, so that a key travels nowhere else.
fn path_and_query(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1;
    authority.find('/').map(|at| &authority[at..])
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow)]
    t: Field<'a>,
    o: Field<'a>,
    h: Field<'a>,
    l: Field<'a>,
    c: Field<'a>,
    v: Field<'a>,
}

impl Row<'_> {
    fn bar(&self) -> Option<Bar> {
        field::bar(self.t.millis(), [self.o, self.h, self.l, self.c], self.v)
    }
}
