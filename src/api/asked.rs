//! Who asks, and for what: the query, the token, the symbols a token covers.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};

use super::Front;
use super::refusal::Refusal;
use crate::market::Symbol;
use crate::protocol::auth::{Access, KEY_PATIENCE_MS, Unauthorized};
use crate::protocol::request::read_list;

/// When to come back with a token whose key is being fetched: as long as a socket would wait for it.
const KEYS_AWAY: Duration = Duration::from_millis(KEY_PATIENCE_MS);

/// A request's query, each name once; of several the last.
pub(super) struct Asked {
    fields: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn read(query: Option<&str>) -> Asked {
        let fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Asked { fields: fields.map(|(name, value)| (name.into_owned(), value.into_owned())).collect() }
    }

    /// The last value of a name; an empty one counts as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.fields.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// What `symbols=A,B`, which may be repeated, and `symbol=A` list.
    pub(super) fn list(&self) -> String {
        let lists = self.fields.iter().filter(|(name, _)| name == "symbols" || name == "symbol");
        lists.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The symbols of that list.
    pub(super) fn symbols(&self, max: usize) -> Result<Vec<Symbol>, Refusal> {
        checked(&self.list(), max)
    }

    /// What whoever asks may read: by `Authorization: Bearer` or `?token=`.
    pub(super) fn access(&self, front: &Front, headers: &HeaderMap) -> Result<Access, Refusal> {
        let token = bearer(headers).or(self.get("token").map(Cow::Borrowed));
        front.readers.access(token.as_deref()).map_err(|unauthorized| {
            if unauthorized == Unauthorized::Unavailable {
                return Refusal::later("keys_away", unauthorized.words(), KEYS_AWAY);
            }
            let message = match &token {
                Some(_) => unauthorized.to_string(),
                None => "send a token as Authorization: Bearer or ?token=".to_owned(),
            };
            Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
        })
    }
}

/// The symbols of a list: at most `max`, all of them good.
pub(super) fn checked(list: &str, max: usize) -> Result<Vec<Symbol>, Refusal> {
    let selection = read_list(list);
    if let Some(bad) = selection.rejected.first() {
        let message = format!("{:?} is no symbol: 1 to 32 of A-Z 0-9 . - _ : ^ = / & @", bad.symbol);
        return Err(Refusal::bad("invalid_symbol", message));
    }
    if selection.wildcard {
        return Err(Refusal::bad("wildcard_not_allowed", "name the symbols"));
    }
    if selection.symbols.len() > max {
        return Err(Refusal::bad("too_many_symbols", format!("at most {max} symbols at once")));
    }
    Ok(selection.symbols)
}

/// One symbol of a path.
pub(super) fn one(text: &str) -> Result<Symbol, Refusal> {
    let symbols = checked(text, 1)?;
    symbols.first().copied().ok_or_else(|| Refusal::bad("invalid_symbol", "a symbol is missing"))
}

/// All of `symbols`, if they may be read.
pub(super) fn covered(access: &Access, symbols: &[Symbol]) -> Result<(), Refusal> {
    match symbols.iter().find(|symbol| !access.covers(**symbol)) {
        None => Ok(()),
        Some(symbol) => {
            let message = format!("the token does not cover {symbol}");
            Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden_symbol", message))
        }
    }
}

/// What a handler needs first: the query, and that whoever asks may.
pub(super) fn asked(front: &Front, head: &Parts) -> Result<(Asked, Access), Refusal> {
    let asked = Asked::read(head.uri.query());
    let access = asked.access(front, &head.headers)?;
    Ok((asked, access))
}

fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let scheme = value.get(..7)?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| Cow::Borrowed(value[7..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(query: &str) -> Result<String, Refusal> {
        let symbols = Asked::read(Some(query)).symbols(3)?;
        Ok(symbols.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn symbols_come_in_lists_and_one_by_one_each_once() {
        assert_eq!(symbols("symbols=aapl,MSFT&symbol=BTC-USD&symbols=AAPL"), Ok("AAPL MSFT BTC-USD".into()));
        assert_eq!(symbols("symbols=%5ENSEI%2C+M%26M"), Ok("^NSEI M&M".into()));
        assert_eq!(symbols("other=1"), Ok(String::new()));
    }

    #[test]
    fn bad_lists_are_refused_whole() {
        for (query, code) in [
            ("symbols=AAPL,T C", "invalid_symbol"),
            ("symbols=*", "wildcard_not_allowed"),
            ("symbols=A,B,C,D", "too_many_symbols"),
        ] {
            let refusal = symbols(query).unwrap_err();
            assert!(format!("{refusal:?}").contains(code), "{query}: {refusal:?}");
        }
    }
}
