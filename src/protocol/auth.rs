//! What a client may do, as far as a token says so. Checking tokens is the gateway's work, behind [`Verify`].

use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::message::{Close, CloseCode, Selection};
use super::reply::{Reply, Stamp};
use super::session::{Desk, Now};
use crate::market::Symbol;

/// A client that connected without a token may send one for this long, in milliseconds.
pub const AUTH_TIMEOUT_MS: u64 = 10_000;
/// A client is warned this long before its token expires, in milliseconds.
pub const EXPIRY_WARNING_MS: u64 = 30_000;

/// A token whose key is not at hand is tried again for this long, in milliseconds.
pub const KEY_PATIENCE_MS: u64 = 3_000;
/// Between two such tries, in milliseconds.
pub const KEY_RETRY_MS: u64 = 200;
/// The longest token that is looked at: as long as a request head may be.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Whether an offered secret is the known one. The time taken tells at most how long the known one is; an empty one is
/// nobody's.
#[must_use]
pub fn is_same_secret(known: &str, offered: &str) -> bool {
    !known.is_empty() && known.as_bytes().ct_eq(offered.as_bytes()).into()
}

/// Checks a token. Called on the shard's thread: it must not wait for anything.
pub trait Verify: Send + Sync {
    /// What `token` grants at `now`.
    ///
    /// # Errors
    /// Why it grants nothing, in words for the client.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Grant, Unauthorized>;
}

/// Why a token grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub enum Unauthorized {
    /// Not a token we know, or its signature is wrong.
    Invalid,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// Made for somebody else, or by somebody else.
    Foreign,
    /// It would be good for ever: whoever finds it could use it until the key is changed.
    Endless,
    /// The keys to check it are not at hand; they are being fetched.
    Unavailable,
}

impl Unauthorized {
    /// For the client. Nothing of the token is in them.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Unauthorized::Invalid => "the token is not valid",
            Unauthorized::Expired => "the token has expired",
            Unauthorized::NotYet => "the token is not valid yet",
            Unauthorized::Foreign => "the token is for another audience or from another issuer",
            Unauthorized::Endless => "the token does not say when it expires (exp)",
            Unauthorized::Unavailable => "tokens cannot be checked right now; try again",
        }
    }
}

/// What a token grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Until when.
    pub expires: Option<Timestamp>,
    /// Which symbols; `None` is all of them. `*` stands for any run of characters.
    pub symbols: Option<Vec<String>>,
}

/// Where a client stands.
#[derive(Debug)]
pub enum Access {
    /// Tokens are not asked for.
    Open,
    /// It has until `deadline_ms` (monotonic) to send one.
    Waiting {
        /// Then 4401.
        deadline_ms: u64,
        /// What its URL asked for, subscribed once it may.
        wanted: Option<Box<Selection>>,
    },
    /// It has one.
    Granted {
        /// What for.
        grant: Box<Grant>,
        /// Whether it was told that its token expires soon.
        warned: bool,
    },
}

const NO_TOKEN: Close = Close::new(CloseCode::Unauthorized, "no token within 10 s");
const EXPIRED: Close = Close::new(CloseCode::Unauthorized, "the token has expired");

impl Access {
    /// A client with a good token.
    #[must_use]
    pub fn granted(grant: Grant) -> Access {
        Access::Granted { grant: Box::new(grant), warned: false }
    }

    /// When a new token is needed, where one was.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        match self {
            Access::Open | Access::Waiting { .. } => None,
            Access::Granted { grant, .. } => grant.expires,
        }
    }

    /// Whether a symbol may be watched.
    #[must_use]
    pub fn covers(&self, symbol: Symbol) -> bool {
        match self {
            Access::Open => true,
            Access::Waiting { .. } => false,
            Access::Granted { grant, .. } => grant
                .symbols
                .as_ref()
                .is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, symbol.as_str()))),
        }
    }

    /// Whether every symbol may be watched.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        match self {
            Access::Open => true,
            Access::Waiting { .. } => false,
            Access::Granted { grant, .. } => {
                grant.symbols.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern == "*"))
            }
        }
    }

    /// Looks at the clock: when to look again, or why to close. A token's end is told once, a while before it comes.
    pub(super) fn tick(&mut self, now: Now, desk: &mut impl Desk) -> Result<u64, Close> {
        match self {
            Access::Open => Ok(u64::MAX),
            Access::Waiting { deadline_ms, .. } => {
                if now.mono_ms >= *deadline_ms {
                    Err(NO_TOKEN)
                } else {
                    Ok(*deadline_ms)
                }
            }
            Access::Granted { grant, warned } => {
                let Some(expires) = grant.expires else { return Ok(u64::MAX) };
                let left_ms = u64::try_from(expires.as_millisecond() - now.wall.as_millisecond()).unwrap_or(0);
                if left_ms == 0 {
                    return Err(EXPIRED);
                }
                if left_ms > EXPIRY_WARNING_MS {
                    return Ok(now.mono_ms.saturating_add(left_ms - EXPIRY_WARNING_MS));
                }
                if !std::mem::replace(warned, true) {
                    desk.send(&Reply::AuthExpiring { expires: Stamp(expires), expires_in_ms: left_ms }.to_json());
                }
                Ok(now.mono_ms.saturating_add(left_ms))
            }
        }
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters and case does not matter.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = strip_prefix(text, first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match find(rest, middle) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(tail) => rest.len() >= tail.len() && rest[rest.len() - tail.len()..].eq_ignore_ascii_case(tail),
    }
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    (text.is_ascii() && text.len() >= prefix.len() && text[..prefix.len()].eq_ignore_ascii_case(prefix))
        .then(|| &text[prefix.len()..])
}

/// Where the first occurrence of `part` in `text` ends.
fn find(text: &str, part: &str) -> Option<usize> {
    (part.len()..=text.len()).find(|&end| text[end - part.len()..end].eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, expected) in [
            ("AAPL", "AAPL", true),
            ("aapl", "AAPL", true),
            ("AAPL", "AAPLX", false),
            ("*", "ANY", true),
            ("BTC-*", "BTC-USD", true),
            ("BTC-*", "ETH-USD", false),
            ("*-USD", "BTC-USD", true),
            ("B*-*D", "BTC-USD", true),
            ("A*A", "A", false),
            ("", "A", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_secret_is_only_itself() {
        assert!(is_same_secret("secret", "secret"));
        for other in ["", "secre", "secret1", "Secret"] {
            assert!(!is_same_secret("secret", other), "{other}");
        }
        assert!(!is_same_secret("", ""), "an empty secret lets nobody in");
    }

    #[test]
    fn a_claim_narrows_what_may_be_watched() {
        let granted = |symbols: Option<&[&str]>| {
            let symbols = symbols.map(|list| list.iter().map(|&text| text.to_owned()).collect());
            Access::granted(Grant { expires: None, symbols })
        };
        let aapl = Symbol::parse("AAPL").unwrap();
        assert!(granted(None).covers(aapl) && granted(None).covers_all());
        assert!(granted(Some(&["AAPL"])).covers(aapl) && !granted(Some(&["AAPL"])).covers_all());
        assert!(!granted(Some(&[])).covers(aapl));
    }
}
