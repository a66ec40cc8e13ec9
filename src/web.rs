//! The two pages for people, compiled in: the watchlist on the public port, the operators' page on theirs.
//!
//! Plain HTML, style sheets and ES modules under `web/`, so that building tickcast needs no JavaScript tools; the one built
//! file, `web/tickcast-client.js`, is committed, and a test of the client holds it equal to its sources. Knows names and
//! bytes, not what they show. Nothing here grows: a page is what the binary holds.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($name:literal)*) => {
        [$(($name, include_str!(concat!("../web/", $folder, $name)))),*]
    };
}

const ICON: &str = include_str!("../web/shared/icon.svg");
const SHARED: &[File] = &files!["shared/": "base.css" "theme.js" "keep.js" "format.js"];
const WATCHLIST: &[File] = &files!["watch/": "watch.css" "watch.js" "watchlist.js" "row.js" "trend.js" "meters.js"
    "status.js" "symbols.js"];
const CLIENT: &[File] = &files!["": "tickcast-client.js"];
const OPERATORS: &[File] = &files!["ops/": "ops.css" "ops.js" "panels.js" "rates.js" "desk.js"];

/// One page and where its scripts may connect to.
#[derive(Clone)]
pub struct Page {
    index: &'static str,
    files: [&'static [File]; 3],
    policy: HeaderValue,
}

impl Page {
    /// The watchlist. `api_base` is where REST is reached when that is another host.
    #[must_use]
    pub fn watchlist(api_base: Option<&str>) -> Page {
        let index = include_str!("../web/watch/index.html");
        let elsewhere = api_base.and_then(origin_of).unwrap_or_default();
        Page { index, files: [SHARED, CLIENT, WATCHLIST], policy: policy(&format!("'self' ws: wss: {elsewhere}")) }
    }

    /// The operators' page.
    #[must_use]
    pub fn operators() -> Page {
        let index = include_str!("../web/ops/index.html");
        Page { index, files: [SHARED, OPERATORS, &[]], policy: policy("'self'") }
    }

    /// `/page/{file}` and `/favicon.ico`; where the page itself is, is its port's business.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let page = self.clone();
        let file = move |Path(name): Path<String>| async move { page.file(&name) };
        let icon = self.answer("icon.svg", ICON);
        Router::new()
            .route("/page/{file}", get(file))
            .route("/favicon.ico", get(move || async move { icon.into_response() }))
    }

    /// The page itself.
    #[must_use]
    pub fn index(&self) -> Response {
        self.answer("index.html", self.index).into_response()
    }

    fn file(&self, name: &str) -> Response {
        match self.files.iter().copied().flatten().find(|(known, _)| *known == name) {
            Some((name, text)) => self.answer(name, text).into_response(),
            None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
        }
    }

    /// A file with its type and the security headers (OWASP secure headers project). A new binary is a new page, so
    /// browsers ask each time.
    fn answer(&self, name: &str, text: &'static str) -> impl IntoResponse + Clone + use<> {
        let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        let fixed = [
            (CONTENT_TYPE, kind),
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        (fixed, [(CONTENT_SECURITY_POLICY, self.policy.clone())], text)
    }
}

/// Everything from this host and nothing inline; connections to `connect` alone.
fn policy(connect: &str) -> HeaderValue {
    let text = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src {connect}; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).expect("an origin holds visible ASCII alone, as does the rest")
}

/// The origin of an absolute URL; nothing for a path. What could end the directive is none.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(plain))
        .then(|| &url[..scheme.len() + 3 + host.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> [Page; 2] {
        [Page::watchlist(None), Page::operators()]
    }

    /// The words between `before` and the next quote.
    fn quoted<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn whatever_a_page_refers_to_is_there() {
        for page in pages() {
            let mut named: Vec<&str> = quoted(page.index, "\"page/");
            assert!(named.len() >= 4, "{named:?}");
            for (_, text) in page.files.iter().copied().flatten() {
                named.extend(quoted(text, "from \"./"));
            }
            for name in named {
                assert_eq!(page.file(name).status(), StatusCode::OK, "{name}");
            }
        }
    }

    #[test]
    fn nothing_is_inline_that_the_policy_would_refuse() {
        for page in pages() {
            assert!(page.index.split("<script").skip(1).all(|tag| tag.split('>').next().unwrap().contains("src=")));
            for forbidden in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
                assert!(!page.index.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn another_host_for_rest_may_be_called_and_cannot_widen_the_policy() {
        let allowed = |base| Page::watchlist(base).policy.to_str().unwrap().to_owned();
        assert!(allowed(Some("https://api.example:8443/v1")).contains("ws: wss: https://api.example:8443; base-uri"));
        assert_eq!(allowed(Some("/api")), allowed(None));
        assert_eq!(allowed(Some("https://x; script-src *")), allowed(None));
    }
}
