//! Where lines go: quotes to standard output, everything else to standard error.
//!
//! A thread writes, since a terminal or a pipe may take its time and Ctrl-C must not wait for it. What waits to be written
//! is bounded by [`MAX_WAITING`]; when it is full, the socket is not read, and the gateway sends the newest quotes only
//! once it is read again. It does not know what the lines say.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::render::{Colour, Look, Page, plain_line};

/// A terminal shows some fifty lines; a pipe gets this many beyond what the kernel holds.
const MAX_WAITING: usize = 1024;
/// Lines that wait are written together, up to about a pipe's capacity (64 KiB on Linux).
const BATCH_BYTES: usize = 64 * 1024;
/// How long the last lines may take to be written when we want to leave.
const LAST_LINES: Duration = Duration::from_secs(1);
/// For a terminal that does not say how wide it is.
const ASSUMED_WIDTH: usize = 80;

/// When to colour, as the user said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ColourChoice {
    /// On a terminal, unless `NO_COLOR` is set; `CLICOLOR_FORCE` colours elsewhere too
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// Nobody reads standard output any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReaderGone;

enum Line {
    Out(String),
    Err(String),
}

/// Both streams. The thread that writes ends when this and its [`Reader`] are gone.
pub(super) struct Output {
    lines: mpsc::Sender<Line>,
    out: Stream,
    err: Stream,
    zone: TimeZone,
    /// What the thread ended with.
    ended: oneshot::Receiver<io::Result<()>>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    is_terminal: bool,
    colour: Colour,
}

/// Notices that nobody reads standard output any more.
pub(super) struct Reader {
    lines: mpsc::Sender<Line>,
    /// Never written to, and no pipe when it is a terminal. `None` for what cannot be watched: files, which nobody closes.
    stdout: Option<pipe::Sender>,
}

impl Output {
    /// Starts the thread. To be called within a runtime.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn open(choice: ColourChoice) -> io::Result<(Output, Reader)> {
        let (lines, waiting) = mpsc::channel(MAX_WAITING);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            // nobody may be waiting for it any more
            let _ = end.send(write(waiting));
        })?;
        let out = Stream {
            is_terminal: io::stdout().is_terminal(),
            colour: colour(choice, AutoStream::choice(&io::stdout())),
        };
        let err = Stream {
            is_terminal: io::stderr().is_terminal(),
            colour: colour(choice, AutoStream::choice(&io::stderr())),
        };
        // the checked way would make it non-blocking, for everyone who shares it
        let watched = io::stdout().as_fd().try_clone_to_owned().and_then(pipe::Sender::from_owned_fd_unchecked);
        let reader = Reader { lines: lines.clone(), stdout: watched.ok() };
        Ok((Output { lines, out, err, zone: TimeZone::system(), ended }, reader))
    }

    /// What lines on standard output are made for, now: a terminal may have changed its size.
    pub(super) fn page(&self) -> Page {
        Page { width: self.out.width(io::stdout()), colour: self.out.colour, zone: self.zone.clone() }
    }

    /// Whether people look at standard output.
    pub(super) fn is_terminal(&self) -> bool {
        self.out.is_terminal
    }

    /// A line for standard output. Waits while too many others do.
    pub(super) async fn put(&self, line: String) -> Result<(), ReaderGone> {
        self.lines.send(Line::Out(line)).await.map_err(|_| ReaderGone)
    }

    /// A line for standard error, with the time.
    pub(super) async fn tell(&self, text: &str, look: Look) -> Result<(), ReaderGone> {
        let time = Timestamp::now().to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string();
        let width = self.err.width(io::stderr());
        let line = plain_line(&format!("{time}  -- {text}"), look, width, self.err.colour);
        self.lines.send(Line::Err(line)).await.map_err(|_| ReaderGone)
    }

    /// Waits, for a moment, until everything is written.
    ///
    /// # Errors
    /// What kept it from being written; not that its reader has left.
    pub(super) async fn finish(self, reader: Reader) -> io::Result<()> {
        drop((self.lines, reader));
        match tokio::time::timeout(LAST_LINES, self.ended).await {
            Ok(Ok(ended)) => ended,
            // it panicked and said so, or whoever reads does not
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

impl Stream {
    fn width(self, stream: impl AsFd) -> Option<usize> {
        if !self.is_terminal {
            return None;
        }
        let asked = rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
        let told = || std::env::var("COLUMNS").ok()?.parse().ok();
        asked.filter(|&width| width > 0).or_else(told).or(Some(ASSUMED_WIDTH))
    }
}

impl Reader {
    /// Completes when nobody reads standard output any more, also while nothing is written: `tail | head -1` ends after
    /// one line, not with the next one.
    pub(super) async fn gone(&self) {
        let hung_up = async {
            let watched = match &self.stdout {
                Some(stdout) => stdout.ready(Interest::ERROR).await.is_ok(),
                None => false,
            };
            if !watched {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = hung_up => {}
            () = self.lines.closed() => {}
        }
    }
}

fn colour(choice: ColourChoice, found: ColorChoice) -> Colour {
    let shown = match choice {
        ColourChoice::Always => true,
        ColourChoice::Never => false,
        ColourChoice::Auto => found != ColorChoice::Never,
    };
    if shown { Colour::Shown } else { Colour::Hidden }
}

/// Writes whole lines, those that wait together, until all is written or nobody reads.
fn write(mut waiting: mpsc::Receiver<Line>) -> io::Result<()> {
    let mut batch = String::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            match line {
                Line::Out(line) => {
                    batch.push_str(&line);
                    batch.push('\n');
                }
                Line::Err(line) => {
                    if !flush(&mut batch)? {
                        return Ok(());
                    }
                    // where standard error is closed, nobody is left to be told
                    let _ = writeln!(io::stderr(), "{line}");
                }
            }
            next = if batch.len() < BATCH_BYTES { waiting.try_recv().ok() } else { None };
        }
        if !flush(&mut batch)? {
            return Ok(());
        }
    }
    Ok(())
}

/// False when nobody reads any more.
fn flush(batch: &mut String) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let written = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
    batch.clear();
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}
