//! What is logged, and that an event stays on its line. A process of its own, since the panic hook is the process's.

use std::io::{self, Write};
use std::panic;
use std::sync::{Arc, Mutex};

use tickcast::config::Log;
use tickcast::config::log::Format;
use tickcast::logging;
use tracing_subscriber::fmt::MakeWriter;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Written;

    fn make_writer(&self) -> Written {
        self.clone()
    }
}

impl Written {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no writer panics").clone();
        String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect()
    }
}

fn log(level: &str, format: Format) -> Log {
    Log { level: level.parse().expect("a level"), format, otlp_endpoint: None }
}

#[test]
fn an_event_is_one_line_whatever_is_in_it() {
    for format in [Format::Text, Format::Json] {
        let written = Written::default();
        let (subscriber, _levels) = logging::subscriber(&log("info", format), written.clone(), false, None);
        tracing::subscriber::with_default(subscriber, || {
            let forged = "AAPL\r\n2026-01-01T00:00:00Z  INFO tickcast: all is well";
            tracing::warn!(symbol = %forged, "unknown symbol {forged}");
        });
        let lines = written.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains(r"AAPL\r\n2026"), "{}", lines[0]);
    }
}

#[test]
fn json_has_level_and_message_where_collectors_look() {
    let written = Written::default();
    let (subscriber, _levels) = logging::subscriber(&log("info", Format::Json), written.clone(), false, None);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("connection", id = 7);
        span.in_scope(|| tracing::info!(code = 4409, "closed"));
    });
    let event: serde_json::Value = serde_json::from_str(&written.lines()[0]).expect("JSON");
    assert_eq!(event["level"], "INFO");
    assert_eq!(event["message"], "closed");
    assert_eq!(event["code"], 4409);
    assert_eq!(event["span"]["id"], 7);
    assert!(event["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
}

#[test]
fn the_level_can_be_changed_at_run_time() {
    let written = Written::default();
    let (subscriber, levels) = logging::subscriber(&log("warn", Format::Text), written.clone(), false, None);
    tracing::subscriber::with_default(subscriber, || {
        for round in 0..3 {
            tracing::debug!(target: "tickcast::gateway", round, "heard");
            match round {
                0 => levels.set(&"debug".parse().expect("a level")).expect("the subscriber is there"),
                _ => levels.set(&"off".parse().expect("a level")).expect("the subscriber is there"),
            }
        }
    });
    let lines = written.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("round=1"), "{}", lines[0]);
    let gone = levels.set(&"info".parse().expect("a level"));
    assert!(gone.is_err(), "its subscriber was dropped");
}

#[test]
fn a_panic_is_logged_with_its_place() {
    let written = Written::default();
    let (subscriber, _levels) = logging::subscriber(&log("info", Format::Text), written.clone(), false, None);
    logging::log_panics();
    let line = line!() + 2;
    tracing::subscriber::with_default(subscriber, || {
        panic::catch_unwind(|| panic!("first\nsecond")).expect_err("it panicked");
    });
    let lines = written.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(r"panicked: first\nsecond"), "{}", lines[0]);
    assert!(lines[0].contains(&format!("{}:{line}:", file!())), "{}", lines[0]);
}

#[test]
fn spans_leave_the_log_as_it_is() {
    let written = Written::default();
    let (subscriber, levels) = logging::subscriber(&log("warn", Format::Text), written.clone(), false, None);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::error_span!(target: "traces", "cycle", provider = "massive");
        assert!(span.is_disabled(), "without a collector a span costs nothing");
        span.in_scope(|| tracing::info!(target: "tickcast", "unheard"));
        span.in_scope(|| tracing::warn!(target: "tickcast", "heard"));
        levels.set(&"info".parse().expect("a level")).expect("the subscriber is there");
        span.in_scope(|| tracing::info!(target: "tickcast", "heard now"));
    });
    let lines = written.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("heard") && !line.contains("massive")), "{lines:#?}");
}
