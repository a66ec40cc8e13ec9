//! How far a run is: a bar on a terminal, a line for each run and now and then elsewhere. On stderr, so that stdout is the result's.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines of one phase where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { phase: RefCell<(String, u64)>, last: Cell<Instant> },
    Quiet,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Progress {
        if quiet {
            return Progress::Quiet;
        }
        if stderr().is_terminal() {
            return Progress::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        }
        Progress::Lines { phase: RefCell::default(), last: Cell::new(Instant::now()) }
    }

    /// A new phase of `length` steps.
    pub(crate) fn begin(&self, phase: &str, length: u64) {
        match self {
            Progress::Bar(bar) => {
                let style = ProgressStyle::with_template("{prefix:30} {wide_bar} {percent:>3} % {msg}");
                bar.reset();
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_length(length.max(1));
                bar.set_prefix(phase.to_owned());
                bar.set_message("");
                bar.tick();
            }
            Progress::Lines { phase: current, last } => {
                current.replace((phase.to_owned(), length.max(1)));
                last.set(Instant::now());
            }
            Progress::Quiet => {}
        }
    }

    /// `done` steps of the phase are done.
    pub(crate) fn show(&self, done: u64, message: &str) {
        match self {
            Progress::Bar(bar) => {
                bar.set_position(done);
                if !message.is_empty() {
                    bar.set_message(message.to_owned());
                }
            }
            Progress::Lines { phase, last } if last.get().elapsed() >= LINE_EVERY => {
                let (phase, length) = &*phase.borrow();
                eprintln!("{phase}: {} % {message}", done.min(*length) * 100 / length);
                last.set(Instant::now());
            }
            Progress::Lines { .. } | Progress::Quiet => {}
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        match self {
            Progress::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Progress::Lines { .. } => eprintln!("{line}"),
            Progress::Quiet => {}
        }
    }

    /// Nothing more comes.
    pub(crate) fn clear(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
