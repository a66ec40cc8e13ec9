//! Bars by REST: charts as the cache keeps them, compressed where they are and the client takes it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use axum::http::{Response, StatusCode};
use tokio::time::timeout;

use super::Front;
use super::asked::{asked, covered, one};
use super::refusal::Refusal;
use crate::cache::charts::{Chart, NoChart};
use crate::cache::value::Kind;
use crate::cache::{Origin, now_ms};
use crate::market::Range;

/// How long a request waits for a vendor. The fetch goes on, and the next request finds what it got.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long others may keep a chart, at most: its end changes.
const MAX_AGE_S: u64 = 60;
/// `hit`, `miss`, or `stale` for one that could not be had anew.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// `GET /api/bars/{symbol}?range=1m|24h|1w`.
pub(super) async fn bars(
    State(front): State<Front>,
    Path(symbol): Path<String>,
    request: Request,
) -> Result<Response<Body>, Refusal> {
    let (head, _) = request.into_parts();
    let (asked, access) = asked(&front, &head)?;
    let symbol = one(&symbol)?;
    covered(&access, &[symbol])?;
    let range: Range = match asked.get("range") {
        None => Range::Month,
        Some(text) => text.parse().map_err(|_| Refusal::bad("invalid_range", "range is 24h, 1w or 1m (a month)"))?,
    };
    let found = timeout(PATIENCE, front.charts.get(symbol, range)).await.unwrap_or_else(|_| {
        Err(NoChart::Later { why: "the provider is slow".into(), retry_in: Duration::from_secs(2) })
    });
    match found {
        Ok(chart) => Ok(response(&chart, &head.headers)),
        Err(NoChart::Unknown) => {
            let message = format!("no provider has bars of {symbol}");
            Err(Refusal::new(StatusCode::NOT_FOUND, "no_bars", message))
        }
        Err(error @ NoChart::Later { retry_in, .. }) => Err(Refusal::later("bars_later", error.to_string(), retry_in)),
        Err(error @ NoChart::Nobody) => Err(Refusal::later("no_provider", error.to_string(), Duration::from_secs(60))),
    }
}

fn response(chart: &Chart, asked: &HeaderMap) -> Response<Body> {
    let now_ms = now_ms();
    let value = &chart.value;
    let gzip = value.gzip().filter(|_| takes_gzip(asked));
    let is_gzip = gzip.is_some();
    let mut response = Response::new(Body::from(gzip.unwrap_or_else(|| value.body())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(AGE, HeaderValue::from(value.age_ms(now_ms) / 1000));
    // A token's holder alone may read it.
    let fresh_s = (value.fresh_until_ms.saturating_sub(now_ms) / 1000).min(MAX_AGE_S);
    // What others see is its age plus ours (RFC 9111 §4.2.3).
    let max_age = value.age_ms(now_ms) / 1000 + fresh_s;
    let control = format!("private, max-age={max_age}");
    headers.insert(CACHE_CONTROL, HeaderValue::try_from(control).expect("digits are a header value"));
    let from = match (value.kind, chart.origin) {
        (Kind::Old, _) => "stale",
        (_, Origin::Memory | Origin::Store) => "hit",
        (_, Origin::Fetched) => "miss",
    };
    headers.insert(X_CACHE, HeaderValue::from_static(from));
    response
}

/// RFC 9110 §12.5.3, as far as clients use it: gzip, or anything, unless it is ruled out.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for coding in accepted.flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_zero = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return !is_zero,
            "*" => any = !is_zero,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_goes_to_who_takes_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("*", true),
            ("*, gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = [(ACCEPT_ENCODING, HeaderValue::from_static(accepted))].into_iter().collect();
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
