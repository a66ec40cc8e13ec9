//! An answer as it came, and what can be said of it whatever the vendor.

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::error::Category;

use super::{Detail, Failure};
use crate::quota::backoff;

/// An answer as it came: whole, and of bounded length.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The body, unpacked.
    pub body: &'a [u8],
    /// When it came.
    pub now: Timestamp,
}

impl<'a> Reply<'a> {
    /// A header field's value, when there is one and it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After`, in seconds or as a date.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        backoff::retry_after(self.header("retry-after")?, self.now)
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// The body as JSON of this shape, whatever the status.
    ///
    /// # Errors
    /// [`Failure::Transient`] for HTML, an empty body and one that ends too soon; [`Failure::Malformed`] for JSON of
    /// another shape and for what is neither.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.body).map_err(|error| match error.classify() {
            Category::Eof => Failure::Transient("the body ends too soon".into()),
            Category::Syntax if self.is_html() => Failure::Transient("HTML where JSON was expected".into()),
            // The shape only: the body may hold anything, our key included.
            Category::Syntax | Category::Data | Category::Io => Failure::Malformed(error.to_string().into()),
        })
    }

    /// The body as a JSON object of this shape: [`json`](Self::json) takes an array for one, field by field.
    ///
    /// # Errors
    /// As [`json`](Self::json), and [`Failure::Malformed`] for JSON that is no object.
    pub fn object<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        let object = self.json()?;
        if self.body.trim_ascii_start().starts_with(b"{") {
            Ok(object)
        } else {
            Err(Failure::Malformed("no object where one was expected".into()))
        }
    }

    /// What the status alone says. For a vendor whose body says nothing better.
    #[must_use]
    pub fn failure(&self, said: &str) -> Failure {
        let said = if said.is_empty() { self.excerpt() } else { said.to_owned() };
        let detail = Detail::new(&format!("{} {said}", self.status));
        match self.status {
            401 => Failure::Auth(detail),
            403 if self.is_html() => Failure::Transient(detail),
            402 | 403 => Failure::Plan(detail),
            429 => Failure::RateLimited { retry_after: self.retry_after(), detail },
            408 | 425 | 500..=599 => Failure::Transient(detail),
            300..=399 => Failure::Transient(detail),
            _ => Failure::Malformed(detail),
        }
    }

    /// Whether the body looks like a web page.
    #[must_use]
    pub fn is_html(&self) -> bool {
        self.body.trim_ascii_start().starts_with(b"<")
            || self.header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"))
    }

    /// The first words of a text body; a page's markup says nothing.
    fn excerpt(&self) -> String {
        if self.is_html() { "(a web page)".into() } else { String::from_utf8_lossy(self.body).into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn reply<'a>(status: u16, headers: &'a HeaderMap, body: &'a str) -> Reply<'a> {
        Reply { status, headers, body: body.as_bytes(), now: "2026-11-21T10:00:00Z".parse().unwrap() }
    }

    #[test]
    fn a_status_alone_is_classified() {
        let headers = HeaderMap::new();
        for (status, body, class) in [
            (401, "{}", "auth"),
            (403, r#"{"error":"You don't have access to this resource."}"#, "plan"),
            (403, "<html>Access Denied</html>", "transient"),
            (429, "", "rate_limited"),
            (500, "", "transient"),
            (503, "<html>", "transient"),
            (302, "", "transient"),
            (404, "{}", "malformed"),
            (418, "{}", "malformed"),
        ] {
            assert_eq!(reply(status, &headers, body).failure("").as_str(), class, "{status}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_classified() {
        let headers = HeaderMap::new();
        for (body, class) in [
            ("", "transient"),
            (r#"{"a":"#, "transient"),
            (" <!DOCTYPE html>", "transient"),
            ("Service busy", "malformed"),
            ("[]", "malformed"),
        ] {
            let failure = reply(200, &headers, body).json::<std::collections::HashMap<String, u8>>().unwrap_err();
            assert_eq!(failure.as_str(), class, "{body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (field, expected) in [
            ("7", Some(Duration::from_secs(7))),
            ("Sat, 21 Nov 2026 10:00:30 GMT", Some(Duration::from_secs(30))),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", field.parse().unwrap());
            assert_eq!(reply(429, &headers, "").retry_after(), expected, "{field}");
        }
    }
}
