//! A session: cookies of one host, and the crumb that another gives for them.

use std::fmt;

use super::{Renewal, Step, Yahoo, get};
use crate::provider::vendor::{Call, Cookies, Failure, Progress, Reply};

/// Answers 404 and sets cookies.
const COOKIE_HOST: &str = "https://fc.yahoo.com";
const CRUMB: &str = "/v1/test/getcrumb";
/// Eleven characters are usual.
const MAX_CRUMB_BYTES: usize = 64;

/// Both open quotes to whoever has them: `Debug` shows neither.
pub(super) struct Session {
    cookies: Cookies,
    crumb: String,
}

impl Session {
    pub(super) const fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    pub(super) fn crumb(&self) -> &str {
        &self.crumb
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// The first call of a session.
pub(super) fn cookies(renewal: Renewal) -> Call<Step> {
    let symbols = renewal.spelled.symbols();
    Call::new(get("/").at(COOKIE_HOST), &symbols, Step::Cookies(renewal))
}

impl Yahoo {
    /// It is the cookies that count: the usual status is 404.
    pub(super) fn read_cookies(&mut self, renewal: &Renewal, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let mut cookies = Cookies::default();
        cookies.take_in(reply);
        if cookies.is_empty() {
            let is_down = reply.status >= 500;
            return if is_down {
                Err(reply.failure(""))
            } else {
                Ok(self.without_session(&renewal.spelled, reply.now))
            };
        }
        let request = get(CRUMB).header("cookie", cookies.header());
        let symbols = renewal.spelled.symbols();
        let call = Call::new(request, &symbols, Step::Crumb(renewal.clone(), cookies));
        Ok(Progress { calls: vec![call], ..Progress::default() })
    }

    pub(super) fn read_crumb(
        &mut self,
        renewal: &Renewal,
        cookies: &Cookies,
        reply: &Reply<'_>,
    ) -> Result<Progress<Step>, Failure> {
        if reply.status >= 500 {
            return Err(reply.failure(""));
        }
        let crumb = std::str::from_utf8(reply.body).unwrap_or_default().trim();
        let is_crumb = reply.is_success()
            && !reply.is_html()
            && (1..=MAX_CRUMB_BYTES).contains(&crumb.len())
            && crumb.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'{');
        if !is_crumb {
            return Ok(self.without_session(&renewal.spelled, reply.now));
        }
        let mut cookies = cookies.clone();
        cookies.take_in(reply);
        self.session = Some(Session { cookies, crumb: crumb.to_owned() });
        self.no_session_until = None;
        let calls = self.calls(renewal.spelled.clone(), renewal.is_renewed, reply.now);
        Ok(Progress { calls, ..Progress::default() })
    }
}
