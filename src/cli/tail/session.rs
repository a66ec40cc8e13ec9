//! What `tail` asks a gateway for, what comes of it, and which updates are news.
//!
//! Lives over all connections of a run: a gateway's restart does not make an old quote new. Pure: it holds no socket and
//! decides nothing about when to reconnect. Remembers at most [`MAX_SYMBOLS`] symbols; beyond that it forgets all of
//! them, and an old update may be shown once.

use std::collections::HashMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::json;

use super::TailError;
use super::message::{self, Message, Quote};
use super::render::{Direction, short};

/// About 100 bytes each.
const MAX_SYMBOLS: usize = 100_000;
const WILDCARD: &str = "*";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Symbols, upper case; or `*` among them.
    pub(super) symbols: Vec<String>,
    /// At most so many updates a second and symbol.
    pub(super) max_rate: Option<f64>,
}

/// A session's memory.
#[derive(Debug)]
pub(super) struct Session {
    wanted: Wanted,
    seen: HashMap<String, Seen>,
    /// Whether it was told that quotes are simulated.
    told_simulated: bool,
}

#[derive(Debug, Default)]
struct Seen {
    seq: Option<u64>,
    price: Option<Decimal>,
    direction: Direction,
}

/// What a message comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// An update that is news.
    Quote(Box<Quote>, Direction),
    /// About the service.
    News(News),
    /// The answer to our subscription; a sentence where a part of it was refused.
    Subscribed(Option<String>),
    /// How often the gateway pings.
    Pings(Duration),
    /// Our own mistake, or the gateway's limits.
    Complaint(String),
    /// Nothing to show.
    Nothing,
}

/// News about the service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// For people; `None`: the message itself.
    pub(super) text: Option<String>,
    /// Whether something is wrong with the quotes that are shown.
    pub(super) weight: Weight,
    /// We will be asked to come back in this time.
    pub(super) slot: Option<Duration>,
}

/// How much news matters to who reads quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Warning,
    Remark,
}

impl Session {
    pub(super) fn new(wanted: Wanted) -> Session {
        Session { wanted, seen: HashMap::new(), told_simulated: false }
    }

    /// The one message that asks for everything.
    pub(super) fn request(&self) -> String {
        let mut request = json!({"action": "subscribe", "symbols": self.wanted.symbols});
        if let Some(rate) = self.wanted.max_rate {
            request["max_rate"] = rate.into();
        }
        request.to_string()
    }

    /// Takes a message.
    ///
    /// # Errors
    /// [`TailError`] when the gateway refuses what was asked for, and would again.
    pub(super) fn hear(&mut self, text: &str) -> Result<Heard, TailError> {
        Ok(match message::read(text) {
            Some(Message::Quote(quote)) => self.quote(quote),
            Some(Message::Subscribed { symbols, rejected }) => self.subscribed(&symbols, &rejected)?,
            Some(Message::Connected { ping_interval }) => ping_interval.map_or(Heard::Nothing, Heard::Pings),
            Some(Message::Error { code, message }) if code == "unauthorized" => {
                return Err(TailError::Unauthorized(message));
            }
            Some(Message::Error { code, message }) => Heard::Complaint(format!("the gateway says {code}: {message}")),
            Some(Message::Status { status, reason, scope, reconnect_in }) => {
                Heard::News(News::status(&status, reason.as_deref(), scope.as_deref(), reconnect_in))
            }
            Some(Message::Stale { symbol, age }) => {
                let age = age.map(|age| format!(": no news for {}", short(age))).unwrap_or_default();
                Heard::News(News::of(Weight::Warning, format!("{symbol} is stale{age}")))
            }
            Some(Message::Fresh { symbol }) => {
                Heard::News(News::of(Weight::Remark, format!("{symbol} is fresh again")))
            }
            Some(Message::Lagging { conflated }) => {
                let text = format!("reading too slowly: {conflated} updates gave way to newer ones");
                Heard::News(News::of(Weight::Warning, text))
            }
            Some(Message::Notice) => Heard::News(News { text: None, weight: Weight::Remark, slot: None }),
            Some(Message::SmallTalk) => Heard::Nothing,
            None => Heard::Complaint("a message that is no JSON object".into()),
        })
    }

