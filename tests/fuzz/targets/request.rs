//! What a client says, as text.

use tickcast::protocol::request::{read_list, read_request};

pub(crate) const CORPUS: &[&[u8]] = &[
    br#"{"action":"subscribe","symbols":["RELIANCE","TCS"],"id":1}"#,
    br#"{"action":"subscribe","ticker":"AAPL"}"#,
    br#"{"action":"subscribe","symbol":"^NSEI","max_rate":2.5,"snapshot":false,"id":"x"}"#,
    br#"{"action":"unsubscribe","symbols":["*"]}"#,
    br#"{"action":"list"}"#,
    br#"{"id":18446744073709551615,"action":"ping"}"#,
    br#"{"action":"auth","token":"eyJhbGciOiJIUzI1NiJ9.e30.x"}"#,
    b"AAPL,MSFT, tcs ,*,B AD",
];
pub(crate) const WORDS: &[&str] =
    &["\"action\":", "\"symbols\":[", "\"id\":", "\"max_rate\":1e309", "\"*\"", "\\u0000", "\\ud800", "null", "[[[[["];

pub(crate) fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok((request, id)) = read_request(&text) {
        drop(format!("{request:?} {id:?}"));
    }
    let list = read_list(&text);
    assert!(list.symbols.len() <= text.len() && list.rejected.len() <= text.len());
}

/// What a URL may ask for.
pub(crate) fn selection(rng: &mut fastrand::Rng) -> tickcast::protocol::message::Selection {
    read_list(["", "A,B", "*", "a,b,c,d,e"][rng.usize(..4)])
}
