//! Server-sent events: the text of a stream (WHATWG HTML §9.2.6), one message an event.
//!
//! Events have no name, so that `onmessage` gets all of them: their `type` is in the JSON, as on a socket. The id is an
//! update's `seq`. The data are the same bytes that a socket gets, but for line breaks between JSON tokens, which the
//! format cannot carry in one line and the reader puts back.

use std::fmt::Write;

/// What a heartbeat is: a comment, so that proxies see traffic and readers see nothing.
pub const HEARTBEAT: &str = ":\n\n";

/// Appends an event.
pub fn write(into: &mut String, id: Option<u64>, json: &str) {
    if let Some(id) = id {
        writeln!(into, "id: {id}").expect("writing to a String cannot fail");
    }
    // A lone CR ends a line too; between JSON tokens either is white space.
    for line in json.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        into.push_str("data: ");
        into.push_str(line);
        into.push('\n');
    }
    into.push('\n');
}

/// Appends how long a reader is to wait before it comes back.
pub fn write_retry(into: &mut String, millis: u64) {
    write!(into, "retry: {millis}\n\n").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<u64>, json: &str) -> String {
        let mut text = String::new();
        write(&mut text, id, json);
        text
    }

    #[test]
    fn an_event_is_numbered_by_seq() {
        assert_eq!(event(Some(7), r#"{"seq":7}"#), "id: 7\ndata: {\"seq\":7}\n\n");
        assert_eq!(event(None, "{}"), "data: {}\n\n");
    }

    #[test]
    fn no_message_can_forge_another() {
        assert_eq!(event(None, "{\r\n\"a\":\r1}\n"), "data: {\ndata: \"a\":\ndata: 1}\n\n");
    }

    #[test]
    fn a_retry_hint_stands_alone() {
        let mut text = String::new();
        write_retry(&mut text, 2000);
        assert_eq!(text, "retry: 2000\n\n");
    }
}