    /// Whether these quotes are simulated and nobody said so yet.
    pub(super) fn finds_simulated(&mut self, quote: &Quote) -> bool {
        let first = !self.told_simulated && quote.source.as_deref() == Some("simulated");
        self.told_simulated |= first;
        first
    }

    fn quote(&mut self, quote: Box<Quote>) -> Heard {
        if self.seen.len() >= MAX_SYMBOLS && !self.seen.contains_key(&quote.symbol) {
            self.seen.clear();
        }
        let seen = self.seen.entry(quote.symbol.clone()).or_default();
        if let (Some(last), Some(seq)) = (seen.seq, quote.seq)
            && seq <= last
        {
            return Heard::Nothing;
        }
        seen.seq = quote.seq.or(seen.seq);
        let price = quote.price.as_ref().and_then(crate::market::Number::to_decimal);
        let direction = direction(&quote).unwrap_or(match (seen.price, price) {
            (Some(last), Some(price)) if price > last => Direction::Up,
            (Some(last), Some(price)) if price < last => Direction::Down,
            (Some(_), Some(_)) => seen.direction,
            (None, _) | (_, None) => Direction::Flat,
        });
        seen.price = price.or(seen.price);
        seen.direction = direction;
        Heard::Quote(quote, direction)
    }

    fn subscribed(&self, symbols: &[String], rejected: &[(String, String)]) -> Result<Heard, TailError> {
        if rejected.is_empty() {
            return Ok(Heard::Subscribed(None));
        }
        if let Some((_, code)) = rejected.iter().find(|(symbol, _)| symbol == WILDCARD) {
            return Err(TailError::WildcardRefused { code: code.clone() });
        }
        let named: Vec<String> = rejected.iter().map(|(symbol, code)| format!("{symbol} ({code})")).collect();
        let refused = named.join(", ");
        if symbols.is_empty() {
            Err(TailError::NothingToWatch { refused })
        } else {
            Ok(Heard::Subscribed(Some(refused)))
        }
    }
}

/// Where the day's change points; `None` when it was not said.
fn direction(quote: &Quote) -> Option<Direction> {
    let change = quote.change.as_ref().or(quote.change_percent.as_ref())?;
    let is_zero = !change.as_str().split(['e', 'E']).next()?.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    Some(match (is_zero, change.as_str().starts_with('-')) {
        (true, _) => Direction::Flat,
        (false, true) => Direction::Down,
        (false, false) => Direction::Up,
    })
}

impl News {
    fn of(weight: Weight, text: String) -> News {
        News { text: Some(text), weight, slot: None }
    }

