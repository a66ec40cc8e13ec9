//! Reads what clients send: one JSON object a message.
//!
//! Lenient in what does no harm (unknown fields, lower case, `ticker` or `symbol` for one), exact in what it refuses:
//! the answer names the field and what it may be. An `id` is kept as its JSON text and echoed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{ErrorCode, MAX_ECHOED_CHARS, Rejected, Request, Selection, Terms, Token};
use crate::market::Symbol;

/// The longest `id` that is echoed, in bytes of its JSON text.
pub const MAX_ID_BYTES: usize = 128;
/// The highest `max_rate`, in updates per second and symbol; above it no pacing could be told from none.
pub const MAX_RATE: f64 = 1000.0;
/// The lowest `max_rate`: one update an hour.
pub const MIN_RATE: f64 = 1.0 / 3600.0;

/// The client's own name for a request: a JSON string or number, as its text.
pub type Id<'a> = Option<&'a str>;

/// A request that cannot be read, and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Why.
    pub code: ErrorCode,
    /// In words: what was wrong, and what is allowed.
    pub message: Cow<'static, str>,
    /// The request's id, when it could be read.
    pub id: Id<'a>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    action: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    symbols: Option<&'a RawValue>,
    #[serde(borrow, default)]
    symbol: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ticker: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_rate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    snapshot: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
}

/// Reads one message.
///
/// # Errors
/// [`Refusal`], ready to be sent back.
pub fn read_request(text: &str) -> Result<(Request, Id<'_>), Refusal<'_>> {
    if !text.trim_start().starts_with('{') {
        return Err(refuse(
            ErrorCode::InvalidJson,
            "a message is one JSON object, such as {\"action\":\"ping\"}",
            None,
        ));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            refuse(ErrorCode::InvalidRequest, format!("{error}"), None)
        } else {
            refuse(ErrorCode::InvalidJson, format!("not JSON: {error}"), None)
        }
    })?;
    let id = read_id(fields.id)?;
    let invalid = |message: &'static str| refuse(ErrorCode::InvalidRequest, message, id);
    let action: String = match fields.action {
        None => return Err(invalid("`action` is missing; it is one of subscribe, unsubscribe, list, ping, auth")),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| invalid("`action` is a string"))?,
    };
    let request = match action.as_str() {
        "subscribe" => Request::Subscribe(selection(&fields, id)?, terms(&fields, id)?),
        "unsubscribe" => Request::Unsubscribe(selection(&fields, id)?),
        "list" => Request::List,
        "ping" => Request::Ping,
        "auth" => {
            let raw = fields.token.ok_or_else(|| invalid("`token` is missing; it is a string"))?;
            let token = serde_json::from_str(raw.get()).map_err(|_| invalid("`token` is a string"))?;
            Request::Auth { token: Token(token) }
        }
        _ => {
            let message =
                format!("unknown action {:?}; it is one of subscribe, unsubscribe, list, ping, auth", echo(&action));
            return Err(refuse(ErrorCode::UnknownAction, message, id));
        }
    };
    Ok((request, id))
}

/// The symbols of a comma-separated list, as `?symbols=` has them. Empty entries are skipped.
#[must_use]
pub fn read_list(list: &str) -> Selection {
    let mut selection = Selection::default();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        select(&mut selection, text);
    }
    dedupe(&mut selection);
    selection
}

fn refuse<'a>(code: ErrorCode, message: impl Into<Cow<'static, str>>, id: Id<'a>) -> Refusal<'a> {
    Refusal { code, message: message.into(), id }
}

fn read_id(raw: Option<&RawValue>) -> Result<Id<'_>, Refusal<'_>> {
    let Some(text) = raw.map(RawValue::get).filter(|&text| text != "null") else { return Ok(None) };
    let string_or_number = text.starts_with(['"', '-']) || text.starts_with(|c: char| c.is_ascii_digit());
    if !string_or_number || text.len() > MAX_ID_BYTES {
        return Err(refuse(ErrorCode::InvalidRequest, "`id` is a string or a number of at most 128 bytes", None));
    }
    Ok(Some(text))
}

fn selection<'a>(fields: &Fields<'a>, id: Id<'a>) -> Result<Selection, Refusal<'a>> {
    let mut selection = Selection::default();
    if let Some(raw) = fields.symbols {
        let wrong = || refuse(ErrorCode::InvalidRequest, "`symbols` is an array of strings", id);
        for text in serde_json::from_str::<Vec<Cow<'_, str>>>(raw.get()).map_err(|_| wrong())? {
            select(&mut selection, &text);
        }
    }
    for (raw, wrong) in [(fields.symbol, "`symbol` is a string"), (fields.ticker, "`ticker` is a string")] {
        if let Some(raw) = raw {
            let text: String =
                serde_json::from_str(raw.get()).map_err(|_| refuse(ErrorCode::InvalidRequest, wrong, id))?;
            select(&mut selection, &text);
        }
    }
    if fields.symbols.or(fields.symbol).or(fields.ticker).is_none() {
        let message = "`symbols` is missing; it is an array of strings (or `symbol`, or `ticker`, for one)";
        return Err(refuse(ErrorCode::InvalidRequest, message, id));
    }
    dedupe(&mut selection);
    Ok(selection)
}

fn select(selection: &mut Selection, text: &str) {
    if text == "*" {
        selection.wildcard = true;
        return;
    }
    match Symbol::parse(text) {
        Ok(symbol) => selection.symbols.push(symbol),
        Err(_) => selection.rejected.push(Rejected { symbol: echo(text), code: ErrorCode::InvalidSymbol }),
    }
}

