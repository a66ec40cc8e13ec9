//! What is paused, as `publisher:state` keeps it.
//!
//! An absent record means that nothing is known, not that nothing is paused: a resume leaves an empty state behind, so
//! that a pause survives a Redis that lost its keys.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Code, ControlError, Scope};
use crate::market::Symbol;

/// The most symbols that can be paused by name; pause all or a provider instead.
pub const MAX_PAUSED_SYMBOLS: usize = 4096;

/// What is paused, by scope. The three are independent: a symbol is paused when any of them covers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Everything.
    #[serde(default)]
    pub all: Option<Pause>,
    /// What these providers serve.
    #[serde(default)]
    pub providers: BTreeMap<String, Pause>,
    /// These symbols.
    #[serde(default)]
    pub symbols: BTreeMap<Symbol, Pause>,
}

/// One pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why, as the operator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when. Kept when the same scope is paused again.
    pub since: Timestamp,
}

/// The record is no state.
#[derive(Debug, thiserror::Error)]
#[error("not a publisher's state: {0}")]
pub struct StateError(#[from] serde_json::Error);

impl State {
    /// Reads the record.
    ///
    /// # Errors
    /// [`StateError`] when it is none.
    pub fn from_json(json: &[u8]) -> Result<State, StateError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The record.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("maps with string keys, strings and times always serialise")
    }

    /// Pauses what `scope` covers.
    ///
    /// # Errors
    /// [`Code::TooManySymbols`] when more than [`MAX_PAUSED_SYMBOLS`] would be paused by name; nothing changes then.
    pub fn pause(&mut self, scope: &Scope, reason: Option<&str>, now: Timestamp) -> Result<(), ControlError> {
        let pause = |since: Option<Timestamp>| Pause { reason: reason.map(Into::into), since: since.unwrap_or(now) };
        match scope {
            Scope::All => self.all = Some(pause(self.all.as_ref().map(|pause| pause.since))),
            Scope::Provider(name) => {
                let since = self.providers.get(name).map(|pause| pause.since);
                self.providers.insert(name.clone(), pause(since));
            }
            Scope::Symbols(symbols) => {
                let new = symbols.iter().filter(|symbol| !self.symbols.contains_key(symbol)).count();
                if self.symbols.len() + new > MAX_PAUSED_SYMBOLS {
                    let message = format!("at most {MAX_PAUSED_SYMBOLS} symbols can be paused by name");
                    return Err(ControlError::new(Code::TooManySymbols, message));
                }
                for symbol in symbols {
                    let since = self.symbols.get(symbol).map(|pause| pause.since);
                    self.symbols.insert(*symbol, pause(since));
                }
            }
        }
        Ok(())
    }

    /// Ends the pauses of `scope`; [`Scope::All`] ends every one.
    pub fn resume(&mut self, scope: &Scope) {
        match scope {
            Scope::All => *self = State::default(),
            Scope::Provider(name) => {
                self.providers.remove(name);
            }
            Scope::Symbols(symbols) => {
                for symbol in symbols {
                    self.symbols.remove(symbol);
                }
            }
        }
    }

    /// Whether everything is paused.
    #[must_use]
    pub fn is_all_paused(&self) -> bool {
        self.all.is_some()
    }

    /// Whether all that `provider` serves is paused.
    #[must_use]
    pub fn covers_provider(&self, provider: &str) -> bool {
        self.all.is_some() || self.providers.contains_key(provider)
    }

    /// Whether `symbol`, polled from `provider`, is paused.
    #[must_use]
    pub fn covers(&self, provider: &str, symbol: Symbol) -> bool {
        self.covers_provider(provider) || self.symbols.contains_key(&symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    #[test]
    fn a_state_reads_back() {
        let mut state = State::default();
        assert_eq!(state.to_json(), r#"{"all":null,"providers":{},"symbols":{}}"#);
        state.pause(&Scope::All, Some("maintenance"), at(0)).unwrap();
        state.pause(&Scope::Provider("massive".into()), None, at(1)).unwrap();
        state.pause(&Scope::Symbols(vec![symbol("BRK.B")]), None, at(2)).unwrap();
        assert_eq!(State::from_json(state.to_json().as_bytes()).unwrap(), state);
        assert!(State::from_json(b"7").is_err() && State::from_json(br#"{"all":1}"#).is_err());
        assert_eq!(State::from_json(b"{}").unwrap(), State::default());
    }

    #[test]
    fn scopes_are_independent_and_resume_all_ends_every_one() {
        let mut state = State::default();
        state.pause(&Scope::Provider("massive".into()), None, at(0)).unwrap();
        state.pause(&Scope::Symbols(vec![symbol("TCS")]), None, at(0)).unwrap();
        assert!(state.covers("massive", symbol("AAPL")) && state.covers("nse", symbol("TCS")));
        assert!(!state.covers("nse", symbol("AAPL")) && !state.is_all_paused());
        state.resume(&Scope::Provider("massive".into()));
        assert!(!state.covers("massive", symbol("AAPL")) && state.covers("massive", symbol("TCS")));
        state.resume(&Scope::All);
        assert_eq!(state, State::default());
    }

    #[test]
    fn pausing_again_keeps_since_and_takes_the_new_reason() {
        let mut state = State::default();
        state.pause(&Scope::All, Some("one"), at(0)).unwrap();
        state.pause(&Scope::All, Some("two"), at(9)).unwrap();
        assert_eq!(state.all, Some(Pause { reason: Some("two".into()), since: at(0) }));
    }

    #[test]
    fn symbols_paused_by_name_are_bounded() {
        let mut state = State::default();
        let names = |range: std::ops::Range<usize>| Scope::Symbols(range.map(|i| symbol(&format!("S{i}"))).collect());
        state.pause(&names(0..MAX_PAUSED_SYMBOLS), None, at(0)).unwrap();
        let refused = state.pause(&names(MAX_PAUSED_SYMBOLS..MAX_PAUSED_SYMBOLS + 1), None, at(0)).unwrap_err();
        assert_eq!(refused.code, Code::TooManySymbols);
        state.pause(&names(0..2), Some("again"), at(1)).unwrap();
        assert_eq!(state.symbols.len(), MAX_PAUSED_SYMBOLS);
    }
}
