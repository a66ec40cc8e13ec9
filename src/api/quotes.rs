//! Quotes by REST: from the fan-out's memory, from the store, or from the publisher, which is told that somebody waits.
//!
//! No vendor is asked from here. A cold symbol counts as watched, so the publisher polls it, once for all who wait, and
//! the answer waits for it for up to `patience`. Each symbol counts as watched for a minute after its last request.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Front;
use super::asked::{asked, covered, one};
use super::refusal::Refusal;
use crate::broker::keys;
use crate::cache;
use crate::gateway::readers::{Known, Origin};
use crate::market::{Symbol, Update};

/// When to ask again for symbols that nobody could tell.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// `GET /api/quotes?symbols=A,B`.
pub(super) async fn several(State(front): State<Front>, request: Request) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let (asked, access) = asked(&front, &head)?;
    let symbols = asked.symbols(front.config.max_symbols)?;
    if symbols.is_empty() {
        return Err(Refusal::bad("invalid_request", "name the symbols: ?symbols=AAPL,MSFT"));
    }
    covered(&access, &symbols)?;
    answer(&front, &symbols).await
}

/// `GET /api/quotes/{symbol}`.
pub(super) async fn single(
    State(front): State<Front>,
    Path(symbol): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let (_, access) = asked(&front, &head)?;
    let symbol = one(&symbol)?;
    covered(&access, &[symbol])?;
    match front.known(&[symbol]).await.pop().flatten() {
        Some(known) => Ok(json(front.quote(&known))),
        None => Err(unknown(&[symbol])),
    }
}

/// `GET /api/indices`: the configured ones, or those that a publisher elsewhere keeps.
pub(super) async fn indices(State(front): State<Front>, request: Request) -> Result<Response, Refusal> {
    let (head, _) = request.into_parts();
    let (_, access) = asked(&front, &head)?;
    let mut symbols = front.config.indices.clone();
    if symbols.is_empty() {
        symbols = stored_indices(&front).await;
    }
    symbols.retain(|symbol| access.covers(*symbol));
    if symbols.is_empty() {
        return Ok(json(body(&[], &[])));
    }
    answer(&front, &symbols).await
}

async fn answer(front: &Front, symbols: &[Symbol]) -> Result<Response, Refusal> {
    let known = front.known(symbols).await;
    let missing: Vec<Symbol> =
        symbols.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(symbol, _)| *symbol).collect();
    if missing.len() == symbols.len() {
        return Err(unknown(&missing));
    }
    let quotes: Vec<String> = known.iter().flatten().map(|known| front.quote(known)).collect();
    Ok(json(body(&quotes, &missing)))
}

fn unknown(symbols: &[Symbol]) -> Refusal {
    let names: Vec<&str> = symbols.iter().take(10).map(Symbol::as_str).collect();
    let more = if symbols.len() > names.len() { ", …" } else { "" };
    let message = format!("nothing is known of {}{more}, and no provider has answered yet", names.join(", "));
    Refusal::later("no_quote", message, RETRY_AFTER)
}

/// The symbols in `cache:indices`.
async fn stored_indices(front: &Front) -> Vec<Symbol> {
    let stored = front.broker.store.get_many(&[keys::INDICES.to_owned()]).await;
    let stored = stored.ok().and_then(|values| values.into_iter().next().flatten());
    let updates = stored.as_deref().and_then(|json| serde_json::from_slice::<Vec<&RawValue>>(json).ok());
    let symbol = |raw: &RawValue| Update::read(raw.get()).ok().map(|update| update.symbol);
    updates.unwrap_or_default().into_iter().filter_map(symbol).take(front.config.max_symbols).collect()
}

fn body(quotes: &[String], missing: &[Symbol]) -> String {
    let names: Vec<String> = missing.iter().map(|symbol| format!("\"{symbol}\"")).collect();
    let now = Timestamp::now();
    format!(r#"{{"quotes":[{}],"missing":[{}],"timestamp":"{now:.3}"}}"#, quotes.join(","), names.join(","))
}

/// Quotes are of the moment: nobody on the way may keep them.
fn json(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}

impl Front {
    /// What is known of these symbols, or becomes known in time.
    pub(super) async fn known(&self, symbols: &[Symbol]) -> Vec<Option<Known>> {
        let known = self.readers.quotes(symbols, Instant::now() + self.config.patience).await;
        for known in &known {
            self.cache.count_quote(match known.as_ref().map(|known| known.origin) {
                Some(Origin::Memory) => cache::Origin::Memory,
                Some(Origin::Store) => cache::Origin::Store,
                Some(Origin::Feed) | None => cache::Origin::Fetched,
            });
        }
        known
    }

    fn quote(&self, known: &Known) -> String {
        let age_ms = self.readers.age_ms(&known.publication);
        let after_ms = self.config.stale_after.as_millis();
        let is_old = after_ms > 0 && u128::from(age_ms) > after_ms && !known.publication.is_of_closed_market();
        known.publication.quote(age_ms, is_old)
    }
}
