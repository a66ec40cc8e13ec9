//! Who may change something through the ops port.
//!
//! On loopback anyone who can reach it; bound wider, whoever has the admin token. A browser page of another origin may
//! not, wherever the port is bound: a request that names a foreign origin is refused.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use crate::protocol::auth::is_same_secret;

/// The rule for changing verbs.
#[derive(Clone)]
pub struct Access {
    bind: IpAddr,
    admin_token: Option<SecretString>,
}

impl Access {
    /// For a port that is bound to `bind`, or for one client there.
    #[must_use]
    pub fn new(bind: IpAddr, admin_token: Option<SecretString>) -> Access {
        Access { bind, admin_token }
    }

    /// Whether a request may change something.
    ///
    /// # Errors
    /// Why not: status, code, words.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str, &'static str)> {
        if let Some(origin) = headers.get(ORIGIN) {
            let host = headers.get(HOST).map(|host| host.as_bytes()).unwrap_or_default();
            let same = origin.as_bytes().split(|&byte| byte == b'/').next_back() == Some(host);
            if !same || (self.bind.is_loopback() && !is_local(host)) {
                return Err((StatusCode::FORBIDDEN, "forbidden", "pages of other origins may not change anything"));
            }
        }
        if self.bind.is_loopback() {
            return Ok(());
        }
        let Some(token) = &self.admin_token else {
            let message = "set ops.admin_token (ADMIN_TOKEN) to change anything from elsewhere than loopback";
            return Err((StatusCode::FORBIDDEN, "forbidden", message));
        };
        let offered = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let offered = offered.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if is_same_secret(token.expose_secret(), offered) {
            Ok(())
        } else {
            Err((StatusCode::UNAUTHORIZED, "unauthorized", "send the admin token as Authorization: Bearer"))
        }
    }
}

/// Whether a Host is this machine by address or by the one name that is. A page whose own name was made to lead here
/// (DNS rebinding) has the right origin and the wrong host.
fn is_local(host: &[u8]) -> bool {
    let Ok(Ok(authority)) = std::str::from_utf8(host).map(str::parse::<Authority>) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bind: &str, token: Option<&str>, headers: &[(&'static str, &str)]) -> u16 {
        let access = Access::new(bind.parse().unwrap(), token.map(SecretString::from));
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        access.check(&headers).err().map_or(200, |(status, ..)| status.as_u16())
    }

    #[test]
    fn loopback_needs_no_token_and_anything_wider_does() {
        assert_eq!(check("127.0.0.1", None, &[]), 200);
        assert_eq!(check("0.0.0.0", None, &[]), 403);
        assert_eq!(check("0.0.0.0", Some("t"), &[]), 401);
        assert_eq!(check("0.0.0.0", Some("t"), &[("authorization", "Bearer x")]), 401);
        assert_eq!(check("0.0.0.0", Some("t"), &[("authorization", "Bearer t")]), 200);
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let host = ("host", "127.0.0.1:8082");
        assert_eq!(check("127.0.0.1", None, &[host, ("origin", "http://127.0.0.1:8082")]), 200);
        assert_eq!(check("127.0.0.1", None, &[host, ("origin", "https://evil.example")]), 403);
        assert_eq!(check("127.0.0.1", None, &[host, ("origin", "null")]), 403);
    }

    #[test]
    fn a_page_whose_name_was_made_to_lead_here_changes_nothing() {
        for (host, expected) in [
            ("evil.example:8082", 403),
            ("127.0.0.1.evil.example:8082", 403),
            ("localhost:8082", 200),
            ("[::1]:8082", 200),
        ] {
            let origin = format!("http://{host}");
            assert_eq!(check("127.0.0.1", None, &[("host", host), ("origin", &origin)]), expected, "{host}");
        }
        let wider = [("host", "ops.example"), ("origin", "https://ops.example"), ("authorization", "Bearer t")];
        assert_eq!(check("0.0.0.0", Some("t"), &wider), 200);
    }
}
