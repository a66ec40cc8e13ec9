//! What operators say on the control channel.

use tickcast::protocol::control;

pub(crate) const CORPUS: &[&[u8]] = &[
    br#"{"action":"pause","data":{"reason":"maintenance"}}"#,
    br#"{"action":"resume","data":{"provider":"massive"},"id":"1"}"#,
    br#"{"action":"refresh","data":{"symbols":["AAPL","MSFT"]}}"#,
    br#"{"action":"set_interval","data":{"seconds":0.5,"provider":"yahoo"}}"#,
    br#"{"action":"drain","data":{"gateway":"g-1"}}"#,
    br#"{"action":"log_level","data":{"level":"debug"},"id":7}"#,
];
pub(crate) const WORDS: &[&str] =
    &["\"data\":{", "\"symbols\":", "\"seconds\":1e400", "-0", "null", "\\ud83d", "\"id\":[]"];

pub(crate) fn read(input: &[u8]) {
    match control::read(input) {
        Ok(message) => drop(format!("{message:?}")),
        Err(refused) => drop(format!("{refused:?}")),
    }
}
