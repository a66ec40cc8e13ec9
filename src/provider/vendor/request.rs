//! A request, built without sending it.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What needs no escape in a path segment or a query value (RFC 3986 §2.3); everything else is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request, apart from scheme, host and port. Its query and headers may hold a key, so `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Another scheme, host and port than the vendor's usual ones.
    origin: Option<&'static str>,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: a GET.
    None,
    /// A POST of a form, already encoded.
    Form(String),
}

impl Request {
    /// A GET of `path`, which begins with `/` and is escaped where it has to be ([`escape`]).
    #[must_use]
    pub fn get(path: impl Into<String>) -> Request {
        Request { origin: None, path: path.into(), query: String::new(), headers: Vec::new(), body: Body::None }
    }

    /// A GET of a path and query that are escaped already: a vendor's link to the next page.
    #[must_use]
    pub fn link(target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request { query: query.to_owned(), ..Request::get(path) }
    }

    /// To another host than the vendor's usual one, unless a base URL is configured: then that one gets everything.
    #[must_use]
    pub const fn at(mut self, origin: &'static str) -> Request {
        self.origin = Some(origin);
        self
    }

    /// Where it goes, if not to the vendor's usual host: scheme, host and port.
    #[must_use]
    pub const fn origin(&self) -> Option<&'static str> {
        self.origin
    }

    /// With one more query parameter; the value is escaped here.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Request {
        append(&mut self.query, name, value);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.headers.push((name, value.into()));
        self
    }

    /// As a POST, with one more form field; the value is escaped here.
    #[must_use]
    pub fn form(mut self, name: &str, value: &str) -> Request {
        let mut form = match self.body {
            Body::None => String::new(),
            Body::Form(form) => form,
        };
        append(&mut form, name, value);
        self.body = Body::Form(form);
        self
    }

    /// Path and query, as they are sent.
    #[must_use]
    pub fn target(&self) -> String {
        let separator = if self.query.is_empty() { "" } else { "?" };
        [&self.path, separator, &self.query].concat()
    }

    /// The path alone; fit for logs.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.path)
    }
}

/// `text` with everything escaped that could end a path segment or a query value.
#[must_use]
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn append(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    query.push_str(&escape(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_never_shown() {
        let request =
            Request::get("/q").query("symbols", r#"["M&M"]"#).query("apikey", "s3cret").header("x-key", "s3cret");
        assert_eq!(request.target(), "/q?symbols=%5B%22M%26M%22%5D&apikey=s3cret");
        assert_eq!(format!("{request:?}"), "Request(/q)");
        assert_eq!(escape("BRK/B"), "BRK%2FB");
    }

    #[test]
    fn a_form_is_a_post() {
        let request = Request::get("/q").form("symbols", "A,B").form("greeks", "false");
        assert_eq!(request.body(), &Body::Form("symbols=A%2CB&greeks=false".into()));
    }
}
