//! A started process that does not outlive its guard.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::interrupt::{Interrupt, LOOK_EVERY};

/// A process in a group of its own.
#[derive(Debug)]
pub(crate) struct Guard {
    name: String,
    child: Child,
}

impl Guard {
    /// Starts `command`. It must be started through [`super::launch`], which ties it to this process' life.
    pub(crate) fn start(name: &str, command: &mut Command) -> anyhow::Result<Guard> {
        use std::os::unix::process::CommandExt;
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start the {name}"))?;
        Ok(Guard { name: name.to_owned(), child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits at most `timeout` for its end.
    pub(crate) fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty());
        if let (None, Ok(process)) = (self.ended()?, process) {
            let timeout = Timespec::try_from(timeout).context("a time-out")?;
            // Whether it ended or the time did is asked below; an interrupted wait is a short one.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout));
        }
        self.ended()
    }

    /// Asks it to end and waits; how it ended, and how long it took.
    ///
    /// # Errors
    /// When it does not end in time, or upon an interrupt; then it is killed.
    pub(crate) fn stop(mut self, patience: Duration, interrupt: &Interrupt) -> anyhow::Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        self.signal(Signal::TERM);
        while began.elapsed() < patience {
            interrupt.check()?;
            if let Some(status) = self.wait(LOOK_EVERY)? {
                return Ok((status, began.elapsed()));
            }
        }
        bail!("the {} did not end within {} s of SIGTERM and was killed", self.name, patience.as_secs())
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }
}
