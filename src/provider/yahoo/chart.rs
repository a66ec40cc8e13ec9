//! Charts: bars, and a quote in what comes along with them. They want no session.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Body, Problem, Step, get, said};
use crate::market::{Bar, Exchange, Quote, Range, Symbol};
use crate::provider::config::Name;
use crate::provider::vendor::{Call, Chart, Failure, Field, Missing, Progress, Reply, Request, escape, field, when};

fn request(own: &str, range: &str, interval: &str) -> Request {
    get(format!("/v8/finance/chart/{}", escape(own))).query("range", range).query("interval", interval)
}

/// A quote: of a chart of one day, whose "close before the chart" is the day before's.
pub(super) fn of_quote(symbol: Symbol, own: &str) -> Call<Step> {
    Call::new(request(own, "1d", "1m"), &[symbol], Step::Chart)
}

/// Bars: `range=1d` is the last day of trade, and the whole of it.
pub(super) fn of_bars(symbol: Symbol, own: &str, exchange: Exchange, range: Range, now: Timestamp) -> Chart<Step> {
    let calendar = exchange.calendar();
    let (span, interval, minutes) = match range {
        Range::Day => ("1d", "5m", 5),
        Range::Week => ("5d", "30m", 30),
        Range::Month => ("1mo", "1d", 24 * 60),
    };
    let from = when::day_begins(range.begins(calendar, now), calendar.zone());
    let call = Call::new(request(own, span, interval), &[symbol], Step::Bars);
    Chart { interval: Duration::from_mins(minutes), from, call }
}

/// What is in the envelope; `None` when the vendor does not know the symbol.
fn read<'a>(reply: &Reply<'a>) -> Result<Option<Content<'a>>, Failure> {
    if reply.status == 404 && !reply.is_html() {
        return Ok(None);
    }
    if !reply.is_success() {
        return Err(reply.failure(&said(reply)));
    }
    let envelope =
        reply.object::<Body<'_>>()?.chart.ok_or_else(|| Failure::Malformed("there is no chart in it".into()))?;
    if let Some(problem) = envelope.error.read::<Problem<'_>>()? {
        let is_unknown = problem.code.text().is_some_and(|code| code == "Not Found");
        return if is_unknown { Ok(None) } else { Err(problem.failure()) };
    }
    Ok(envelope.result.rows::<Content<'_>>()?.into_iter().next())
}

pub(super) fn read_quote(call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
    let content = read(reply)?;
    let mut progress = Progress::default();
    for &symbol in &call.symbols {
        let quote = content.as_ref().ok_or(Missing::UnknownSymbol).and_then(|content| content.meta.quote(symbol));
        progress.add(symbol, quote, reply.now);
    }
    Ok(progress)
}

pub(super) fn read_bars(call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
    let mut progress = Progress::default();
    match read(reply)? {
        None => progress.missing.extend(call.symbols.iter().map(|&symbol| (symbol, Missing::UnknownSymbol))),
        Some(content) => progress.bars = content.bars(),
    }
    Ok(progress)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    meta: Meta<'a>,
    /// Missing, where there are no bars.
    timestamp: Vec<Field<'a>>,
    indicators: Indicators<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    regular_market_price: Field<'a>,
    regular_market_volume: Field<'a>,
    regular_market_time: Field<'a>,
    previous_close: Field<'a>,
    chart_previous_close: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Indicators<'a> {
    #[serde(borrow)]
    quote: Vec<Columns<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Columns<'a> {
    #[serde(borrow)]
    open: Vec<Field<'a>>,
    high: Vec<Field<'a>>,
    low: Vec<Field<'a>>,
    close: Vec<Field<'a>>,
    volume: Vec<Field<'a>>,
}

impl Meta<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let price = self.regular_market_price.price().ok_or(Missing::NoData)?;
        let mut quote = Quote::new(symbol, price, Name::Yahoo.as_str());
        quote.derive_change(self.previous_close.number().or_else(|| self.chart_previous_close.number()).as_ref());
        quote.volume = self.regular_market_volume.number();
        quote.traded_at = self.regular_market_time.seconds();
        Ok(quote)
    }
}

impl Content<'_> {
    /// A column with a hole in it loses that bar.
    fn bars(&self) -> Vec<Bar> {
        let Some(columns) = self.indicators.quote.first() else { return Vec::new() };
        let bar = |(i, start): (usize, &Field<'_>)| {
            let [open, high, low, close, volume] =
                [&columns.open, &columns.high, &columns.low, &columns.close, &columns.volume]
                    .map(|column| column.get(i).copied().unwrap_or_default());
            field::bar(start.seconds(), [open, high, low, close], volume)
        };
        self.timestamp.iter().enumerate().filter_map(bar).collect()
    }
}
