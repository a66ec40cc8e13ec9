//! The cookies of one session with a vendor, as far as a session of one host needs them.
//!
//! Names and values only (RFC 6265 §5.2); domain and path do not matter for one host, nor does `Secure`. Bounded by
//! [`MAX_COOKIES`] and [`MAX_COOKIE_BYTES`]: what is beyond is not kept.

use std::collections::BTreeMap;
use std::fmt;

use super::Reply;

/// Akamai and its like set about ten.
pub const MAX_COOKIES: usize = 32;
/// The longest one, RFC 6265 §6.1.
pub const MAX_COOKIE_BYTES: usize = 4096;

/// A session's cookies. They open the session to whoever has them, so `Debug` shows their names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cookies(BTreeMap<String, String>);

impl Cookies {
    /// Takes in what an answer sets, and drops what it takes back.
    pub fn take_in(&mut self, reply: &Reply<'_>) {
        for field in reply.headers.get_all("set-cookie") {
            let Ok(field) = field.to_str() else { continue };
            let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if is_over(attributes) {
                self.0.remove(name);
            } else if !name.is_empty()
                && pair.len() <= MAX_COOKIE_BYTES
                && (self.0.len() < MAX_COOKIES || self.0.contains_key(name))
            {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `Cookie` header.
    #[must_use]
    pub fn header(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }
}

/// `Max-Age=0`: the server takes the cookie back. `Expires` in the past means the same and comes with it.
fn is_over(attributes: &str) -> bool {
    attributes.split(';').filter_map(|attribute| attribute.split_once('=')).any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("max-age") && value.trim().parse::<i64>().is_ok_and(|seconds| seconds <= 0)
    })
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    fn take_in(cookies: &mut Cookies, fields: &[String]) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("set-cookie", field.parse().unwrap());
        }
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        cookies.take_in(&Reply { status: 200, headers: &headers, body: b"", now });
    }

    #[test]
    fn cookies_are_kept_replaced_and_taken_back() {
        let mut cookies = Cookies::default();
        let fields = ["nsit=a=b; Path=/; Secure", "bm_sz=1; Max-Age=100", "junk", "=x"];
        take_in(&mut cookies, &fields.map(str::to_owned));
        assert_eq!(cookies.header(), "bm_sz=1; nsit=a=b");
        take_in(&mut cookies, &["bm_sz=2".into(), "nsit=; Max-Age=0".into()]);
        assert_eq!(cookies.header(), "bm_sz=2");
        assert_eq!(format!("{cookies:?}"), r#"{"bm_sz"}"#);
    }

    #[test]
    fn their_number_and_length_are_bounded() {
        let mut cookies = Cookies::default();
        take_in(&mut cookies, &[format!("long={}", "x".repeat(MAX_COOKIE_BYTES))]);
        assert!(cookies.is_empty());
        let many: Vec<String> = (0..100).map(|i| format!("c{i}=1")).collect();
        take_in(&mut cookies, &many);
        assert_eq!(cookies.header().matches('=').count(), MAX_COOKIES);
    }
}