    fn status(status: &str, reason: Option<&str>, scope: Option<&str>, slot: Option<Duration>) -> News {
        let scope = scope.map(|scope| format!(" of {scope}")).unwrap_or_default();
        let slot = slot.filter(|_| status == "draining");
        let (weight, told) = match status {
            "degraded" => (Weight::Warning, "degraded: these quotes may be old".to_owned()),
            "ok" => (Weight::Remark, "all is well again".to_owned()),
            "paused" => (Weight::Warning, format!("publishing{scope} is paused")),
            "resumed" => (Weight::Remark, format!("publishing{scope} goes on")),
            "draining" => {
                let when = slot.map(|slot| format!(" in {}", short(slot))).unwrap_or_default();
                (Weight::Remark, format!("the gateway is going away{when}"))
            }
            other => (Weight::Remark, format!("the gateway says {other}")),
        };
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        News { text: Some(told + &reason), weight, slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(symbols: &[&str]) -> Session {
        let symbols = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
        Session::new(Wanted { symbols, max_rate: None })
    }

    fn update(symbol: &str, fields: &str, seq: Option<u64>) -> String {
        let seq = seq.map(|seq| format!(r#","seq":{seq}"#)).unwrap_or_default();
        format!(r#"{{"type":"price_update","symbol":"{symbol}","data":{{{fields}}}{seq}}}"#)
    }

    fn direction_of(session: &mut Session, text: &str) -> Option<Direction> {
        match session.hear(text).unwrap() {
            Heard::Quote(_, direction) => Some(direction),
            Heard::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_is_asked_for_in_one_message() {
        assert_eq!(session(&["A", "B"]).request(), r#"{"action":"subscribe","symbols":["A","B"]}"#);
        let wanted = Wanted { symbols: vec!["*".into()], max_rate: Some(2.0) };
        assert_eq!(Session::new(wanted).request(), r#"{"action":"subscribe","max_rate":2.0,"symbols":["*"]}"#);
    }

    #[test]
    fn an_update_that_is_not_above_the_last_seq_is_no_news() {
        let mut session = session(&["A"]);
        for (symbol, seq, shown) in [
            ("A", Some(5), true),
            ("A", Some(5), false),
            ("A", Some(4), false),
            ("B", Some(1), true),
            ("A", None, true),
            ("A", Some(5), false),
            ("A", Some(6), true),
        ] {
            let heard = direction_of(&mut session, &update(symbol, r#""price":1"#, seq));
            assert_eq!(heard.is_some(), shown, "{symbol} {seq:?}");
        }
    }

    #[test]
    fn the_days_change_decides_the_direction_and_else_the_last_price() {
        let mut session = session(&["A"]);
        for (fields, expected) in [
            (r#""price":10"#, Direction::Flat),
            (r#""price":11"#, Direction::Up),
            (r#""price":11.00"#, Direction::Up),
            (r#""price":9.5"#, Direction::Down),
            (r#""price":99,"change":-1"#, Direction::Down),
            (r#""price":1,"change":0.00"#, Direction::Flat),
            (r#""price":1,"changePercent":"2e-1""#, Direction::Up),
        ] {
            assert_eq!(direction_of(&mut session, &update("A", fields, None)), Some(expected), "{fields}");
        }
    }

    #[test]
    fn a_refusal_that_would_come_again_ends_it_and_a_part_of_one_does_not() {
        let rejected = |symbols: &str, symbol: &str, code: &str| {
            let text = format!(
                r#"{{"type":"subscribed","symbols":[{symbols}],"rejected":[{{"symbol":"{symbol}","code":"{code}"}}]}}"#
            );
            session(&[]).hear(&text)
        };
        let error = rejected("", "*", "wildcard_not_allowed").unwrap_err().to_string();
        assert!(error.contains("name the symbols") && error.contains("wildcard_not_allowed"), "{error}");
        let error = rejected("", "B", "forbidden_symbol").unwrap_err().to_string();
        assert!(error.contains("B (forbidden_symbol)"), "{error}");
        let told = rejected("\"A\"", "B", "forbidden_symbol").unwrap();
        assert_eq!(told, Heard::Subscribed(Some("B (forbidden_symbol)".into())));
        let error = session(&[]).hear(r#"{"type":"error","code":"unauthorized","message":"m"}"#).unwrap_err();
        assert!(error.to_string().contains("--token"), "{error}");
    }

    #[test]
    fn news_of_the_service_are_told_in_words() {
        for (text, expected, weight) in [
            (r#""status":"degraded""#, "degraded: these quotes may be old", Weight::Warning),
            (r#""status":"paused","reason":"lunch""#, "publishing is paused (lunch)", Weight::Warning),
            (r#""status":"resumed","symbols":["A","B"]"#, "publishing of A, B goes on", Weight::Remark),
            (r#""status":"draining","reconnect_in_ms":1500"#, "the gateway is going away in 1.5s", Weight::Remark),
            (r#""status":"new""#, "the gateway says new", Weight::Remark),
        ] {
            let heard = session(&[]).hear(&format!(r#"{{"type":"status",{text}}}"#)).unwrap();
            let Heard::News(news) = heard else { panic!("{heard:?}") };
            assert_eq!((news.text.as_deref(), news.weight), (Some(expected), weight));
            assert_eq!(news.slot.is_some(), text.contains("draining"));
        }
    }

    #[test]
    fn simulated_quotes_are_pointed_out_once() {
        let mut session = session(&["A"]);
        let quote = |source: &str| Quote { source: Some(source.into()), ..Quote::default() };
        assert!(!session.finds_simulated(&quote("binance")));
        assert!(session.finds_simulated(&quote("simulated")));
        assert!(!session.finds_simulated(&quote("simulated")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut session = session(&["*"]);
        for i in 0..=MAX_SYMBOLS {
            session.hear(&update(&format!("S{i}"), r#""price":1"#, Some(1))).unwrap();
        }
        assert!(session.seen.len() <= MAX_SYMBOLS);
    }
}
