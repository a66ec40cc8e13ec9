//! The binary, run to its end or beside the test.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::DEADLINE;

/// A run to be: a working directory of its own, so that no `.env` of the machine gets in, and an empty environment.
pub struct Run {
    dir: TempDir,
    command: Command,
    has_output: bool,
}

/// What a run left.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The binary with these arguments.
pub fn tickcast(args: &[&str]) -> Run {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickcast"));
    command.args(args).env_clear().current_dir(dir.path());
    Run { dir, command, has_output: false }
}

impl Run {
    pub fn env(mut self, name: &str, value: &str) -> Run {
        self.command.env(name, value);
        self
    }

    pub fn file(self, name: &str, text: &str) -> Run {
        std::fs::write(self.dir.path().join(name), text).expect("a file");
        self
    }

    /// Another standard output than a pipe of ours.
    pub fn output(mut self, stdout: impl Into<Stdio>) -> Run {
        self.command.stdout(stdout);
        self.has_output = true;
        self
    }

    pub fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Runs it to its end.
    pub fn ends(self) -> Ended {
        self.ends_and_stays().0
    }

    /// Runs it to its end, and keeps what it left in its directory.
    pub fn ends_and_stays(mut self) -> (Ended, TempDir) {
        let output = self.command.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let ended = Ended {
            code: output.status.code().expect("it ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        (ended, self.dir)
    }

    /// Runs it to its end while the test's own servers go on.
    pub async fn ends_beside(self) -> Ended {
        let ended = tokio::task::spawn_blocking(|| self.ends());
        timeout(DEADLINE, ended).await.expect("it ends in time").expect("the binary runs")
    }

    /// Starts it beside the test, with its standard output on a pipe unless [`Self::output`] said otherwise.
    pub fn starts(mut self) -> Running {
        if !self.has_output {
            self.command.stdout(Stdio::piped());
        }
        self.command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary runs");
        let out = child.stdout.take().map(Lines::of_pipe);
        let err = Lines::of_pipe(child.stderr.take().expect("it is piped"));
        Running { child, out, err, _dir: self.dir }
    }
}

impl Ended {
    #[track_caller]
    pub fn with_code(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

/// A run under way. Killed when dropped.
pub struct Running {
    pub child: Child,
    out: Option<Lines>,
    pub err: Lines,
    _dir: TempDir,
}

impl Running {
    /// Its standard output's next line.
    pub async fn line(&mut self) -> String {
        let next = self.out.as_mut().expect("standard output is ours").next().await;
        next.unwrap_or_else(|| panic!("its standard output ended; it said:\n{}", self.err.seen()))
    }

    /// The next line on standard error that has this text.
    pub async fn told(&mut self, text: &str) -> String {
        loop {
            match self.err.next().await {
                Some(line) if line.contains(text) => return line,
                Some(_) => {}
                None => panic!("{text:?} was not told in:\n{}", self.err.seen()),
            }
        }
    }

    /// Closes our end of its standard output.
    pub fn close_output(&mut self) {
        self.out = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// What is left of both streams, and the exit status.
    pub async fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        let mut left = Vec::new();
        if let Some(out) = &mut self.out {
            while let Some(line) = out.next().await {
                left.push(line);
            }
        }
        let mut told = Vec::new();
        while let Some(line) = self.err.next().await {
            told.push(line);
        }
        // both streams are closed: it has ended, or is about to
        let status = self.child.wait().expect("it was started here");
        (status, left, told)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream's lines, as they come.
pub struct Lines {
    lines: tokio::io::Lines<BufReader<Box<dyn AsyncRead + Unpin>>>,
    seen: Vec<String>,
}

impl Lines {
    pub fn of(stream: impl AsyncRead + Unpin + 'static) -> Lines {
        let stream: Box<dyn AsyncRead + Unpin> = Box::new(stream);
        Lines { lines: BufReader::new(stream).lines(), seen: Vec::new() }
    }

    fn of_pipe(end: impl Into<OwnedFd>) -> Lines {
        Lines::of(pipe::Receiver::from_owned_fd(end.into()).expect("a pipe"))
    }

    /// The next one; none at the end. A terminal that was hung up reports an error there.
    pub async fn next(&mut self) -> Option<String> {
        let next = timeout(DEADLINE, self.lines.next_line()).await;
        let next = next.unwrap_or_else(|_| panic!("no line within {DEADLINE:?} after:\n{}", self.seen()));
        let next = next.ok().flatten();
        self.seen.extend(next.clone());
        next
    }

    /// Those so far.
    pub fn seen(&self) -> String {
        self.seen.join("\n")
    }
}
