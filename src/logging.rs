//! Logs: one event a line, text or JSON, on standard error.
//!
//! Standard output is left to what a command was asked for. The level can be changed while the process runs; a panic is
//! logged with its place like any other event. It owns the process's one subscriber and its panic hook. Writing is
//! synchronous: a reader that stops reading standard error stops whoever logs, which is why nothing is logged per update.

mod traces;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write};
use std::panic::{self, PanicHookInfo};

use metrics::{counter, describe_counter};
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

pub use traces::{Traces, TracesError};

use crate::config::Log;
use crate::config::log::{Format, Level};

/// Changes what is logged, from anywhere, while the process runs.
#[derive(Debug, Clone)]
pub struct Levels(reload::Handle<Targets, Registry>);

/// The subscriber this belonged to is gone.
#[derive(Debug, thiserror::Error)]
#[error("nothing is logged any more")]
pub struct Gone;

impl Levels {
    /// Logs `level` from now on.
    ///
    /// # Errors
    /// [`Gone`], which cannot happen to the process's own subscriber.
    pub fn set(&self, level: &Level) -> Result<(), Gone> {
        self.0.reload(level.targets()).map_err(|_| Gone)
    }
}

/// Starts logging for the whole process, panics included; what is traced goes to `traces`.
///
/// # Errors
/// When a subscriber is installed already.
pub fn start(log: &Log, traces: Option<&Traces>) -> Result<Levels, TryInitError> {
    let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (subscriber, levels) = subscriber(log, io::stderr, color, traces);
    subscriber.try_init()?;
    log_panics();
    Ok(levels)
}

/// What writes the log, to `writer`. The level is the log's own: what is traced goes to `traces` whatever it is.
pub fn subscriber<W>(
    log: &Log,
    writer: W,
    color: bool,
    traces: Option<&Traces>,
) -> (impl Subscriber + Send + Sync + use<W>, Levels)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (level, handle) = reload::Layer::new(log.level.targets());
    let writer = OneLine(writer);
    let lines = match log.format {
        Format::Text => fmt::layer().with_ansi(color).with_writer(writer).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed(),
    };
    let lines = lines.with_filter(filter_fn(|metadata| !traces::is_ours(metadata)).and(level));
    // Not an Option beside it: one that is None would make spans that nobody wants.
    let mut layers = vec![lines.boxed()];
    layers.extend(traces.map(|traces| traces.layer().boxed()));
    (tracing_subscriber::registry().with(layers), Levels(handle))
}

/// Registers what the log counts. Apart from [`start`], since a role's metrics come after its log; at nought, so that the
/// first panic is seen as a rise.
pub fn register_metrics() {
    describe_counter!("tickcast_panics_total", "Defects that showed as panics; each is contained and logged.");
    counter!("tickcast_panics_total").increment(0);
}

/// Logs panics instead of printing them. One that would not be logged is printed: a panic is never silent.
pub fn log_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        counter!("tickcast_panics_total").increment(1);
        if tracing::enabled!(tracing::Level::ERROR) {
            log_panic(info);
        } else {
            print(info);
        }
    }));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("(no message)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("(unnamed)");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(place, thread, %backtrace, "panicked: {message}");
    } else {
        tracing::error!(place, thread, "panicked: {message}");
    }
}

/// Keeps an event on its line whatever is in it: line ends within are written as `\n`. Otherwise a client could forge log
/// lines through what it sends.
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        Line(self.0.make_writer_for(meta))
    }
}

/// Gets an event in one piece, with the line end it ends with.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (inside, end) = match event.strip_suffix(b"\n") {
            Some(inside) => (inside, "\n"),
            None => (event, ""),
        };
        if !inside.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut line = Vec::with_capacity(event.len() + 16);
        for byte in inside {
            match byte {
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.push(*byte),
            }
        }
        line.extend_from_slice(end.as_bytes());
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