/// Keeps each symbol's first mention. Sorting an index keeps a request of thousands from costing its square.
fn dedupe(selection: &mut Selection) {
    let mut seen = hashbrown::HashSet::with_capacity(selection.symbols.len());
    selection.symbols.retain(|symbol| seen.insert(*symbol));
}

/// What a client wrote, short enough to be sent back.
fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHOED_CHARS).collect()
}

fn terms<'a>(fields: &Fields<'a>, id: Id<'a>) -> Result<Terms, Refusal<'a>> {
    let mut terms = Terms::default();
    if let Some(raw) = fields.snapshot {
        terms.snapshot = serde_json::from_str(raw.get())
            .map_err(|_| refuse(ErrorCode::InvalidRequest, "`snapshot` is true or false", id))?;
    }
    if let Some(raw) = fields.max_rate.filter(|raw| raw.get() != "null") {
        let wrong = || {
            let message = "`max_rate` is a number of updates per second and symbol, from 1/3600 to 1000";
            refuse(ErrorCode::InvalidRequest, message, id)
        };
        let rate: f64 = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
        if !(MIN_RATE..=MAX_RATE).contains(&rate) {
            return Err(wrong());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 3,600,000 by the range")]
        let gap = (1000.0 / rate).round() as u32;
        terms.min_gap_ms = gap;
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| Symbol::parse(name).unwrap()).collect()
    }

    #[test]
    fn subscribe_takes_many_or_one_under_three_names() {
        let text = r#"{"action":"subscribe","symbols":["reliance","TCS","tcs"],"id":1,"unknown":[]}"#;
        let (request, id) = read_request(text).unwrap();
        let selection = Selection { symbols: symbols(&["RELIANCE", "TCS"]), ..Selection::default() };
        assert_eq!((request, id), (Request::Subscribe(selection, Terms::default()), Some("1")));
        for name in ["symbol", "ticker"] {
            let text = format!(r#"{{"action":"unsubscribe","{name}":"aapl","id":"x"}}"#);
            let (request, id) = read_request(&text).unwrap();
            let selection = Selection { symbols: symbols(&["AAPL"]), ..Selection::default() };
            assert_eq!((request, id), (Request::Unsubscribe(selection), Some("\"x\"")));
        }
    }

    #[test]
    fn a_bad_symbol_among_good_ones_is_named() {
        let text = r#"{"action":"subscribe","symbols":["AAPL","TC S","*",""],"max_rate":2,"snapshot":false}"#;
        let (Request::Subscribe(selection, terms), None) = read_request(text).unwrap() else { panic!() };
        assert_eq!(selection.symbols, symbols(&["AAPL"]));
        assert!(selection.wildcard);
        let rejected: Vec<_> = selection.rejected.iter().map(|r| (r.symbol.as_str(), r.code)).collect();
        assert_eq!(rejected, [("TC S", ErrorCode::InvalidSymbol), ("", ErrorCode::InvalidSymbol)]);
        assert_eq!(terms, Terms { min_gap_ms: 500, snapshot: false });
    }

    #[test]
    fn each_mistake_has_its_code() {
        use ErrorCode::{InvalidJson, InvalidRequest, UnknownAction};
        for (text, code) in [
            ("", InvalidJson),
            ("hello", InvalidJson),
            ("[1]", InvalidJson),
            ("{\"action\":", InvalidJson),
            ("{}", InvalidRequest),
            (r#"{"action":7}"#, InvalidRequest),
            (r#"{"action":"fly"}"#, UnknownAction),
            (r#"{"action":"subscribe"}"#, InvalidRequest),
            (r#"{"action":"subscribe","symbols":"AAPL"}"#, InvalidRequest),
            (r#"{"action":"subscribe","symbols":[1]}"#, InvalidRequest),
            (r#"{"action":"subscribe","symbol":null}"#, InvalidRequest),
            (r#"{"action":"subscribe","symbols":[],"max_rate":0}"#, InvalidRequest),
            (r#"{"action":"subscribe","symbols":[],"max_rate":"2"}"#, InvalidRequest),
            (r#"{"action":"subscribe","symbols":[],"snapshot":1}"#, InvalidRequest),
            (r#"{"action":"auth"}"#, InvalidRequest),
            (r#"{"action":"ping","id":{}}"#, InvalidRequest),
            (r#"{"action":"ping","action":"list"}"#, InvalidRequest),
        ] {
            assert_eq!(read_request(text).unwrap_err().code, code, "{text}");
        }
        assert_eq!(read_request(r#"{"action":"fly","id":3}"#).unwrap_err().id, Some("3"));
    }

    #[test]
    fn a_url_list_is_read_like_a_request() {
        let selection = read_list("AAPL, msft,,B AD,AAPL");
        assert_eq!(selection.symbols, symbols(&["AAPL", "MSFT"]));
        assert_eq!(selection.rejected.len(), 1);
    }

    #[test]
    fn a_token_is_not_shown_by_what_holds_it() {
        let (request, _) = read_request(r#"{"action":"auth","token":"hush"}"#).unwrap();
        assert_eq!(request, Request::Auth { token: Token("hush".into()) });
        assert!(!format!("{request:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}|[{}\\[\\]\":,a-z*0-9. ]{0,80}") {
            let _ = read_request(&text);
        }
    }
}
