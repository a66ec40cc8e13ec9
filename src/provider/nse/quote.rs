//! One stock's quote: the shape since May 2026, and the one before it.

use jiff::Timestamp;
use serde::Deserialize;

use super::{API, Missing, Progress, Reply, Request, Step};
use crate::market::{Exchange, Quote, Symbol};
use crate::provider::config::Name;
use crate::provider::vendor::{Failure, Field, when};

pub(super) fn request(own: &str) -> Request {
    Request::get(API)
        .query("functionName", "getSymbolData")
        .query("marketType", "N")
        .query("series", "EQ")
        .query("symbol", own)
}

pub(super) fn read(symbol: Symbol, own: &str, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
    let body: Body<'_> = reply.object()?;
    let mut progress = Progress::default();
    let rows: Vec<Row<'_>> = body.equity_response.rows()?;
    let quote = if let Some(row) = rows.iter().find(|row| row.is_of(own)) {
        row.quote(symbol)
    } else if rows.is_empty() && body.info.symbol.text().is_some_and(|text| text.trim() == own) {
        body.quote(symbol)
    } else {
        Err(Missing::UnknownSymbol)
    };
    progress.add(symbol, quote, reply.now);
    Ok(progress)
}

/// On the exchange's clock, in the one form or the other.
pub(super) fn time(field: Field<'_>) -> Option<Timestamp> {
    when::local(&field.text()?, &[when::NAMED_MONTH, when::ISO], Exchange::Nse.calendar().zone())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    equity_response: Field<'a>,
    /// From here on the older shape.
    info: Info<'a>,
    metadata: OldMeta<'a>,
    price_info: OldPrice<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OldMeta<'a> {
    #[serde(borrow)]
    last_update_time: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OldPrice<'a> {
    #[serde(borrow)]
    last_price: Field<'a>,
    change: Field<'a>,
    p_change: Field<'a>,
    previous_close: Field<'a>,
}

impl Body<'_> {
    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let price = self.price_info.last_price.price().ok_or(Missing::NoData)?;
        let mut quote = Quote::new(symbol, price, Name::Nse.as_str());
        quote.change = self.price_info.change.number();
        quote.change_percent = self.price_info.p_change.number();
        quote.derive_change(self.price_info.previous_close.number().as_ref());
        quote.traded_at = time(self.metadata.last_update_time);
        Ok(quote)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    order_book: OrderBook<'a>,
    meta_data: Meta<'a>,
    trade_info: TradeInfo<'a>,
    last_update_time: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OrderBook<'a> {
    #[serde(borrow)]
    last_price: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    change: Field<'a>,
    p_change: Field<'a>,
    previous_close: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TradeInfo<'a> {
    #[serde(borrow)]
    total_traded_volume: Field<'a>,
    last_price: Field<'a>,
}

impl Row<'_> {
    /// A row without a name is what was asked for.
    fn is_of(&self, own: &str) -> bool {
        self.meta_data.symbol.text().is_none_or(|text| text.trim() == own)
    }

    fn quote(&self, symbol: Symbol) -> Result<Quote, Missing> {
        let price = self.order_book.last_price.price().or_else(|| self.trade_info.last_price.price());
        let mut quote = Quote::new(symbol, price.ok_or(Missing::NoData)?, Name::Nse.as_str());
        quote.change = self.meta_data.change.number();
        quote.change_percent = self.meta_data.p_change.number();
        quote.derive_change(self.meta_data.previous_close.number().as_ref());
        quote.volume = self.trade_info.total_traded_volume.number();
        quote.traded_at = time(self.last_update_time);
        Ok(quote)
    }
}
