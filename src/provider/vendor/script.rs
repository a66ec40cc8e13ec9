//! For tests of vendors: what was asked and what is answered, short to write and to compare.

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Call, Failure, Missing, Progress, Reply, Vendor};
use crate::market::{Bar, Quote, Symbol};

/// Friday 2026-11-20, half a minute after the close in New York.
pub(in crate::provider) const NOW: &str = "2026-11-20T21:00:30Z";

pub(in crate::provider) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(in crate::provider) fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

pub(in crate::provider) fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| symbol(text)).collect()
}

/// What `vendor` makes of this answer at [`NOW`].
pub(in crate::provider) fn say<V: Vendor>(
    vendor: &mut V,
    call: &Call<V::Step>,
    status: u16,
    fields: &[(&'static str, &str)],
    body: &str,
) -> Result<Progress<V::Step>, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    vendor.answer(call, &Reply { status, headers: &headers, body: body.as_bytes(), now: at(NOW) })
}

/// The one call that is to be made.
pub(in crate::provider) fn only<S>(progress: Progress<S>) -> Call<S> {
    let mut calls = progress.calls;
    assert_eq!(calls.len(), 1, "one call");
    calls.remove(0)
}

/// The one call with which `vendor` gets these, at [`NOW`].
pub(in crate::provider) fn first<V: Vendor>(vendor: &mut V, texts: &[&str]) -> Call<V::Step> {
    only(vendor.begin(&symbols(texts), at(NOW)))
}

/// Where the calls go.
pub(in crate::provider) fn targets<S>(progress: &Progress<S>) -> Vec<String> {
    progress.calls.iter().map(|call| call.request.target()).collect()
}

/// A header of a call.
pub(in crate::provider) fn header<'a, S>(call: &'a Call<S>, name: &str) -> Option<&'a str> {
    call.request.headers().iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
}

/// `SYMBOL price change percent volume time [stale]`, `-` for what is not there.
pub(in crate::provider) fn shown(quote: &Quote) -> String {
    fn or_dash(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let mut text = format!(
        "{} {} {} {}% {} {}",
        quote.symbol,
        quote.price,
        or_dash(quote.change.as_ref()),
        or_dash(quote.change_percent.as_ref()),
        or_dash(quote.volume.as_ref()),
        or_dash(quote.traded_at)
    );
    if quote.stale {
        text.push_str(" stale");
    }
    text
}

/// The quotes, and then `SYMBOL: reason` of those that are missing.
pub(in crate::provider) fn told<S>(progress: &Progress<S>) -> Vec<String> {
    let missing = |(symbol, missing): &(Symbol, Missing)| format!("{symbol}: {}", missing.as_str());
    progress.quotes.iter().map(shown).chain(progress.missing.iter().map(missing)).collect()
}

/// `start open high low close volume`.
pub(in crate::provider) fn drawn(bars: &[Bar]) -> Vec<String> {
    let volume = |bar: &Bar| bar.volume.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    bars.iter()
        .map(|bar| format!("{} {} {} {} {} {}", bar.start, bar.open, bar.high, bar.low, bar.close, volume(bar)))
        .collect()
}

/// Whatever part of `body` arrives, nobody panics, and nothing is quoted at zero.
pub(in crate::provider) fn survives<V: Vendor>(vendor: &mut V, call: &Call<V::Step>, body: &str) {
    for end in (0..body.len()).filter(|&end| body.is_char_boundary(end)) {
        for status in [200, 400, 429] {
            if let Ok(progress) = say(vendor, call, status, &[], &body[..end]) {
                assert!(progress.quotes.iter().all(|quote| quote.price.is_positive()));
            }
        }
    }
}
