//! The stocks of an index, and the index itself, in one call.
//!
//! Which stocks those are is learnt from the answer. State: their names, and until when the call is known not to work.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::quote::time;
use super::{Aim, Missing, Progress, Reply, Request, Spelled, Step};
use crate::market::{Quote, Symbol};
use crate::provider::config::Name;
use crate::provider::vendor::{Failure, Field};

const PATH: &str = "/api/equity-stock-indices";
/// The index whose stocks are asked for together.
const MAIN: &str = "NIFTY 50";
/// Indices, by the symbol that everybody else knows them by.
const INDICES: [(&str, &str); 5] = [
    ("^NSEI", MAIN),
    ("^NSEBANK", "NIFTY BANK"),
    ("^CNXIT", "NIFTY IT"),
    ("^CNXAUTO", "NIFTY AUTO"),
    ("^CNXPHARMA", "NIFTY PHARMA"),
];
/// The largest index has 750 stocks; ours has 50.
const MAX_MEMBERS: usize = 1000;
/// How long a call that does not work is left alone.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// What is known of the main index.
#[derive(Debug, Default)]
pub(super) struct Basket {
    /// `None`: nobody has asked yet.
    members: Option<BTreeSet<String>>,
    refused_until: Option<Timestamp>,
}

/// The name of an index.
pub(super) fn index(symbol: &str) -> Option<&'static str> {
    INDICES.iter().find(|(text, _)| *text == symbol).map(|(_, name)| *name)
}

pub(super) fn is_index(own: &str) -> bool {
    INDICES.iter().any(|(_, name)| *name == own)
}

pub(super) fn request(index: &str) -> Request {
    Request::get(PATH).query("index", index)
}

impl Basket {
    /// How these are got: two or more that may be in the basket by that, the rest one by one, indices by their own.
    pub(super) fn aims(&self, spelled: &Spelled, now: Timestamp) -> Vec<Aim> {
        let (indices, stocks) = spelled.clone().partition(is_index);
        let may_be_in = |own: &str| self.members.as_ref().is_none_or(|members| members.contains(own));
        let (in_basket, others) = stocks.clone().partition(may_be_in);
        let is_refused = self.refused_until.is_some_and(|until| now < until);
        let (main, others_indices) = indices.partition(|own| own == MAIN);
        let mut aims = Vec::new();
        if is_refused || (main.is_empty() && in_basket.texts().len() < 2) {
            aims.extend(singles(&stocks));
            aims.extend((!main.is_empty()).then_some(Aim::Basket(MAIN, main)));
        } else {
            aims.push(Aim::Basket(MAIN, joined(&main, &in_basket)));
            aims.extend(singles(&others));
        }
        for (_, name) in INDICES {
            let (own, _) = others_indices.clone().partition(|own| own == name);
            aims.extend((!own.is_empty()).then_some(Aim::Basket(name, own)));
        }
        aims
    }

    /// The call does not work: its stocks are asked for one by one, and there is nothing of an index.
    pub(super) fn refused(&mut self, index: &str, spelled: &Spelled, now: Timestamp) -> Vec<Aim> {
        if index == MAIN {
            self.refused_until = now.checked_add(REFUSED_FOR).ok();
        }
        singles(&spelled.clone().partition(is_index).1).collect()
    }

    /// What the basket holds, and how what it does not hold is got.
    pub(super) fn read(
        &mut self,
        index: &str,
        spelled: &Spelled,
        reply: &Reply<'_>,
    ) -> Result<(Progress<Step>, Vec<Aim>), Failure> {
        let body: Body<'_> = reply.object()?;
        let rows = body.data.rows::<Row<'_>>()?;
        if index == MAIN && !rows.is_empty() {
            let names = rows.iter().filter(|row| !row.is_index()).filter_map(Row::name);
            self.members = Some(names.take(MAX_MEMBERS).collect());
        }
        let mut progress = Progress::default();
        let mut rest = Vec::new();
        for (symbol, own) in spelled.iter() {
            match rows.iter().find(|row| row.name().is_some_and(|name| name == own)) {
                Some(row) => progress.add(symbol, row.quote(symbol, body.timestamp), reply.now),
                None if is_index(own) => progress.missing.push((symbol, Missing::NoData)),
                None => rest.push(Aim::Quote(symbol, own.to_owned())),
            }
        }
        Ok((progress, rest))
    }
}

fn singles(stocks: &Spelled) -> impl Iterator<Item = Aim> {
    stocks.iter().map(|(symbol, own)| Aim::Quote(symbol, own.to_owned()))
}

fn joined(first: &Spelled, second: &Spelled) -> Spelled {
    first.iter().chain(second.iter()).map(|(symbol, own)| (symbol, own.to_owned())).collect()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    data: Field<'a>,
    timestamp: Field<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    symbol: Field<'a>,
    priority: Field<'a>,
    last_price: Field<'a>,
    change: Field<'a>,
    p_change: Field<'a>,
    previous_close: Field<'a>,
    total_traded_volume: Field<'a>,
    last_update_time: Field<'a>,
}

impl Row<'_> {
    fn name(&self) -> Option<String> {
        self.symbol.text().map(|text| text.trim().to_owned())
    }

    /// The index's own row is the first.
    fn is_index(&self) -> bool {
        self.priority.whole() == Some(1)
    }

    fn quote(&self, symbol: Symbol, of_all: Field<'_>) -> Result<Quote, Missing> {
        let mut quote = Quote::new(symbol, self.last_price.price().ok_or(Missing::NoData)?, Name::Nse.as_str());
        quote.change = self.change.number();
        quote.change_percent = self.p_change.number();
        quote.derive_change(self.previous_close.number().as_ref());
        quote.volume = self.total_traded_volume.number();
        quote.traded_at = time(self.last_update_time).or_else(|| time(of_all));
        Ok(quote)
    }
}
