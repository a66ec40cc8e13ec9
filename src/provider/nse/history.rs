//! Bars of a day each.

use jiff::Timestamp;
use serde::Deserialize;

use super::{API, Progress, Reply, Request, Step};
use crate::market::{Exchange, Range};
use crate::provider::vendor::{Failure, Field, field, when};

/// The first and the last day of a range, as the site writes them; `None` for one that is shorter than a few days.
pub(super) fn days(range: Range, now: Timestamp) -> Option<(Timestamp, [String; 2])> {
    match range {
        Range::Day => return None,
        Range::Week | Range::Month => {}
    }
    let calendar = Exchange::Nse.calendar();
    let from = when::day_begins(range.begins(calendar, now), calendar.zone());
    let day = |at: Timestamp| calendar.zone().to_datetime(at).strftime("%d-%m-%Y").to_string();
    Some((from, [day(from), day(now)]))
}

pub(super) fn request(own: &str, [from, to]: &[String; 2]) -> Request {
    Request::get(API)
        .query("functionName", "getHistoricalTradeData")
        .query("symbol", own)
        .query("series", "EQ")
        .query("fromDate", from)
        .query("toDate", to)
}

pub(super) fn read(reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
    // Most have seen the bare list, some an envelope.
    let is_list = reply.body.trim_ascii_start().starts_with(b"[");
    let rows: Vec<Row<'_>> = if is_list { reply.json()? } else { reply.object::<Envelope<'_>>()?.data.rows()? };
    Ok(Progress { bars: rows.iter().filter_map(Row::bar).collect(), ..Progress::default() })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row<'a> {
    /// `20-Nov-2026`.
    #[serde(borrow)]
    mtimestamp: Field<'a>,
    ch_opening_price: Field<'a>,
    ch_trade_high_price: Field<'a>,
    ch_trade_low_price: Field<'a>,
    ch_closing_price: Field<'a>,
    ch_tot_traded_qty: Field<'a>,
}

impl Row<'_> {
    fn bar(&self) -> Option<crate::market::Bar> {
        let midnight = [self.mtimestamp.text()?.trim(), " 00:00:00"].concat();
        let start = when::local(&midnight, &[when::NAMED_MONTH], Exchange::Nse.calendar().zone());
        let prices = [self.ch_opening_price, self.ch_trade_high_price, self.ch_trade_low_price, self.ch_closing_price];
        field::bar(start, prices, self.ch_tot_traded_qty)
    }
}
